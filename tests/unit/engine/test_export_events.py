"""Files of events: cells by the event type as it is declared now, from data as it was stored then."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crosswalk.config.event_types import EventType
from crosswalk.config.exports import Period
from crosswalk.config.formats import ExportFormat
from crosswalk.engine.export_events import event_tables, period_bounds, stage_events, write_event_lines
from crosswalk.engine.select import SELECTED_SCHEMA
from crosswalk.engine.session import Session
from crosswalk.store.export_base import EXPORTED_EVENT_SCHEMA

HEAD = ["profile_id", "event_id", "event_date"]


def written(session: Session, folder: Path, fields: dict[str, Any], *data: dict[str, Any], **form: Any) -> list[Any]:
    """The rows of each file of a type, for one event of ``p1`` (who shows all) or ``p2`` per document."""
    declared = EventType.model_validate({"fields": fields})
    owners = [f"p{1 + bool(item.pop('hidden', False))}" for item in data]
    documents = [json.dumps(item) for item in data]
    count = range(len(data))
    columns = [owners, ["visit"] * len(data), [f"e{n}" for n in count], [n * 1000 for n in count], documents]
    selected = pa.table([["p1", "p2"], [True, False]], schema=SELECTED_SCHEMA)
    pq.write_table(selected, folder / "selected.parquet")
    stored = pa.table(columns, schema=EXPORTED_EVENT_SCHEMA).to_reader()
    staged = folder / "events.parquet"
    found = stage_events(session, stored, selected=folder / "selected.parquet", types=["visit", "other"], out=staged)
    assert found == {"visit": len(data)}
    files = []
    for table in event_tables("visit", declared):
        lines = folder / f"{table.nested}.csv"
        rows, replaced = write_event_lines(session, staged, table, ExportFormat(**form), "UTC", lines)
        read = list(csv.reader(io.StringIO(lines.read_text(), newline="")))
        assert (len(read) - 1, read[0], replaced) == (rows, table.headers, 0)
        files.append(read)
    return files


def test_a_type_without_fields_still_says_which_events_there_were(session: Session, tmp_path: Path) -> None:
    assert written(session, tmp_path, {}, {}, {"gone": "x"}) == [
        [HEAD, ["p1", "e0", "1970-01-01T00:00:00.000Z"], ["p1", "e1", "1970-01-01T00:00:01.000Z"]]
    ]


def test_values_are_found_whether_the_field_held_one_or_several_when_they_were_stored(
    session: Session, tmp_path: Path
) -> None:
    fields = {"one": {"multiple": False}, "many": {}, "One": {}, "a-b": {}}
    (rows,) = written(session, tmp_path, fields, {"one": ["x|y"], "many": "[z]", "One": ["a|b", "c"], "a-b": ['q"']})
    assert rows[1][3:] == ["x|y", "[z]", "a\\|b|c", 'q"']


def test_items_and_fields_that_are_personal_are_hidden_where_the_profile_says_so(
    session: Session, tmp_path: Path
) -> None:
    fields = {
        "note": {"sensitivity": "pii"},
        "talk": {"fields": {"with": {"sensitivity": "pii"}, "about": {}}},
        "secret": {"sensitivity": "pii", "fields": {"what": {}}},
    }
    event = {"note": ["n"], "talk": [{"with": ["Eva"], "about": ["x"]}, {}], "secret": [{"what": ["y"]}]}
    main, talk, secret = written(session, tmp_path, fields, dict(event), {**event, "hidden": True})
    assert [row[3] for row in main[1:]] == ["n", ""]
    assert [row[1:] for row in talk[1:]] == [["e0", "Eva", "x"], ["e0", "", ""], ["e1", "", "x"], ["e1", "", ""]]
    assert [row[1:] for row in secret[1:]] == [["e0", "y"]]


@pytest.mark.parametrize(
    ("form", "day", "moment"),
    [
        ({}, "2026-03-29", "2026-03-29T01:30:00.000Z"),
        ({"date": "%d/%m/%y %H:%M %z", "timezone": "Europe/Brussels"}, "29/03/26 00:00 +0000", "29/03/26 03:30 +0200"),
        ({"date": "epoch_ms"}, "1774742400000", "1774747800000"),
    ],
)
def test_days_and_moments_follow_the_format(
    session: Session, tmp_path: Path, form: dict[str, Any], day: str, moment: str
) -> None:
    fields = {"day": {"type": "date"}, "seen": {"type": "datetime"}}
    (rows,) = written(session, tmp_path, fields, {"day": "2026-03-29", "seen": "1774747800000"}, {"day": "x"}, **form)
    assert [row[3:] for row in rows[1:]] == [[day, moment], ["x", ""]]


@pytest.mark.parametrize(
    ("period", "bounds"),
    [
        ({"last_days": 1}, (13_600_000, 100_000_000)),
        ({"from": "1970-01-01"}, (-3_600_000, None)),
        ({"to": "1970-01-01T00:00:00.0001Z"}, (None, 1)),
        ({"from": "2026-03-29T02:30", "to": "2026-10-25T02:30"}, (1_774_747_800_000, 1_792_888_200_000)),
    ],
)
def test_the_bounds_of_a_period(period: dict[str, Any], bounds: tuple[int | None, int | None]) -> None:
    assert period_bounds(Period.model_validate(period), "Europe/Brussels", 100_000_000) == bounds
