"""Writes records and rejects of the tolerant way to Parquet, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from crosswalk.core.staging import durable
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA, ROW
from crosswalk.engine.splitter import Batch

GROUP_ROWS = 120_000
GROUP_BYTES = 48 * 1024 * 1024


class ParquetSink:
    """A Parquet file that grows batch by batch and appears under its name when the block ends without an error."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        self._path = path
        self._stack = ExitStack()
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._held_bytes = 0

    def __enter__(self) -> ParquetSink:
        temporary = self._stack.enter_context(durable(self._path))
        self._writer = self._stack.enter_context(pq.ParquetWriter(temporary, self._schema, compression="snappy"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._stack.__exit__(kind, error, trace)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; they reach the file in groups."""
        self._held.append(batch)
        self.rows += batch.num_rows
        self._held_rows += batch.num_rows
        self._held_bytes += batch.nbytes
        if self._held_rows >= GROUP_ROWS or self._held_bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._held_rows:
            self._writer.write_table(pa.Table.from_batches(self._held, self._schema), row_group_size=self._held_rows)
        self._held, self._held_rows, self._held_bytes = [], 0, 0


class StagedRows:
    """Good records to one file, rejects to another.

    Args:
        rows: sink of the records.
        rejects: sink of the quarantine.
        positions: indexes of the columns to write.
        nulls: cells that mean "no value".
        file: the source file's name.
    """

    def __init__(
        self, rows: ParquetSink, rejects: ParquetSink, positions: Sequence[int], nulls: frozenset[str], file: str
    ) -> None:
        self._rows = rows
        self._rejects = rejects
        self._positions = positions
        self._nulls = nulls
        self._file = file

    def add(self, batch: Batch) -> None:
        """Write one batch of the splitter."""
        if batch.rows:
            columns = [pa.array(batch.records, pa.int64()), pa.array(batch.lines, pa.int64())]
            every = list(zip(*batch.rows, strict=True))
            for position in self._positions:
                cells: Sequence[str] = every[position]
                if self._nulls:
                    cells = ["" if cell in self._nulls else cell for cell in cells]
                columns.append(pa.array(cells, pa.string()))
            self._rows.write(pa.RecordBatch.from_arrays(columns, schema=self._rows._schema))
        if batch.bad:
            self._rejects.write(quarantine_batch(self._file, batch.bad))


def quarantine_batch(file: str, bad: list[tuple[int, str, str, str]]) -> pa.RecordBatch:
    """Rejects of the reader in the schema that all steps share."""
    lines, reasons, messages, raws = zip(*bad, strict=True)
    count = len(bad)
    values = {
        "row_id": pa.nulls(count, pa.int64()),
        "file": pa.repeat(file, count),
        "line": pa.array(lines, pa.int64()),
        "field": pa.nulls(count, pa.string()),
        "stage": pa.repeat("read", count),
        "scope": pa.repeat(ROW, count),
        "reason": pa.array(reasons, pa.string()),
        "message": pa.array(messages, pa.string()),
        "raw": pa.array(raws, pa.string()),
    }
    return pa.RecordBatch.from_arrays([values[name] for name in QUARANTINE_SCHEMA.names], schema=QUARANTINE_SCHEMA)
