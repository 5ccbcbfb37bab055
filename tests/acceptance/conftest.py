"""The shop on both stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.shop import Shop
from tests.simulators.folder_connector import FolderConnector
from tests.simulators.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server"]


@pytest.fixture(params=["sqlite", "postgresql"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture
def shop(tmp_path: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("CROSSWALK_STORE", store_uri)
    monkeypatch.setenv("CROSSWALK_STAGING", str(tmp_path / "staging"))
    monkeypatch.setenv("CROSSWALK_ENGINE_THREADS", "1")
    made = Shop(tmp_path, store_uri)
    monkeypatch.setattr("crosswalk.connectors.create", lambda kind, details: FolderConnector(made.source))
    return made
