"""What only PostgreSQL can do to its store: refuse a login, go away, run unsafely."""

from __future__ import annotations

import pytest

from crosswalk.core.errors import AuthenticationError, ConfigError, RetryableError
from crosswalk.store import open_store
from crosswalk.store.backend import ConflictError
from tests.simulators.postgres import PostgresServer, postgres_server, running_server

__all__ = ["postgres_server"]
pytestmark = pytest.mark.system


def test_a_wrong_password_is_an_authentication_error(postgres_server: PostgresServer) -> None:
    with pytest.raises(AuthenticationError, match="refused the login") as caught:
        open_store(postgres_server.uri(password="hunter2")).migrate()
    assert "hunter2" not in str(caught.value)


def test_a_missing_database_is_a_configuration_error(postgres_server: PostgresServer) -> None:
    with pytest.raises(ConfigError, match="does not have this database"):
        open_store(postgres_server.uri("nowhere")).migrate()


def test_a_user_without_rights_is_told_what_to_grant(postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    with pytest.raises(ConfigError) as caught:
        open_store(postgres_server.uri(user="reader", password="reader")).migrate()
    assert caught.value.code == "store_rights"


def test_a_server_that_may_lose_commits_is_refused(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CROSSWALK_ALLOW_UNSAFE_STORE")
    with pytest.raises(ConfigError) as caught:
        open_store(postgres_server.uri()).migrate()
    assert caught.value.code == "store_unsafe"


def test_a_database_without_unicode_is_refused(postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ConfigError) as caught:
        open_store(postgres_server.uri("latin")).migrate()
    assert caught.value.code == "store_encoding"


def test_a_deadlock_is_run_again_without_the_caller_noticing(postgres_server: PostgresServer) -> None:
    uri = postgres_server.cleared_database()
    store = open_store(uri)
    store.migrate()
    tries = []

    def work() -> str:
        tries.append(1)
        if len(tries) == 1:
            store._db.execute("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40P01'; END $$")
        return "done"

    assert store._db.in_transaction(work) == "done"
    assert len(tries) == 2
    with pytest.raises(ConflictError):
        store._db.execute("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$")
    store.close()


def test_a_store_survives_the_restart_of_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSWALK_ALLOW_UNSAFE_STORE", "1")
    with running_server() as server:
        store = open_store(server.new_database())
        store.migrate()
        store.begin_run("run-1", "webshop", "apply", "test", "hash")
        server.stop()
        with pytest.raises(RetryableError, match=r"went away|cannot be reached"):
            store.finish_run("run-1", "done")
        with pytest.raises(RetryableError, match="cannot be reached"):
            store.finish_run("run-1", "done")
        server.start()
        store.finish_run("run-1", "done")
        assert store.run("run-1")["state"] == "done"
        store.close()
