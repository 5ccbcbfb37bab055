"""Run processors over a handful of rows, through the same code as a run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crosswalk.core.errors import ConfigError
from crosswalk.core.registry import Registry
from crosswalk.engine.processing import KEYS, process_rows
from crosswalk.engine.session import open_session
from crosswalk.processors.parse import build_step


@dataclass(frozen=True)
class Trial:
    """What became of the rows.

    Attributes:
        rows: those that are left, by their position among the rows given.
        rejects: position, reason and message of those that a processor raised on.
        filtered: how many rows each processor left out.
    """

    rows: dict[int, dict[str, Any]]
    rejects: list[tuple[int, str, str]]
    filtered: dict[str, int] = field(default_factory=dict)


def build_steps(steps: Sequence[Mapping[str, Any]], registry: Registry, own: Mapping[str, Path]) -> list[Any]:
    """The processors of these steps.

    Raises:
        ConfigError: a step is not right.
    """
    processors: list[Any] = []
    for item in steps:
        step, problems = build_step(item, registry, own)
        if step is None:
            raise ConfigError("; ".join(text for _, text in problems), code=problems[0][0])
        processors.append(step)
    return processors


def run_steps(processors: Sequence[Any], rows: Sequence[Mapping[str, Any]], now_ms: int) -> Trial:
    """Run processors over a few rows of fields."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(_table(rows), folder / "rows.parquet")
        with open_session(folder / "tmp", memory_mb=200, threads=1) as session:
            result = process_rows(
                session,
                rows=folder / "rows.parquet",
                processors=processors,
                out=folder / "out.parquet",
                quarantine=folder / "quarantine.parquet",
                now_ms=now_ms,
                sources=["trial"],
            )
        found = sorted(pq.read_table(folder / "out.parquet").to_pylist(), key=lambda row: row["row_id"])
        rejects = pq.read_table(folder / "quarantine.parquet").to_pylist()
    left = {row["row_id"] - 1: {name: cell for name, cell in row.items() if name not in KEYS} for row in found}
    set_aside = sorted((row["row_id"] - 1, row["reason"], row["message"]) for row in rejects)
    return Trial(left, set_aside, result.filtered)


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
    return list(run_steps(build_steps(steps, registry, own), rows, now_ms).rows.values())


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "row_id": pa.array(range(1, len(rows) + 1), pa.int64()),
        "file_index": pa.array([0] * len(rows), pa.int32()),
        "line": pa.array(range(2, len(rows) + 2), pa.int64()),
    }
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        is_list = any(isinstance(value, list) for value in values)
        columns[name] = pa.array(values, pa.list_(pa.string()) if is_list else pa.string())
    return pa.table(columns)
