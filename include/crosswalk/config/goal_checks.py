"""What the checks of all kinds of goals share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crosswalk.config.formats import Dialect
from crosswalk.config.goals import FieldMapping, ImportGoal, Strategy
from crosswalk.config.patterns import date_problem, encoding_problem
from crosswalk.config.report import Report
from crosswalk.config.schedule import zone_problem
from crosswalk.config.tenant import Definition, Tenant
from crosswalk.core.names import display

Place = tuple[str | int, ...]


def effective_strategy(goal: ImportGoal, mapping: FieldMapping, declared: Definition | None) -> Strategy:
    """The mapping's strategy, or the default: ``add`` for text with a multi-value separator, else ``set``."""
    if mapping.strategy is not None:
        return mapping.strategy
    name = mapping.field.partition(".")[0]
    split = mapping.multi_value
    if split is None:
        known = any(file.name == name for file in goal.files)
        split = goal.file_format(name).multi_value if known else goal.format.multi_value
    is_text = declared is None or declared.type == "text"
    return "add" if split and is_text else "set"


class GoalCheck:
    """The checks of one goal; findings go to the report, each with the goal's name and its line.

    Args:
        name: the goal's name.
        path: where the goal stands in the file, for line numbers.
        report: takes the findings.
    """

    def __init__(self, name: str, path: Place, report: Report) -> None:
        self.name, self.path, self.report = name, path, report

    @property
    def tenant(self) -> Tenant:
        """The tenant model."""
        return self.report.tenant

    def _add(self, severity: str, code: str, message: str, *path: str | int) -> None:
        end = "" if "\n" in message or message.endswith(".") else "."  # lines to copy end without a full stop
        self.report.add(severity, code, f"Goal {self.name}: {message}{end}", *self.path, *path)

    def _check_dialect(self, settings: Dialect, where: Place, only: Mapping[str, Any] | None = None) -> None:
        """What reading and writing of files have in common; ``only`` the settings that were given there."""
        for name, code, problem in _dialect_problems(settings):
            if problem and (only is None or name in only):
                self._add("error", code, problem, *where, name)
        clash = getattr(settings, "multi_value", None) == settings.separator
        if clash and (only is None or {"multi_value", "separator"} & set(only)):
            self._add("error", "same_separators", "separator and multi_value must differ", *where, "multi_value")

    def _check_event_type(self, name: str, *path: str | int) -> bool:
        """Whether the tenant model has the event type; a finding when it has not (row S-53)."""
        known = self.tenant.event_types
        if name in known:
            return True
        hint = self.report.nearest(name, known)
        message = f"there is no event type `{display(name)}`{hint}; known are {', '.join(known)}. "
        message += "To define your own, add it to event_types.yaml"
        self._add("error", "unknown_event_type", message, *path)
        return False

    def _check_group_type(self, name: str, *path: str | int) -> bool:
        """Whether the tenant model has the group type; a finding when it has not (rows S-91, S-92)."""
        known = self.tenant.group_types
        if name in known:
            return True
        if known:
            message = f"there is no group type `{display(name)}`{self.report.nearest(name, known)}; "
            message += f"group_types.yaml has: {', '.join(known)}"
        else:
            message = (
                "the tenant model has no group type yet. To define one, write in group_types.yaml:\n"
                f"group_types:\n  {display(name)}:\n    properties:\n"
                f"      {display(name)}_id: {{type: text, identifier: unique}}"
            )
        self._add("error", "unknown_group_type", message, *path)
        return False


def _dialect_problems(settings: Dialect) -> Iterator[tuple[str, str, str]]:
    """Setting, code and what is wrong with it."""
    if settings.date is not None:
        yield "date", "invalid_date_pattern", date_problem(settings.date)
    if settings.timezone is not None:
        yield "timezone", "unknown_timezone", zone_problem(settings.timezone)
    yield "encoding", "unknown_encoding", encoding_problem(settings.encoding)
