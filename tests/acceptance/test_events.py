"""Rows S-07, S-19 and S-52 to S-57: timeline events from the rows of an import."""

from __future__ import annotations

from typing import Any

import pytest

from crosswalk.steps.context import open_run
from crosswalk.steps.mail import run_message
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


def test_products_are_counted_once_and_asked_by_count_and_by_time(orders: Shop) -> None:
    orders.put("orders.csv", ORDERS + "2,bo@example.org,2026-01-03,5,\n")
    orders.counts()
    orders.counts(full=True)
    store = orders.store()
    by_count = [(item["product_id"], item["name"], item["bought_count"]) for item in store.products("count")]
    by_time = [(item["product_id"], item["last_bought_at"]) for item in store.products("recent")]
    store.close()
    assert by_count == [("a", "Apron", 2), ("b", "Bowl", 1), ("c", "Cup", 1)]
    assert by_time[0] == ("a", "2026-01-02T23:00:00.000Z")
    orders.put("lines.csv", LINES.replace("2,a,1\n", "2,c,1\n"))
    orders.counts()
    store = orders.store()
    assert [(item["product_id"], item["bought_count"]) for item in store.products()] == [("c", 2), ("a", 1), ("b", 1)]
    store.close()


def test_without_the_option_the_product_store_is_untouched(orders: Shop) -> None:
    path = orders.root / "connections" / "shop.yaml"
    path.write_text(path.read_text().replace("product_store: true", "product_store: false"))
    orders.put("orders.csv", ORDERS)
    assert orders.counts()["events_created"] == 1
    store = orders.store()
    assert store.products() == []
    store.close()


def test_a_changed_line_replaces_the_products_of_its_order(orders: Shop) -> None:
    orders.put("orders.csv", ORDERS)
    orders.counts()
    orders.put("lines.csv", LINES.replace("1,c,\n", "1,c,7\n"))
    counts = orders.counts()
    assert (counts["events_updated"], counts["events_created"]) == (1, 0)
    (event,) = events(orders)
    assert event["data"]["product"][2] == {"id": "c", "name": "Cup", "quantity": "7"}


def test_a_rejected_event_is_counted_and_shown_and_its_profile_is_there(orders: Shop) -> None:
    orders.put("orders.csv", ORDERS + "2,bo@example.org,,5,\n3,cy@example.org,soon,5,\n,di@example.org,2026-01-01,5,\n")
    run = orders.run()
    counts = run["by_goal"]["people"]["result"]["counts"]
    assert run["state"] == "done_with_rejects"
    assert (counts["created"], counts["applied"], counts["quarantined"], counts["invalid_values"]) == (4, 4, {}, 0)
    assert (counts["events_created"], counts["events_rejected"], counts["events_without_id"]) == (1, 2, 1)
    assert counts["events_rejected_by_reason"] == {"event_without_date": 1, "invalid_datetime": 1}
    shown = [(item["line"], item["reason"], item["scope"], item["raw"]) for item in orders.rejects(run)]
    assert shown == [(3, "event_without_date", "event", None), (4, "invalid_datetime", "event", "soon")]
    assert events(orders, "cy@example.org") == []


def test_lines_that_belong_to_no_order_are_counted(orders: Shop) -> None:
    orders.put("orders.csv", ORDERS)
    assert orders.counts()["orphans"] == {"lines": 1, "products": 0}


def test_a_plan_counts_events_and_writes_none(orders: Shop) -> None:
    orders.put("orders.csv", ORDERS)
    counts = orders.counts(mode="plan")
    assert (counts["state"], counts["events_created"]) == ("planned", 1)
    assert orders.profile("email", "ann@example.org") is None
    assert orders.counts()["events_created"] == 1
    assert len(events(orders)) == 1


def test_one_goal_imports_orders_and_refunds_as_two_types(shop: Shop) -> None:
    shop.connection(
        """
        identifiers: [{field: people.email, property: email}]
        create_profiles: true
        events:
          - {type: order, id: people.id, date: people.date, when: {field: people.kind, any_of: [sale]}}
          - type: order_refund
            id: people.id
            date: people.date
            when: {field: people.kind, any_of: [refund]}
            fields: {reason: people.why}
        """
    )
    shop.put(
        "people.csv",
        "email,id,date,kind,why\nann@example.org,1,2026-01-01,sale,\nann@example.org,1,2026-01-02,refund,late\n",
    )
    assert shop.counts()["events_created"] == 2
    found = [(item["type"], item["event_id"], item["data"]) for item in events(shop)]
    assert found == [("order_refund", "1", {"reason": "late"}), ("order", "1", {})]


def test_a_type_of_the_tenant_is_usable_and_an_unknown_one_is_refused(shop: Shop) -> None:
    goal = """
        identifiers: [{field: people.email, property: email}]
        create_profiles: true
        events: [{type: visit, id: people.id, date: people.date, fields: {shop: people.shop}}]
        """
    shop.connection(goal)
    shop.put("people.csv", "email,id,date,shop\nann@example.org,1,2026-01-01,Gent\n")
    run = shop.run()
    assert run["state"] == "failed"
    (shop.root / "tenant" / "event_types.yaml").write_text(
        "event_types: {visit: {fields: {shop: {multiple: false}}}}\n"
    )
    assert shop.counts()["events_created"] == 1
    assert events(shop)[0]["data"] == {"shop": "Gent"}


def test_the_mail_tells_about_events(orders: Shop) -> None:
    orders.put("orders.csv", ORDERS + "2,bo@example.org,,5,\n")
    run = orders.run()
    with open_run(orders.request(), resolve=orders.resolve) as context:
        text = run_message(context.connection, "shop", run, run["state"], None).get_content()
    assert "events created 1, events rejected 1" in text
    assert "events rejected: 1 event_without_date" in text
