"""Undo of events and of the product store: a run is taken back, what came after it stays."""

from __future__ import annotations

import random
from typing import Any

import pytest

from crosswalk.cli.main import main
from crosswalk.steps.result import StepResult
from crosswalk.steps.undo import apply_undo, open_undo, plan_undo
from tests.acceptance.shop import Shop
from tests.faults.store_dump import dump

CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
goals:
  - import_profiles: orders
    stable_seconds: 0
    files:
      - {name: orders, path: /in/orders*.csv}
    row_key: [orders.id]
    identifiers: [{field: orders.email, property: email}]
    create_profiles: true
    format: {multi_value: "|"}
    events:
      - type: order
        id: orders.id
        date: orders.date
        fields: {total_revenue: orders.total}
      - {type: visit, id: orders.visit, date: orders.date, strategy: update_or_create, fields: {shop: orders.shop}}
  - import_profiles: sales
    stable_seconds: 0
    files:
      - {name: sales, path: /in/sales*.csv}
      - {name: lines, path: /in/lines.csv, link: {id: sales.id}, nested: true}
    identifiers: [{field: sales.email, property: email}]
    create_profiles: true
    events:
      - type: order
        id: sales.id
        date: sales.date
        fields: {total_revenue: sales.total}
        nested: {product: {file: lines, fields: {id: lines.sku, name: lines.name}}}
        product_store: true
"""
EVENT_TYPES = """
event_types:
  visit: {priority: low, retention_days: 365, fields: {shop: {multiple: false}}}
"""
ORDERS, SALES, LINES = "id,email,date,total,visit,shop\n", "id,email,date,total\n", "id,sku,name\n"
DAY = "2026-10-{:02}"
WRITTEN = ("events", "purchases", "products", "event_log", "purchase_log", "product_log")


@pytest.fixture
def shop(shop: Shop) -> Shop:
    shop.connection(text=CONNECTION)
    (shop.root / "tenant" / "event_types.yaml").write_text(EVENT_TYPES)
    store = shop.store()
    store.migrate()
    store.close()
    return shop


def orders(shop: Shop, *rows: str) -> str:
    shop.put("orders.csv", ORDERS + "".join(f"{row}\n" for row in rows))
    return _run(shop, "orders")


def sales(shop: Shop, rows: list[str], lines: list[str]) -> str:
    shop.put("lines.csv", LINES + "".join(f"{line}\n" for line in lines))
    shop.put("sales.csv", SALES + "".join(f"{row}\n" for row in rows))
    return _run(shop, "sales")


def _run(shop: Shop, goal: str) -> str:
    run = shop.run(goals=(goal,))
    assert run["state"] == "done", run["by_goal"][goal]
    return str(run["run_id"])


def undo(shop: Shop, run_id: str, *, write: bool = True) -> StepResult:
    with open_undo(run_id, tenant_folder=str(shop.root / "tenant")) as context:
        return apply_undo(context) if write else plan_undo(context)


def written(shop: Shop) -> dict[str, Any]:
    """All of events, purchases, products and their logs."""
    found = dump(shop.store_uri)
    return {name: found[name] for name in WRITTEN} | {"profiles": [[row[0], *row[2:]] for row in found["profiles"]]}


def totals(shop: Shop) -> dict[str, str | None]:
    return {row[2]: row[7].get("total_revenue") for row in dump(shop.store_uri)["events"] if row[1] == "order"}


def left_alone(result: StepResult) -> dict[tuple[str, str], int]:
    return {(line["property"], line["reason"]): line["profiles"] for line in result.summary["left_alone"]}


def random_orders(dice: random.Random) -> list[str]:
    """Orders of few people; some hold visits, which later rows change."""
    rows = []
    for number in dice.sample(range(20), dice.randint(4, 14)):
        visit = dice.choice(["", f"v{dice.randint(1, 6)}"])
        rows.append(
            f"{number},p{number % 5}@x.org,{DAY.format(dice.randint(1, 28))},{dice.randint(1, 9)},{visit},s{number}"
        )
    return rows


def random_sales(dice: random.Random) -> tuple[list[str], list[str]]:
    numbers = dice.sample(range(12), dice.randint(3, 9))
    rows = [
        f"{number},p{number % 4}@x.org,{DAY.format(dice.randint(1, 28))},{dice.randint(1, 9)}" for number in numbers
    ]
    skus = [(number, sku) for number in numbers for sku in dice.sample("abcd", dice.randint(1, 3))]
    return rows, [f"{number},{sku},{sku}{dice.randint(1, 3)}" for number, sku in skus]


@pytest.mark.parametrize("seed", range(4))
def test_runs_undone_from_the_last_to_the_first_give_each_earlier_state_back(
    shop: Shop, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # a profile keeps five: events are dropped for lack of room
        for place in ("event_limits", "undo_logged", "events"):
            monkeypatch.setattr(f"crosswalk.engine.{place}.MOST_EVENTS", 5)
    dice = random.Random(seed)
    states, runs = [written(shop)], []
    for number in range(4):
        runs.append(sales(shop, *random_sales(dice)) if number % 2 else orders(shop, *random_orders(dice)))
        states.append(written(shop))
    assert states[-1]["purchases"]
    for run_id, expected in zip(reversed(runs), reversed(states[:-1]), strict=True):
        result = undo(shop, run_id)
        assert (result.state, written(shop)) == ("done", expected), run_id


@pytest.mark.parametrize("seed", range(3))
def test_runs_undone_in_any_order_leave_nothing_behind(shop: Shop, seed: int) -> None:
    dice = random.Random(100 + seed)
    runs = [
        sales(shop, *random_sales(dice)) if number % 2 else orders(shop, *random_orders(dice)) for number in range(4)
    ]
    dice.shuffle(runs)
    for run_id in runs:
        assert undo(shop, run_id).state in ("done", "done_with_rejects")
    found = written(shop)
    assert {name: found[name] for name in WRITTEN if found[name]} == {}
    assert all(list(row[1]) == ["email"] for row in found["profiles"]), "others knew them by it"


def test_an_event_that_a_later_run_replaced_stays_and_is_named(shop: Shop) -> None:
    first = orders(shop, f"1,ann@x.org,{DAY.format(1)},10,,", f"2,ann@x.org,{DAY.format(1)},20,,")
    sales(shop, [f"1,ann@x.org,{DAY.format(2)},99"], ["1,a,Apron"])
    planned = undo(shop, first, write=False)
    assert left_alone(planned)["event order", "changed_since"] == 1
    result = undo(shop, first)
    assert result.state == "done_with_rejects"
    assert totals(shop) == {"1": "99"}
    store = shop.store()
    listed = store.quarantine(f"undo-{first}")
    counts = store.run(f"undo-{first}")["goals"][0]["result"]["counts"]
    store.close()
    assert [(row["field"], row["reason"], row["raw"]) for row in listed if row["raw"]] == [
        ("event order", "changed_since", "1")
    ]
    assert (counts["events_removed"], counts["events_restored"]) == (1, 0)


def test_what_a_later_run_replaced_goes_back_past_an_undone_run(shop: Shop) -> None:
    orders(shop, f"1,ann@x.org,{DAY.format(1)},10,,")
    second = orders(shop, f"1,ann@x.org,{DAY.format(1)},20,,")
    third = orders(shop, f"1,ann@x.org,{DAY.format(1)},30,,")
    undo(shop, second)
    assert totals(shop) == {"1": "30"}
    undo(shop, third)
    assert totals(shop) == {"1": "10"}


def test_purchases_of_an_order_that_stays_stay_counted(shop: Shop) -> None:
    first = sales(shop, [f"1,ann@x.org,{DAY.format(1)},5"], ["1,a,Apron"])
    orders(shop, f"1,ann@x.org,{DAY.format(2)},7,,")
    undo(shop, first)
    store = shop.store()
    assert [(item["product_id"], item["bought_count"]) for item in store.products()] == [("a", 1)]
    store.close()


def test_an_expired_event_does_not_come_back(shop: Shop) -> None:
    old = "1,ann@x.org,2026-10-01,5,v1,s1"
    orders(shop, old)
    second = orders(shop, old.replace("v1,s1", "v1,s2"))
    store = shop.store()
    store._db.execute("UPDATE event_log SET expires_at = 1")
    store.close()
    result = undo(shop, second)
    assert result.state == "done"
    assert [row[2] for row in dump(shop.store_uri)["events"]] == ["1"], "the visit is past its time"


def test_a_plan_is_stale_when_an_event_moved_meanwhile(shop: Shop) -> None:
    first = orders(shop, f"1,ann@x.org,{DAY.format(1)},10,,")
    assert undo(shop, first, write=False).state == "planned"
    sales(shop, [f"1,ann@x.org,{DAY.format(2)},99"], [])
    assert undo(shop, first).state == "stale"
    assert totals(shop) == {"1": "99"}


def test_purging_forgets_what_events_and_purchases_were(shop: Shop) -> None:
    sales(shop, [f"1,ann@x.org,{DAY.format(1)},5"], ["1,a,Apron"])
    run_id = sales(shop, [f"1,ann@x.org,{DAY.format(1)},6"], ["1,b,Bowl"])
    assert all(written(shop)[log] for log in ("event_log", "purchase_log"))
    store = shop.store()
    store._db.execute("UPDATE batch SET applied_at = 0")
    store.purge(30)
    store.close()
    assert not any(written(shop)[log] for log in ("event_log", "purchase_log", "product_log"))
    with pytest.raises(Exception, match="no longer kept"):
        undo(shop, run_id)


def test_a_dropped_event_comes_back_only_while_there_is_room(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("event_limits", "undo_logged", "events"):
        monkeypatch.setattr(f"crosswalk.engine.{place}.MOST_EVENTS", 3)

    def visits(*days: int) -> str:
        rows = [f"{day},ann@x.org,{DAY.format(day)},,v{day},Gent" for day in days]
        return orders(shop, *(row.replace(f"{row.split(',')[0]},", ",", 1) for row in rows))

    def left() -> list[str]:
        return [row[2] for row in dump(shop.store_uri)["events"]]

    visits(1, 2)
    second = visits(11, 12, 13)
    visits(21)
    assert left() == ["v12", "v13", "v21"]
    result = undo(shop, second)
    assert left_alone(result) == {}
    assert left() == ["v1", "v2", "v21"], "v12 and v13 made room for both"
    third = visits(22, 23)
    assert left() == ["v21", "v22", "v23"]
    visits(24)
    assert left() == ["v22", "v23", "v24"]
    result = undo(shop, third)
    assert left() == ["v1", "v2", "v24"]
    fourth = visits(25, 26)
    visits(27, 28)
    assert left() == ["v26", "v27", "v28"]
    result = undo(shop, fourth)
    assert left() == ["v2", "v27", "v28"]
    assert left_alone(result)["event visit", "no_room"] == 1


EXPORT = """
  - export_profiles: out
    segment: all_profiles
    directory: /out
    file_name: {segment_and_timestamp: true}
    columns: [{property: email}]
"""


def test_an_undo_of_a_run_that_exported_says_that_nothing_can_be_taken_back_there(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSWALK_TENANT", str(shop.root / "tenant"))
    segments = "segments: {all_profiles: {any: [{property: email, has_value: true}]}}\n"
    (shop.root / "tenant" / "segments.yaml").write_text(segments)
    shop.connection(text=CONNECTION.rstrip() + EXPORT)
    shop.put("orders.csv", ORDERS + f"1,ann@x.org,{DAY.format(1)},10,,\n")
    both = shop.run(goals=("orders", "out"))
    assert both["by_goal"]["out"]["state"] == "done", both["by_goal"]["out"]
    orders(shop, f"2,bo@x.org,{DAY.format(1)},10,,")
    alone = shop.run(goals=("out",))
    assert undo(shop, alone["run_id"]).state == "nothing_new"
    assert main(["undo", alone["run_id"], "--apply"]) == 0
    assert "1 file(s): what was sent cannot be taken back" in " ".join(capsys.readouterr().out.split())
    result = undo(shop, both["run_id"])
    assert (result.state, len(result.summary["warnings"])) == ("done", 1)
    assert list(totals(shop)) == ["2"]
    assert len(list((shop.source / "out").iterdir())) == 2
