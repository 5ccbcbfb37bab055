"""What the planning of a goal's events works on: its event mappings, how their cells are read, and what is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
from sqlglot import exp

from crosswalk.config.event_mapping import EventMapping
from crosswalk.config.event_types import EventType
from crosswalk.engine.event_values import (
    LEVELS,
    CellMember,
    EventValueReader,
    ListedMember,
    Member,
    NestedMember,
    SimpleMember,
    reader_of,
)
from crosswalk.engine.map_task import Lookup, MapTask
from crosswalk.engine.stages import Buckets
from crosswalk.engine.tables import Tables
from crosswalk.engine.targets import Frame, MappedField
from crosswalk.engine.template import Node, cast, number, parquet, sql, texts

MOST_EVENTS = 250
LARGE_BYTES, MOST_BYTES = 1_024, 4_096
ROWS_PER_BUCKET = 250_000
DAY_MS = 86_400_000


@dataclass(frozen=True)
class StoredEvents:
    """What the store knows of events; unset: nothing.

    Attributes:
        find: the events of keys (EVENT_KEY_SCHEMA in, STORED_EVENT_SCHEMA out).
        find_crowd: all events of profiles that would have too many (EVENT_GROWTH_SCHEMA in, EVENT_HEAD_SCHEMA out).
        find_purchases: what is known to be bought by the events of keys (EVENT_KEY_SCHEMA in, PURCHASE_SCHEMA out).
    """

    find: Lookup | None = None
    find_crowd: Callable[[pa.RecordBatchReader, int], pa.RecordBatchReader] | None = None
    find_purchases: Lookup | None = None


@dataclass(frozen=True)
class Entry:
    """One event mapping of the goal.

    Attributes:
        index: its number in the goal; several may be of one type.
        mapping: what the goal says.
        declared: its event type.
        date: the field with the moment.
        members: the fields in the order of the type.
    """

    index: int
    mapping: EventMapping
    declared: EventType
    date: SimpleMember
    members: tuple[Member, ...]

    @property
    def levels(self) -> list[list[Node]]:
        """The columns to compute over the clean cells, level by level."""
        parts = [part.levels() for part in (self.date, *self.members)]
        return [[column for part in parts for column in part[level]] for level in range(LEVELS)]

    @property
    def cells(self) -> list[CellMember]:
        """Every field that is read from a cell, those of items too."""
        return [cell for member in self.members for cell in member.cells]


@dataclass
class EventTask:
    """Inputs of the planning of events, and what its parts share."""

    map: MapTask
    stored: StoredEvents
    now_ms: int
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def tables(self) -> Tables:
        """The engine's working tables."""
        return self.map.tables

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields of the goal that events use, by cell number."""
        return tuple(dict.fromkeys(used for mapping in self.map.goal.events for used in mapping.used_fields()))

    @cached_property
    def frame(self) -> Frame:
        """The rows with the cells of events."""
        return Frame(self.fields, (), self.map.frame.cells)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The event mappings of the goal."""
        return tuple(_EntryReader(self, mapping).entry(no) for no, mapping in enumerate(self.map.goal.events))

    @cached_property
    def types(self) -> list[str]:
        """The event types of the goal, by number."""
        return list(dict.fromkeys(entry.mapping.type for entry in self.entries))

    @cached_property
    def patched_types(self) -> list[int]:
        """Types with a mapping that changes events instead of replacing them."""
        patching = {entry.mapping.type for entry in self.entries if entry.mapping.strategy != "replace"}
        return [no for no, name in enumerate(self.types) if name in patching]

    @cached_property
    def declared(self) -> list[EventType]:
        """The definitions of ``types``."""
        return [self.map.tenant.event_types[name] for name in self.types]

    @cached_property
    def buckets(self) -> Buckets:
        """Ranges of profiles whose events fit into memory at once."""
        rows = int(
            self.tables.one(sql("SELECT count(*) FROM $links WHERE outcome = 'apply'", links=parquet(self.map.links)))
        )
        count = self.map.wanted_buckets or max(1, -(-rows * len(self.entries) // ROWS_PER_BUCKET))
        folder = self.map.folder.path / "map_stages"
        return Buckets(self.tables, folder, self.map.profile_count, min(count, 256))

    @cached_property
    def has_stored_profiles(self) -> bool:
        """Whether any profile was there before, and the store can be asked."""
        query = sql("SELECT NOT coalesce(bool_and(is_new), true) FROM $profiles", profiles=parquet(self.map.profiles))
        return self.stored.find is not None and bool(self.tables.one(query))

    # -- what depends on the mapping or the type of a row ----------------------------------------------------------

    @property
    def entry_no(self) -> Node:
        """The mapping of a row of ``event_row``; ``ord`` is the order of rows and, within a row, of mappings."""
        return sql("ord % $count", count=number(len(self.entries)))

    @property
    def row_id(self) -> Node:
        """The row of a row of ``event_row``."""
        return sql("ord // $count", count=number(len(self.entries)))

    def by_entry(self, values: list[Node]) -> Node:
        """What belongs to the mapping of a row."""
        return sql("list_extract([$values], $no + 1)", values=values, no=self.entry_no)

    @property
    def type_no(self) -> Node:
        """The type of a row of ``event_row``."""
        return self.by_entry([number(self.types.index(entry.mapping.type)) for entry in self.entries])

    def flag(self, flags: list[bool]) -> Node:
        """Whether something holds for the mapping of a row."""
        return self.by_entry([exp.convert(flag) for flag in flags])

    @property
    def type_name(self) -> Node:
        """The id of ``type_no``."""
        return sql("list_extract($types, type_no + 1)", types=texts(self.types))

    @property
    def priority(self) -> Node:
        """The priority of ``type_no``."""
        values: list[Node] = [number(int(declared.priority == "high")) for declared in self.declared]
        return cast(sql("list_extract([$values], type_no + 1)", values=values), "BIGINT")

    @property
    def expires_at(self) -> Node:
        """When an event of ``type_no`` and ``date`` expires; NULL: never."""
        kept: list[Node] = [
            number(declared.kept_days * DAY_MS) if declared.kept_days else exp.Null() for declared in self.declared
        ]
        return sql("(date + list_extract([$kept]::BIGINT[], type_no + 1))::BIGINT", kept=kept)


class _EntryReader:
    """How the cells of one event mapping are read."""

    def __init__(self, task: EventTask, mapping: EventMapping) -> None:
        self.task, self.mapping = task, mapping
        self.read = 0

    def entry(self, index: int) -> Entry:
        """The mapping with its readers, fields in the order of the event type."""
        declared = self.task.map.tenant.event_types[self.mapping.type]
        date = self._simple("date", self.mapping.date, "datetime", several=False)
        members: list[Member] = []
        for key, shape in declared.fields.items():
            if key in self.mapping.fields:
                members.append(self._simple(key, self.mapping.fields[key], shape.value_type, several=shape.is_multiple))
            elif key in self.mapping.nested and shape.fields is not None:
                mapped = self.mapping.nested[key].fields
                items = [
                    self._of_item(item, mapped[item], part.type, several=part.is_multiple)
                    for item, part in shape.fields.items()
                    if item in mapped
                ]
                members.append(NestedMember(key, tuple(items), len(members), shape.is_multiple))
        return Entry(index, self.mapping, declared, date, tuple(members))

    def _of_item(self, key: str, field: str, kind: str, *, several: bool) -> CellMember:
        if not self.task.frame.cells.is_nested(field):
            return self._simple(key, field, kind, several=several)
        mapped, reader = self._mapped(field, kind, several=several)
        return ListedMember(key, mapped, reader, several)

    def _simple(self, key: str, field: str, kind: str, *, several: bool) -> SimpleMember:
        mapped, reader = self._mapped(field, kind, several=several)
        return SimpleMember(key, mapped, reader, several)

    def _mapped(self, field: str, kind: str, *, several: bool) -> tuple[MappedField, EventValueReader]:
        task = self.task
        reader = reader_of(
            task.map.goal,
            field,
            kind,
            zone=task.map.connection.timezone,
            nested=task.frame.cells.is_nested(field),
            several=several,
        )
        self.read += 1
        return MappedField(self.read, field, task.fields.index(field), reader, False), reader
