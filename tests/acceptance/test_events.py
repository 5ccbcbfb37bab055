"""Rows S-07, S-19 and S-52 to S-57: timeline events from the rows of an import."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.shop import Shop

GOAL = """
    identifiers: [{field: orders.email, property: email}]
    create_profiles: true
    row_key: [orders.id]
    events:
      - type: order
        id: orders.id
        date: orders.date
        fields: {order_id: orders.id, total_revenue: orders.total, coupon: orders.coupons}
        nested: {product: {file: lines, fields: {id: lines.sku, quantity: lines.quantity, name: products.name}}}
        product_store: true
    """
FILES = """
    files:
      - {name: orders, path: /in/orders*.csv}
      - {name: lines, path: /in/lines.csv, link: {id: orders.id}, nested: true}
      - {name: products, path: /in/products.csv, link: {sku: lines.sku}}
    format: {multi_value: "|"}
    """
CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
timezone: Europe/Brussels
goals:
  - import_profiles: people
    stable_seconds: 0
"""
LINES = "id,sku,quantity\n1,a,2\n1,b,1\n1,c,\n2,a,1\n"
PRODUCTS = "sku,name\na,Apron\nb,Bowl\nc,Cup\n"
ORDERS = "id,email,date,total,coupons\n1,ann@example.org,2026-01-02T10:00:00,25.50,X|Y\n"


def dedented(text: str) -> str:
    return "\n".join(line[4:] for line in text.strip("\n").splitlines())


@pytest.fixture
def orders(shop: Shop) -> Shop:
    """Orders of one line file and one product file."""
    shop.connection(dedented(FILES) + "\n" + dedented(GOAL), text=CONNECTION)
    shop.put("lines.csv", LINES)
    shop.put("products.csv", PRODUCTS)
    return shop


def events(shop: Shop, email: str = "ann@example.org") -> list[dict[str, Any]]:
    profile = shop.profile("email", email)
    assert profile is not None
    store = shop.store()
    try:
        return store.profile_events(profile["profile_id"], 1000)
    finally:
        store.close()


def test_an_order_with_three_lines_is_one_event_with_three_products(orders: Shop) -> None:
    orders.put("orders.csv", ORDERS)
    counts = orders.counts()
    assert (counts["state"], counts["created"], counts["events_created"]) == ("done", 1, 1)
    assert events(orders) == [
        {
            "type": "order",
            "event_id": "1",
            "date": "2026-01-02T09:00:00.000Z",
            "data": {
                "order_id": "1",
                "total_revenue": "25.5",
                "coupon": ["X", "Y"],
                "product": [
                    {"id": "a", "name": "Apron", "quantity": "2"},
                    {"id": "b", "name": "Bowl", "quantity": "1"},
                    {"id": "c", "name": "Cup"},
                ],
            },
        }
    ]


def test_running_again_changes_nothing_and_a_changed_row_replaces_its_event(orders: Shop) -> None:
    orders.put("orders.csv", ORDERS)
    orders.counts()
    first = orders.profile("email", "ann@example.org")
    again = orders.counts(full=True)
    assert (again["events_created"], again["events_updated"], again["events_unchanged"]) == (0, 0, 1)
    orders.put("orders.csv", ORDERS.replace("25.50", "30"))
    changed = orders.counts()
    assert (changed["events_created"], changed["events_updated"], changed["unchanged"]) == (0, 1, 1)
    assert [event["data"]["total_revenue"] for event in events(orders)] == ["30"]
    assert orders.profile("email", "ann@example.org") == first, "an event does not modify its profile"
