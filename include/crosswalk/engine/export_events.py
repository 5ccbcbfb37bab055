"""The timeline events of the exported profiles: a file for each event type, and one for each nested field of it.

A row begins with the profile's id and the event's, so rows of a nested field find their event. Then come the fields
of the event type as it is declared now, in its order: of an event that was stored before a change, what the type still
has is written, a field that it has not yet is empty. Of a profile on permission level 1 fields with ``pii`` are empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa

from crosswalk.config.event_types import EventField, EventType, ItemField
from crosswalk.config.export_names import event_headers
from crosswalk.config.exports import Period
from crosswalk.config.formats import EPOCH_MS, ExportFormat
from crosswalk.config.tenant import NUMERIC_TYPES
from crosswalk.core.staging import durable
from crosswalk.engine.export_cells import DOUBTFUL, at_offsets, guarded, moment_text
from crosswalk.engine.multi_value import join_values, may_need_escapes
from crosswalk.engine.session import Session, literal, write_parquet
from crosswalk.engine.template import Node, cast, name, named, number, parquet, render, sql, text, texts
from crosswalk.engine.text_lines import LineFile, as_cells, header_line, line_batches, line_query

_MILLISECOND = timedelta(milliseconds=1)
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class EventTable:
    """What one file of events holds.

    Attributes:
        event_type: the id of the event type.
        declared: the event type.
        nested: the nested field whose items are the rows; None for the events themselves.
    """

    event_type: str
    declared: EventType
    nested: str | None = None

    @property
    def fields(self) -> Mapping[str, EventField | ItemField]:
        """The fields that are columns, in their order."""
        if self.nested is not None:
            return self.declared.fields[self.nested].fields or {}
        return {key: field for key, field in self.declared.fields.items() if not field.is_nested}

    @property
    def headers(self) -> list[str]:
        """The columns' names."""
        return event_headers(self.event_type, self.declared, self.nested)


def event_tables(event_type: str, declared: EventType) -> list[EventTable]:
    """The table of the events of a type, then those of its nested fields."""
    nested = [key for key, field in declared.fields.items() if field.is_nested]
    return [EventTable(event_type, declared, key) for key in (None, *nested)]


def period_bounds(period: Period | str, zone: str, now_ms: int) -> tuple[int | None, int | None]:
    """The first moment of a period and the first one after it, in epoch milliseconds; None where it is open.

    Args:
        period: as in the goal.
        zone: of moments without offset.
        now_ms: where the last days end.
    """
    if isinstance(period, str):
        return None, None
    if period.last_days is not None:
        return now_ms - period.last_days * _DAY_MS, now_ms
    low, high = (None if bound is None else _moment_ms(bound, zone) for bound in (period.from_, period.to))
    return low, high


def _moment_ms(written: str, zone: str) -> int:
    moment = datetime.fromisoformat(written)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
    since = moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return -(-since // _MILLISECOND)  # events have whole milliseconds: the next one decides


def stage_events(
    session: Session, stored: pa.RecordBatchReader, *, selected: Path, types: list[str], out: Path
) -> dict[str, int]:
    """Write down the events of the exported profiles; returns how many there are of each type.

    Args:
        session: the engine.
        stored: events (``store.base.EXPORTED_EVENT_SCHEMA``).
        selected: the exported profiles, as ``select.py`` leaves them.
        types: the event types that are wanted.
        out: the Parquet file.
    """
    rows = sql(
        "SELECT e.*, s.shows_personal FROM stored_events AS e JOIN $selected AS s USING (profile_id) "
        "WHERE list_contains($types, e.type)",
        selected=parquet(selected),
        types=cast(texts(types), "VARCHAR[]"),
    )
    session.register("stored_events", stored)
    try:
        write_parquet(session, render(rows), out, quick=True)
    finally:
        session.unregister("stored_events")
    counts = sql("SELECT type, count(*) FROM $staged GROUP BY type", staged=parquet(out))
    found: dict[str, int] = dict(session.execute(render(counts)).fetchall())
    return {key: found[key] for key in types if key in found}


def write_event_lines(
    session: Session, staged: Path, table: EventTable, form: ExportFormat, zone: str, out: Path, *, empty: bool = False
) -> tuple[int, int]:
    """Write the text of one file of events; returns its rows, and the cells that lost something.

    Args:
        session: the engine.
        staged: what ``stage_events`` wrote.
        table: which events, with which columns.
        form: how to write.
        zone: of dates that are written by a pattern, where the format has none.
        out: the text in UTF-8, with its header.
        empty: there are no such events, so the header is all.
    """
    session.execute(f"SET TimeZone = {literal(form.timezone or zone)}")
    try:
        with durable(out) as temporary, LineFile(temporary, header_line(table.headers, form)) as file:
            rows = None if empty else line_query(_cell_rows(staged, table, form), len(table.headers), form)
            for batch in line_batches(session, rows) if rows is not None else []:
                file.write(batch)
    finally:
        session.execute("SET TimeZone = 'UTC'")
    return file.rows, file.replaced


def _cell_rows(staged: Path, table: EventTable, form: ExportFormat) -> Node:
    """One row for each event, or for each item of the nested field, with its cells."""
    events = sql("SELECT * FROM $staged WHERE type = $type", staged=parquet(staged), type=text(table.event_type))
    rows = events if table.nested is None else _items(events, table.declared.fields[table.nested], table.nested)
    parts = sql(
        "SELECT profile_id, event_id, shows_personal, date::VARCHAR AS item, $doubtful AS doubtful, "
        "json_extract(data, $paths) AS parts FROM ($rows)",
        doubtful=may_need_escapes(name("data"), form.multi_value),
        paths=cast(texts([_path(key) for key in table.fields]), "VARCHAR[]"),
        rows=rows,
    )
    values = sql(
        f"SELECT profile_id, event_id, $date AS event_date, shows_personal, doubtful AS {DOUBTFUL}, $values "
        "FROM ($parts)",
        date=moment_text(form),
        values=[
            named(_values(sql("list_extract(parts, $index)", index=number(index)), field), f"v{index}")
            for index, field in enumerate(table.fields.values(), 1)
        ]
        or [sql("NULL")],
        parts=parts,
    )
    head = [name("profile_id"), guarded(name("event_id"), form)]
    if table.nested is None:
        head.append(name("event_date"))
    cells = [_cell(name(f"v{index}"), field, form) for index, field in enumerate(table.fields.values(), 1)]
    return sql("SELECT $cells FROM ($values)", cells=as_cells([*head, *cells]), values=values)


def _path(key: str) -> str:
    return f'$."{key}"'


def _items(events: Node, field: EventField, key: str) -> Node:
    """The items of a nested field, each as the ``data`` of a row of its own."""
    if field.sensitivity == "pii":
        events = sql("SELECT * FROM ($events) WHERE shows_personal", events=events)
    return sql(
        "SELECT profile_id, event_id, shows_personal, date, unnest(CASE WHEN starts_with(found, '[') "
        """THEN from_json(found, '["JSON"]') WHEN found IS NOT NULL THEN [found::JSON] END) AS data """
        "FROM (SELECT *, json_extract(data, $path)::VARCHAR AS found FROM ($events))",
        path=text(_path(key)),
        events=events,
    )


def _values(part: Node, field: EventField | ItemField) -> Node:
    """The values of a field, whether it was stored as one text or as several; none where they are hidden."""
    values = sql(
        """CASE WHEN starts_with($part::VARCHAR, '[') THEN from_json($part, '["VARCHAR"]') """
        "WHEN $part IS NOT NULL THEN [json_extract_string($part, '$')] END",
        part=part,
    )
    if field.sensitivity == "pii":
        return sql("CASE WHEN shows_personal THEN $values END", values=values)
    return values


def _cell(values: Node, field: EventField | ItemField, form: ExportFormat) -> Node:
    kind = field.value_type if isinstance(field, EventField) else field.type
    shown = _shown(kind, form)
    if shown is not None:
        values = sql("list_transform($values, LAMBDA item : $shown)", values=values, shown=shown)
    if field.is_multiple:
        cell = join_values(values, form.multi_value, None if shown is not None else name(DOUBTFUL))
    else:  # one value is no list: an import does not split it
        cell = sql("array_to_string($values, $separator)", values=values, separator=text(form.multi_value))
    return guarded(cell, form) if kind == "text" else cell


def _shown(kind: str, form: ExportFormat) -> Node | None:
    """The canonical text ``item`` of a type as the format writes it; None where it stays as it is."""
    if kind in NUMERIC_TYPES and form.decimal == ",":
        return sql("replace(item, '.', ',')")
    if kind == "datetime":
        return sql("CASE WHEN TRY_CAST(item AS BIGINT) IS NULL THEN item ELSE $moment END", moment=moment_text(form))
    if kind == "date" and form.date is not None:
        return sql("CASE WHEN TRY_CAST(item AS DATE) IS NULL THEN item ELSE $day END", day=_day_text(form.date))
    return None


def _day_text(pattern: str) -> Node:
    """A day as its first moment in UTC, by which an import finds the day again."""
    if pattern == EPOCH_MS:
        return sql("epoch_ms(item::DATE::TIMESTAMP)::VARCHAR")
    return sql("strftime(item::DATE::TIMESTAMP, $pattern)", pattern=text("+0000".join(at_offsets(pattern))))
