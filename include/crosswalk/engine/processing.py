"""Run a goal's processors over the joined rows, in their order.

SQL processors are stacked as views and run as one query; a processor in Python works on chunks of rows (see
``frame_chunks.py``), so what stands before it is written first.

Reasons of quarantine: ``processor_failed`` (a processor in Python raised on this row).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from crosswalk.core.errors import ConfigError
from crosswalk.core.names import display
from crosswalk.engine.frame_chunks import FrameStep, run_frames
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.engine.queries import select
from crosswalk.engine.session import BATCH_ROWS, Session, write_parquet
from crosswalk.engine.staged_rows import ParquetSink
from crosswalk.engine.template import Node, name, named, parquet, render

KEYS = ("row_id", "file_index", "line")


@dataclass
class Rows:
    """The rows as they come to a processor; what it may build its query on.

    Attributes:
        columns: every field, and whether it holds lists.
        now_ms: the moment of the run, epoch milliseconds.
    """

    session: Session
    view: str
    columns: dict[str, bool]
    now_ms: int
    work: Path

    def is_list(self, column: str) -> bool:
        """Whether the field holds a list of values per row."""
        if column not in self.columns:
            known = ", ".join(display(known) for known in self.columns)
            raise ConfigError(
                f'A processor reads field "{display(column)}", which the rows do not have.',
                remedy=f"They have: {known}.",
                code="unknown_field",
            )
        return self.columns[column]

    def value(self, column: str) -> Node:
        """The field, as a node."""
        self.is_list(column)
        return name(column, "r")

    def select(self, frame: str = "SELECT FROM r") -> exp.Select:
        """A SELECT over these rows, which are called ``r``."""
        table = exp.Table(this=exp.to_identifier(self.view), alias=exp.TableAlias(this=exp.to_identifier("r")))
        return select(frame).from_(table, copy=False)

    def with_values(self, values: dict[str, Node]) -> exp.Select:
        """All fields, some with other values, new ones at the end."""
        cells = [name(key, "r") for key in KEYS]
        cells += [named(values[column], column) if column in values else name(column, "r") for column in self.columns]
        cells += [named(node, column) for column, node in values.items() if column not in self.columns]
        return self.select().select(*cells, copy=False)

    def where(self, condition: Node) -> exp.Select:
        """The rows for which the condition is true."""
        return self.with_values({}).where(condition, copy=False)

    def translated(self, column: str, change: Callable[[Any], Any]) -> Path:
        """Call a Python function once for each distinct value of a field.

        Returns:
            A Parquet file with the columns before and after.
        """
        kind = pa.list_(pa.string()) if self.is_list(column) else pa.string()
        values = self.select().select(named(self.value(column), "v"), copy=False).distinct(copy=False)
        values = values.where(self.value(column).is_(exp.Null()).not_(), copy=False)
        path = self.work / f"{self.view}_{len(list(self.work.glob('*.parquet')))}.parquet"
        schema = pa.schema([("before", kind), ("after", kind)])
        with ParquetSink(path, schema) as sink:
            for batch in self.session.sql(render(values)).to_arrow_reader(BATCH_ROWS):
                before = batch.column(0).cast(kind)
                after = pa.array([change(value) for value in before.to_pylist()], kind)
                sink.write(pa.RecordBatch.from_arrays([before, after], schema=schema))
        return path


class SqlStep(Protocol):
    """A processor that is a query over the rows."""

    name: str
    filters: bool

    def apply(self, rows: Rows) -> exp.Query:
        """The rows afterwards: row_id, file_index, line and all fields."""


@dataclass
class ProcessResult:
    """What the processors did: rows_in = rows_out + sum of filtered + failed."""

    rows_in: int = 0
    rows_out: int = 0
    filtered: dict[str, int] = field(default_factory=dict)
    failed: int = 0


def process_rows(
    session: Session,
    *,
    rows: Path,
    processors: Sequence[SqlStep | FrameStep],
    out: Path,
    quarantine: Path,
    now_ms: int,
    sources: Sequence[str] = (),
) -> ProcessResult:
    """Run the processors and write the rows that are left, with the fields that were made.

    Args:
        session: the engine.
        rows: the joined rows.
        processors: in the order in which they run.
        out: where the rows go.
        quarantine: where rows go on which a processor raised; always written.
        now_ms: the moment of the run.
        sources: path of each source, by ``file_index``, for the quarantine.

    Raises:
        ConfigError: a processor asks for a field that is not there, or a user's processor breaks its contract.
    """
    work = out.with_name(f"{out.stem}.work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        with ParquetSink(quarantine, QUARANTINE_SCHEMA) as rejects:
            chain = _Chain(session, rows, work, now_ms)
            for position, processor in enumerate(processors):
                if isinstance(processor, FrameStep):
                    chain.run_frames(processor, sources, rejects)
                else:
                    chain.stack(processor, is_last_loss=not any(_loses(later) for later in processors[position + 1 :]))
            return chain.finish(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _loses(processor: SqlStep | FrameStep) -> bool:
    return isinstance(processor, FrameStep) or processor.filters


class _Chain:
    """The views stacked so far, and the counts."""

    def __init__(self, session: Session, rows: Path, work: Path, now_ms: int) -> None:
        self.session = session
        self.work = work
        self.now_ms = now_ms
        self.result = ProcessResult(rows_in=pq.read_metadata(rows).num_rows)
        self.count = self.result.rows_in
        self.views = 0
        self.uncounted: str | None = None
        self._base(rows)

    def _base(self, path: Path) -> None:
        self._view(select("SELECT * FROM $rows", rows=parquet(path)))

    def _view(self, query: exp.Query) -> None:
        self.views += 1
        self.session.execute(f"CREATE OR REPLACE TEMP VIEW processed_{self.views} AS {query.sql(dialect='duckdb')}")
        self.view = f"processed_{self.views}"

    def _rows(self) -> Rows:
        described = self.session.execute(f"DESCRIBE {self.view}").fetchall()
        columns = {str(row[0]): str(row[1]).endswith("[]") for row in described if row[0] not in KEYS}
        return Rows(self.session, self.view, columns, self.now_ms, self.work)

    def stack(self, processor: SqlStep, *, is_last_loss: bool) -> None:
        """Put one SQL processor on top; nothing is read yet, unless its losses must be counted."""
        self._view(processor.apply(self._rows()))
        if not processor.filters:
            return
        if is_last_loss:
            self.uncounted = processor.name
            return
        (after,) = self.session.execute(f"SELECT count(*) FROM {self.view}").fetchone() or (0,)
        self._lost(processor.name, int(after))

    def run_frames(self, processor: FrameStep, sources: Sequence[str], rejects: ParquetSink) -> None:
        """Run one Python processor; its rows become the new base."""
        path = self.work / f"{self.view}.parquet"
        rows = self._rows()
        query = render(rows.with_values({}))
        for column in processor.inputs:
            rows.is_list(column)
        kept, failed = run_frames(self.session, query, rows.columns, processor, path, sources, rejects)
        self.result.failed += failed
        self.count -= failed
        self._lost(processor.name, kept)
        self._base(path)

    def _lost(self, processor: str, after: int) -> None:
        if after != self.count or processor not in self.result.filtered:
            self.result.filtered[processor] = self.result.filtered.get(processor, 0) + self.count - after
        self.count = after

    def finish(self, out: Path) -> ProcessResult:
        """Write what is left and close the accounts."""
        self.result.rows_out = write_parquet(self.session, f"SELECT * FROM {self.view}", out)
        if self.uncounted:
            self._lost(self.uncounted, self.result.rows_out)
        for number in range(1, self.views + 1):
            self.session.execute(f"DROP VIEW IF EXISTS processed_{number}")
        return self.result
