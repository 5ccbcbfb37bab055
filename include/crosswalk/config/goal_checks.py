"""Checks of one import goal that need more than one key at a time, or the tenant model."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crosswalk.config.connection import FieldMapping, Format, ImportProfiles, SourceFile, Strategy
from crosswalk.config.patterns import date_problem, encoding_problem, path_problem, regex_problem
from crosswalk.config.schedule import zone_problem
from crosswalk.config.tenant import NUMERIC_TYPES, PROPERTY_ID, READ_ONLY_PROPERTIES, Property, Tenant
from crosswalk.core.names import display

if TYPE_CHECKING:
    from crosswalk.config.checks import Report


@dataclass(frozen=True)
class LinkState:
    """One link between two files of a goal.

    Attributes:
        goal: the goal's name.
        file: the file that hangs on another one.
        column: its column; None when the file has no link.
        target: ``file.column`` of the other file; None when the file has no link.
        status: ``clear`` when it is complete and valid, else ``red``; a red link stops the run.
        reason: why it is red.
    """

    goal: str
    file: str
    column: str | None
    target: str | None
    status: Literal["clear", "red"]
    reason: str = ""


def link_states(goal: ImportProfiles, headers: Mapping[str, Collection[str]] | None = None) -> list[LinkState]:
    """The state of every link of a goal (row S-22).

    Args:
        goal: the goal.
        headers: columns of the files whose header is known, by the file's name; those are checked too.
    """
    return [state for index in range(len(goal.files)) for _, state in _links_of(goal, index, headers or {})]


def _links_of(
    goal: ImportProfiles, index: int, headers: Mapping[str, Collection[str]]
) -> Iterator[tuple[str | None, LinkState]]:
    """Each link of one file block, with the YAML key it stands under."""
    file = goal.files[index]
    if index == 0:
        reason = "the first file is the primary file and hangs on no other"
        for column, target in file.link.items():
            yield column, LinkState(goal.name, file.name, column, target, "red", reason)
        return
    if not file.link:
        reason = "not linked: add link: {column: file.column} to a column of an earlier file"
        yield None, LinkState(goal.name, file.name, None, None, "red", reason)
    for column, target in file.link.items():
        reason = _link_problem(goal, index, column, target, headers)
        yield column, LinkState(goal.name, file.name, column, target, "red" if reason else "clear", reason)


def _link_problem(
    goal: ImportProfiles, index: int, column: str, target: str, headers: Mapping[str, Collection[str]]
) -> str:
    earlier = [file.name for file in goal.files[:index]]
    name, _, other = target.partition(".")
    if not column or not name or not other:
        return "incomplete: both sides are needed, as in column: file.column"
    if name == goal.files[index].name:
        return "a file cannot be linked to itself"
    if name not in earlier:
        if name in {file.name for file in goal.files}:
            return f"`{display(name)}` comes later; link to an earlier file, or change the order"
        return f"there is no earlier file `{display(name)}`; there are {', '.join(earlier)}"
    for file, wanted in ((goal.files[index].name, column), (name, other)):
        if file in headers and wanted not in headers[file]:
            return f"file {file} has no column `{display(wanted)}`"
    return ""


def nested_files(goal: ImportProfiles) -> set[str]:
    """Names of the files with possibly many rows per primary row: nested ones and what hangs on those."""
    nested: set[str] = set()
    for file in goal.files[1:]:
        parents = {target.partition(".")[0] for target in file.link.values()}
        if file.nested or parents & nested:
            nested.add(file.name)
    return nested


def effective_strategy(goal: ImportProfiles, mapping: FieldMapping, declared: Property | None) -> Strategy:
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
    """All checks of one goal; findings go to the report.

    Args:
        goal: the goal.
        path: where it stands in the file, for line numbers.
        tenant: the tenant model.
        report: takes the findings.
        processors: names of the known processors; None: not known here, so any name passes.
    """

    def __init__(
        self,
        goal: ImportProfiles,
        path: tuple[str | int, ...],
        tenant: Tenant,
        report: Report,
        processors: Collection[str] | None = None,
    ) -> None:
        self.goal, self.path, self.tenant, self.report = goal, path, tenant, report
        self.processors = processors
        self.files = {file.name: file for file in goal.files}
        self.nested = nested_files(goal)

    def run(self) -> None:
        """Run all checks of the goal."""
        self._check_files()
        self._check_links()
        self._check_format(self.goal.format, (), "format")
        self._check_processors()
        self._check_row_key()
        self._check_identifiers()
        self._check_consent()
        for index, mapping in enumerate(self.goal.mappings.fields):
            self._check_mapping(index, mapping)
        self._check_strategies_per_property()
        if not self.goal.enabled:
            self._add("info", "goal_disabled", "is switched off and takes no part in runs", "enabled")

    def _add(self, severity: str, code: str, message: str, *path: str | int) -> None:
        end = "" if "\n" in message or message.endswith(".") else "."  # lines to copy end without a full stop
        self.report.add(severity, code, f"Goal {self.goal.name}: {message}{end}", *self.path, *path)

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

    def _check_own_format(self, file: SourceFile, where: tuple[str | int, ...]) -> None:
        own = self.goal.file_format(file.name)
        self._check_format(own, where, "format", only=file.format)

    def _check_format(
        self, settings: Format, where: tuple[str | int, ...], key: str, only: Mapping[str, Any] | None = None
    ) -> None:
        def wanted(name: str) -> bool:
            return only is None or name in only

        checks = (
            ("date", "invalid_date_pattern", date_problem(settings.date) if settings.date is not None else ""),
            ("timezone", "unknown_timezone", zone_problem(settings.timezone) if settings.timezone is not None else ""),
            ("encoding", "unknown_encoding", encoding_problem(settings.encoding)),
        )
        for name, code, problem in checks:
            if problem and wanted(name):
                self._add("error", code, problem, *where, key, name)
        clash = settings.multi_value == settings.separator
        if clash and (wanted("multi_value") or wanted("separator")):
            self._add("error", "same_separators", "separator and multi_value must differ", *where, key, "multi_value")
        if settings.decimal == settings.separator and wanted("separator"):
            message = "separator and decimal mark are the same, so decimals are read right only inside quotes"
            self._add("warning", "decimal_is_separator", message, *where, key, "decimal")

    def _check_links(self) -> None:
        for index in range(len(self.goal.files)):
            for column, state in _links_of(self.goal, index, {}):
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
                    "can recognise a profile"
                )
                self._add("error", "identifier_not_unique", message, *where, "property")

    def _property(self, name: str, suggestion: str, *path: str | int) -> Property | None:
        """The declared property; a finding when there is none or nobody may write it."""
        if name in READ_ONLY_PROPERTIES:
            self._add("error", "read_only_property", f"`{name}` is kept by the system and cannot be imported", *path)
            return None
        declared = self.tenant.properties.get(name)
        if declared is None and not re.match(PROPERTY_ID, name):
            message = f"`{display(name)}` is no property id: at most 100 letters, digits, _ and -"
            self._add("error", "unknown_property", message, *path)
        elif declared is None:
            hint = self.report.nearest(name, self.tenant.properties)
            message = (
                f"the tenant model has no property `{display(name)}`{hint}. To add it, write below `properties:` in "
                f"properties.yaml:\n  {display(name)}: {{{suggestion}}}"
            )
            self._add("error", "unknown_property", message, *path)
        return declared

    def _check_consent(self) -> None:
        for index, column in enumerate(self.goal.consent):
            where = ("consent", index)
            if self._check_field(column.field, "consent", *where, "field"):
                self._refuse_nested(column.field, "consent", *where, "field")
            self.report.check_objective(column.objective, *self.path, *where, "objective")
            if not column.granted and not column.refused:
                message = "consent needs the texts that mean yes (`granted`), no (`refused`) or both"
                self._add("error", "empty_consent", message, *where)
            both = {text.strip().casefold() for text in column.granted} & {
                text.strip().casefold() for text in column.refused
            }
            if both:
                self._add("error", "contrary_consent", "the same text means granted and refused", *where, "refused")

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
            message = f"`{target}` recognises profiles here, so `set_or_clear` must not clear it; use set or add"
            self._add("error", "clears_identifier", message, *where, "strategy")
        self._check_mapping_format(mapping, declared, where)

    def _suggest(self, mapping: FieldMapping) -> str:
        if mapping.strategy == "sum":
            return "type: decimal, merge: sum"
        return "type: datetime" if mapping.date is not None else "type: text"

    def _check_sum(self, target: str, declared: Property | None, where: tuple[str | int, ...]) -> None:
        if declared is not None and declared.type not in NUMERIC_TYPES:
            message = f"`sum` needs a number, decimal or currency, and `{target}` is of type {declared.type}"
            self._add("error", "sum_not_numeric", message, *where, "strategy")
        if not self.goal.row_key:
            message = (
                f"`sum` into `{target}` without `row_key`: a row that changes in the file is added a second time. "
                "Name the columns that identify a row, as in `row_key: [orders.order_id]`"
            )
            self._add("warning", "counter_without_row_key", message, *where, "strategy")

    def _check_mapping_format(
        self, mapping: FieldMapping, declared: Property | None, where: tuple[str | int, ...]
    ) -> None:
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
        for index, mapping in enumerate(self.goal.mappings.fields):
            target = self.goal.target(mapping)
            strategy = effective_strategy(self.goal, mapping, self.tenant.properties.get(target))
            known = first.setdefault(target, strategy)
            if known != strategy:
                message = f"`{target}` is written with {known} and with {strategy}; use one strategy per property"
                self._add("error", "two_strategies", message, "mappings", "fields", index)
