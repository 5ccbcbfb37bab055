"""The store in one SQLite file (write-ahead log), for one machine; not for network drives.

The driver must stay the only SQLite library in a process that has the store open: another copy (Python's ``sqlite3``)
would drop this one's file locks when it closes the file.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import adbc_driver_manager
import adbc_driver_sqlite.dbapi
import pyarrow as pa

from crosswalk.core.errors import ConfigError, CrosswalkError, FatalError, RetryableError
from crosswalk.store.backend import Backend, Parameters, Relay, RowStatement, Sink, UniqueError

READ_ROWS = 20_000
# The driver takes a column's type from the first rows it sees: a typed row comes first and is taken off again.
SENTINELS = {"string": "''", "int64": "0", "double": "0.0", "binary": "x''"}


# VALUES and not SELECT: a statement that could write several rows keeps an undo journal of its own.
_ROW_WORDS = {"select": "VALUES (", "rows": ")", "from": "", "using": "", "beside": ""}


class SqliteSink(Sink):
    """Runs the statement once for each row that it is given."""

    def __init__(self, backend: SqliteBackend, statement: RowStatement, constants: Mapping[str, str | int]) -> None:
        super().__init__(statement, constants)
        self._backend = backend
        places = {name: f"?{number}" for number, name in enumerate(statement.columns, start=1)}
        self._sql = statement.sql.format_map({**backend.tokens, **places, **_ROW_WORDS})
        self._changed = 0

    def _write(self, batch: pa.RecordBatch) -> None:
        before = self._backend.total_changes()
        with self._backend.translated(), self._backend.connection.cursor() as cursor:
            cursor.executemany(self._sql, batch)
        self._changed += self._backend.total_changes() - before

    def finish(self) -> int:
        """All rows were written as they came."""
        return self._changed


class SqliteBackend(Backend):
    """SQLite through ADBC, with transactions by hand.

    Args:
        path: the database file; its folder is made when absent.
        wait_seconds: how long to wait for another process that writes.
        cache_mb: page cache.
    """

    tokens = {
        "text": "TEXT",
        "json": "TEXT",
        "blob": "BLOB",
        "real": "REAL",
        "serial": "INTEGER",
        "keyed": "WITHOUT ROWID",
        "roomy": "",
        "keyed_roomy": "WITHOUT ROWID",
        "now": "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    }

    def __init__(self, path: Path, *, wait_seconds: int = 60, cache_mb: int = 128) -> None:
        super().__init__()
        self.path = path
        self._wait_seconds = wait_seconds
        self._cache_mb = cache_mb

    def open(self) -> Any:
        """A new connection; the file is readable by its owner only, for it holds personal data."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise ConfigError(
                f"The store {self.path} cannot be opened for writing ({error.strerror}).",
                remedy="Correct the path in CROSSWALK_STORE or the rights of its folder.",
                code="store_unreachable",
            ) from None
        with self.translated():
            connection = adbc_driver_sqlite.dbapi.connect(str(self.path), autocommit=True)
            for pragma in (
                f"busy_timeout = {self._wait_seconds * 1000}",
                "synchronous = full",
                f"cache_size = -{self._cache_mb * 1000}",
                "journal_size_limit = 67108864",
            ):
                self._run(connection, f"PRAGMA {pragma}")
        return connection

    def begin(self) -> None:
        """Take the write lock at once: a transaction that reads first could not get it later."""
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit; flushed to disk (synchronous = full)."""
        self.execute("COMMIT")

    def rollback(self) -> None:
        """Roll back, if a transaction is open."""
        with self.quietly():
            if self._held is not None:
                self._run(self.connection, "ROLLBACK")

    def serialise(self) -> None:
        """BEGIN IMMEDIATE did it."""

    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one statement without a result."""
        with self.translated():
            self._run(self.connection, self._numbered(sql), parameters)

    def execute_counted(self, sql: str) -> int:
        """Run one statement; how many rows it changed."""
        before = self.total_changes()
        self.execute(sql)
        return self.total_changes() - before

    def query(self, sql: str, parameters: Parameters, schema: pa.Schema) -> list[dict[str, Any]]:
        """Run one small query or a statement with RETURNING."""
        text = self._numbered(sql)
        if text.lstrip()[:6].upper() == "SELECT":
            text = _typed(text, schema)
            skip = 1
        else:
            skip = 0
        with self.translated():
            rows = self._run(self.connection, text, parameters)
        return [dict(zip(schema.names, row, strict=True)) for row in rows[skip:]]

    def total_changes(self) -> int:
        """Rows changed by this connection so far."""
        with self.translated():
            return int(self._run(self.connection, "SELECT total_changes()")[0][0])

    def sink(self, statement: RowStatement, constants: Mapping[str, str | int] | None = None) -> Sink:
        """Write many rows, one by one inside the driver."""
        return SqliteSink(self, statement, constants or {})

    def write_new(self, fast: Callable[[], int], safe: Callable[[], int]) -> int:
        """The safe way costs nothing more here, and a savepoint would."""
        return safe()

    def table_exists(self, name: str) -> bool:
        """Whether a table of ours is there."""
        found = self.query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name = $1",
            (name,),
            pa.schema([("n", pa.string())]),
        )
        return bool(found)

    def prepare_database(self) -> None:
        """Nothing: the write lock keeps other processes out."""

    def prepare_file(self) -> None:
        """Switch the file to a write-ahead log, so that readers and the writer do not wait for each other."""
        with self.translated():
            mode = self._run(self.connection, "PRAGMA journal_mode")[0][0]
        deadline = time.monotonic() + self._wait_seconds
        while mode != "wal":
            try:
                with self.translated():
                    mode = self._run(self.connection, "PRAGMA journal_mode = wal")[0][0]
                break
            except RetryableError:  # this one statement does not wait by itself
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        if mode != "wal":
            raise ConfigError(
                f"The store {self.path} lies on a drive without shared memory ({mode}).",
                remedy="Put it on a local disk, or use PostgreSQL.",
                code="store_unreachable",
            )

    def stage(self, connection: Any, name: str, rows: pa.RecordBatchReader) -> None:
        """Fill a temporary table."""
        relay = Relay(rows)
        with relay.watched(), connection.cursor() as cursor:
            cursor.adbc_ingest(name, relay.reader(), mode="create", temporary=True)

    def unstage(self, connection: Any, name: str) -> None:
        """Remove a temporary table."""
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {name}")

    def read(self, connection: Any, sql: str, schema: pa.Schema) -> tuple[Iterator[pa.RecordBatch], Callable[[], None]]:
        """Start a query."""
        cursor = connection.cursor()
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(READ_ROWS)})
        cursor.execute(_typed(sql, schema))
        reader = cursor.fetch_record_batch()

        def batches() -> Iterator[pa.RecordBatch]:
            first = True
            for batch in reader:
                rows = batch.slice(1) if first else batch
                first = False
                if rows.num_rows:
                    yield pa.record_batch(rows.columns, names=schema.names).cast(schema)

        def end() -> None:
            reader.close()
            cursor.close()

        return batches(), end

    def is_driver_error(self, error: BaseException) -> bool:
        """Whether the error came from the driver."""
        return isinstance(error, adbc_driver_manager.Error)

    def translate(self, error: BaseException) -> CrosswalkError:
        """The driver gives no codes, so SQLite's own fixed texts decide."""
        text = str(error)
        for pattern, kind, message, remedy, code in _MEANINGS:
            if pattern in text:
                return kind(message.format(path=self.path), remedy=remedy, code=code)
        detail = re.sub(r"\s+", " ", text.split("\nquery:")[0])[:200]
        return FatalError(f"The store {self.path} refused a statement: {detail}.", code="store_statement")

    def _numbered(self, sql: str) -> str:
        """``$1`` is a name to SQLite, bound in order of appearance; ``?1`` is a number."""
        return re.sub(r"\$(\d+)", r"?\1", self.text(sql))

    @staticmethod
    def _run(connection: Any, sql: str, parameters: Parameters = ()) -> list[tuple]:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []


def _typed(sql: str, schema: pa.Schema) -> str:
    first = ", ".join(f'{SENTINELS[str(column.type)]} AS "{column.name}"' for column in schema)
    return f"SELECT {first} UNION ALL SELECT * FROM ({sql})"


_FREE = "Free space there and run again; nothing was written."
_MEANINGS: list[tuple[str, type[CrosswalkError], str, str, str]] = [
    (
        "is locked",
        RetryableError,
        "The store {path} is locked: another process kept writing to it.",
        "Run again; nothing was written.",
        "store_locked",
    ),
    ("disk is full", RetryableError, "The disk of the store {path} is full.", _FREE, "disk_full"),
    (
        "UNIQUE constraint",
        UniqueError,
        "The store {path} was given one key twice.",
        "Nothing was written; please report it.",
        "store_repeated_key",
    ),
    (
        "not a database",
        FatalError,
        "{path} is not a SQLite database.",
        "Correct CROSSWALK_STORE; the file was left as it is.",
        "store_damaged",
    ),
    (
        "malformed",
        FatalError,
        "The store {path} is damaged.",
        "Restore it from a backup; writing stopped so as not to make it worse.",
        "store_damaged",
    ),
    (
        "readonly",
        ConfigError,
        "The store {path} is read-only.",
        "Give this user the right to write to the file and its folder.",
        "store_unreachable",
    ),
    (
        "disk I/O error",
        RetryableError,
        "The disk of the store {path} reports an error.",
        "Check the disk and its free space, then run again; nothing was written.",
        "store_disk",
    ),
    (
        "to open",
        ConfigError,
        "The store {path} cannot be opened.",
        "Correct the path in CROSSWALK_STORE or the rights of its folder.",
        "store_unreachable",
    ),
]
