"""Runs a processor written in Python over chunks of rows, as pandas frames on Arrow memory.

The frame has the row id as index and the processor's input fields as columns: NULL for absent, '' for an empty cell. A
row that is missing afterwards is filtered; a row that was not there before is refused. When the processor raises, the
chunk is halved until the rows that make it raise stand alone: those go to quarantine, the others pass.
"""

from __future__ import annotations

import json
import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from crosswalk.core.errors import ConfigError
from crosswalk.core.names import display
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA, ROW
from crosswalk.engine.session import BATCH_ROWS, Session
from crosswalk.engine.staged_rows import ParquetSink

if TYPE_CHECKING:
    import pandas as pd

RAW_BYTES = 64 * 1024
# A processor that fails on so many rows and passes none is broken; the rows are not at fault.
HOPELESS = 1_000
REASONS = {"processor_failed": "The processor raised on this row."}


class FrameStep(ABC):
    """A processor that works on frames; ``processors/base.py`` has the class for people.

    Attributes:
        name: as connections write it.
    """

    name: str

    @property
    @abstractmethod
    def inputs(self) -> list[str]:
        """Fields that the frame holds."""

    @property
    @abstractmethod
    def outputs(self) -> list[str]:
        """Fields that are taken from the returned frame."""

    @abstractmethod
    def process(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows to keep, with the output fields."""


def run_frames(
    session: Session,
    query: str,
    columns: dict[str, bool],
    step: FrameStep,
    out: Path,
    sources: Sequence[str],
    rejects: ParquetSink,
) -> tuple[int, int]:
    """Run a step over a query's rows; returns how many rows were kept and how many failed.

    Args:
        session: the engine.
        query: rows with row_id, file_index, line and the fields.
        columns: the fields, and whether they hold lists.
        step: the processor.
        out: Parquet of the rows kept.
        sources: path of each source by file_index.
        rejects: the quarantine.
    """
    makes_lists = bool(step.inputs) and all(columns[column] for column in step.inputs)
    kinds = {column: _kind(columns.get(column, makes_lists)) for column in [*columns, *step.outputs]}
    schema = pa.schema([("row_id", pa.int64()), ("file_index", pa.int32()), ("line", pa.int64()), *kinds.items()])
    failed = 0
    with ParquetSink(out, schema) as sink:
        for batch in session.sql(query).to_arrow_reader(BATCH_ROWS):
            run = _Chunk(step, schema)
            run.work_on(pa.Table.from_batches([batch]))
            for table in run.kept:
                for part in table.to_batches():
                    sink.write(part)
            if run.failures:
                rejects.write(_rejects(step, run.failures, sources))
                failed += len(run.failures)
    return sink.rows, failed


def _kind(is_list: bool) -> pa.DataType:
    return pa.list_(pa.string()) if is_list else pa.string()


class _Chunk:
    """One chunk of rows on its way through a step."""

    def __init__(self, step: FrameStep, schema: pa.Schema) -> None:
        self.step = step
        self.schema = schema
        self.kept: list[pa.Table] = []
        self.failures: list[tuple[dict[str, Any], str]] = []
        self.passed = 0

    def work_on(self, rows: pa.Table) -> None:
        """Pass the rows through, halving where the step raises."""
        try:
            kept = self._call(rows)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's code may raise anything; the row is set aside with its class
            self._halve(rows, error)
            return
        self.passed += rows.num_rows
        self.kept.append(kept)

    def _halve(self, rows: pa.Table, error: Exception) -> None:
        if rows.num_rows > 1:
            middle = rows.num_rows // 2
            self.work_on(rows.slice(0, middle))
            self.work_on(rows.slice(middle))
            return
        place = _place(error)
        self.failures.append((rows.to_pylist()[0], f"{type(error).__name__}{place}"))
        if len(self.failures) >= HOPELESS and not self.passed:
            raise ConfigError(
                f'Processor "{self.step.name}" raised {type(error).__name__}{place} on each of the first '
                f"{HOPELESS} rows.",
                remedy="Correct the processor.",
                code="processor_failed",
            ) from None

    def _call(self, rows: pa.Table) -> pa.Table:
        import pandas as pd  # loaded only where a processor wants frames

        index = pd.Index(rows.column("row_id").to_pandas(), name="row_id")
        frame = rows.select(self.step.inputs).to_pandas(types_mapper=pd.ArrowDtype)
        frame.index = index
        result = self.step.process(frame)
        if not isinstance(result, pd.DataFrame):
            raise self._broken(f"returned {type(result).__name__} instead of a frame")
        missing = [column for column in self.step.outputs if column not in result.columns]
        if missing:
            raise self._broken(f"returned a frame without its output field {display(missing[0])}")
        if not result.index.is_unique:
            raise self._broken("returned the same row twice")
        places = index.get_indexer(result.index)
        if (places < 0).any():
            raise self._broken("returned rows that it was not given; keep the frame's index")
        kept = rows.take(pa.array(places, pa.int64()))
        arrays = []
        for kind in self.schema:
            if kind.name in self.step.outputs:
                array = pa.array(result[kind.name], type=kind.type, from_pandas=True)
                arrays.append(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
            else:
                arrays.append(kept.column(kind.name).cast(kind.type))
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _broken(self, what: str) -> ConfigError:
        return ConfigError(
            f'Processor "{self.step.name}" {what}.',
            remedy="Correct the processor; docs/processors.md says what it may return.",
            code="processor_contract",
        )


def _place(error: Exception) -> str:
    """File and line of the user's code where it was raised; never the values."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if "site-packages" not in frame.filename and "/lib/python" not in frame.filename]
    return f" ({Path(own[-1].filename).name} line {own[-1].lineno})" if own else ""


def _rejects(step: FrameStep, failures: list[tuple[dict[str, Any], str]], sources: Sequence[str]) -> pa.RecordBatch:
    records = []
    for row, what in failures:
        file = sources[row["file_index"]] if row["file_index"] < len(sources) else None
        raw = json.dumps({column: row[column] for column in step.inputs}, ensure_ascii=False)
        records.append(
            {
                "row_id": row["row_id"],
                "file": file,
                "line": row["line"],
                "field": None,
                "stage": "process",
                "scope": ROW,
                "reason": "processor_failed",
                "message": f'Processor "{step.name}" raised {what}.',
                "raw": raw.encode()[:RAW_BYTES].decode(errors="ignore"),
            }
        )
    return pa.RecordBatch.from_pylist(records, schema=QUARANTINE_SCHEMA)
