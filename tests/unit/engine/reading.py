"""What the reader's tests share: stage bytes, look at the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from crosswalk.config.connection import Format
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.engine.read import LocalFile, StagedFile, stage_file
from crosswalk.engine.session import Session


@dataclass
class Result:
    """A staged file and the content of its two Parquet files."""

    staged: StagedFile
    rows: list[list[str]]
    lines: list[int]
    records: list[int]
    rejects: list[dict[str, Any]]

    @property
    def bad(self) -> list[tuple[int, str]]:
        return [(reject["line"], reject["reason"]) for reject in self.rejects]


def stage(
    session: Session,
    folder: Path,
    data: bytes | Path,
    *,
    name: str = "in/file.csv",
    columns: list[str] | None = None,
    engine: bool = True,
    **form: Any,
) -> Result:
    """Stage some bytes, or a file, and read back what was written."""
    path = data if isinstance(data, Path) else folder / "input.bin"
    if isinstance(data, bytes):
        path.write_bytes(data)
    staged = stage_file(
        session,
        LocalFile(path, name),
        Format(**form),
        out=folder / "rows.parquet",
        quarantine=folder / "rejects.parquet",
        work=folder / "work",
        columns=columns,
        engine=engine,
    )
    rejects = pq.read_table(folder / "rejects.parquet")
    assert rejects.schema.equals(QUARANTINE_SCHEMA)
    table = pq.read_table(folder / "rows.parquet")
    assert table.column_names == [staged.record_column, staged.line_column, *staged.columns]
    assert not any(column.null_count for column in table.columns)
    cells = [table.column(i).to_pylist() for i in range(2, table.num_columns)]
    result = Result(
        staged,
        [list(row) for row in zip(*cells, strict=True)] if cells else [],
        table.column(1).to_pylist(),
        table.column(0).to_pylist(),
        rejects.to_pylist(),
    )
    assert staged.rows == table.num_rows
    assert staged.quarantined == len(result.rejects)
    assert staged.buckets.total == staged.lines
    return result
