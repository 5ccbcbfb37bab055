"""Checks of an import goal that need more than one key at a time, or the tenant model."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from crosswalk.config.formats import Format
from crosswalk.config.goal_checks import GoalCheck, Place, effective_strategy
from crosswalk.config.goals import FieldMapping, ImportGoal, SourceFile, Strategy
from crosswalk.config.links import links_of, nested_files
from crosswalk.config.patterns import date_problem, path_problem, regex_problem
from crosswalk.config.report import Report
from crosswalk.config.schedule import zone_problem
from crosswalk.config.tenant import NUMERIC_TYPES, PROPERTY_ID, READ_ONLY_PROPERTIES, Definition
from crosswalk.core.names import display


class ImportCheck(GoalCheck):
    """The checks that all import goals share.

    Args:
        goal: the goal.
        path: where it stands in the file, for line numbers.
        report: takes the findings.
        processors: names of the known processors; None: not known here, so any name passes.
    """

    recognised: ClassVar[str] = "profile"

    def __init__(
        self, goal: ImportGoal, path: Place, report: Report, processors: Collection[str] | None = None
    ) -> None:
        super().__init__(goal.name, path, report)
        self.goal = goal
        self.processors = processors
        self.files = {file.name: file for file in goal.files}
        self.nested = nested_files(goal)

    def run(self) -> None:
        """Run all checks of the goal."""
        self._check_files()
        self._check_links()
        self._check_format(self.goal.format, ())
        self._check_processors()
        self._check_row_key()
        self._check_identifiers()
        for index, mapping in enumerate(self.goal.mappings.fields):
            self._check_mapping(index, mapping)
        self._check_strategies_per_property()

    def _knows_properties(self) -> bool:
        """Whether it can be told which properties there are."""
        return True

    def _lines_to_add(self, name: str, suggestion: str) -> tuple[str, str]:
        """Who lacks a property, and the lines that would add it."""
        return "the tenant model", f"write below `properties:` in properties.yaml:\n  {name}: {{{suggestion}}}"

    # files and formats

    def _check_files(self) -> None:
        seen: dict[str, int] = {}
        for index, file in enumerate(self.goal.files):
            where = ("files", index)
            if file.name.casefold() in seen:
                self._add("error", "duplicate_file", f"two files are called `{file.name}`", *where, "name")
            seen[file.name.casefold()] = index
            problem = path_problem(file.path, file.regex)
            if problem:
                self._add("error", "invalid_path", f"file {file.name}: {problem}", *where, "path")
            problem = regex_problem(file.regex) if file.regex is not None else ""
            if problem:
                self._add("error", "invalid_regex", f"file {file.name}: {problem}", *where, "regex")
            if index == 0 and file.nested:
                message = f"file {file.name} is the primary file and cannot be nested"
                self._add("error", "nested_primary", message, *where, "nested")
            if file.format is not None:
                self._check_own_format(file, where)

    def _check_own_format(self, file: SourceFile, where: Place) -> None:
        self._check_format(self.goal.file_format(file.name), where, only=file.format)

    def _check_format(self, settings: Format, where: Place, only: Mapping[str, Any] | None = None) -> None:
        self._check_dialect(settings, (*where, "format"), only)
        if settings.decimal == settings.separator and (only is None or "separator" in only):
            message = "separator and decimal mark are the same, so decimals are read right only inside quotes"
            self._add("warning", "decimal_is_separator", message, *where, "format", "decimal")

    def _check_links(self) -> None:
        for index in range(len(self.goal.files)):
            for column, state in links_of(self.goal, index, {}):
                if state.status == "clear":
                    continue
                where = ("files", index, "link") if column is not None else ("files", index)
                code = "file_not_linked" if column is None else "incorrect_link"
                text = f"file {state.file}: {state.reason}"
                self._add("error", code, text, *where, *([column] if column is not None else []))

    # fields

    def _check_field(self, field: str, what: str, *path: str | int) -> bool:
        """Whether a field names a file of this goal, or may be one that a processor makes."""
        name, dot, column = field.partition(".")
        if not dot:
            if self.goal.processors:
                return True
            message = f"{what}: `{display(field)}` names no file; write it as file.column, as in {self._example(field)}"
            self._add("error", "unknown_field", message, *path)
            return False
        if name not in self.files:
            hint = self.report.nearest(name, self.files)
            known = ", ".join(self.files)
            message = f"{what}: there is no file `{display(name)}`{hint}; files are {known}"
            self._add("error", "unknown_file", message, *path)
            return False
        if not column:
            self._add("error", "unknown_field", f"{what}: the column is missing in `{display(field)}`", *path)
        return bool(column)

    def _example(self, field: str) -> str:
        return f"{self.goal.files[0].name}.{display(field)}"

    def _refuse_nested(self, field: str, what: str, *path: str | int) -> None:
        name = field.partition(".")[0]
        if name in self.nested and "." in field:
            message = f"{what}: file {name} can have many rows per primary row, so its fields cannot serve here"
            self._add("error", "nested_field", message, *path)

    def _check_row_key(self) -> None:
        for index, field in enumerate(self.goal.row_key):
            if self._check_field(field, "row_key", "row_key", index):
                self._refuse_nested(field, "row_key", "row_key", index)

    def _check_processors(self) -> None:
        for index, step in enumerate(self.goal.processors):
            where = ("processors", index)
            if len(step) != 1:
                message = "each item under processors is one name with its settings, as in `- trim: {field: a.b}`"
                self._add("error", "invalid_processor", message, *where)
                continue
            ((name, options),) = step.items()
            if self.processors is not None and name not in self.processors:
                hint = self.report.nearest(name, self.processors)
                known = ", ".join(sorted(self.processors))
                message = f"there is no processor `{display(name)}`{hint}; known are {known}"
                self._add("error", "unknown_processor", message, *where, name)
            field = options.get("field") if isinstance(options, dict) else None
            if isinstance(field, str) and "." in field:
                self._check_field(field, f"processor {display(name)}", *where, name, "field")

    # identifiers and consent

    def _check_identifiers(self) -> None:
        for index, link in enumerate(self.goal.identifiers):
            where = ("identifiers", index)
            if self._check_field(link.field, "identifiers", *where, "field"):
                self._refuse_nested(link.field, "identifiers", *where, "field")
            declared = self._property(link.property, "type: text, identifier: unique", *where, "property")
            if declared is not None and declared.identifier != "unique":
                kind = "a shared identifier" if declared.identifier else "no identifier"
                message = (
                    f"`{link.property}` is {kind}; only properties with `identifier: unique` in the tenant model "
                    f"can recognise a {self.recognised}"
                )
                self._add("error", "identifier_not_unique", message, *where, "property")

    def _property(self, name: str, suggestion: str, *path: str | int) -> Definition | None:
        """The declared property; a finding when there is none or nobody may write it."""
        if name in READ_ONLY_PROPERTIES:
            self._add("error", "read_only_property", f"`{name}` is kept by the system and cannot be imported", *path)
            return None
        known = self.goal.definitions(self.tenant)
        declared = known.get(name)
        if declared is None and not re.match(PROPERTY_ID, name):
            message = f"`{display(name)}` is no property id: at most 100 letters, digits, _ and -"
            self._add("error", "unknown_property", message, *path)
        elif declared is None and self._knows_properties():
            owner, lines = self._lines_to_add(display(name), suggestion)
            hint = self.report.nearest(name, known)
            message = f"{owner} has no property `{display(name)}`{hint}. To add it, {lines}"
            self._add("error", "unknown_property", message, *path)
        return declared

    # mappings

    def _check_mapping(self, index: int, mapping: FieldMapping) -> None:
        where = ("mappings", "fields", index)
        field_is_known = self._check_field(mapping.field, "mappings", *where, "field")
        target = self.goal.target(mapping)
        declared = self._property(target, self._suggest(mapping), *where, "property")
        strategy = effective_strategy(self.goal, mapping, declared)
        if field_is_known and mapping.field.partition(".")[0] in self.nested and strategy not in ("add", "sum"):
            message = (
                f"`{display(mapping.field)}` is of a file with many rows per primary row, so its mapping to `{target}` "
                "needs `strategy: add` or `strategy: sum`"
            )
            self._add("error", "nested_strategy", message, *where, "strategy")
        if strategy == "sum":
            self._check_sum(target, declared, where)
        if strategy == "set_or_clear" and target in {link.property for link in self.goal.identifiers}:
            message = (
                f"`{target}` recognises {self.recognised}s here, so `set_or_clear` must not clear it; use set or add"
            )
            self._add("error", "clears_identifier", message, *where, "strategy")
        self._check_mapping_format(mapping, declared, where)

    def _suggest(self, mapping: FieldMapping) -> str:
        if mapping.strategy == "sum":
            return "type: decimal, merge: sum"
        return "type: datetime" if mapping.date is not None else "type: text"

    def _check_sum(self, target: str, declared: Definition | None, where: Place) -> None:
        if declared is not None and declared.type not in NUMERIC_TYPES:
            message = f"`sum` needs a number, decimal or currency, and `{target}` is of type {declared.type}"
            self._add("error", "sum_not_numeric", message, *where, "strategy")
        if not self.goal.row_key:
            message = (
                f"`sum` into `{target}` without `row_key`: a row that changes in the file is added a second time. "
                "Name the columns that identify a row, as in `row_key: [orders.order_id]`"
            )
            self._add("warning", "counter_without_row_key", message, *where, "strategy")

    def _check_mapping_format(self, mapping: FieldMapping, declared: Definition | None, where: Place) -> None:
        problem = date_problem(mapping.date) if mapping.date is not None else ""
        if problem:
            self._add("error", "invalid_date_pattern", problem, *where, "date")
        problem = zone_problem(mapping.timezone) if mapping.timezone is not None else ""
        if problem:
            self._add("error", "unknown_timezone", problem, *where, "timezone")
        if declared is None:
            return
        if declared.type != "datetime" and (mapping.date is not None or mapping.timezone is not None):
            message = f"`date` and `timezone` have no effect: the property is of type {declared.type}, not datetime"
            self._add("warning", "no_effect", message, *where, "date" if mapping.date is not None else "timezone")
        if declared.type not in NUMERIC_TYPES and mapping.decimal is not None:
            message = f"`decimal` has no effect: the property is of type {declared.type}"
            self._add("warning", "no_effect", message, *where, "decimal")

    def _check_strategies_per_property(self) -> None:
        first: dict[str, Strategy] = {}
        known = self.goal.definitions(self.tenant)
        for index, mapping in enumerate(self.goal.mappings.fields):
            target = self.goal.target(mapping)
            strategy = effective_strategy(self.goal, mapping, known.get(target))
            earlier = first.setdefault(target, strategy)
            if earlier != strategy:
                message = f"`{target}` is written with {earlier} and with {strategy}; use one strategy per property"
                self._add("error", "two_strategies", message, "mappings", "fields", index)
