"""What only PostgreSQL can do to its store: refuse a login, go away, run unsafely."""

from __future__ import annotations

import pyarrow as pa
import pytest

from crosswalk.core.errors import AuthenticationError, ConfigError, RetryableError
from crosswalk.store import open_store
from crosswalk.store.backend import ConflictError
from crosswalk.store.collection import UPDATE_PROFILE
from crosswalk.store.sql_store import SqlStore
from tests.simulators.postgres import PostgresServer, postgres_server, running_server
from tests.simulators.stores import apply, profile

__all__ = ["postgres_server"]
pytestmark = pytest.mark.system
ANY_TEXT = pa.schema([("v", pa.string())])


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


def test_an_update_looks_profiles_up_by_key_and_never_reads_the_whole_table(postgres_server: PostgresServer) -> None:
    with open_store(postgres_server.cleared_database()) as store:
        store.migrate()
        ids = [f"p{number:05d}" for number in range(5_000)]
        apply(store, profiles=[profile(profile_id) for profile_id in ids])
        store._db.execute("ANALYZE profile")
        store._db.begin()
        before = scans_of_profile(store)
        sink = store._db.sink(UPDATE_PROFILE, {"at": 1})
        sink.write(pa.record_batch({"profile_id": ids, "version": [1] * 5_000, "properties": ["{}"] * 5_000}))
        assert sink.finish() == 5_000
        after = scans_of_profile(store)
        hash_joins = store._db.query("SELECT current_setting('enable_hashjoin') AS v", (), ANY_TEXT)
        store._db.rollback()
    assert (after["whole"] - before["whole"], after["by_key"] - before["by_key"]) == (0, 5_000)
    assert hash_joins == [{"v": "on"}]  # for the statements that come after it


def scans_of_profile(store: SqlStore) -> dict[str, int]:
    """How often this session read the table of profiles whole and by key."""
    return store._db.query(
        "SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'profile'",
        (),
        pa.schema([("whole", pa.int64()), ("by_key", pa.int64())]),
    )[0]


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
