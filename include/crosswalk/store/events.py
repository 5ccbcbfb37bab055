"""Timeline events: looked up in bulk for *map*, written with their batch, shown to people.

An event that is to be replaced or removed must still be the one that *map* read; an event that stays as it is is
not looked at again, for it makes no difference whether another run replaced it just before or just after.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crosswalk.store.backend import Backend, RowStatement
from crosswalk.store.base import EVENT_HEAD_SCHEMA, STORED_EVENT_SCHEMA, Batch
from crosswalk.store.export_base import EXPORTED_EVENT_SCHEMA
from crosswalk.store.ledger import iso
from crosswalk.store.logged import EVENTS
from crosswalk.store.ordering import mostly_in_order

_KEY = {"profile_id": "text", "type": "text", "event_id": "text"}
_VALUES = EVENTS.values
_SAME_KEY = (
    "event.profile_id = {profile_id} AND event.type = {type} AND event.event_id = {event_id} "
    "AND event.batch_no = {batch_no}"
)
_INSERT = (
    "INSERT INTO event (profile_id, type, event_id, date, priority, expires_at, data, file, line, batch_no) {select} "
    "{profile_id}, {type}, {event_id}, {date}, {priority}, {expires_at}, {data}, {file}, {line}, {batch_no} {rows}"
)
ADD_EVENT = RowStatement("event_add", {**_KEY, **_VALUES, "batch_no": "int"}, _INSERT, plain_insert="event")
ADD_ABSENT_EVENT = RowStatement(
    "event_add_absent",
    ADD_EVENT.columns,
    f"{_INSERT} ON CONFLICT (profile_id, type, event_id) DO NOTHING",
)
REPLACE_EVENT = RowStatement(
    "event_replace",
    {**_KEY, **_VALUES, "batch_no": "int", "number": "int"},
    "UPDATE event SET date = {date}, priority = {priority}, expires_at = {expires_at}, data = {data}, "
    f"file = {{file}}, line = {{line}}, batch_no = {{number}} {{from}} WHERE {_SAME_KEY}",
)
REMOVE_EVENT = RowStatement(
    "event_remove", {**_KEY, "batch_no": "int"}, f"DELETE FROM event {{using}} WHERE {_SAME_KEY}"
)
DELETE_EXPIRED = "DELETE FROM event WHERE expires_at <= {now}"
_HAS = pa.schema([("found", pa.int64())])
_EVENT = pa.schema([("type", pa.string()), ("event_id", pa.string()), ("date", pa.int64()), ("data", pa.string())])
_SOURCE = pa.schema(
    [(name, pa.string()) for name in ("type", "event_id")]
    + [("date", pa.int64())]
    + [(name, pa.string()) for name in ("run_id", "connection", "goal")]
    + [("at", pa.int64()), ("file", pa.string()), ("line", pa.int64())]
)


class Events:
    """Timeline events; see ``Store`` for what each method promises."""

    _db: Backend

    def has_events(self) -> bool:
        """Whether there is any event or purchase at all."""
        asked = "SELECT CASE WHEN EXISTS (SELECT 1 FROM event) OR EXISTS (SELECT 1 FROM purchase) THEN 1 ELSE 0 END"
        return bool(self._db.query(f"{asked} AS found", (), _HAS)[0]["found"])

    def find_events(self, keys: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The living events of these keys."""
        return self._db.stream(
            "SELECT e.profile_id, e.type, e.event_id, e.date, e.priority, e.batch_no, CAST(e.data AS TEXT) "
            "FROM wanted_event w JOIN event e ON e.profile_id = w.profile_id AND e.type = w.type "
            "AND e.event_id = w.event_id WHERE e.expires_at IS NULL OR e.expires_at > {now}",
            STORED_EVENT_SCHEMA,
            staged=("wanted_event", keys),
        )

    def find_crowd(self, growth: pa.RecordBatchReader, most: int) -> pa.RecordBatchReader:
        """The living events of profiles that would have too many."""
        return self._db.stream(
            "SELECT e.profile_id, e.type, e.event_id, e.date, e.priority, e.batch_no FROM wanted_crowd w "
            "JOIN event e ON e.profile_id = w.profile_id WHERE (e.expires_at IS NULL OR e.expires_at > {now}) "
            f"AND w.added + (SELECT count(*) FROM event x WHERE x.profile_id = w.profile_id) > {int(most)}",
            EVENT_HEAD_SCHEMA,
            staged=("wanted_crowd", growth),
        )

    def stored_events(
        self, since: int | None, until: int | None, profiles: pa.RecordBatchReader | None = None
    ) -> pa.RecordBatchReader:
        """The living events of a period, of some profiles or of all."""
        period = f"AND e.date >= {int(since)} " if since is not None else ""
        period += f"AND e.date < {int(until)} " if until is not None else ""
        source = "event e" if profiles is None else "wanted_profile w JOIN event e ON e.profile_id = w.profile_id"
        return self._db.stream(
            f"SELECT e.profile_id, e.type, e.event_id, e.date, CAST(e.data AS TEXT) FROM {source} "
            f"WHERE (e.expires_at IS NULL OR e.expires_at > {{now}}) {period}",
            EXPORTED_EVENT_SCHEMA,
            staged=None if profiles is None else ("wanted_profile", profiles),
        )

    def profile_events(self, profile_id: str, limit: int = 20) -> list[dict[str, Any]]:
        """A profile's living events, latest first."""
        found = self._db.query(
            "SELECT type, event_id, date, CAST(data AS TEXT) FROM event WHERE profile_id = $1 "
            "AND (expires_at IS NULL OR expires_at > {now}) "
            f"ORDER BY date DESC, type, event_id LIMIT {int(limit)}",
            (profile_id,),
            _EVENT,
        )
        return [{**row, "date": iso(row["date"]), "data": json.loads(row["data"])} for row in found]

    def event_sources(self, profile_id: str) -> list[dict[str, Any]]:
        """Where a profile's living events come from, latest first."""
        found = self._db.query(
            "SELECT e.type, e.event_id, e.date, b.run_id, b.connection, g.goal, b.applied_at, coalesce(e.file, ''), "
            "coalesce(e.line, 0) FROM event e JOIN batch b ON b.batch_no = e.batch_no "
            "JOIN goal g ON g.goal_id = b.goal_id WHERE e.profile_id = $1 "
            "AND (e.expires_at IS NULL OR e.expires_at > {now}) ORDER BY e.date DESC, e.type, e.event_id LIMIT 1000",
            (profile_id,),
            _SOURCE,
        )
        return [
            {
                **row,
                "date": iso(row["date"]),
                "at": iso(row["at"]),
                "file": row["file"] or None,
                "line": row["line"] or None,
            }
            for row in found
        ]

    def _write_events(self, batch: Batch, number: int) -> int:
        """Add, replace and remove the batch's events; returns how many are not what *map* read."""
        self._db.execute(DELETE_EXPIRED)
        self._db.execute(EVENTS.purge())
        missed = self._db.write_new(
            lambda: self._add_events(ADD_EVENT, batch, number),
            lambda: self._add_events(ADD_ABSENT_EVENT, batch, number),
        )
        replaced = _of(batch, ("updated", "removed"), list(EVENTS.key))
        self._db.sink(EVENTS.log, {"number": number}).write_all(replaced)
        for statement, outcome in ((REPLACE_EVENT, "updated"), (REMOVE_EVENT, "removed")):
            constants = {"number": number} if "number" in statement.columns else {}
            sink = self._db.sink(statement, constants)
            changed = sink.write_all(_of(batch, (outcome,), [name for name in statement.columns if name != "number"]))
            missed += sink.rows - changed
        return missed

    def _add_events(self, statement: RowStatement, batch: Batch, number: int) -> int:
        sink = self._db.sink(statement, {"batch_no": number})
        written = sink.write_all(_of(batch, ("created",), [*_KEY, *_VALUES]))
        return sink.rows - written


def _of(batch: Batch, outcomes: tuple[str, ...], columns: list[str]) -> Iterable[pa.RecordBatch]:
    """These columns of the planned events with one of these outcomes; plans are in the order of the key."""
    chosen = (_with(rows, outcomes).select(columns) for rows in batch.events())
    return mostly_in_order((rows for rows in chosen if rows.num_rows), *_KEY, scratch=batch.scratch)


def _with(rows: pa.RecordBatch, outcomes: tuple[str, ...]) -> pa.RecordBatch:
    """The rows with one of these outcomes; mostly all or none of them, which copies nothing."""
    fits = pc.is_in(rows.column("outcome"), value_set=pa.array(outcomes))
    if pc.all(fits).as_py():
        return rows
    return rows.filter(fits) if pc.any(fits).as_py() else rows.slice(0, 0)
