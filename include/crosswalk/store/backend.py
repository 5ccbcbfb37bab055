"""What the store's SQL needs from a database; ``sqlite.py`` and ``postgres.py`` fill it in.

Bulk data goes through a ``RowStatement``: one SQL text that SQLite runs once per bound row (Arrow in, no Python loop,
no staging table) and PostgreSQL runs once over a temporary table filled by COPY.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from crosswalk.core.errors import CrosswalkError, FatalError, RetryableError

T = TypeVar("T")
Parameters = tuple[str | int | float | bytes | None, ...]

KINDS: dict[str, pa.DataType] = {
    "text": pa.string(),
    "json": pa.string(),
    "int": pa.int64(),
    "real": pa.float64(),
    "blob": pa.binary(),
}
ATTEMPTS = 3


class ConflictError(RetryableError):
    """The database chose this transaction as the victim of a deadlock; running it again at once is right."""

    code = "store_conflict"


class UniqueError(FatalError):
    """A batch holds one key twice, where keys of stored rows are looked at first: the plan is wrong."""

    code = "store_repeated_key"


@dataclass(frozen=True)
class RowStatement:
    """One SQL text for many rows.

    Attributes:
        name: of the temporary table on PostgreSQL; unique within a transaction.
        columns: column name to kind (a key of ``KINDS``).
        sql: ``{column}`` stands for a row's value. ``INSERT ... {select} ... {rows}``, ``UPDATE ... {from} WHERE`` and
            ``DELETE ... {using} WHERE`` name where the rows come from; so does ``INSERT ... SELECT ... FROM table
            {beside} WHERE`` for rows of another table.
        plain_insert: the table that the rows go into as they are, where the columns are the table's: PostgreSQL copies
            straight into it. A key that is there already is then a ``UniqueError``.
    """

    name: str
    columns: Mapping[str, str]
    sql: str
    plain_insert: str | None = None

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of its rows."""
        return pa.schema([(name, KINDS[kind]) for name, kind in self.columns.items()])


@dataclass
class Sink(ABC):
    """Takes rows for a statement in pieces; ``finish`` returns how many rows of the store it changed."""

    statement: RowStatement
    constants: Mapping[str, str | int] = field(default_factory=dict)
    rows: int = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Take some rows; columns are found by name."""
        if batch.num_rows:
            self.rows += batch.num_rows
            self._write(self._shape(batch))

    def write_all(self, batches: Iterable[pa.RecordBatch]) -> int:
        """Take all rows and finish."""
        for batch in batches:
            self.write(batch)
        return self.finish()

    @abstractmethod
    def _write(self, batch: pa.RecordBatch) -> None: ...

    @abstractmethod
    def finish(self) -> int:
        """Complete the statement; returns how many rows of the store it changed."""

    def _shape(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = []
        for target in self.statement.schema:
            if target.name in self.constants:
                arrays.append(pa.repeat(pa.scalar(self.constants[target.name], target.type), batch.num_rows))
                continue
            array = batch.column(target.name)
            array = array if array.type.equals(target.type) else array.cast(target.type)
            if pa.types.is_string(target.type):
                refuse_nul(array, f"{self.statement.name}.{target.name}")
            arrays.append(array)
        return pa.record_batch(arrays, schema=self.statement.schema)


def refuse_nul(array: pa.Array, where: str) -> None:
    """Refuse text with a NUL character, which no store keeps faithfully; the reader quarantines such cells.

    Raises:
        FatalError: there is one; the message names the column, not the value.
    """
    _, offsets, data = array.buffers()
    if offsets is None or data is None or not len(array):
        return
    first = struct.unpack_from("<i", offsets, 4 * array.offset)[0]
    last = struct.unpack_from("<i", offsets, 4 * (array.offset + len(array)))[0]
    if b"\x00" not in data.slice(first, last - first).to_pybytes():
        return  # a plain search of the bytes is cheap; a hit may lie under a null and is looked at closely
    if pc.any(pc.match_substring(array, "\x00")).as_py():
        raise FatalError(
            f"A value for {where} holds a NUL character; nothing was written.",
            remedy="Such cells belong in quarantine: please report which step let it pass.",
            code="nul_character",
        )


class Backend(ABC):
    """One database connection, opened on first use, opened again after it was lost or after a fork.

    For one thread. ``tokens`` holds what SQL texts write differently.
    """

    tokens: Mapping[str, str]

    def __init__(self) -> None:
        self._held: Any = None
        self._held_by = 0
        self._streams: list[Callable[[], None]] = []
        self._spare: Any = None
        self._spare_of = 0

    # -- what a backend fills in ----------------------------------------------------------------------------------
    @abstractmethod
    def open(self) -> Any:
        """A new driver connection, set up."""

    @abstractmethod
    def begin(self) -> None:
        """Open a write transaction."""

    @abstractmethod
    def commit(self) -> None:
        """Make it durable."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo it; never raises."""

    @abstractmethod
    def serialise(self) -> None:
        """Within a transaction: wait until no other process applies a batch."""

    @abstractmethod
    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one statement without a result."""

    @abstractmethod
    def execute_counted(self, sql: str) -> int:
        """Run one statement without parameters; how many rows it changed."""

    @abstractmethod
    def query(self, sql: str, parameters: Parameters, schema: pa.Schema) -> list[dict[str, Any]]:
        """Run one small query; rows with the types of ``schema``. Order needs a LIMIT inside the query."""

    @abstractmethod
    def sink(self, statement: RowStatement, constants: Mapping[str, str | int] | None = None) -> Sink:
        """Write many rows."""

    @abstractmethod
    def write_new(self, fast: Callable[[], int], safe: Callable[[], int]) -> int:
        """Within a transaction: write rows whose keys are probably new, ``safe`` also where they are not."""

    @abstractmethod
    def table_exists(self, name: str) -> bool:
        """Whether a table of ours is there."""

    def prepare_file(self) -> None:  # noqa: B027
        """Before the first migration, outside of any transaction."""

    @abstractmethod
    def prepare_database(self) -> None:
        """Before the first migration, inside its transaction: schema, locks against other migrating processes."""

    @abstractmethod
    def stage(self, connection: Any, name: str, rows: pa.RecordBatchReader) -> None:
        """Fill a temporary table of that connection."""

    @abstractmethod
    def unstage(self, connection: Any, name: str) -> None:
        """Remove a temporary table of that connection."""

    @abstractmethod
    def read(self, connection: Any, sql: str, schema: pa.Schema) -> tuple[Iterator[pa.RecordBatch], Callable[[], None]]:
        """Start a query: its batches with the types of ``schema``, and what closes it."""

    @abstractmethod
    def translate(self, error: BaseException) -> CrosswalkError:
        """One of our errors for one of the driver's, without values; drops the connection when it is lost."""

    @abstractmethod
    def is_driver_error(self, error: BaseException) -> bool:
        """Whether the error came from the driver."""

    # -- what follows from it -------------------------------------------------------------------------------------
    @property
    def connection(self) -> Any:
        """The driver connection of this process."""
        if self._held is None or self._held_by != os.getpid():
            self._held = self.open()
            self._held_by = os.getpid()
        return self._held

    def drop(self) -> None:
        """Forget the connection; the next use opens a new one."""
        held, self._held = self._held, None
        if held is not None and self._held_by == os.getpid():
            with self.quietly():
                held.close()

    def close(self) -> None:
        """Close the connection and every stream that was not read to its end."""
        for stop in list(self._streams):
            stop()
        spare, self._spare = self._spare, None
        if spare is not None and self._spare_of == os.getpid():
            with self.quietly():
                spare.close()
        self.drop()

    @contextmanager
    def staged(self, name: str, batch: pa.RecordBatch) -> Iterator[None]:
        """Within a transaction: the rows as a temporary table, for the time of the block."""
        with self.translated():
            self.stage(self.connection, name, pa.RecordBatchReader.from_batches(batch.schema, [batch]))
        yield
        with self.translated():
            self.unstage(self.connection, name)

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Swallow what the driver says while something is given up anyway."""
        try:
            yield
        except Exception as error:
            if not self.is_driver_error(error) and not isinstance(error, RuntimeError):
                raise

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn errors of the driver into ours."""
        try:
            yield
        except Exception as error:
            if not self.is_driver_error(error):
                raise
            raise self.translate(error) from None  # the driver's text may quote values

    def text(self, sql: str) -> str:
        """The SQL text in this backend's words."""
        return sql.format_map(self.tokens) if "{" in sql else sql

    def in_transaction(self, work: Callable[[], T]) -> T:
        """Do the work in one write transaction; the victim of a deadlock is run again, at most three times."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._transaction(work)
            except ConflictError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError  # pragma: no cover

    def _transaction(self, work: Callable[[], T]) -> T:
        self.begin()
        try:
            result = work()
            self.commit()
        except BaseException:
            self.rollback()
            raise
        return result

    def stream(
        self, sql: str, schema: pa.Schema, staged: tuple[str, pa.RecordBatchReader] | None = None
    ) -> pa.RecordBatchReader:
        """A bulk query on a connection of its own: the drivers allow nothing else beside an open result.

        When the reader was read out, its connection is kept for the next one (opening one costs PostgreSQL 0.1 s).

        Args:
            sql: without parameters.
            schema: types of the result.
            staged: name and rows of a temporary table that the query may join.
        """
        connection = self._borrow()
        try:
            with self.translated():
                if staged:
                    self.stage(connection, *staged)
                batches, end = self.read(connection, self.text(sql), schema)
        except BaseException:
            with self.quietly():
                connection.close()
            raise

        def stop() -> None:
            if stop in self._streams:
                self._streams.remove(stop)
                with self.quietly():
                    end()
                    connection.close()

        def pump() -> Iterator[pa.RecordBatch]:
            try:
                with self.translated():
                    yield from batches
                    end()
                    if staged:
                        self.unstage(connection, staged[0])
                if stop in self._streams:
                    self._streams.remove(stop)
                    self._give_back(connection)
            finally:
                stop()

        self._streams.append(stop)
        return pa.RecordBatchReader.from_batches(schema, pump())

    def _borrow(self) -> Any:
        spare, self._spare = self._spare, None
        return spare if spare is not None and self._spare_of == os.getpid() else self.open()

    def _give_back(self, connection: Any) -> None:
        if self._spare is None:
            self._spare, self._spare_of = connection, os.getpid()
        else:
            connection.close()


@dataclass
class Relay:
    """Passes record batches on and remembers an error of their maker, which drivers would only quote as text."""

    source: pa.RecordBatchReader
    error: BaseException | None = None

    def reader(self) -> pa.RecordBatchReader:
        """The same batches."""
        return pa.RecordBatchReader.from_batches(self.source.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self.source:
                for column, kind in zip(batch.columns, batch.schema, strict=True):
                    if pa.types.is_string(kind.type):
                        refuse_nul(column, kind.name)
                yield batch
        except BaseException as error:
            self.error = error
            raise

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Raise the maker's error in place of the driver's."""
        try:
            yield
        except Exception:
            if self.error is not None:
                raise self.error from None
            raise
