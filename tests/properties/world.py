"""The engine's *link* and *map* over a store of dictionaries, which property tests drive beside the model."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crosswalk.config.connection import Connection, ImportProfiles
from crosswalk.config.tenant import Tenant
from crosswalk.core.staging import GoalFolder
from crosswalk.engine.event_task import StoredEvents
from crosswalk.engine.link import link_rows
from crosswalk.engine.mapping import compute_plan
from crosswalk.engine.session import Session
from crosswalk.store.base import MATCHED_SCHEMA, PROFILE_SCHEMA, ROW_STATE_SCHEMA
from tests.reference_model import Row

SOURCES = ["/in/a.csv", "/in/b.csv"]


@dataclass
class World:
    """A store in memory that plans of the engine are applied to.

    Attributes:
        session: the engine.
        root: scratch space.
    """

    session: Session
    root: Path
    documents: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    identifiers: dict[tuple[str, str], str] = field(default_factory=dict)
    row_state: dict[bytes, tuple[bytes, str, str | None]] = field(default_factory=dict)
    consent_log: list[tuple[str, str, str]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    now_ms: int = 0

    def seed(self, documents: dict[str, dict[str, list[str]]], tenant: Tenant, levels: dict[str, int]) -> None:
        """Fill the store."""
        self.documents = {key: {p: list(v) for p, v in doc.items()} for key, doc in documents.items()}
        self.levels = dict(levels)
        for key, document in documents.items():
            for property_id, values in document.items():
                declared = tenant.properties.get(property_id)
                if declared is not None and declared.identifier == "unique":
                    self.identifiers |= {(property_id, value): key for value in values}

    def run(
        self,
        rows: list[Row],
        goal: ImportProfiles,
        connection: Connection,
        tenant: Tenant,
        *,
        batch_id: str = "b",
        full: bool = False,
        buckets: int | None = None,
    ) -> dict[str, Any]:
        """Link, map and apply; returns the counts."""
        shutil.rmtree(self.root, ignore_errors=True)
        folder = GoalFolder(self.root / "goal")
        folder.path.mkdir(parents=True)
        self._write_rows(rows, folder.rows)
        self._write_state(folder.row_state)
        link_rows(
            self.session,
            rows=folder.rows,
            sources=SOURCES,
            goal=goal,
            tenant=tenant,
            batch_id=batch_id,
            row_state=folder.row_state,
            take_all=full,
            lookup=self.match,
            read_profiles=self.read,
            out=folder,
        )
        result = compute_plan(
            self.session,
            rows=folder.rows,
            sources=SOURCES,
            links=folder.links,
            profiles=folder.profiles,
            goal=goal,
            connection=connection,
            tenant=tenant,
            now_ms=self.now_ms,
            folder=folder,
            lookup=self.match,
            events=self.stored_events(),
            buckets=buckets,
        )
        self.folder, self.warnings = folder, result.warnings
        self.apply(folder)
        return result.counts

    @staticmethod
    def _write_rows(rows: list[Row], path: Path) -> None:
        names = list(dict.fromkeys(name for row in rows for name in row.cells))
        columns: dict[str, Any] = {
            "row_id": pa.array(range(1, len(rows) + 1), pa.int64()),
            "file_index": pa.array([SOURCES.index(row.file) for row in rows], pa.int32()),
            "line": pa.array([row.line for row in rows], pa.int64()),
        }
        for name in names:
            cells = [row.cells.get(name) for row in rows]
            kind = pa.list_(pa.string()) if any(isinstance(cell, list) for cell in cells) else pa.string()
            columns[name] = pa.array(cells, kind)
        pq.write_table(pa.table(columns), path)

    def _write_state(self, path: Path) -> None:
        keys = list(self.row_state)
        columns = [keys, *([self.row_state[key][index] for key in keys] for index in range(3))]
        arrays = [pa.array(column, kind.type) for column, kind in zip(columns, ROW_STATE_SCHEMA, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=ROW_STATE_SCHEMA), path)

    # -- the store's side -------------------------------------------------------------------------------------------

    def match(self, wanted: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Owners of identifier values."""
        table = wanted.read_all()
        found = [
            (item, value, self.identifiers[item, value])
            for item, value in zip(*(table.column(name).to_pylist() for name in ("property_id", "value")), strict=True)
            if (item, value) in self.identifiers
        ]
        columns = list(zip(*found, strict=True)) if found else [[], [], []]
        arrays = [pa.array(column, pa.string()) for column in columns]
        return pa.Table.from_arrays(arrays, schema=MATCHED_SCHEMA).to_reader()

    def read(self, wanted: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Stored profiles."""
        keys = [key for key in wanted.read_all().column(0).to_pylist() if key in self.documents]
        arrays = [
            pa.array(keys, pa.string()),
            pa.array([1 for _ in keys], pa.int64()),
            pa.array([json.dumps(self.documents[key], ensure_ascii=True) for key in keys], pa.string()),
            pa.array([self.levels.get(key, 2) for key in keys], pa.int64()),
        ]
        return pa.Table.from_arrays(arrays, schema=PROFILE_SCHEMA).to_reader()

    def stored_events(self) -> StoredEvents | None:
        """What the engine can ask about events; this world has none."""
        return None

    def apply(self, folder: GoalFolder) -> None:
        """Write a plan, as a store would: refuses what a store would refuse."""
        self.changes = []
        for item in pq.read_table(folder.plan / "profiles.parquet").to_pylist():
            assert (item["profile_id"] in self.documents) == (not item["is_new"])
            assert (item["changes"] is None) == (item["outcome"] == "unchanged")
            self.documents[item["profile_id"]] = json.loads(item["properties"])
            if item["changes"]:
                self.changes.append({"profile_id": item["profile_id"], **json.loads(item["changes"])})
        moves = pq.read_table(folder.plan / "identifiers.parquet").to_pylist()
        for item in sorted(moves, key=lambda move: move["action"], reverse=True):
            key = (item["property_id"], item["value"])
            if item["action"] == "remove":
                assert self.identifiers.pop(key) == item["profile_id"]
            else:
                assert self.identifiers.setdefault(key, item["profile_id"]) == item["profile_id"]
        seen = set()
        for item in pq.read_table(folder.plan / "row_state.parquet").to_pylist():
            assert item["row_key"] not in seen, "one row key twice"
            seen.add(item["row_key"])
            self.row_state[item["row_key"]] = (item["row_hash"], item["profile_id"], item["amounts"])
        for item in pq.read_table(folder.plan / "consent.parquet").to_pylist():
            self.consent_log.append((item["profile_id"], item["objective"], item["state"]))

    def quarantine(self) -> list[dict[str, Any]]:
        """What the last run set aside."""
        parts = sorted(self.folder.quarantine.glob("*.parquet"))
        return [item for part in parts for item in pq.read_table(part).to_pylist()]

    def amounts(self) -> list[tuple[str, dict[str, Decimal]]]:
        """Per row key its profile and what it added, without the keys."""
        found = [
            (profile, {k: Decimal(v) for k, v in json.loads(amounts or "{}").items()})
            for _, profile, amounts in self.row_state.values()
        ]
        return sorted(found, key=repr)
