"""Stage small tables the way the reader does, and join them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crosswalk.config.connection import ImportProfiles
from crosswalk.engine.join import JoinResult, Source, join_files
from crosswalk.engine.session import open_session

Table = tuple[list[str], list[list[str]]]


def goal_of(files: list[dict[str, Any]], **more: Any) -> ImportProfiles:
    """A goal with these file blocks; the first column of the primary file is its identifier unless given."""
    identifiers = more.pop("identifiers", [{"field": f"{files[0]['name']}.id", "property": "customer_id"}])
    blocks = [{"path": f"/in/{file['name']}.csv", **file} for file in files]
    return ImportProfiles.model_validate(
        {"import_profiles": "orders", "files": blocks, "identifiers": identifiers, **more}
    )


def stage(path: Path, columns: Sequence[str], rows: list[list[str]], first_line: int = 2) -> Path:
    """A staged file: record, line and the columns as text."""
    arrays = [
        pa.array(range(1, len(rows) + 1), pa.int64()),
        pa.array(range(first_line, first_line + len(rows)), pa.int64()),
    ]
    arrays += [pa.array([row[number] for row in rows], pa.string()) for number in range(len(columns))]
    pq.write_table(pa.Table.from_arrays(arrays, names=["record", "line", *columns]), path)
    return path


def stage_all(folder: Path, goal: ImportProfiles, tables: dict[str, list[Table]]) -> list[Source]:
    """Stage each block's tables in the order of the goal's files."""
    folder.mkdir(parents=True, exist_ok=True)
    sources: list[Source] = []
    for block in goal.files:
        for number, (columns, rows) in enumerate(tables.get(block.name, [])):
            path = stage(folder / f"{len(sources)}.parquet", columns, rows)
            sources.append(Source(block, len(sources), f"/in/{block.name}_{number}.csv", path, list(columns)))
    return sources


def join(
    folder: Path, goal: ImportProfiles, tables: dict[str, list[Table]], fields: list[str], **limits: int
) -> tuple[JoinResult, list[dict[str, Any]]]:
    """Join, and read the rows in order of row_id."""
    limits = {"max_rows_per_match": 1000, **limits}
    sources = stage_all(folder / "staged", goal, tables)
    out = folder / "rows.parquet"
    with open_session(folder / "tmp", memory_mb=200, threads=2) as session:
        result = join_files(
            session,
            goal=goal,
            sources=sources,
            fields=fields,
            out=out,
            quarantine=folder / "quarantine.parquet",
            **limits,
        )
    rows = sorted(pq.read_table(out).to_pylist(), key=lambda row: row["row_id"])
    return result, rows
