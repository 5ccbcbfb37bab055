"""Checks across keys, files and connections; returns every finding, not the first.

Errors stop a run, warnings and infos do not. The code of a finding is its anchor in ``docs/troubleshooting.md``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from crosswalk.config.connection import After, Connection, Cron, DaysOfMonth
from crosswalk.config.goal_checks import GoalCheck, LinkState, effective_strategy, link_states, nested_files
from crosswalk.config.loader import BrokenConnection, LoadedConnection, LoadedTenant
from crosswalk.config.schedule import cron_problem, zone_problem
from crosswalk.config.tenant import NUMERIC_TYPES, READ_ONLY_PROPERTIES, Tenant
from crosswalk.core.errors import Finding
from crosswalk.core.names import display

__all__ = ["LinkState", "check_connection", "check_tenant", "effective_strategy", "link_states", "nested_files"]

# The last day of the month that every month has.
_SHORTEST_MONTH = 28


class Report:
    """Collects the findings of one connection and knows their lines."""

    def __init__(self, loaded: LoadedConnection, tenant: Tenant) -> None:
        self.loaded, self.tenant = loaded, tenant
        self.findings: list[Finding] = []

    def add(self, severity: str, code: str, message: str, *path: str | int) -> None:
        """Note a finding at the line of a node of the file."""
        self.findings.append(Finding(severity, code, message, str(self.loaded.path), self.loaded.line(*path)))

    def nearest(self, name: str, known: Iterable[str]) -> str:
        """``(did you mean ...?)`` when a known name is near, else nothing."""
        return nearest_name(name, known)

    def check_objective(self, name: str, *path: str | int) -> None:
        """Refuse an objective that the tenant model does not have."""
        if name not in self.tenant.objectives:
            known = ", ".join(sorted(self.tenant.objectives)) or "none"
            hint = nearest_name(name, self.tenant.objectives)
            message = f"The tenant model has no objective `{display(name)}`{hint}; objectives.yaml has: {known}."
            self.add("error", "unknown_objective", message, *path)


def nearest_name(name: str, known: Iterable[str]) -> str:
    """``(did you mean ...?)`` when a known name is near, else nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean `{near[0]}`?)" if near else ""


def check_connection(
    loaded: LoadedConnection,
    tenant: Tenant | LoadedTenant,
    others: Sequence[LoadedConnection | BrokenConnection] = (),
    *,
    kinds: Collection[str] | None = None,
    processors: Collection[str] | None = None,
) -> list[Finding]:
    """Everything that is wrong or noteworthy about a connection, in the order of its lines.

    Args:
        loaded: the connection.
        tenant: the tenant model.
        others: the connections it lives beside; whether it is among them does not matter. When there are none, what
            depends on them is not refused.
        kinds: names of the connection kinds; None: not known here, so any kind passes.
        processors: names of the processors; None: not known here, so any name passes.
    """
    model = tenant.model if isinstance(tenant, LoadedTenant) else tenant
    report = Report(loaded, model)
    beside = [item for item in others if item.path != loaded.path]
    _check_kind(report, kinds)
    _check_schedule(report, beside)
    _check_notifications(report)
    for index, objective in enumerate(loaded.model.objectives):
        report.check_objective(objective, "objectives", index)
    _check_goals(report, processors)
    _check_owners(report, [item for item in beside if isinstance(item, LoadedConnection)])
    return sorted(report.findings, key=lambda finding: finding.line or 0)


def _check_kind(report: Report, kinds: Collection[str] | None) -> None:
    kind = report.loaded.model.kind
    if kinds is not None and kind not in kinds:
        known = ", ".join(sorted(kinds))
        hint = nearest_name(kind, kinds)
        message = f"There is no connection kind `{display(kind)}`{hint} in this release; known: {known}."
        report.add("error", "unknown_kind", message, "kind")
    if not report.loaded.model.enabled:
        message = "The connection is switched off: it has no schedule and runs nothing."
        report.add("info", "connection_disabled", message, "enabled")


def _check_schedule(report: Report, beside: Sequence[LoadedConnection | BrokenConnection]) -> None:
    connection = report.loaded.model
    problem = zone_problem(connection.timezone)
    if problem:
        report.add("error", "unknown_timezone", problem, "timezone")
    schedule = connection.schedule
    if isinstance(schedule, Cron):
        _check_cron(report, schedule.cron)
    elif isinstance(schedule, DaysOfMonth):
        rare = sorted({day for day in schedule.days_of_month if isinstance(day, int) and day > _SHORTEST_MONTH})
        if rare:
            days = " and ".join(str(day) for day in rare)
            message = f"Not every month has day {days}; such months are skipped. `last` is the last day of each month."
            report.add("warning", "day_not_in_every_month", message, "schedule", "days_of_month")
    elif isinstance(schedule, After):
        _check_after(report, schedule, beside)


def _check_cron(report: Report, expression: str) -> None:
    problem = cron_problem(expression)
    if problem:
        report.add("error", "invalid_cron", f"The schedule: {problem}", "schedule", "cron")
        return
    fields = expression.split()
    if fields[2] not in ("*", "?") and fields[4] not in ("*", "?"):
        message = "Day of month and weekday are both given, which means one or the other, not both."
        report.add("warning", "cron_either_day", message, "schedule", "cron")
    days = {part for part in fields[2].split(",") if part.isdigit() and int(part) > _SHORTEST_MONTH}
    if days and fields[4] in ("*", "?") and fields[3] == "*":
        message = "Not every month has that day; such months are skipped. L is the last day of each month."
        report.add("warning", "day_not_in_every_month", message, "schedule", "cron")


def _check_after(report: Report, schedule: After, beside: Sequence[LoadedConnection | BrokenConnection]) -> None:
    name = report.loaded.name
    known = {item.name for item in beside}
    waits = {item.name: _waits_for(item.model) for item in beside if isinstance(item, LoadedConnection)}
    for index, other in enumerate(schedule.after):
        where = ("schedule", "after", index)
        if other == name:
            report.add("error", "circular_after", "The connection waits for itself.", *where)
        elif other not in known and beside:
            listed = ", ".join(sorted(known))
            message = f"There is no connection `{display(other)}`{nearest_name(other, known)}; there are: {listed}."
            report.add("error", "unknown_connection", message, *where)
        else:
            circle = _path_between(other, name, waits)
            if circle:
                text = " waits for ".join([name, *circle])
                report.add("error", "circular_after", f"These would wait for each other for ever: {text}.", *where)


def _waits_for(connection: Connection) -> list[str]:
    return list(connection.schedule.after) if isinstance(connection.schedule, After) else []


def _path_between(start: str, end: str, waits: dict[str, list[str]]) -> list[str]:
    """A chain of waiting from one connection to another; empty when there is none."""
    chains, seen = [[start]], {start}
    while chains:
        chain = chains.pop()
        if chain[-1] == end:
            return chain
        for following in waits.get(chain[-1], []):
            if following not in seen:
                seen.add(following)
                chains.append([*chain, following])
    return []


def _check_notifications(report: Report) -> None:
    mail = report.loaded.model.notifications
    if mail.on_success and not mail.on_failure:
        message = "Mail about successful runs only: a run that fails stays silent. Set `on_failure: true` as well."
        report.add("warning", "success_without_failure", message, "notifications", "on_success")
    if (mail.on_failure or mail.on_success) and not mail.emails:
        message = "Nobody is told about failed runs: `notifications` has no `emails`."
        report.add("info", "no_addresses", message, "notifications")


def _check_goals(report: Report, processors: Collection[str] | None) -> None:
    goals = report.loaded.model.goals
    seen: set[str] = set()
    for index, goal in enumerate(goals):
        if goal.name.casefold() in seen:
            message = f"Two goals are called `{goal.name}`; state hangs on the name, so each needs its own."
            report.add("error", "duplicate_goal", message, "goals", index)
        seen.add(goal.name.casefold())
        GoalCheck(goal, ("goals", index), report.tenant, report, processors).run()
    if not any(goal.enabled for goal in goals):
        report.add("warning", "no_goal_enabled", "All goals are switched off, so a run does nothing.", "goals")


def _check_owners(report: Report, beside: Sequence[LoadedConnection]) -> None:
    """Warn of properties that another goal writes too, until ``existing: true`` acknowledges it (row S-46)."""
    loaded = report.loaded
    for index, goal in enumerate(loaded.model.goals):
        for number, mapping in enumerate(goal.mappings.fields):
            if mapping.existing:
                continue
            target = goal.target(mapping)
            own = [other for other in loaded.written_properties.get(target, []) if other != goal.name]
            owners = [f"goal {name}" for name in own]
            owners += [
                f"connection {item.name}, goal {name}"
                for item in beside
                for name in item.written_properties.get(target, [])
            ]
            if owners:
                more = f" and {len(owners) - 3} more" if len(owners) > 3 else ""
                message = (
                    f"Goal {goal.name}: `{target}` is also written by {'; '.join(owners[:3])}{more}. If that is meant, "
                    "add `existing: true` to the mapping; else map to a property of its own, for example by a prefix."
                )
                path = ("goals", index, "mappings", "fields", number, "property")
                report.add("warning", "existing_property", message, *path)


def check_tenant(tenant: LoadedTenant) -> list[Finding]:
    """Everything that is wrong or noteworthy about the tenant model."""
    findings: list[Finding] = []

    def add(severity: str, code: str, message: str, *path: str | int) -> None:
        file, line = tenant.place(*path)
        findings.append(Finding(severity, code, message, file, line))

    model = tenant.model
    lower: dict[str, str] = {}
    for name, declared in model.properties.items():
        where = ("properties", name)
        if name in READ_ONLY_PROPERTIES:
            add("error", "read_only_property", f"`{name}` is kept by the system and cannot be declared.", *where)
        twin = lower.setdefault(name.casefold(), name)
        if twin != name:
            add("warning", "similar_properties", f"`{name}` and `{twin}` differ only in capitals.", *where)
        if declared.type == "currency" and declared.currency is None:
            message = f"`{name}` is of type currency and needs one, as in `currency: EUR`."
            add("error", "missing_currency", message, *where)
        if declared.merge in ("sum", "highest", "lowest") and declared.type not in {*NUMERIC_TYPES, "datetime"}:
            message = f"`{name}`: `merge: {declared.merge}` compares or adds text; use it with numbers."
            add("warning", "merge_of_text", message, *where, "merge")
        if declared.group_type is not None and declared.group_type not in model.group_types:
            hint = nearest_name(declared.group_type, model.group_types)
            message = f"`{name}`: there is no group type `{display(declared.group_type)}`{hint}."
            add("error", "unknown_group_type", message, *where, "group_type")
    if not any(declared.identifier == "unique" for declared in model.properties.values()):
        message = "No property has `identifier: unique`, so no import can recognise a profile."
        add("warning", "no_identifier_declared", message, "properties")
    return findings
