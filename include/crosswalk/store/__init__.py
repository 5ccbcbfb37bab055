"""The profile store: SQLite or PostgreSQL behind one interface, chosen by one URI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from crosswalk.core.errors import ConfigError

if TYPE_CHECKING:
    from crosswalk.store.base import Store

DEFAULT_STORE = ".crosswalk/store.db"


def open_store(uri: str | None = None, *, wait_seconds: int = 60) -> Store:
    """The store of a URI; connects on first use.

    Args:
        uri: ``sqlite:////absolute/path.db``, ``sqlite:///relative.db`` or ``postgresql://user:password@host:port/database``;
            unset: ``CROSSWALK_STORE``, else SQLite at ``.crosswalk/store.db`` below the current folder.
        wait_seconds: how long to wait for another process that writes before ``store_locked``.

    Raises:
        ConfigError: the URI names no store that we know.

    Example:
        >>> store = open_store("sqlite:///:memory:")
        Traceback (most recent call last):
        ...
        crosswalk.core.errors.ConfigError: ...
    """
    text = uri or os.environ.get("CROSSWALK_STORE") or f"sqlite:///{DEFAULT_STORE}"
    scheme, separator, rest = text.partition("://")
    from crosswalk.store.sql_store import SqlStore

    if separator and scheme == "sqlite" and rest.startswith("/") and _is_file(rest[1:]):
        from crosswalk.store.sqlite import SqliteBackend

        path = Path(rest[1:]).absolute()
        return SqlStore(SqliteBackend(path, wait_seconds=wait_seconds), f"sqlite:///{path}")
    if separator and scheme in ("postgresql", "postgres") and rest:
        from crosswalk.store.postgres import PostgresBackend, safe_place

        try:
            return SqlStore(PostgresBackend(text, wait_seconds=wait_seconds), safe_place(text))
        except ValueError:  # half an IPv6 address; the message would quote it
            raise _unknown(scheme) from None
    raise _unknown(scheme if separator else "")


def _unknown(scheme: str) -> ConfigError:
    return ConfigError(
        f'CROSSWALK_STORE names no store that is known (it begins with "{scheme[:20]}").',
        remedy="Use sqlite:////absolute/path.db or postgresql://user:password@host:port/database.",
        code="store_uri",
    )


def _is_file(path: str) -> bool:
    return bool(path.strip("/")) and not path.endswith("/") and ":memory:" not in path and "?" not in path
