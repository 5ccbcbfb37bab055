"""The product store: what was bought, how often and when last."""

from __future__ import annotations

import json
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from crosswalk.store.backend import Backend, RowStatement
from crosswalk.store.base import PURCHASE_SCHEMA, Batch
from crosswalk.store.ledger import iso
from crosswalk.store.logged import PRODUCTS, PURCHASES
from crosswalk.store.ordering import in_order

_PURCHASE = {"product_id": "text", "profile_id": "text", "type": "text", "event_id": "text"}
KEEP_PURCHASE = RowStatement(
    "purchase_keep",
    {**_PURCHASE, "bought_at": "int", "items": "int", "number": "int"},
    "INSERT INTO purchase (product_id, profile_id, type, event_id, bought_at, items, batch_no) "
    "{select} {product_id}, {profile_id}, {type}, {event_id}, {bought_at}, {items}, {number} {rows} "
    "ON CONFLICT (profile_id, type, event_id, product_id) DO UPDATE "
    "SET bought_at = excluded.bought_at, items = excluded.items, batch_no = excluded.batch_no",
)
REMOVE_PURCHASE = RowStatement(
    "purchase_remove",
    _PURCHASE,
    "DELETE FROM purchase {using} WHERE purchase.product_id = {product_id} AND purchase.profile_id = {profile_id} "
    "AND purchase.type = {type} AND purchase.event_id = {event_id}",
)
# A product without a count is one whose purchases changed.
TOUCH_PRODUCT = RowStatement(
    "product_touch",
    {"product_id": "text", "name": "text", "details": "json", "described_at": "int", "number": "int"},
    "INSERT INTO product (product_id, name, details, described_at, batch_no) "
    "{select} {product_id}, {name}, {details}, {described_at}, {number} {rows} ON CONFLICT (product_id) DO UPDATE SET "
    "name = CASE WHEN excluded.described_at >= product.described_at THEN coalesce(excluded.name, product.name) "
    "ELSE product.name END, "
    "details = CASE WHEN excluded.described_at >= product.described_at THEN excluded.details "
    "ELSE product.details END, "
    "described_at = CASE WHEN excluded.described_at >= product.described_at THEN excluded.described_at "
    "ELSE product.described_at END, "
    "batch_no = CASE WHEN excluded.described_at >= product.described_at THEN excluded.batch_no "
    "ELSE product.batch_no END, bought_count = NULL",
)
COUNT_AGAIN = (
    "UPDATE product SET bought_count = (SELECT coalesce(sum(p.items), 0) FROM purchase p "
    "WHERE p.product_id = product.product_id), last_bought_at = (SELECT max(p.bought_at) FROM purchase p "
    "WHERE p.product_id = product.product_id) WHERE bought_count IS NULL"
)
_ORDERS = {
    "count": "bought_count DESC, last_bought_at DESC, product_id",
    "recent": "last_bought_at DESC, bought_count DESC, product_id",
}
_PRODUCT = pa.schema(
    [
        ("product_id", pa.string()),
        ("name", pa.string()),
        ("bought_count", pa.int64()),
        ("last_bought_at", pa.int64()),
        ("details", pa.string()),
    ]
)


class Products:
    """The product store; see ``Store`` for what each method promises."""

    _db: Backend

    def find_purchases(self, keys: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The purchases of these events."""
        return self._db.stream(
            "SELECT p.product_id, p.profile_id, p.type, p.event_id, p.bought_at, p.items, p.batch_no "
            "FROM wanted_purchase w JOIN purchase p "
            "ON p.profile_id = w.profile_id AND p.type = w.type AND p.event_id = w.event_id",
            PURCHASE_SCHEMA,
            staged=("wanted_purchase", keys),
        )

    def products(self, by: Literal["count", "recent"] = "count", limit: int = 20) -> list[dict[str, Any]]:
        """Products that were bought, most often or most recently first."""
        found = self._db.query(
            "SELECT product_id, name, bought_count, last_bought_at, CAST(details AS TEXT) FROM product "
            f"WHERE bought_count > 0 ORDER BY {_ORDERS[by]} LIMIT {int(limit)}",
            (),
            _PRODUCT,
        )
        return [
            {**row, "last_bought_at": iso(row["last_bought_at"]), "details": json.loads(row["details"])}
            for row in found
        ]

    def _write_products(self, batch: Batch, number: int) -> None:
        """The batch's purchases; then the counts of the products they concern, from all purchases there are."""
        constants = {"number": number}
        keep, remove = self._db.sink(KEEP_PURCHASE, constants), self._db.sink(REMOVE_PURCHASE)
        keys = ("profile_id", "type", "event_id", "product_id")
        known = (rows.filter(pc.greater(rows.column("batch_no"), 0)) for rows in batch.purchases())
        self._db.sink(PURCHASES.log, constants).write_all(in_order(known, *keys, scratch=batch.scratch))
        for rows in in_order(batch.purchases(), *keys, scratch=batch.scratch):
            remains = pc.greater(rows.column("items"), 0)
            keep.write(rows.filter(remains))
            remove.write(rows.filter(pc.invert(remains)).select(list(_PURCHASE)))
        keep.finish()
        remove.finish()
        touched = self._db.sink(TOUCH_PRODUCT, constants)
        self._db.sink(PRODUCTS.log, constants).write_all(batch.products())
        touched.write_all(batch.products())
        if touched.rows:
            self._db.execute(COUNT_AGAIN)
