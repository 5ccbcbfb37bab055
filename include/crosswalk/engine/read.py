"""Reads one delimited file into Parquet: every line ends in one bucket, everything stays text, nothing is guessed.

The file is made plain UTF-8 (``decode.py``), its lines are counted and their order is examined (``measure.py``). A file
in plain order goes through the engine; any other through the tolerant splitter (``splitter.py``). Both give the same
rows. The lines counted are then compared with the lines accounted for; where they differ the file is not taken.

Warnings are ``name: sentence``: ``empty_file``, ``header_only``, ``empty_header``, ``duplicate_header``,
``separator_doubtful``, ``encoding_doubtful``, ``cells_cut_or_padded``, ``rows_quarantined``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pyarrow as pa

from crosswalk.config.connection import Format
from crosswalk.core.errors import FatalError
from crosswalk.engine.decode import LocalFile, Prepared, prepare, text_chunks
from crosswalk.engine.dialect import BLOCK, LINE, RECORD, Dialect, Header, doubtful_separator, normalise_name
from crosswalk.engine.lines import LineSource
from crosswalk.engine.measure import Measure, PlainCheck, measure
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.engine.session import BadInput, Session, identifier, literal, write_parquet
from crosswalk.engine.splitter import Buckets, Splitter
from crosswalk.engine.staged_rows import ParquetSink, StagedRows

__all__ = ["LocalFile", "StagedFile", "read_header", "stage_file"]

ENGINE_COLUMNS = 500  # beyond that the engine's buffers outgrow the memory of a task


@dataclass(frozen=True)
class StagedFile:
    """One file as read.

    Attributes:
        name: its path on the source.
        path: Parquet: record number, physical line, then a text column per name of ``columns``; '' for empty cells.
        columns: the columns written, in the order of the file.
        original_columns: their names as the file writes them.
        rows: records taken.
        quarantined: records set aside, in the quarantine file.
        lines: physical lines of the file.
        bytes: size of the file as it was delivered.
        warnings: ``name: sentence``.
        header: all columns of the file, also those not written.
        record_column, line_column: names of the two numbers in ``path``; other than ``record`` and ``line`` only where
            the file has columns of these names itself.
        buckets: lines by where they ended.
    """

    name: str
    path: Path
    columns: list[str]
    original_columns: list[str]
    rows: int
    quarantined: int
    lines: int
    bytes: int
    warnings: list[str]
    header: list[str] = field(default_factory=list)
    record_column: str = RECORD
    line_column: str = LINE
    buckets: Buckets = field(default_factory=Buckets)


def read_header(local: LocalFile, form: Format, work: Path) -> list[str]:
    """The column names of a file, by the same reader as a run; reads only its beginning.

    Args:
        local: the file.
        form: how it is to be read.
        work: scratch folder; not used today.

    Raises:
        RejectedError: the file cannot be read as a whole.
    """
    dialect = Dialect.of(form)
    splitter = Splitter(LineSource(text_chunks(local, form), dialect, local.name), dialect, local.name)
    return list(splitter.read_header().columns)


def stage_file(
    session: Session,
    local: LocalFile,
    form: Format,
    *,
    out: Path,
    quarantine: Path,
    work: Path,
    columns: Collection[str] | None = None,
    engine: bool = True,
) -> StagedFile:
    """Read one file into Parquet.

    Args:
        session: the engine, opened with ``ordered``.
        local: the file.
        form: how it is to be read.
        out: the Parquet file to write.
        quarantine: the Parquet file for records set aside; always written.
        work: folder for temporary copies.
        columns: the columns to write; None for all. Names that the file lacks are left out.
        engine: False never uses the engine's reader (the tests compare both ways).

    Raises:
        RejectedError: the file cannot be read as a whole.
        FatalError: the lines of the file and those accounted for differ (``accounting``).
    """
    dialect = Dialect.of(form)
    prepared = prepare(local, form, work)
    try:
        splitter = Splitter(LineSource(prepared.chunks(), dialect, local.name), dialect, local.name)
        job = _Job(session, local, dialect, prepared, splitter, splitter.read_header(), out, quarantine, columns)
        return job.run(engine=engine)
    finally:
        prepared.remove()


@dataclass
class _Job:
    """One call of :func:`stage_file` after its header is known."""

    session: Session
    local: LocalFile
    dialect: Dialect
    prepared: Prepared
    splitter: Splitter
    header: Header
    out: Path
    quarantine: Path
    wanted: Collection[str] | None

    def __post_init__(self) -> None:
        names = None if self.wanted is None else {normalise_name(name) for name in self.wanted}
        self.positions = [i for i, name in enumerate(self.header.columns) if names is None or name in names]
        taken = {self.header.columns[i].casefold() for i in self.positions}
        self.record_column, self.line_column = _unused(RECORD, taken), _unused(LINE, taken)

    def run(self, *, engine: bool) -> StagedFile:
        """Measure, read, account."""
        before = self.splitter.buckets.preamble + self.splitter.buckets.header
        found = measure(self.prepared.chunks(BLOCK // 2), before, self._check(before) if engine else None)
        rows = self._by_engine(found, before) if found.plain and found.lines > before else None
        if rows is not None:
            buckets, quarantined = self.splitter.buckets, 0
            buckets.rows = rows
        else:
            rows, quarantined = self._by_splitter()
            buckets = self.splitter.buckets
        if buckets.total != found.lines:
            self.out.unlink(missing_ok=True)
            self.quarantine.unlink(missing_ok=True)
            raise FatalError(
                f"{found.lines} lines were counted but {buckets.total} accounted for; nothing of the file is taken.",
                remedy="Keep the file and report it: the reader has a fault.",
                code="accounting",
                file=self.local.name,
            )
        return StagedFile(
            name=self.local.name,
            path=self.out,
            columns=[self.header.columns[i] for i in self.positions],
            original_columns=[self.header.originals[i] for i in self.positions],
            rows=rows,
            quarantined=quarantined,
            lines=found.lines,
            bytes=self.local.path.stat().st_size,
            warnings=self._warnings(rows, quarantined),
            header=list(self.header.columns),
            record_column=self.record_column,
            line_column=self.line_column,
            buckets=buckets,
        )

    # -- the engine's way --------------------------------------------------------------------------------------------

    def _check(self, before: int) -> PlainCheck | None:
        """The check of plain order, or None where the dialect or the header's form rules the engine out."""
        dialect, width, buckets = self.dialect, self.header.width, self.splitter.buckets
        simple = (
            len(dialect.separator) == 1
            and dialect.separator.isascii()
            and not (dialect.escape or dialect.comment or dialect.skip_footer)
            and 1 < width <= ENGINE_COLUMNS
            and buckets.total == before
            and buckets.header == dialect.header_rows
            and not set("*?[") & set(str(self.prepared.path))
        )
        if not simple:
            return None
        first = next(self.prepared.chunks(BLOCK // 2), b"")
        at = first.find(b"\n")
        return PlainCheck(
            dialect, width, crlf=first[at - 1 : at] == b"\r" if at > 0 else False, header=self.header.cells
        )

    def _by_engine(self, found: Measure, before: int) -> int | None:
        """Rows written by the engine's reader; None when it does not see exactly the lines that were counted."""
        ordered = self.session.execute("SELECT current_setting('preserve_insertion_order')").fetchone()
        if ordered != (True,):
            return None  # records could not be numbered
        names = [f"c{i}" for i in range(self.header.width)]
        typed = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
        chosen = [f"{self._cell(f'c{i}')} AS {identifier(self.header.columns[i])}" for i in self.positions]
        query = f"""
            SELECT row_number() OVER () AS {identifier(self.record_column)},
                   row_number() OVER () + {before} AS {identifier(self.line_column)}{"".join(f", {c}" for c in chosen)}
            FROM read_csv({literal(self.prepared.path)}, columns = {{{typed}}}, auto_detect = false, header = false,
                 skip = {before}, delim = {literal(self.dialect.separator)}, quote = {literal(self.dialect.quote)},
                 escape = {literal(self.dialect.quote)}, strict_mode = true, force_not_null = {names!r})"""
        try:
            rows = write_parquet(self.session, query, self.out, quick=True)
        except BadInput:
            return None
        if rows != found.lines - before:
            return None
        with self._sink(self.quarantine, QUARANTINE_SCHEMA):
            return rows

    def _cell(self, name: str) -> str:
        if not self.dialect.nulls:
            return name
        return f"CASE WHEN {name} IN ({', '.join(map(literal, sorted(self.dialect.nulls)))}) THEN '' ELSE {name} END"

    # -- the tolerant way --------------------------------------------------------------------------------------------

    def _by_splitter(self) -> tuple[int, int]:
        """Rows taken and set aside by the tolerant splitter."""
        names = [self.record_column, self.line_column]
        schema = pa.schema(
            [(name, pa.int64()) for name in names] + [(self.header.columns[i], pa.string()) for i in self.positions]
        )
        with ExitStack() as stack:
            good = stack.enter_context(self._sink(self.out, schema))
            bad = stack.enter_context(self._sink(self.quarantine, QUARANTINE_SCHEMA))
            staged = StagedRows(good, bad, self.positions, self.dialect.nulls, self.local.name)
            for batch in self.splitter.batches():
                staged.add(batch)
        return good.rows, bad.rows

    @contextmanager
    def _sink(self, path: Path, schema: pa.Schema) -> Iterator[ParquetSink]:
        with ParquetSink(path, schema) as sink:
            yield sink

    # -- warnings ----------------------------------------------------------------------------------------------------

    def _warnings(self, rows: int, quarantined: int) -> list[str]:
        found = [*self.prepared.warnings, *self.header.warnings]
        if not rows + quarantined:
            found.append(
                "header_only: The file has a header but no rows."
                if self.splitter.buckets.header
                else "empty_file: The file holds no data."
            )
        mark = doubtful_separator(self.header.originals, self.dialect.separator)
        if mark:
            found.append(f'separator_doubtful: The header is one column that holds "{mark}", a usual separator.')
        if self.splitter.padded:
            found.append(f"cells_cut_or_padded: {self.splitter.padded} rows had more or fewer cells than the header.")
        if quarantined:
            found.append(f"rows_quarantined: {quarantined} records could not be read and are in quarantine.")
        return found


def _unused(name: str, taken: set[str]) -> str:
    return next(n for n in chain([name], (f"{name}_{i}" for i in range(1, 20_000))) if n not in taken)
