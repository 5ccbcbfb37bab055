"""Both stores for tests, empty and real, and batches made from plain Python values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.store import open_store
from crosswalk.store.base import (
    CONSENT_SCHEMA,
    MATCH_SCHEMA,
    PLANNED_EVENT_SCHEMA,
    PLANNED_IDENTIFIER_SCHEMA,
    PLANNED_PROFILE_SCHEMA,
    PRODUCT_SCHEMA,
    PURCHASE_SCHEMA,
    ROW_STATE_SCHEMA,
    Applied,
    Batch,
    FileRecord,
    Lease,
    Moved,
    Reader,
    Store,
)
from tests.simulators.postgres import PostgresServer

BACKENDS = ("sqlite", "postgres")


@pytest.fixture(params=BACKENDS)
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty store, on each backend in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.cleared_database()


@pytest.fixture
def store(store_uri: str) -> Iterator[Store]:
    """An open store with its tables."""
    opened = open_store(store_uri)
    opened.migrate()
    yield opened
    opened.close()


def rows(schema: pa.Schema, values: list[dict[str, Any]], size: int = 1000) -> Reader:
    """A function that gives a fresh reader of these rows."""
    batches = [
        pa.RecordBatch.from_pylist(values[start : start + size], schema=schema) for start in range(0, len(values), size)
    ]
    return lambda: pa.RecordBatchReader.from_batches(schema, batches)


def profile(
    profile_id: str, version: int = 0, outcome: str | None = None, properties: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """A planned profile: created at version 0, else updated."""
    kind = outcome or ("updated" if version else "created")
    document = {"name": [f"name {version}"]} if properties is None else properties
    changes = {name: {"before": None, "after": value, "file": "a.csv", "line": 2} for name, value in document.items()}
    return {
        "profile_id": profile_id,
        "is_new": kind == "created",
        "outcome": kind,
        "version": version,
        "properties": json.dumps(document, ensure_ascii=False),
        "changes": None if kind == "unchanged" else json.dumps(changes, ensure_ascii=False),
    }


def identifier(profile_id: str, value: str, action: str = "add", property_id: str = "email") -> dict[str, Any]:
    """A planned identifier."""
    return {"profile_id": profile_id, "property_id": property_id, "value": value, "action": action}


def row(key: int, profile_id: str | None, content: int = 0, amounts: str | None = None) -> dict[str, Any]:
    """One row's state."""
    return {
        "row_key": key.to_bytes(16, "big"),
        "row_hash": content.to_bytes(16, "big"),
        "profile_id": profile_id,
        "amounts": amounts,
    }


def batch(
    lease: Lease,
    goal_id: int,
    state_version: int,
    *,
    batch_id: str = "batch-1",
    goal: str = "orders",
    config_hash: str = "config-1",
    profiles: list[dict[str, Any]] | None = None,
    identifiers: list[dict[str, Any]] | None = None,
    row_state: list[dict[str, Any]] | None = None,
    consent: list[dict[str, Any]] | None = None,
    quarantine: list[dict[str, Any]] | None = None,
    events: list[dict[str, Any]] | None = None,
    purchases: list[dict[str, Any]] | None = None,
    products: list[dict[str, Any]] | None = None,
    files: list[FileRecord] | None = None,
    counts: dict[str, Any] | None = None,
) -> Batch:
    """A batch of the lease's run."""
    return Batch(
        batch_id=batch_id,
        run_id=lease.run_id,
        connection=lease.connection,
        goal=goal,
        lease=lease,
        goal_id=goal_id,
        state_version=state_version,
        config_hash=config_hash,
        files=files or [],
        counts=counts or {},
        profiles=rows(PLANNED_PROFILE_SCHEMA, profiles or []),
        identifiers=rows(PLANNED_IDENTIFIER_SCHEMA, identifiers or []),
        row_state=rows(ROW_STATE_SCHEMA, row_state or []),
        consent=rows(CONSENT_SCHEMA, consent or []),
        quarantine=rows(QUARANTINE_SCHEMA, quarantine or []),
        events=rows(PLANNED_EVENT_SCHEMA, events or []),
        purchases=rows(PURCHASE_SCHEMA, purchases or []),
        products=rows(PRODUCT_SCHEMA, products or []),
    )


def apply(
    store: Store,
    *,
    run_id: str = "run-1",
    connection: str = "webshop",
    goal: str = "orders",
    state_version: int | None = None,
    **parts: Any,
) -> Applied | Moved:
    """Take the lease, look at the goal and apply a batch, as one run does; the lease is given back."""
    lease = store.take_lease(connection, run_id, 60)
    state = store.goal_state(connection, goal)
    version = state.state_version if state_version is None else state_version
    outcome = store.apply(batch(lease, state.goal_id, version, goal=goal, **parts))
    store.release_lease(connection, run_id)
    return outcome


def matches(store: Store, *values: tuple[str, str]) -> list[tuple[str, str, str]]:
    """Who owns these identifier values, sorted."""
    wanted = [{"property_id": property_id, "value": value} for property_id, value in values]
    found = store.match_identifiers(rows(MATCH_SCHEMA, wanted)()).read_all().to_pylist()
    return sorted((line["property_id"], line["value"], line["profile_id"]) for line in found)


def stored(store: Store, *profile_ids: str) -> dict[str, tuple[int, dict[str, list[str]]]]:
    """Version and document of these profiles."""
    schema = pa.schema([("profile_id", pa.string())])
    wanted = rows(schema, [{"profile_id": profile_id} for profile_id in profile_ids])()
    found = store.read_profiles(wanted).read_all().to_pylist()
    return {line["profile_id"]: (line["version"], json.loads(line["properties"])) for line in found}
