"""The world with timeline events and a product store."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crosswalk.core.staging import GoalFolder
from crosswalk.engine.event_task import StoredEvents
from crosswalk.store.base import (
    EVENT_HEAD_SCHEMA,
    PLANNED_EVENT_SCHEMA,
    PRODUCT_SCHEMA,
    PURCHASE_SCHEMA,
    STORED_EVENT_SCHEMA,
)
from tests.properties.world import World

KEY = ("profile_id", "type", "event_id")
Key = tuple[str, str, str]


@dataclass
class EventWorld(World):
    """A store in memory that keeps events and purchases too.

    Attributes:
        events: by profile, type and id.
        purchases: by product and event: when, and how many items.
        products: by id: name, details, when they were bought that way.
    """

    events: dict[Key, dict[str, Any]] = field(default_factory=dict)
    purchases: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    products: dict[str, dict[str, Any]] = field(default_factory=dict)
    batches: int = 0

    def stored_events(self) -> StoredEvents:
        """What the engine can ask."""
        return StoredEvents(self._find, self._find_crowd, self._find_purchases)

    def _find(self, wanted: pa.RecordBatchReader) -> pa.RecordBatchReader:
        keys = [tuple(row[name] for name in KEY) for row in wanted.read_all().to_pylist()]
        assert len(keys) == len(set(keys)), "a key is asked for twice"
        return _reader([self.events[key] for key in keys if key in self.events], STORED_EVENT_SCHEMA)

    def _find_crowd(self, growth: pa.RecordBatchReader, most: int) -> pa.RecordBatchReader:
        found: list[dict[str, Any]] = []
        for row in growth.read_all().to_pylist():
            held = [event for key, event in self.events.items() if key[0] == row["profile_id"]]
            found += held if len(held) + row["added"] > most else []
        return _reader(found, EVENT_HEAD_SCHEMA)

    def _find_purchases(self, wanted: pa.RecordBatchReader) -> pa.RecordBatchReader:
        keys = {tuple(row[name] for name in KEY) for row in wanted.read_all().to_pylist()}
        found = [
            {"product_id": key[0], **dict(zip(KEY, key[1:], strict=True)), **purchase}
            for key, purchase in self.purchases.items()
            if key[1:] in keys
        ]
        return _reader(found, PURCHASE_SCHEMA)

    def apply(self, folder: GoalFolder) -> None:
        """Write a plan, as a store would: refuses what a store would refuse."""
        super().apply(folder)
        self.batches += 1
        self.events = {key: item for key, item in self.events.items() if (item["expires_at"] or 1e18) > self.now_ms}
        planned = _rows(folder, "events", PLANNED_EVENT_SCHEMA)
        keys = [tuple(item[name] for name in KEY) for item in planned]
        assert keys == sorted(keys), "a plan is in the order of the store's key, whatever the number of buckets"
        for item in planned:
            key = tuple(item[name] for name in KEY)
            assert item["profile_id"] in self.documents
            outcome = item.pop("outcome")
            assert (key in self.events) == (outcome != "created")
            if outcome != "created":
                assert self.events.pop(key)["batch_no"] == item["batch_no"]
            if outcome != "removed":
                self.events[key] = {**item, "batch_no": self.batches}
        for item in _rows(folder, "purchases", PURCHASE_SCHEMA):
            key = (item["product_id"], *(item[name] for name in KEY))
            stored = self.purchases.pop(key, {"batch_no": 0})
            assert item["batch_no"] == stored["batch_no"], "another version than the stored one was read"
            if item["items"]:
                facts = {name: item[name] for name in ("bought_at", "items")}
                self.purchases[key] = {**facts, "batch_no": self.batches}
        seen = set()
        for item in _rows(folder, "products", PRODUCT_SCHEMA):
            assert item["product_id"] not in seen, "one product twice"
            seen.add(item["product_id"])
            known = self.products.get(item["product_id"])
            if known is None or item["described_at"] >= known["described_at"]:
                self.products[item["product_id"]] = item

    def told(self) -> dict[tuple[str, str], tuple[str, int, dict[str, Any]]]:
        """The events by type and id: the e-mail address of their profile, date and data."""
        return {
            key[1:]: (self._mail(key[0]), item["date"], json.loads(item["data"])) for key, item in self.events.items()
        }

    def bought(self) -> dict[str, tuple[int, int]]:
        """Per product how many items were bought, and when last."""
        found: dict[str, tuple[int, int]] = {}
        for key, purchase in self.purchases.items():
            count, last = found.get(key[0], (0, purchase["bought_at"]))
            found[key[0]] = (count + purchase["items"], max(last, purchase["bought_at"]))
        return found

    def _mail(self, profile_id: str) -> str:
        return self.documents[profile_id]["email"][0]


def _reader(found: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatchReader:
    listed = [{name: item[name] for name in schema.names} for item in found]
    return pa.Table.from_pylist(listed, schema=schema).to_reader()


def _rows(folder: GoalFolder, part: str, schema: pa.Schema) -> list[dict[str, Any]]:
    path = folder.plan / f"{part}.parquet"
    if not path.exists():
        return []
    table = pq.read_table(path)
    assert [(item.name, item.type) for item in table.schema] == [(item.name, item.type) for item in schema], part
    return list(table.to_pylist())
