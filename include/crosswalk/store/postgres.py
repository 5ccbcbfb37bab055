"""The store in PostgreSQL, for shared installations; its tables lie in the schema ``crosswalk``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pyarrow as pa

from crosswalk.core.errors import AuthenticationError, ConfigError, CrosswalkError, FatalError, RetryableError
from crosswalk.store.backend import Backend, ConflictError, Parameters, Relay, RowStatement, Sink, UniqueError

SCHEMA = "crosswalk"
APPLY_LOCK, MIGRATE_LOCK = 7_160_401, 7_160_402
COLUMN_TYPES = {
    "text": 'text COLLATE "C"',
    "json": "text",
    "int": "bigint",
    "real": "double precision",
    "blob": "bytea",
}
CONNECT_SECONDS = 10
_OTHER_WAYS = ("hashjoin", "mergejoin")


class PostgresSink(Sink):
    """Copies rows into a temporary table and runs the statement once over it."""

    def __init__(self, backend: PostgresBackend, statement: RowStatement, constants: Mapping[str, str | int]) -> None:
        super().__init__(statement, constants)
        self._backend = backend
        self._table = f"new_{statement.name}"
        values = {
            name: f"CAST(s.{name} AS json)" if kind == "json" else f"s.{name}"
            for name, kind in statement.columns.items()
        }
        source = f"pg_temp.{self._table} s"
        where = {"select": "SELECT", "rows": f"FROM {source} WHERE true"}
        where |= {"from": f"FROM {source}", "using": f"USING {source}", "beside": f", {source}"}
        self._sql = statement.sql.format_map({**backend.tokens, **values, **where})
        self._made = False

    def _write(self, batch: pa.RecordBatch) -> None:
        if self.statement.plain_insert:
            with self._backend.translated(), self._backend.connection.cursor() as cursor:
                cursor.adbc_ingest(self.statement.plain_insert, batch, mode="append", db_schema_name=SCHEMA)
            return
        if not self._made:
            columns = ", ".join(f"{name} {COLUMN_TYPES[kind]}" for name, kind in self.statement.columns.items())
            self._backend.execute(f"CREATE TEMP TABLE {self._table} ({columns}) ON COMMIT DROP")
            self._made = True
        with self._backend.translated(), self._backend.connection.cursor() as cursor:
            cursor.adbc_ingest(self._table, batch, mode="append", temporary=True)

    def finish(self) -> int:
        """Run the statement over all rows that were not copied straight into their table.

        Stored rows are looked up by key, in the order of the new ones. The planner would rather read whole tables and
        hash the new rows, documents and all, through temporary files: twice the CPU for a million of five million.
        """
        if self.statement.plain_insert:
            return self.rows
        if not self._made:
            return 0
        for way in _OTHER_WAYS:
            self._backend.execute(f"SET LOCAL enable_{way} = off")
        changed = self._backend.execute_counted(self._sql)
        for way in _OTHER_WAYS:
            self._backend.execute(f"SET LOCAL enable_{way} TO DEFAULT")
        self._backend.execute(f"DROP TABLE pg_temp.{self._table}")
        return changed


class PostgresBackend(Backend):
    """PostgreSQL through ADBC, with transactions by hand.

    Args:
        uri: ``postgresql://user:password@host:port/database``.
        wait_seconds: how long to wait for another process that applies a batch.
    """

    tokens = {
        "text": 'text COLLATE "C"',
        "json": "json",
        "blob": "bytea",
        "real": "double precision",
        "serial": "bigint GENERATED ALWAYS AS IDENTITY",
        "keyed": "",
        "roomy": "WITH (fillfactor = 80)",
        "keyed_roomy": "WITH (fillfactor = 80)",
        "now": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
    }

    def __init__(self, uri: str, *, wait_seconds: int = 60) -> None:
        super().__init__()
        self._uri = _with_timeout(uri)
        self._place = safe_place(uri)
        self._wait_seconds = wait_seconds

    def open(self) -> Any:
        """A new connection with our settings, refused where a commit could be lost at a power cut."""
        try:
            connection = adbc_driver_postgresql.dbapi.connect(self._uri, autocommit=True)
        except adbc_driver_manager.Error as error:
            raise self._refused(str(error)) from None
        with self.translated(), connection.cursor() as cursor:
            cursor.execute(
                f"SELECT current_setting('fsync'), current_setting('full_page_writes'), "
                f"current_setting('server_encoding'), set_config('search_path', '{SCHEMA}', false), "
                f"set_config('lock_timeout', '{self._wait_seconds}s', false), set_config('synchronous_commit', "
                "CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' "
                "ELSE current_setting('synchronous_commit') END, false)"
            )
            fsync, pages, encoding = cursor.fetchall()[0][:3]
        self._check_server(fsync, pages, encoding)
        return connection

    def begin(self) -> None:
        """Begin; reads outside of transactions leave none open behind them."""
        self.execute("BEGIN")

    def commit(self) -> None:
        """Commit."""
        self.execute("COMMIT")

    def rollback(self) -> None:
        """Roll back; a connection that cannot do even that is dropped."""
        if self._held is None:
            return
        try:
            with self._held.cursor() as cursor:
                cursor.execute("ROLLBACK")
        except adbc_driver_manager.Error:
            self.drop()

    def serialise(self) -> None:
        """One batch at a time: two that touch the same profiles in another order would deadlock."""
        self.query(f"SELECT CAST(pg_advisory_xact_lock({APPLY_LOCK}) AS text) AS locked", (), _FOUND)

    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one statement without a result."""
        self.execute_counted(sql, parameters)

    def execute_counted(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement; how many rows it changed (known without parameters only)."""
        with self.translated(), self.connection.cursor() as cursor:
            cursor.execute(self.text(sql), parameters or None)
            return int(cursor.rowcount)

    def query(self, sql: str, parameters: Parameters, schema: pa.Schema) -> list[dict[str, Any]]:
        """Run one small query or a statement with RETURNING."""
        with self.translated(), self.connection.cursor() as cursor:
            cursor.execute(self.text(sql), parameters or None)
            rows = cursor.fetchall()
        return [dict(zip(schema.names, row, strict=True)) for row in rows]

    def sink(self, statement: RowStatement, constants: Mapping[str, str | int] | None = None) -> Sink:
        """Write many rows, through a temporary table."""
        return PostgresSink(self, statement, constants or {})

    def write_new(self, fast: Callable[[], int], safe: Callable[[], int]) -> int:
        """A plain copy costs half of an upsert; it is undone when a key is there already."""
        self.execute("SAVEPOINT write_new")
        try:
            return fast()
        except UniqueError:
            self.execute("ROLLBACK TO SAVEPOINT write_new")
            return safe()

    def table_exists(self, name: str) -> bool:
        """Whether a table of ours is there."""
        found = self.query(
            "SELECT 1 AS found FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = $2",
            (SCHEMA, name),
            _FOUND,
        )
        return bool(found)

    def prepare_database(self) -> None:
        """Keep other migrating processes out, and make our schema."""
        self.query(f"SELECT CAST(pg_advisory_xact_lock({MIGRATE_LOCK}) AS text) AS locked", (), _FOUND)
        if not self.query("SELECT 1 AS found FROM pg_namespace WHERE nspname = $1", (SCHEMA,), _FOUND):
            self.execute(f"CREATE SCHEMA {SCHEMA}")

    def stage(self, connection: Any, name: str, rows: pa.RecordBatchReader) -> None:
        """Fill a temporary table."""
        kinds = {"string": COLUMN_TYPES["text"], "int64": "bigint"}
        columns = ", ".join(f"{field.name} {kinds[str(field.type)]}" for field in rows.schema)
        relay = Relay(rows)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TEMP TABLE {name} ({columns})")
        with relay.watched(), connection.cursor() as cursor:
            cursor.adbc_ingest(name, relay.reader(), mode="append", temporary=True)
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE pg_temp.{name}")

    def unstage(self, connection: Any, name: str) -> None:
        """Remove a temporary table."""
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {name}")

    def read(self, connection: Any, sql: str, schema: pa.Schema) -> tuple[Iterator[pa.RecordBatch], Callable[[], None]]:
        """Start a query; nothing else may run on that connection until it is read out."""
        cursor = connection.cursor()
        cursor.execute(sql)
        reader = cursor.fetch_record_batch()

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                if batch.num_rows:
                    yield pa.record_batch(batch.columns, names=schema.names).cast(schema)

        def end() -> None:
            reader.close()
            cursor.close()

        return batches(), end

    def is_driver_error(self, error: BaseException) -> bool:
        """Whether the error came from the driver."""
        return isinstance(error, adbc_driver_manager.Error)

    def translate(self, error: BaseException) -> CrosswalkError:
        """By SQLSTATE; the driver's text is not passed on, since it quotes keys and documents."""
        state = getattr(error, "sqlstate", None) or ""
        for prefix, (kind, message, remedy, code) in _MEANINGS.items():
            if state.startswith(prefix):
                if state.startswith(("08", "57P")):
                    self.drop()
                return kind(f"The store {self._place} {message}.", remedy=remedy, code=code)
        if not state:  # the connection itself failed
            self.drop()
            return RetryableError(
                f"The store {self._place} went away in the middle of a statement.",
                remedy="Nothing of it was written; run again when the server answers.",
                code="store_unreachable",
            )
        return FatalError(
            f"The store {self._place} refused a statement (SQLSTATE {state}, {type(error).__name__}).",
            remedy="The server's log has the details.",
            code="store_statement",
        )

    def _refused(self, text: str) -> CrosswalkError:
        """Why no connection was made; the driver has only a text, with the user and host but also parts of the URI."""
        lowered = text.lower()
        if any(sign in lowered for sign in ("authentication failed", "no password supplied", "pg_hba.conf")):
            return AuthenticationError(
                f"The store {self._place} refused the login.",
                remedy="Correct user and password in CROSSWALK_STORE.",
            )
        if 'role "' in lowered or ('database "' in lowered and "does not exist" in lowered):
            return ConfigError(
                f"The store {self._place} does not have this database or user.",
                remedy="Create it (CREATE DATABASE ... OWNER ...), or correct CROSSWALK_STORE.",
                code="store_unreachable",
            )
        if "invalid" in lowered and "failed to connect: invalid" in lowered:
            return ConfigError(
                "The URI of the store cannot be read.",
                remedy="Use postgresql://user:password@host:port/database, special characters as %XX.",
                code="store_uri",
            )
        return RetryableError(
            f"The store {self._place} cannot be reached.",
            remedy="Check that the server runs and accepts connections from here, then run again.",
            code="store_unreachable",
        )

    def _check_server(self, fsync: str, pages: str, encoding: str) -> None:
        if encoding != "UTF8":
            raise ConfigError(
                f"The store {self._place} keeps text as {encoding}, not UTF8.",
                remedy="Create the database with ENCODING 'UTF8'.",
                code="store_encoding",
            )
        unsafe = fsync == "off" or pages == "off"
        if unsafe and os.environ.get("CROSSWALK_ALLOW_UNSAFE_STORE") != "1":
            raise ConfigError(
                f"The store {self._place} runs with fsync or full_page_writes off: a power cut may damage it.",
                remedy="Switch both on, or set CROSSWALK_ALLOW_UNSAFE_STORE=1 where the data may be lost.",
                code="store_unsafe",
            )


def safe_place(uri: str) -> str:
    """Host, port and database of a URI, for messages: no user, no password, no options."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2] or "local socket"
    return f"postgresql://{host}/{unquote(parts.path.lstrip('/'))}"


def _with_timeout(uri: str) -> str:
    """The URI with a limit on connecting and our name, unless it has its own."""
    query = urlsplit(uri).query
    extra = [
        f"{key}={quote(value)}"
        for key, value in (("connect_timeout", str(CONNECT_SECONDS)), ("application_name", "crosswalk"))
        if f"{key}=" not in query
    ]
    return uri + ("&" if query else "?") + "&".join(extra) if extra else uri


_FOUND = pa.schema([("found", pa.int64())])
_AGAIN = "Run again; nothing was written."
_TWICE = ("was given one key twice", "Nothing was written; please report it.", "store_repeated_key")
_MEANINGS: dict[str, tuple[type[CrosswalkError], str, str, str]] = {
    "40": (ConflictError, "kept running into other writers (deadlock)", _AGAIN, "store_conflict"),
    "55P03": (RetryableError, "is locked: another process kept writing to it", _AGAIN, "store_locked"),
    "53100": (RetryableError, "has a full disk", "Free space on the server and run again.", "disk_full"),
    "53": (RetryableError, "lacks connections or memory", "Run again when the server is less busy.", "store_busy"),
    "57014": (RetryableError, "cancelled a statement (statement_timeout)", _AGAIN, "store_cancelled"),
    "57P": (RetryableError, "is shutting down or starting", _AGAIN, "store_unreachable"),
    "08": (RetryableError, "lost the connection", _AGAIN, "store_unreachable"),
    "28": (AuthenticationError, "refused the login", "Correct user and password in CROSSWALK_STORE.", "authentication"),
    "42501": (
        ConfigError,
        "does not let this user do that",
        "Make the user the owner of the database, or grant CREATE on it.",
        "store_rights",
    ),
    "23505": (UniqueError, *_TWICE),
    "21000": (UniqueError, *_TWICE),
}
