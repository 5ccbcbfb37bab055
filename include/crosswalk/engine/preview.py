"""First rows and date values of a staged file, for a person; what is shown went through the reader of every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from crosswalk.engine.read import StagedFile
from crosswalk.engine.session import Session, identifier, literal


def preview(staged: StagedFile, rows: int = 10) -> tuple[list[str], list[list[str]]]:
    """The columns of a staged file and its first rows, as text.

    They are the first ones of the Parquet file. A query for them would keep a block of each column in memory, which is
    too much for some thousand columns.

    Example:
        >>> columns, first = preview(staged, rows=5)
    """
    if not staged.columns:
        return [], []
    found: list[list[str]] = []
    with pq.ParquetFile(staged.path) as table:
        batches = table.iter_batches(batch_size=max(rows, 1), columns=staged.columns, use_threads=False)
        while len(found) < rows and (batch := next(batches, None)) is not None:
            found += [list(row) for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)]
    return list(staged.columns), found[:rows]


def preview_rejects(session: Session, quarantine: Path, most: int) -> list[dict[str, Any]]:
    """The first records that the reader set aside: line, reason and message, without their text."""
    found = session.execute(
        f"SELECT line, reason, message FROM read_parquet({literal(quarantine)}) ORDER BY line LIMIT {int(most)}"
    ).fetchall()
    return [{"line": line, "reason": reason, "message": message} for line, reason, message in found]


def preview_dates(
    session: Session, staged: StagedFile, column: str, pattern: str | None, timezone: str, samples: int = 10
) -> dict[str, Any]:
    """How the dates of one column are understood with a pattern and a zone, before anything is imported.

    Args:
        session: the engine.
        staged: the file as read.
        column: one of its columns.
        pattern: strptime pattern, or None for ISO 8601 and epochs.
        timezone: zone of values without an offset.
        samples: how many distinct values to show; those that do not match come first.

    Returns:
        ``samples``: list of ``text``, ``parsed`` (ISO 8601 in UTC, or None) and ``rows``; and the counts of rows
        ``checked``, ``matching``, ``not_matching`` and ``empty``.
    """
    from crosswalk.engine.functions import parse_datetime

    name = identifier(column)
    session.execute(f"""
        CREATE OR REPLACE TEMP TABLE date_preview AS
        SELECT value, rows, try_cast({parse_datetime("value", pattern, timezone)} AS BIGINT) AS moment
        FROM (
            SELECT {name} AS value, count(*) AS rows, min({identifier(staged.record_column)}) AS first
            FROM read_parquet({literal(staged.path)}) WHERE trim({name}) <> '' GROUP BY value
        ) ORDER BY moment IS NOT NULL, first""")
    shown = session.execute(f"""
        SELECT value, strftime(make_timestamp_ms(moment), '%Y-%m-%dT%H:%M:%S.%gZ'), rows
        FROM date_preview LIMIT {int(samples)}""").fetchall()
    counts = session.execute("""
        SELECT coalesce(sum(rows) FILTER (WHERE moment IS NOT NULL), 0)::BIGINT,
               coalesce(sum(rows) FILTER (WHERE moment IS NULL), 0)::BIGINT FROM date_preview""").fetchone()
    session.execute("DROP TABLE date_preview")
    matching, not_matching = counts or (0, 0)
    return {
        "samples": [{"text": value, "parsed": parsed, "rows": rows} for value, parsed, rows in shown],
        "checked": matching + not_matching,
        "matching": matching,
        "not_matching": not_matching,
        "empty": staged.rows - matching - not_matching,
    }
