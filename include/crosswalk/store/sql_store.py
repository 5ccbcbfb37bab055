"""The store over any SQL backend: all texts are shared, the backend holds what differs."""

from __future__ import annotations

from types import TracebackType

import pyarrow as pa

from crosswalk.core.errors import ConfigError
from crosswalk.store.backend import Backend
from crosswalk.store.outbox import Outbox
from crosswalk.store.profiles import Profiles
from crosswalk.store.schema import LATEST, MIGRATIONS
from crosswalk.store.undo import Undoing

_VERSION = pa.schema([("version", pa.int64())])


class SqlStore(Undoing, Outbox, Profiles):
    """The profile store; implements ``store.base.Store``. For one thread.

    Args:
        backend: the database.
        uri: how to show it to people; without a password.

    Example:
        >>> with open_store("sqlite:////var/lib/crosswalk/store.db") as store:
        ...     store.migrate()
        ...     store.find_profile("email", "ann@example.org")
    """

    def __init__(self, backend: Backend, uri: str) -> None:
        self._db = backend
        self.uri = uri

    def __enter__(self) -> SqlStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._db.close()

    def migrate(self) -> None:
        """Create or upgrade the tables; safe to call by several processes at once.

        Raises:
            ConfigError: a newer release made the store.
        """
        self._db.prepare_file()
        if self._schema_version() < LATEST:
            self._db.in_transaction(self._upgrade)

    def _upgrade(self) -> None:
        self._db.prepare_database()
        current = self._schema_version()  # again, for another process may have been first
        if current == 0 and not self._db.table_exists("schema_version"):
            self._db.execute("CREATE TABLE schema_version (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)")
        for version in range(current + 1, LATEST + 1):
            for statement in MIGRATIONS[version - 1]:
                self._db.execute(statement)
            self._db.query(
                "INSERT INTO schema_version (version, applied_at) VALUES ($1, {now}) RETURNING version",
                (version,),
                _VERSION,
            )

    def _schema_version(self) -> int:
        if not self._db.table_exists("schema_version"):
            return 0
        found = self._db.query("SELECT coalesce(max(version), 0) AS version FROM schema_version", (), _VERSION)
        version = int(found[0]["version"])
        if version > LATEST:
            raise ConfigError(
                f"The store {self.uri} was made by a newer release (tables {version}, this release knows {LATEST}).",
                remedy="Upgrade Crosswalk, or point CROSSWALK_STORE at another store.",
                code="store_newer",
            )
        return version
