"""What an export writes, an import with the same format reads as the same values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosswalk.config.connection import Connection, ExportProfiles, FieldMapping, ImportProfiles
from crosswalk.config.tenant import Tenant
from crosswalk.engine.read import LocalFile, stage_file
from crosswalk.engine.render import render_file
from crosswalk.engine.select import select_profiles
from crosswalk.engine.session import open_session
from crosswalk.engine.template import name, named, parquet, render, sql
from crosswalk.engine.values import ValueReader, cleaned_cell
from crosswalk.store.export_base import STORED_PROFILE_SCHEMA

TYPES = {"mail": "email", "words": "text", "amount": "decimal", "count": "number", "seen": "datetime"}
TENANT = Tenant.model_validate({"properties": {key: {"type": kind} for key, kind in TYPES.items()}})
words = st.text(st.sampled_from("ab\\|;,\"'§ \t\n=é"), min_size=1, max_size=6).map(str.strip).filter(bool)
numbers = st.integers(-99_999, 99_999)
values = {
    "mail": st.lists(st.sampled_from(["ann@example.org", "o'neil@example.org"]), max_size=2, unique=True),
    "words": st.lists(words, max_size=3, unique=True),
    "amount": st.lists(numbers.map(lambda n: f"{n / 100:.2f}".rstrip("0").rstrip(".")), max_size=2, unique=True),
    "count": st.lists(numbers.map(str), max_size=2, unique=True),
    "seen": st.lists(st.integers(0, 2_000_000_000).map(lambda n: str(n * 1000)), max_size=2, unique=True),
}
documents = st.lists(st.fixed_dictionaries(values), min_size=1, max_size=5)
dialects = st.fixed_dictionaries(
    {
        "separator": st.sampled_from([",", ";", "\t", "|", ";;", "§", "\x1f"]),
        "decimal": st.sampled_from([".", ","]),
        "quote": st.sampled_from(['"', "'"]),
        "multi_value": st.sampled_from(["|", "/", "~|", ","]),
        "date": st.sampled_from([None, "%d/%m/%Y %H:%M:%S %z", "%Y%m%d%H%M%S%z"]),
        "timezone": st.sampled_from([None, "America/New_York"]),
        "encoding": st.sampled_from(["utf-8", "utf-16"]),
        "compress": st.sampled_from(["none", "gzip", "zip", "zstd"]),
    }
).filter(lambda form: form["separator"] != form["multi_value"])


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory):
    with open_session(tmp_path_factory.mktemp("engine"), threads=1) as opened:
        yield opened


@settings(max_examples=40, deadline=None)
@given(people=documents, form=dialects)
def test_the_same_values_come_back(
    session, tmp_path_factory, people: list[dict[str, Any]], form: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    form = {key: value for key, value in form.items() if value is not None}
    path = exported(session, folder, people, form)
    assert imported(session, folder, path, form) == [
        {key: person[key] or None for key in TYPES} for person in people if any(person.values())
    ]


def exported(session, folder: Path, people: list[dict[str, Any]], form: dict[str, Any]) -> Path:
    goal = ExportProfiles.model_validate(
        {
            "export_profiles": "out",
            "segment": "all_profiles",
            "directory": "/out",
            "file_name": {"custom": "out.csv"},
            "format": form,
            "columns": [{"property": key} for key in TYPES],
        }
    )
    connection = Connection(kind="sftp", title="t", conn_id="c", timezone="Europe/Brussels", goals=[goal])
    count = len(people)
    documents = [json.dumps({key: found for key, found in person.items() if found}) for person in people]
    columns = [[f"{n:03}" for n in range(count)], documents, [2] * count, ["NONE"] * count, ["D"] * count]
    columns += [[0] * count, [0] * count, [1] * count]
    table = pa.table(columns, schema=STORED_PROFILE_SCHEMA)
    lines = folder / "lines"
    selection = select_profiles(
        session,
        table.to_reader(),
        goal=goal,
        connection=connection,
        tenant=TENANT,
        now_ms=0,
        selected=folder / "selected.parquet",
        lines=lines,
    )
    result = render_file(lines, goal.format, folder / "out.csv", "out.csv")
    assert (selection.replaced, result.lost) == (0, 0)
    return result.path


def imported(session, folder: Path, path: Path, form: dict[str, Any]) -> list[dict[str, Any]]:
    reading = {key: value for key, value in form.items() if key != "compress"}
    goal = ImportProfiles.model_validate(
        {
            "import_profiles": "in",
            "files": [{"name": "f", "path": "/in/f.csv"}],
            "format": {**reading, "compression": form["compress"]},
            "identifiers": [{"field": "f.mail", "property": "mail"}],
        }
    )
    staged = stage_file(
        session,
        LocalFile(path, "/in/f.csv"),
        goal.file_format("f"),
        out=folder / "staged.parquet",
        quarantine=folder / "rejects.parquet",
        work=folder / "work",
    )
    assert staged.quarantined == 0
    lists = []
    for key, declared in TENANT.properties.items():
        mapping = FieldMapping(field=f"f.{key}", property=key)
        reader = ValueReader.of_field(goal, f"f.{key}", declared, zone="Europe/Brussels", mapping=mapping)
        cell = cleaned_cell(name(key), nested=False)
        lists.append(named(reader.texts(cell, reader.at_once(cell)), key))
    query = sql("SELECT $lists FROM $staged ORDER BY line", lists=lists, staged=parquet(staged.path))
    cursor = session.execute(render(query))
    return [dict(zip(TYPES, row, strict=True)) for row in cursor.fetchall()]
