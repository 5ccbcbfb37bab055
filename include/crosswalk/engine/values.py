"""How the cells of one field become values of one property.

Format, type, several values, and what a refusal is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from crosswalk.config.connection import FieldMapping, Format, ImportGoal
from crosswalk.config.tenant import NUMERIC_TYPES, Definition
from crosswalk.engine import functions
from crosswalk.engine.multi_value import split_values
from crosswalk.engine.template import Node, name, sql, text

Column = Callable[[str], Node]


@dataclass(frozen=True)
class ValueReader:
    """Reads clean cells (see ``functions.clean``) as values of one type.

    A query has three levels: clean cells; the *inner* columns of each reader, computed once per cell; and expressions
    over those. The engine does not share parts of CASE expressions, so what is used twice must be a column.

    Attributes:
        kind: the property's type.
        marks: the marks of numbers.
        decimals: how many decimals are kept.
        pattern: of dates; None: ISO 8601 or epoch.
        zone: of times without offset.
        separator: splits a cell into several values.
        nested: the cell is a list already, one element per nested row.
        longest: characters of a text or an address.
    """

    kind: str = "text"
    marks: functions.Marks = field(default_factory=functions.Marks)
    decimals: int = 4
    pattern: str | None = None
    zone: str = "UTC"
    separator: str | None = None
    nested: bool = False
    longest: int = functions.MAX_TEXT

    @classmethod
    def of_property(cls, declared: Definition) -> ValueReader:
        """For values that people type: the plain format."""
        return cls(kind=declared.type, decimals=declared.stored_decimals, longest=_longest(declared))

    @classmethod
    def of_field(
        cls,
        goal: ImportGoal,
        field: str,
        declared: Definition,
        *,
        zone: str,
        nested: bool = False,
        mapping: FieldMapping | None = None,
    ) -> ValueReader:
        """For a field of a goal: the file's format, with what the mapping says instead."""
        settings = format_of(goal, field)
        own = (
            mapping.model_dump(include={"date", "timezone", "decimal", "multi_value"}, exclude_none=True)
            if mapping
            else {}
        )
        separator = own.get("multi_value", settings.multi_value) or None
        reader = cls(kind=declared.type, separator=separator, nested=nested, longest=_longest(declared))
        if reader.is_numeric:
            decimal = own.get("decimal", settings.decimal)
            marks = functions.Marks(decimal, settings.thousands if settings.thousands != decimal else None)
            return replace(reader, marks=marks, decimals=declared.stored_decimals)
        if reader.kind == "datetime":
            pattern = own.get("date", settings.date)
            return replace(reader, pattern=pattern, zone=own.get("timezone", settings.timezone) or zone)
        return reader

    @property
    def many(self) -> bool:
        """Whether one cell can hold several values."""
        return self.nested or self.separator is not None

    @property
    def is_numeric(self) -> bool:
        """Whether values can be added up."""
        return self.kind in NUMERIC_TYPES

    # -- one clean text -> one value, in one expression -------------------------------------------------------------

    def text_of(self, cell: Node) -> Node:
        """Canonical text, or NULL when the cell is empty or does not fit."""
        if self.kind == "text":
            return functions.parse_text(cell, self.longest)
        if self.kind == "email":
            return functions.parse_email(cell, self.longest)
        if self.kind == "datetime":
            return functions.datetime_text(cell, self.pattern, self.zone)
        return self.number_text(self.number_of(cell))

    def number_of(self, cell: Node) -> Node:
        """A BIGINT (number) or DECIMAL, or NULL."""
        if self.kind == "number":
            return functions.parse_number(cell, self.marks)
        return functions.parse_decimal(cell, self.marks, self.decimals)

    def number_text(self, value: Node, *, precision: int = 18) -> Node:
        """Canonical text of a number of this property."""
        if self.kind == "number":
            return sql("$value::BIGINT::VARCHAR", value=value)
        return functions.number_text(value, self.decimals, fixed=self.kind == "currency", precision=precision)

    def problem_of(self, cell: Node) -> Node:
        """Why a clean cell that is not empty gave no value."""
        if self.is_numeric:
            return functions.number_problem(cell, self.marks, self.kind)
        if self.kind == "datetime":
            return text("invalid_datetime")
        return functions.text_problem(cell, self.longest, self.kind)

    # -- cells with one value ---------------------------------------------------------------------------------------

    def inner(self, cell: Node) -> dict[str, Node]:
        """Columns to compute once per clean cell."""
        if self.many:
            parts = self.parts(cell)
            each = self.number_of(sql("part")) if self.is_numeric else self.text_of(sql("part"))
            return {"values": sql("list_transform($parts, LAMBDA part : $each)", parts=parts, each=each)}
        if self.kind == "datetime":
            found = {
                "local": functions.local_microseconds(cell, self.pattern),
                "instant": functions.instant_microseconds(cell, self.pattern),
            }
            return {key: part for key, part in found.items() if part is not None}
        if self.kind in ("decimal", "currency"):
            return {"plain": functions.is_plain(cell, self.marks, self.decimals)}
        return {"value": self.number_of(cell) if self.is_numeric else self.text_of(cell)}

    def parts(self, cell: Node) -> Node:
        """The texts of a cell with several values; NULL when it is absent."""
        if not self.nested:
            return split_values(cell, self.separator or "")
        cleaned = sql("list_transform($cell, LAMBDA part : $clean)", cell=cell, clean=functions.clean(sql("part")))
        if self.separator is not None:
            split = split_values(sql("part"), self.separator)
            cleaned = sql("flatten(list_transform($cell, LAMBDA part : $split))", cell=cell, split=split)
        return sql("list_filter($cleaned, LAMBDA part : part <> '')", cleaned=cleaned)

    def outer(self, cell: Node, column: Column, *, moments: bool = True) -> dict[str, Node]:
        """Columns to compute once per cell over the inner ones.

        Args:
            cell: the clean cell.
            column: gives the inner columns.
            moments: dates too; whether a date is valid needs no more than its inner columns.
        """
        if self.many:
            return {}
        if self.kind == "datetime" and moments:
            local, instant = self._moments(column)
            return {"value": functions.utc_microseconds(local, instant, self.zone)}
        if self.kind in ("decimal", "currency"):
            return {"value": functions.parse_decimal(cell, self.marks, self.decimals, plain=column("plain"))}
        return {}

    def _moments(self, column: Column) -> tuple[Node | None, Node | None]:
        inner = self.inner(name("cell"))
        return column("local") if "local" in inner else None, column("instant") if "instant" in inner else None

    def at_once(self, cell: Node) -> Column:
        """The inner and outer columns as expressions, for queries over few cells."""
        inner = self.inner(cell)
        outer = self.outer(cell, lambda key: inner[key])
        return lambda key: {**inner, **outer}[key]

    def text(self, cell: Node, column: Column) -> Node:
        """Canonical text of a cell, or NULL; a list for cells with several values, NULL when none is valid."""
        if self.many:
            return _valid_list(self._texts(column))
        value = column("value")
        if self.kind == "datetime":
            return functions.milliseconds_text(value)
        return self.number_text(value) if self.is_numeric else value

    def _texts(self, column: Column) -> Node:
        if not self.is_numeric:
            return column("values")
        return sql(
            "list_transform($values, LAMBDA item : $text)", values=column("values"), text=self.number_text(name("item"))
        )

    def texts(self, cell: Node, column: Column) -> Node:
        """Canonical texts as a list, whether or not the cell can hold several; NULL when none is valid."""
        if self.many:
            return self.text(cell, column)
        found = self.text(cell, column)
        return sql("CASE WHEN $found IS NOT NULL THEN [$found] END", found=found)

    def amount(self, cell: Node, column: Column) -> Node:
        """The number that ``sum`` adds, as DECIMAL(38, 4); NULL when there is none."""
        if self.many:
            total = sql(
                "list_sum(list_transform($values, LAMBDA item : item::DECIMAL(38, 4)))", values=column("values")
            )
            return sql("$total::DECIMAL(38, 4)", total=total)
        return sql("$value::DECIMAL(38, 4)", value=column("value"))

    # -- checks -----------------------------------------------------------------------------------------------------

    def is_valid(self, cell: Node, column: Column) -> Node:
        """Whether the cell has a value; never NULL."""
        if self.many:
            return sql("coalesce(list_count($values) > 0, false)", values=column("values"))
        if self.kind == "datetime":
            return functions.is_moment(*self._moments(column))
        return sql("$value IS NOT NULL", value=column("value"))

    def is_empty(self, cell: Node, column: Column) -> Node:
        """Whether the cell is there and holds nothing; never NULL."""
        if self.many:
            return sql("coalesce(len($values) = 0, false)", values=column("values"))
        return sql("coalesce($cell = '', false)", cell=cell)

    def is_refused(self, cell: Node, column: Column) -> Node:
        """Whether something in the cell does not fit; never NULL."""
        if self.many:
            return sql("coalesce(list_count($values) < len($values), false)", values=column("values"))
        valid = self.is_valid(cell, column)
        return sql("coalesce($cell <> '', false) AND NOT $valid", cell=cell, valid=valid)

    def rounded(self, cell: Node, column: Column) -> Node | None:
        """How many values of the cell were rounded; None for types that never are."""
        if self.kind not in ("decimal", "currency"):
            return None
        if self.many:
            lossy = functions.is_rounded(sql("part"), self.marks, self.decimals)
            return sql(
                "coalesce(len(list_filter($parts, LAMBDA part : $lossy AND $value IS NOT NULL)), 0)",
                parts=self.parts(cell),
                lossy=lossy,
                value=self.number_of(sql("part")),
            )
        return sql(
            "CASE WHEN NOT coalesce($plain, true) AND $lossy AND $value IS NOT NULL THEN 1 ELSE 0 END",
            plain=column("plain"),
            lossy=functions.is_rounded(cell, self.marks, self.decimals),
            value=column("value"),
        )


def _longest(declared: Definition) -> int:
    return functions.MAX_IDENTIFIER if declared.identifier == "unique" else functions.MAX_TEXT


def _valid_list(values: Node) -> Node:
    kept = sql("list_filter($values, LAMBDA item : item IS NOT NULL)", values=values)
    return sql("CASE WHEN list_count($values) > 0 THEN $kept END", values=values, kept=functions.distinct_values(kept))


def format_of(goal: ImportGoal, field: str) -> Format:
    """The format of a field: its file's, or the goal's for fields that processors made."""
    file = field.partition(".")[0]
    return goal.file_format(file) if any(block.name == file for block in goal.files) else goal.format


def cleaned_cell(cell: Node, *, nested: bool) -> Node:
    """The first level of a query: lists are cleaned element by element later."""
    return cell if nested else functions.clean(cell)


def missing_cell(*, nested: bool = False) -> Node:
    """A field that the files do not have is absent in every row."""
    return sql("NULL::VARCHAR[]") if nested else sql("NULL::VARCHAR")
