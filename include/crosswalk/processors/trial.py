"""Run processors over a handful of rows, through the same code as a run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crosswalk.core.errors import ConfigError
from crosswalk.core.registry import Registry
from crosswalk.engine.processing import KEYS, process_rows
from crosswalk.engine.session import open_session
from crosswalk.processors.parse import build_step


def try_steps(
    steps: Sequence[Mapping[str, Any]],
    rows: list[dict[str, Any]],
    registry: Registry,
    own: Mapping[str, Path],
    now_ms: int,
) -> list[dict[str, Any]]:
    """The rows afterwards, in their order.

    Raises:
        ConfigError: a step is not right.
    """
    processors: list[Any] = []
    for item in steps:
        step, problems = build_step(item, registry, own)
        if step is None:
            raise ConfigError("; ".join(text for _, text in problems), code=problems[0][0])
        processors.append(step)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(_table(rows), folder / "rows.parquet")
        with open_session(folder / "tmp", memory_mb=200, threads=1) as session:
            process_rows(
                session,
                rows=folder / "rows.parquet",
                processors=processors,
                out=folder / "out.parquet",
                quarantine=folder / "quarantine.parquet",
                now_ms=now_ms,
            )
        found = sorted(pq.read_table(folder / "out.parquet").to_pylist(), key=lambda row: row["row_id"])
    return [{field: value for field, value in row.items() if field not in KEYS} for row in found]


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "row_id": pa.array(range(1, len(rows) + 1), pa.int64()),
        "file_index": pa.array([0] * len(rows), pa.int32()),
        "line": pa.array(range(2, len(rows) + 2), pa.int64()),
    }
    for field in dict.fromkeys(field for row in rows for field in row):
        values = [row.get(field) for row in rows]
        is_list = any(isinstance(value, list) for value in values)
        columns[field] = pa.array(values, pa.list_(pa.string()) if is_list else pa.string())
    return pa.table(columns)
