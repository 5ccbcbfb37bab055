"""Checks of export goals that need more than one key at a time, or the tenant model."""

from __future__ import annotations

from crosswalk.config.export_names import file_names
from crosswalk.config.exports import Column, ExportProfiles
from crosswalk.config.formats import EPOCH_MS
from crosswalk.config.goal_checks import GoalCheck, Place
from crosswalk.config.patterns import path_problem
from crosswalk.config.report import Report
from crosswalk.config.segment_checks import problems_behind
from crosswalk.config.tenant import ALL_PROFILES
from crosswalk.core.names import display

_HANDLED = (".part", ".done")
MOST_SEPARATOR_BYTES = 4


class ExportProfilesCheck(GoalCheck):
    """The checks of a goal that exports profiles and their events."""

    def __init__(self, goal: ExportProfiles, path: Place, report: Report) -> None:
        super().__init__(goal.name, path, report)
        self.goal = goal

    def run(self) -> None:
        """Run all checks of the goal."""
        self._check_segment(self.goal.segment, "segment")
        self._check_place()
        settings = self.goal.format
        given = {key: None for key in type(settings).model_fields if (key, settings.date) != ("date", EPOCH_MS)}
        self._check_dialect(settings, ("format",), given)
        if len(settings.separator.encode()) > MOST_SEPARATOR_BYTES:
            message = f"the separator of an exported file has at most {MOST_SEPARATOR_BYTES} bytes in UTF-8"
            self._add("error", "separator_too_long", message, "format", "separator")
        if _is_ambiguous(settings.multi_value):
            message = (
                "multi_value cannot hold a backslash, which stands before it inside a value, nor begin as it ends, "
                "since what it joins could not be told apart again"
            )
            self._add("error", "ambiguous_separator", message, "format", "multi_value")
        for index, column in enumerate(self.goal.columns):
            self._check_column(column, ("columns", index))
        self._check_headers()
        if not any(column.property in self.tenant.properties for column in self.goal.columns):
            message = (
                "no column holds a property of the tenant model, and only profiles with a value for one of them are "
                "exported, so the file would always be empty. Add one, as in `{property: email}`"
            )
            self._add("error", "no_property_column", message, "columns")
        self._check_events()

    def _check_segment(self, name: str, *path: str | int) -> None:
        known = self.tenant.segment_names
        if name not in known:
            hint = self.report.nearest(name, known)
            message = f"there is no segment `{display(name)}`{hint}; there are {', '.join(known)}"
            self._add("error", "unknown_segment", message, *path)
        elif name != ALL_PROFILES:
            for place, problem in problems_behind(name, self.tenant):
                message = f"segment {place[1]} cannot be used: {problem.message}"
                self._add("error", problem.code, message, *path)

    def _check_place(self) -> None:
        problem = path_problem(f"{self.goal.directory.rstrip('/')}/", None)
        if problem:
            self._add("error", "invalid_path", problem, "directory")
        custom = self.goal.file_name.custom
        if custom is None:
            return
        problem = _name_problem(custom)
        if problem:
            self._add("error", "invalid_file_name", f"`{display(custom)}` {problem}", "file_name", "custom")
        if self.goal.incremental:
            message = (
                "a custom file is replaced on every run, so an incremental export would leave only the last changes in "
                "it. Use `file_name: {segment_and_timestamp: true}`, or leave `incremental` out"
            )
            self._add("error", "incremental_custom_name", message, "incremental")

    def _check_column(self, column: Column, where: Place) -> None:
        if column.property is not None:
            self._check_property(column.property, *where, "property")
        if column.group_property is not None:
            self._check_group_property(column, where)
        if isinstance(column.segments, list):
            for index, name in enumerate(column.segments):
                self._check_segment(name, *where, "segments", index)
        elif column.segments == "all":
            for name in self.tenant.segments:
                self._check_segment(name, *where, "segments")
        if column.interactions is not None and f"interactions_{column.interactions}" not in self.tenant.properties:
            name = f"interactions_{column.interactions}"
            message = (
                f"the tenant model has no property `{name}`, which holds them, so the column stays empty. To add it, "
                f"write below `properties:` in properties.yaml:\n  {name}: {{type: text}}"
            )
            self._add("warning", "no_interactions", message, *where, "interactions")

    def _check_property(self, name: str, *path: str | int) -> None:
        if name == "profile_id":
            self._add("error", "unknown_property", "the profile's own id is written by `{profile_id: true}`", *path)
        elif self.tenant.definition(name) is None:
            hint = self.report.nearest(name, self.tenant.properties)
            message = f"the tenant model has no property `{display(name)}`{hint}, so no profile has a value for it"
            self._add("error", "unknown_property", message, *path)

    def _check_group_property(self, column: Column, where: Place) -> None:
        wanted = column.group_property
        if wanted is None or not self._check_group_type(wanted.group_type, *where, "group_property", "group_type"):
            return
        known = self.tenant.group_types[wanted.group_type].properties
        if wanted.property not in known:
            hint = self.report.nearest(wanted.property, known)
            message = f"group type {wanted.group_type} has no property `{display(wanted.property)}`{hint}; it has "
            self._add("error", "unknown_property", message + ", ".join(known), *where, "group_property", "property")
        if not any(declared.group_type == wanted.group_type for declared in self.tenant.properties.values()):
            message = (
                f"no property has `group_type: {wanted.group_type}`, so no profile is in such a group and the column "
                "stays empty"
            )
            self._add("warning", "group_type_not_linked", message, *where, "group_property", "group_type")

    def _check_headers(self) -> None:
        seen: set[str] = set()
        for index, column in enumerate(self.goal.columns):
            if column.header in seen:
                message = f"two columns are called `{display(column.header)}`; give one of them another name with `as`"
                self._add("error", "duplicate_header", message, "columns", index)
            seen.add(column.header)

    def _check_events(self) -> None:
        types = self.goal.events.types if self.goal.events else "all"
        for index, name in enumerate(types if isinstance(types, list) else []):
            self._check_event_type(name, "events", "types", index)
        names = file_names(self.goal, self.tenant, "<timestamp>")
        for name in sorted({name for name in names if names.count(name) > 1}):
            message = f"two files of this goal would be called {display(name)}; use another file_name, or fewer types"
            self._add("error", "duplicate_output", message, "file_name")


def _name_problem(name: str) -> str:
    """What is wrong with a custom file name; empty when nothing is."""
    if "/" in name or "\\" in name:
        return "holds a folder; that belongs into `directory`."
    if name.startswith(".") or not name.isprintable() or name != name.strip():
        return "is no plain file name; begin it with a letter or digit."
    if name.lower().endswith(_HANDLED):
        return "ends in .part or .done, which mark files under way and handled ones."
    return ""


def _is_ambiguous(separator: str) -> bool:
    """Whether values that are joined by a separator could split elsewhere: ``a|`` and ``b`` by ``||`` could."""
    borders = (separator[:size] == separator[-size:] for size in range(1, len(separator)))
    return "\\" in separator or any(borders)


def outputs(goal: ExportProfiles, report: Report) -> set[str]:
    """Where a goal's files will lie, with ``<timestamp>`` for what differs from run to run."""
    folder = goal.directory.rstrip("/")
    return {f"{folder}/{name}" for name in file_names(goal, report.tenant, "<timestamp>")}
