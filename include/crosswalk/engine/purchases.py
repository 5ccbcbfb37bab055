"""What events say was bought: for goals with ``product_store``.

A purchase is one product of one event, with how many of its items are that product. All purchases of an event are
compared with those that the store has, and only differences are planned, so importing an order again, or correcting
it, never counts anything twice. Purchases stay when their event expires or is dropped for lack of room.
"""

from __future__ import annotations

from contextlib import ExitStack

from crosswalk.config.profile_checks import PRODUCTS
from crosswalk.engine.bucket_file import BucketFile
from crosswalk.engine.event_task import EventTask
from crosswalk.engine.session import write_parquet
from crosswalk.engine.template import Node, number, parquet, render, sql, text, union_all

# Fields that tell of the order and not of the product.
OF_THE_ORDER = ("quantity", "netprice", "coupon", "deliverydate")
LONG_AGO = -(1 << 62)
_NO_PURCHASES = (
    "SELECT NULL::VARCHAR AS product_id, NULL::VARCHAR AS profile_id, NULL::VARCHAR AS type, "
    "NULL::VARCHAR AS event_id, NULL::BIGINT AS bought_at, NULL::BIGINT AS items, NULL::BIGINT AS batch_no LIMIT 0"
)
_NO_NOTES = "SELECT '' AS product_id, '' AS name, '' AS details, 0::BIGINT AS described_at, 0::BIGINT AS ord LIMIT 0"


class Purchases:
    """Writes ``purchases.parquet`` bucket by bucket, and ``products.parquet`` at the end.

    Args:
        task: the events at work; ``settled`` holds those of the bucket.
    """

    def __init__(self, task: EventTask) -> None:
        self.task = task
        self.counted = [entry for entry in task.entries if entry.mapping.product_store]
        self._stack = ExitStack()

    def __enter__(self) -> Purchases:
        if self.counted:
            plan = self.task.map.folder.plan
            self._file = self._stack.enter_context(BucketFile(self.task.tables, plan / "purchases.parquet"))
            self.task.tables.make("product_note", _NO_NOTES)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._stack.__exit__(kind, *error)  # type: ignore[arg-type]
        if self.counted and kind is None:
            write_parquet(self.task.map.session, render(_touched()), self.task.map.folder.plan / "products.parquet")

    def append(self) -> None:
        """Plan the purchases of the bucket's events."""
        if not self.counted:
            return
        self.task.tables.make("bought_item", self._items())
        self._find_stored()
        self.task.tables.make("changed_purchase", _changed())
        self._file.append("SELECT * FROM changed_purchase ORDER BY profile_id, type, event_id, product_id")
        self.task.tables.session.execute(f"INSERT INTO product_note {render(_notes())}").fetchall()

    def _items(self) -> Node:
        """Every item of a product, with the fields that describe it."""
        counted = {entry.index for entry in self.counted}
        flagged = self.task.flag([entry.index in counted for entry in self.task.entries])
        events = sql(
            "SELECT profile_id, type, type_no, event_id, date, ord, outcome, "
            "unnest(from_json(json_extract(data, $path), '[\"JSON\"]')) AS item "
            "FROM settled WHERE $flagged AND outcome <> 'rejected'",
            path=text(f"/{PRODUCTS}"),
            flagged=flagged,
        )
        return union_all([self._items_of(events, name) for name in dict.fromkeys(e.mapping.type for e in self.counted)])

    def _items_of(self, events: Node, type_name: str) -> Node:
        shape = self.task.map.tenant.event_types[type_name].fields[PRODUCTS]
        described = [key for key in shape.fields or {} if key not in (*OF_THE_ORDER, shape.identifier)]
        members: list[Node] = []
        for key in described:
            value = sql("json_extract(item, $path)::VARCHAR", path=text(f"/{key}"))
            members.append(sql("$key || $value", key=text(f'"{key}":'), value=value))
        details = sql("'{' || concat_ws(',', $members) || '}'", members=members) if members else text("{}")
        return sql(
            "SELECT profile_id, type, event_id, date, ord, outcome, json_extract_string(item, $id) AS product_id, "
            "json_extract_string(item, '/name') AS name, $details AS details FROM ($events) "
            "WHERE type = $type AND json_extract_string(item, $id) IS NOT NULL",
            id=text(f"/{shape.identifier}"),
            details=details,
            events=events,
            type=text(type_name),
        )

    def _find_stored(self) -> None:
        """``stored_purchase``: what the store has of the bucket's events."""
        task = self.task
        if task.stored.find_purchases is None or not task.has_stored_profiles:
            task.tables.make("stored_purchase", _NO_PURCHASES)
            return
        counted = {entry.index for entry in self.counted}
        keys = sql(
            "SELECT profile_id, type, event_id FROM settled SEMI JOIN (SELECT profile_id FROM $profiles "
            "WHERE NOT is_new) AS p USING (profile_id) WHERE $flagged AND outcome <> 'rejected'",
            profiles=parquet(task.map.profiles),
            flagged=task.flag([entry.index in counted for entry in task.entries]),
        )
        found = task.stored.find_purchases(task.tables.stream(keys))
        task.tables.take_in(
            "stored_purchase", found, "product_id, profile_id, type, event_id, bought_at, items, batch_no"
        )


def _changed() -> Node:
    """PURCHASE_SCHEMA: purchases that are new or other than before; 0 items where a product is gone from its event."""
    return sql(
        """
        SELECT product_id, profile_id, type, event_id, coalesce(n.bought_at, s.bought_at) AS bought_at,
               coalesce(n.items, 0)::BIGINT AS items, coalesce(s.batch_no, 0) AS batch_no
        FROM (SELECT product_id, profile_id, type, event_id, any_value(date) AS bought_at, count(*) AS items
              FROM bought_item GROUP BY ALL) AS n
        FULL JOIN stored_purchase AS s USING (product_id, profile_id, type, event_id)
        WHERE n.items IS DISTINCT FROM s.items OR n.bought_at IS DISTINCT FROM s.bought_at
        """
    )


def _notes() -> Node:
    """The products that the bucket concerns, each with its latest description."""
    return sql(
        """
        SELECT product_id, arg_max(name, (date, ord)) AS name, arg_max(details, (date, ord)) AS details,
               max(date) AS described_at, arg_max(ord, (date, ord)) AS ord
        FROM bought_item LEFT JOIN changed_purchase AS c USING (product_id, profile_id, type, event_id)
        WHERE outcome <> 'unchanged' OR c.items IS NOT NULL GROUP BY product_id
        UNION ALL
        SELECT DISTINCT product_id, NULL, '{}', $long_ago, -1 FROM changed_purchase
        """,
        long_ago=number(LONG_AGO),
    )


def _touched() -> Node:
    """PRODUCT_SCHEMA: one row per product, with the latest description."""
    return sql(
        """
        SELECT product_id, arg_max(name, (described_at, ord)) AS name, arg_max(details, (described_at, ord)) AS details,
               max(described_at) AS described_at
        FROM product_note GROUP BY product_id ORDER BY product_id
        """
    )
