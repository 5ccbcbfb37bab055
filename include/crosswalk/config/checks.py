"""Checks across keys, files and connections; returns every finding, not the first.

Errors stop a run, warnings and infos do not. The code of a finding is its anchor in ``docs/troubleshooting.md``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from crosswalk.config.connection import Connection, ExportProfiles, Goal, ImportGoal, ImportGroups
from crosswalk.config.export_checks import ExportProfilesCheck, outputs
from crosswalk.config.group_checks import ImportGroupsCheck
from crosswalk.config.loader import BrokenConnection, LoadedConnection, LoadedTenant, written_as
from crosswalk.config.profile_checks import ImportProfilesCheck
from crosswalk.config.report import Report, nearest_name
from crosswalk.config.schedule import cron_problem, zone_problem
from crosswalk.config.schedule_forms import After, Cron, DaysOfMonth
from crosswalk.config.tenant import Tenant
from crosswalk.config.tenant_checks import check_tenant
from crosswalk.core.errors import Finding
from crosswalk.core.names import display

__all__ = ["check_connection", "check_tenant"]

# The last day of the month that every month has.
_SHORTEST_MONTH = 28


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
    whole = [item for item in beside if isinstance(item, LoadedConnection)]
    _check_owners(report, whole)
    _check_outputs(report, whole)
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
        _check_goal(report, goal, index, processors)
    if not any(goal.enabled for goal in goals):
        report.add("warning", "no_goal_enabled", "All goals are switched off, so a run does nothing.", "goals")


def _check_goal(report: Report, goal: Goal, index: int, processors: Collection[str] | None) -> None:
    path = ("goals", index)
    if isinstance(goal, ExportProfiles):
        ExportProfilesCheck(goal, path, report).run()
    elif isinstance(goal, ImportGroups):
        ImportGroupsCheck(goal, path, report, processors).run()
    else:
        ImportProfilesCheck(goal, path, report, processors).run()
    if not goal.enabled:
        message = f"Goal {goal.name}: is switched off and takes no part in runs."
        report.add("info", "goal_disabled", message, *path, "enabled")


def _check_owners(report: Report, beside: Sequence[LoadedConnection]) -> None:
    """Warn of properties that another goal writes too, until ``existing: true`` acknowledges it (row S-46)."""
    loaded = report.loaded
    imports = [(index, goal) for index, goal in enumerate(loaded.model.goals) if isinstance(goal, ImportGoal)]
    for index, goal in imports:
        for number, mapping in enumerate(goal.mappings.fields):
            if mapping.existing:
                continue
            target = written_as(goal, mapping)
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


def _check_outputs(report: Report, beside: Sequence[LoadedConnection]) -> None:
    """Refuse two export goals that would write the same file on the same system."""
    own = report.loaded.model
    taken: dict[str, str] = {}
    for item in beside:
        if item.model.conn_id == own.conn_id and item.model.kind == own.kind:
            for goal in item.model.goals:
                if isinstance(goal, ExportProfiles):
                    taken |= dict.fromkeys(outputs(goal, report), f"connection {item.name}, goal {goal.name}")
    for index, goal in enumerate(own.goals):
        if isinstance(goal, ExportProfiles):
            names = outputs(goal, report)
            for name in sorted(names & taken.keys()):
                message = f"Goal {goal.name}: {display(name)} is also written by {taken[name]}; use another directory."
                report.add("error", "duplicate_output", message, "goals", index, "directory")
            taken |= dict.fromkeys(names, f"goal {goal.name}")
