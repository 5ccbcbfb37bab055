"""Which URI opens which store, and what the messages say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crosswalk.core.errors import ConfigError, FatalError, RetryableError
from crosswalk.store import open_store
from crosswalk.store.postgres import PostgresBackend, safe_place
from crosswalk.store.sqlite import SqliteBackend


def test_without_a_uri_the_store_lies_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CROSSWALK_STORE", raising=False)
    with open_store() as store:
        store.migrate()
        assert store.uri == f"sqlite:///{tmp_path}/.crosswalk/store.db"
    assert (tmp_path / ".crosswalk" / "store.db").stat().st_mode & 0o077 == 0


def test_the_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSWALK_STORE", f"sqlite:///{tmp_path}/here.db")
    assert open_store().uri == f"sqlite:///{tmp_path}/here.db"


def test_a_relative_path_counts_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("sqlite:///data/store.db").uri == f"sqlite:///{tmp_path}/data/store.db"


@pytest.mark.parametrize(
    "uri",
    [
        "store.db",
        "sqlite:store.db",
        "sqlite://store.db",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///folder/",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "postgresql://",
        "postgresql://[half/store",
        "mysql://user:hunter2@host/store",
        "hunter2",
    ],
)
def test_other_uris_are_refused_without_being_quoted(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert caught.value.code == "store_uri"
    assert "hunter2" not in str(caught.value)
    assert "postgresql://user:password@host" in caught.value.remedy


def test_the_shown_place_holds_neither_user_nor_password_nor_options() -> None:
    uri = "postgresql://ann:p%40ss@db.example:5433/crm?sslpassword=secret"
    assert safe_place(uri) == "postgresql://db.example:5433/crm"
    assert open_store(uri).uri == "postgresql://db.example:5433/crm"


@pytest.mark.parametrize("uri", ["postgresql://ann:hunter2%zz@127.0.0.1:1/crm", "postgresql://ann:hunter2@h:port/crm"])
def test_a_uri_that_the_driver_cannot_read_is_a_configuration_error(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PostgresBackend(uri).open()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_server_that_does_not_answer_is_an_error_to_try_again() -> None:
    with pytest.raises(RetryableError, match="cannot be reached") as caught:
        PostgresBackend("postgresql://ann:hunter2@127.0.0.1:1/crm").open()
    assert caught.value.code == "store_unreachable"
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be opened"):
        SqliteBackend(tmp_path / "file" / "store.db").open()


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"name;city\n" * 500)
    with pytest.raises(FatalError) as caught, open_store(f"sqlite:///{path}") as store:
        store.migrate()
    assert caught.value.code == "store_damaged"
    assert path.read_bytes() == b"name;city\n" * 500


def test_a_full_disk_is_an_error_to_try_again(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    backend.execute("CREATE TABLE t (a TEXT)")
    backend.execute("PRAGMA max_page_count = 2")
    with pytest.raises(RetryableError) as caught:
        backend.execute("INSERT INTO t VALUES ($1)", ("x" * 100_000,))
    assert caught.value.code == "disk_full"
    assert "xxx" not in str(caught.value)
    backend.close()


def test_a_statement_that_is_refused_does_not_quote_its_values(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    with pytest.raises(FatalError) as caught:
        backend.execute("INSERT INTO nowhere VALUES ($1)", ("ann@example.org",))
    assert "no such table: nowhere" in str(caught.value)
    assert "ann@" not in str(caught.value)
    backend.close()


def test_parameters_are_bound_by_number_and_not_by_order(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    rows = backend._run(backend.connection, backend._numbered("SELECT $2, $1, $2"), ("first", "second"))
    assert rows == [("second", "first", "second")]
    backend.close()


def test_a_forked_child_does_not_use_its_parents_connection(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    held = backend.connection
    child = os.fork()
    if child == 0:
        os._exit(0 if backend.connection is not held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend.connection is held
    backend.close()
