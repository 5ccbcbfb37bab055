"""What a processor is: settings, the fields it reads and makes, and one method that says what it does.

A processor written in SQL gives expressions; it never sees a value. One written in Python gets values
(``TextProcessor``, each distinct text once) or frames (``FrameProcessor``, for people). Absent (NULL) stays absent; an
empty cell is ''.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from sqlglot import exp

from crosswalk.engine.frame_chunks import FrameStep
from crosswalk.engine.processing import KEYS, Rows
from crosswalk.engine.queries import each, parquet_columns
from crosswalk.engine.template import Node, name, named

MADE_FIELD = re.compile(r"^[A-Za-z_][A-Za-z0-9_-]{0,99}$")


def as_list(value: Any) -> Any:
    """One text where a list is expected counts as a list of one."""
    return value if isinstance(value, list) else [value]


def check_made_field(field: str) -> str:
    """The name of a new field: no dot, so that it cannot be mistaken for a file's column."""
    if not MADE_FIELD.match(field) or field in KEYS:
        raise ValueError(
            f"a new field is called with letters, digits, _ and -, without a dot, and not {', '.join(KEYS)}"
        )
    return field


Texts = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]


class ProcessorOptions(BaseModel):
    """Settings of a processor: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class FieldOptions(ProcessorOptions):
    """Settings of a processor that changes fields one by one.

    Attributes:
        field: one field or a list of fields.
        to: the new field that takes the result; unset: the field itself. For one field only.
    """

    field: Texts
    to: str | None = None

    @field_validator("to")
    @classmethod
    def _check_to(cls, value: str | None) -> str | None:
        return value if value is None else check_made_field(value)

    @model_validator(mode="after")
    def _check_one_to(self) -> FieldOptions:
        if self.to is not None and len(self.field) > 1:
            raise ValueError("`to` takes the result of one field; write one step per field")
        return self


class Processor:
    """One step on the rows of an import goal.

    Attributes:
        name: as connections write it.
        options: its settings.
        filters: whether rows may go missing.
    """

    Options: ClassVar[type[ProcessorOptions]] = ProcessorOptions
    filters: ClassVar[bool] = False

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options = options

    @property
    def inputs(self) -> list[str]:
        """Fields that are read."""
        return list(getattr(self.options, "field", []))

    @property
    def outputs(self) -> list[str]:
        """Fields that are written."""
        to = getattr(self.options, "to", None)
        return [to] if to else self.inputs

    def problems(self, lists: set[str]) -> list[str]:
        """What does not fit, given which of the inputs hold lists (fields of nested files)."""
        return []

    def _refuse_lists(self, lists: set[str]) -> list[str]:
        why = "comes from a nested file and holds a list per row, which this processor cannot take"
        return [f'field "{field}" {why}' for field in self.inputs if field in lists]


class ValueProcessor(Processor):
    """Changes values by an SQL expression; lists element by element."""

    Options = FieldOptions

    @abstractmethod
    def change(self, value: Node) -> Node:
        """The new value, for a value that is not absent."""

    def apply(self, rows: Rows) -> exp.Query:
        """The rows with changed values."""
        changed = {
            output: each(rows.value(field), self.change, is_list=rows.is_list(field))
            for field, output in zip(self.inputs, self.outputs, strict=True)
        }
        return rows.with_values(changed)


class TextProcessor(Processor):
    """Changes values by a Python function, which is called once per distinct value."""

    Options = FieldOptions

    @abstractmethod
    def change_text(self, value: str) -> str:
        """The new text."""

    def _change_any(self, value: Any) -> Any:
        if isinstance(value, list):
            return [None if item is None else self.change_text(item) for item in value]
        return self.change_text(value)

    def apply(self, rows: Rows) -> exp.Query:
        """The rows with changed values, looked up by the value before."""
        changed: dict[str, Node] = {}
        joins = []
        for number, (field, output) in enumerate(zip(self.inputs, self.outputs, strict=True)):
            path = rows.translated(field, self._change_any)
            table = parquet_columns([str(path)], f"m{number}", ["before", "after"])
            joins.append((table, exp.column("before", table=f"m{number}").eq(rows.value(field))))
            changed[output] = exp.column("after", table=f"m{number}")
        query = rows.with_values(changed)
        for table, condition in joins:
            query = query.join(table, on=condition, join_type="left", copy=False)
        return query


class RowFilter(Processor):
    """Keeps the rows for which a condition is true."""

    filters = True

    @property
    def outputs(self) -> list[str]:
        """None: a filter makes nothing."""
        return []

    def problems(self, lists: set[str]) -> list[str]:
        """A condition is about one value per row."""
        return self._refuse_lists(lists)

    @abstractmethod
    def keeps(self, rows: Rows) -> Node:
        """The condition."""

    def apply(self, rows: Rows) -> exp.Query:
        """The rows that are kept."""
        return rows.where(self.keeps(rows))


class FieldMaker(Processor):
    """Makes one or several fields out of others; single values only."""

    def problems(self, lists: set[str]) -> list[str]:
        """Values of several fields are put together row by row."""
        return self._refuse_lists(lists)

    @abstractmethod
    def make(self, rows: Rows) -> dict[str, Node]:
        """The new values by field."""

    def apply(self, rows: Rows) -> exp.Query:
        """The rows with the new fields."""
        return rows.with_values(self.make(rows))


class FrameProcessor(Processor, FrameStep):
    """A processor of your own: a Python class that gets a pandas frame and returns one.

    The frame has the row id as index and the fields of ``inputs`` as columns of text (``pd.NA``: absent, '': empty
    cell). Return it with the fields of ``outputs``; leave rows out to filter them. It sees chunks of at most 100,000
    rows in no fixed order and may be called again for a part of a chunk, so a row's result must depend on that row
    alone.

    Example:
        >>> class Shout(FrameProcessor):
        ...     def process(self, frame):
        ...         for field in self.inputs:
        ...             frame[field] = frame[field].str.upper()
        ...         return frame
    """

    Options = FieldOptions
    filters = True


def first_filled(nodes: list[Node]) -> Node:
    """The first of these that is not absent."""
    return exp.Coalesce(this=nodes[0].copy(), expressions=[node.copy() for node in nodes[1:]])


__all__ = [
    "FieldMaker",
    "FieldOptions",
    "FrameProcessor",
    "Node",
    "Processor",
    "ProcessorOptions",
    "RowFilter",
    "Rows",
    "TextProcessor",
    "Texts",
    "ValueProcessor",
    "check_made_field",
    "name",
    "named",
]
