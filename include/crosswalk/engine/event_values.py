"""How the cells of a row become the fields of an event: typed values, as members of a JSON object.

Values are canonical text as in profiles (see ``functions.py``), with two types more: ``date`` (a day, written
``2026-02-28``) and ``boolean`` (``true`` or ``false``). A field that holds one value is a text, one that may hold
several is a list, and a nested field is a list of objects, one for each row of its nested file:

    {"total_revenue":"25.5","coupon":["A","B"],"product":[{"id":"sku-1","quantity":"2"}]}

Fields stand in the order of the event type, so equal events have equal texts. What a field needs is computed in levels
of a query (see ``values.py``): the engine does not share parts of expressions, so what is used twice is a column.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass

from crosswalk.config.connection import ImportProfiles
from crosswalk.engine import functions
from crosswalk.engine.multi_value import split_values
from crosswalk.engine.targets import MappedField
from crosswalk.engine.template import Node, any_of, call, name, named, sql, text, texts
from crosswalk.engine.values import ValueReader, format_of

Levels = tuple[list[Node], ...]
LEVELS = 4
YES, NO = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class EventValueReader(ValueReader):
    """Reads cells as values of the types of event fields."""

    def text_of(self, cell: Node) -> Node:
        """Canonical text, or NULL when the cell is empty or does not fit."""
        if self.kind == "boolean":
            return sql(
                "CASE WHEN list_contains($yes, lower($cell)) THEN 'true' WHEN list_contains($no, lower($cell)) "
                "THEN 'false' END",
                cell=cell,
                yes=texts(YES),
                no=texts(NO),
            )
        if self.kind == "date":
            return _day(cell, self.pattern)
        return super().text_of(cell)

    def problem_of(self, cell: Node) -> Node:
        """Why a clean cell that is not empty gave no value."""
        if self.kind in ("boolean", "date"):
            return text(f"invalid_{self.kind}")
        return super().problem_of(cell)

    def value_of(self, cell: Node) -> Node:
        """The value of one clean text: a number, or canonical text."""
        return self.number_of(cell) if self.is_numeric else self.text_of(cell)

    def shown(self, value: Node) -> Node:
        """Canonical text of what ``value_of`` gives."""
        return self.number_text(value) if self.is_numeric else value

    def json_of(self, shown: Node) -> Node:
        """Canonical text as JSON; only text needs to be looked at."""
        if self.kind == "text":
            return sql("to_json($shown)::VARCHAR", shown=shown)
        return sql("'\"' || $shown || '\"'", shown=shown)


def _day(cell: Node, pattern: str | None) -> Node:
    """The day as it is written; the day in UTC of a cell that names an instant."""
    parts = [functions.local_microseconds(cell, pattern), functions.instant_microseconds(cell, pattern)]
    known = [part for part in parts if part is not None]
    moment = call("coalesce", *known) if len(known) > 1 else known[0]
    return sql("strftime(make_timestamp($moment), '%Y-%m-%d')", moment=moment)


def reader_of(
    goal: ImportProfiles, field: str, kind: str, *, zone: str, nested: bool = False, several: bool = False
) -> EventValueReader:
    """How a field of a goal is read as a type of event fields.

    Args:
        goal: the goal, whose file formats count.
        field: ``file.column``.
        kind: the type.
        zone: of local times, where the format has none.
        nested: the cell is a list, one element per nested row.
        several: the field may hold several values, so a cell with the format's separator is split.
    """
    settings = format_of(goal, field)
    separator = (settings.multi_value or None) if several else None
    if kind in ("number", "decimal"):
        thousands = settings.thousands if settings.thousands != settings.decimal else None
        marks = functions.Marks(settings.decimal, thousands)
        decimals = 0 if kind == "number" else 4
        return EventValueReader(kind, marks, decimals, separator=separator, nested=nested)
    if kind in ("date", "datetime"):
        return EventValueReader(
            kind, pattern=settings.date, zone=settings.timezone or zone, separator=separator, nested=nested
        )
    return EventValueReader(kind, separator=separator, nested=nested)


class Member(ABC):
    """A field of an event, or of its items, as a member of a JSON object."""

    @abstractmethod
    def levels(self) -> Levels:
        """The columns to compute, level by level."""

    @property
    @abstractmethod
    def json(self) -> Node:
        """``"field":value``, or NULL when the row has no value."""

    @property
    @abstractmethod
    def is_refused(self) -> Node:
        """Whether something in the cell does not fit; never NULL."""

    @property
    @abstractmethod
    def cells(self) -> tuple[CellMember, ...]:
        """The fields that it is read from."""


@dataclass(frozen=True)
class CellMember(Member):
    """A field of an event or of its items that is read from one field of the goal.

    Attributes:
        key: the field of the event type.
        mapped: the field of the goal, with its cell's number in the frame.
        reader: how the cell is read, the same as in ``mapped``.
        several: it may hold several values.
    """

    key: str
    mapped: MappedField
    reader: EventValueReader
    several: bool

    @property
    def is_refused(self) -> Node:
        """Whether something in the cell does not fit."""
        return name(f"x{self.mapped.index}")

    @property
    def cells(self) -> tuple[CellMember, ...]:
        """Itself."""
        return (self,)


@dataclass(frozen=True)
class SimpleMember(CellMember):
    """A field with one value, or one list of values, per row."""

    def levels(self) -> Levels:
        """Inner and outer columns of the reader, then the canonical text or list."""
        shown = self.mapped.text(None)
        no = self.mapped.index
        third = [named(shown, f"t{no}"), named(self.mapped.is_refused, f"x{no}")]
        return self.mapped.inner, self.mapped.outer(moments=True), third, []

    @property
    def json(self) -> Node:
        """``"field":"value"`` or ``"field":["value", ...]``."""
        shown = name(f"t{self.mapped.index}")
        if self.reader.many:
            value = sql("to_json($shown)::VARCHAR", shown=shown)
        else:
            value = self.reader.json_of(shown)
            value = sql("'[' || $value || ']'", value=value) if self.several else value
        return sql("$key || $value", key=text(_key(self.key)), value=value)


@dataclass(frozen=True)
class ListedMember(CellMember):
    """A field of items whose cell is a list with one element per nested row; the elements keep their places."""

    def levels(self) -> Levels:
        """Clean elements (``c``), their values (``v``), their members (``j``) and whether one was refused (``x``)."""
        no, reader = self.mapped.index, self.reader
        clean, values = name(f"c{no}"), name(f"v{no}")
        cleaned = sql(
            "list_transform($cell, LAMBDA part : $clean)", cell=self.mapped.cell, clean=functions.clean(sql("part"))
        )
        read = sql("list_transform($clean, LAMBDA part : $value)", clean=clean, value=self._value(sql("part")))
        members = sql(
            "list_transform($values, LAMBDA item : $key || $json)",
            values=values,
            key=text(_key(self.key)),
            json=self._json(sql("item")),
        )
        refused = (
            sql(
                "coalesce(list_bool_or(list_transform($values, LAMBDA item : list_count(item) < len(item))), false)",
                values=values,
            )
            if reader.separator
            else sql(
                "coalesce(list_count(list_filter($clean, LAMBDA part : part <> '')) > list_count($values), false)",
                clean=clean,
                values=values,
            )
        )
        return (
            [named(cleaned, f"c{no}")],
            [named(read, f"v{no}")],
            [named(members, f"j{no}"), named(refused, f"x{no}")],
            [],
        )

    def _value(self, part: Node) -> Node:
        if not self.reader.separator:
            return self.reader.value_of(part)
        pieces = split_values(part, self.reader.separator)
        value = self.reader.value_of(sql("piece"))
        return sql("list_transform($pieces, LAMBDA piece : $value)", pieces=pieces, value=value)

    def _json(self, item: Node) -> Node:
        if not self.reader.separator:
            value = self.reader.json_of(self.reader.shown(item))
            return sql("'[' || $value || ']'", value=value) if self.several else value
        found = sql("list_filter($item, LAMBDA piece : piece IS NOT NULL)", item=item)
        shown = sql("list_transform($found, LAMBDA piece : $text)", found=found, text=self.reader.shown(sql("piece")))
        return sql("CASE WHEN list_count($item) > 0 THEN to_json($shown)::VARCHAR END", item=item, shown=shown)

    @property
    def json(self) -> Node:
        """The list of members, one per element."""
        return name(f"j{self.mapped.index}")


@dataclass(frozen=True)
class NestedMember(Member):
    """A nested field: one object per row of the nested file; cells of other files are the same in each of them.

    Attributes:
        key: the nested field of the event type.
        members: the fields of its items.
        number: its place among the nested fields.
        several: whether it may hold more than one item.
    """

    key: str
    members: tuple[CellMember, ...]
    number: int
    several: bool

    def levels(self) -> Levels:
        """The columns of the fields, then the items (``items``)."""
        parts = [member.levels() for member in self.members]
        below = [[column for part in parts for column in part[level]] for level in range(LEVELS - 1)]
        return (*below, [named(self._items(), f"items{self.number}")])

    def _items(self) -> Node:
        listed = [member for member in self.members if isinstance(member, ListedMember)]
        places = {id(member): place for place, member in enumerate(listed, start=1)}
        fields = [
            sql(f"item[{places[id(member)]}]") if id(member) in places else member.json for member in self.members
        ]
        item = sql("'{' || $fields || '}'", fields=call("concat_ws", text(","), *fields))
        zipped = call("list_zip", *[member.json for member in listed]) if listed else sql("[1]")
        objects = sql("list_transform($zipped, LAMBDA item : $item)", zipped=zipped, item=item)
        return sql("list_filter($objects, LAMBDA item : item <> '{}')", objects=objects)

    @property
    def json(self) -> Node:
        """``"field":[{...}, ...]``."""
        items = name(f"items{self.number}")
        if not self.several:
            items = sql("$items[1:1]", items=items)
        joined = sql("$key || '[' || array_to_string($items, ',') || ']'", key=text(_key(self.key)), items=items)
        return sql("CASE WHEN len($items) > 0 THEN $joined END", items=items, joined=joined)

    @property
    def is_refused(self) -> Node:
        """Whether a cell of an item does not fit."""
        return any_of([member.is_refused for member in self.members])

    @property
    def cells(self) -> tuple[CellMember, ...]:
        """The fields of its items."""
        return self.members


def object_of(members: list[Member]) -> Node:
    """The JSON object of all members that have a value."""
    if not members:
        return text("{}")
    return sql("'{' || $members || '}'", members=call("concat_ws", text(","), *[member.json for member in members]))


def _key(key: str) -> str:
    return f"{json.dumps(key, ensure_ascii=False)}:"
