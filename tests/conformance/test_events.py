"""What every store backend promises about timeline events and products."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from crosswalk.store.base import EVENT_GROWTH_SCHEMA, EVENT_KEY_SCHEMA, Applied, Moved, Store
from crosswalk.store.export_base import PROFILE_ID_SCHEMA
from tests.simulators.stores import apply, profile, rows, stored

LATER, PAST = 4_102_444_800_000, 1_000


def event(
    event_id: str, *, outcome: str = "created", batch_no: int = 0, profile_id: str = "p1", **more: Any
) -> dict[str, Any]:
    """A planned event."""
    return {
        "profile_id": profile_id,
        "type": "order",
        "event_id": event_id,
        "date": 1_700_000_000_000,
        "priority": 1,
        "batch_no": batch_no,
        "data": json.dumps({"note": f"né {event_id}"}, ensure_ascii=False),
        "expires_at": None,
        "outcome": outcome,
        **more,
    }


def purchase(product: str, event_id: str, items: int = 1, bought_at: int = 10) -> dict[str, Any]:
    """A planned purchase of p1."""
    key = {"profile_id": "p1", "type": "order", "event_id": event_id}
    return {"product_id": product, **key, "bought_at": bought_at, "items": items}


def product(name: str, described_at: int, **details: str) -> dict[str, Any]:
    """A touched product."""
    return {"product_id": name, "name": f"Name {name}", "details": json.dumps(details), "described_at": described_at}


def found(store: Store, *event_ids: str, profile_id: str = "p1") -> dict[str, dict[str, Any]]:
    wanted = [{"profile_id": profile_id, "type": "order", "event_id": event_id} for event_id in event_ids]
    listed = store.find_events(rows(EVENT_KEY_SCHEMA, wanted)()).read_all().to_pylist()
    return {item["event_id"]: item for item in listed}


def crowd(store: Store, most: int, **added: int) -> list[str]:
    growth = [{"profile_id": key, "added": value} for key, value in added.items()]
    table = store.find_crowd(rows(EVENT_GROWTH_SCHEMA, growth)(), most).read_all()
    assert all(item["date"] and item["batch_no"] for item in table.to_pylist())
    return sorted(f"{item['profile_id']} {item['event_id']}" for item in table.to_pylist())


def test_events_are_kept_with_their_batch_and_found_by_their_key(store: Store) -> None:
    assert isinstance(apply(store, profiles=[profile("p1")], events=[event("1"), event("2")]), Applied)
    kept = found(store, "1", "2", "3")
    assert sorted(kept) == ["1", "2"]
    assert json.loads(kept["1"]["data"]) == {"note": "né 1"}
    assert kept["1"]["batch_no"] > 0
    assert found(store, "1", profile_id="p2") == {}


def test_a_store_has_events_once_one_was_written(store: Store) -> None:
    assert not store.has_events()
    apply(store, profiles=[profile("p1")])
    assert not store.has_events()
    apply(store, batch_id="b2", events=[event("1")])
    assert store.has_events()


def test_a_purchase_alone_counts_as_an_event_that_was_there(store: Store) -> None:
    apply(store, purchases=[purchase("a", "1")], products=[product("a", 20)])
    assert store.has_events()


def test_an_event_alone_does_not_touch_its_profile(store: Store) -> None:
    apply(store, profiles=[profile("p1")])
    before = store._db.query("SELECT modified_at FROM profile", (), pa.schema([("modified_at", pa.int64())]))
    apply(store, batch_id="b2", profiles=[profile("p1", 1, "unchanged")], events=[event("1")])
    after = store._db.query("SELECT modified_at FROM profile", (), pa.schema([("modified_at", pa.int64())]))
    assert (stored(store, "p1")["p1"][0], after) == (1, before)


def test_an_event_is_replaced_or_removed_only_as_it_was_read(store: Store) -> None:
    apply(store, profiles=[profile("p1")], events=[event("1"), event("2")])
    number = found(store, "1")["1"]["batch_no"]
    changes = [event("1", outcome="updated", batch_no=number, date=5), event("2", outcome="removed", batch_no=number)]
    assert isinstance(apply(store, batch_id="b2", events=changes), Applied)
    kept = found(store, "1", "2")
    assert (list(kept), kept["1"]["date"]) == (["1"], 5)
    assert kept["1"]["batch_no"] > number
    late = [event("1", outcome="updated", batch_no=number, date=6)]
    assert apply(store, batch_id="b3", events=late) == Moved({"event": 1})
    gone = [event("1", outcome="removed", batch_no=number), event("2", outcome="removed", batch_no=number)]
    assert apply(store, batch_id="b4", events=gone) == Moved({"event": 2})
    assert found(store, "1")["1"]["date"] == 5


def test_an_event_that_another_run_made_meanwhile_moves_the_plan_and_nothing_is_written(store: Store) -> None:
    apply(store, profiles=[profile("p1")], events=[event("1")])
    outcome = apply(store, batch_id="b2", profiles=[profile("p2")], events=[event("2"), event("1")])
    assert outcome == Moved({"event": 1})
    assert (stored(store, "p2"), list(found(store, "1", "2"))) == ({}, ["1"])


def test_events_of_a_period_come_out_of_all_profiles_or_of_some(store: Store) -> None:
    dated = [event(str(day), date=day, profile_id=f"p{day % 2}") for day in range(4)]
    gone = event("9", date=2, expires_at=PAST)
    apply(store, profiles=[profile("p0"), profile("p1")], events=[*dated, gone])

    def listed(*bounds: int | None, of: list[str] | None = None) -> list[str]:
        wanted = None if of is None else rows(PROFILE_ID_SCHEMA, [{"profile_id": key} for key in of])()
        return sorted(item["event_id"] for item in store.stored_events(*bounds, wanted).read_all().to_pylist())

    assert listed(None, None) == ["0", "1", "2", "3"]
    assert (listed(1, 3), listed(2, None), listed(None, 1), listed(3, 3)) == (["1", "2"], ["2", "3"], ["0"], [])
    assert (listed(None, None, of=["p1", "p7"]), listed(2, None, of=["p1"]), listed(0, 9, of=[])) == (
        ["1", "3"],
        ["3"],
        [],
    )
    (first, *_) = sorted(store.stored_events(0, 1).read_all().to_pylist(), key=lambda item: item["date"])
    assert (first["profile_id"], first["type"], first["date"]) == ("p0", "order", 0)
    assert json.loads(first["data"]) == {"note": "né 0"}


def test_expired_events_are_not_there_and_go_with_the_next_batch(store: Store) -> None:
    apply(store, profiles=[profile("p1")], events=[event("1", expires_at=PAST), event("2", expires_at=LATER)])
    assert list(found(store, "1", "2")) == ["2"]
    assert [item["event_id"] for item in store.profile_events("p1")] == ["2"]
    assert crowd(store, 0, p1=1) == ["p1 2"]
    assert isinstance(apply(store, batch_id="b2", events=[event("1")]), Applied)
    assert sorted(found(store, "1", "2")) == ["1", "2"]
    apply(store, batch_id="b3", events=[event("3", expires_at=PAST)])
    assert store.purge(30)["event"] == 1


def test_only_profiles_that_would_have_too_many_events_are_listed(store: Store) -> None:
    made = [event(str(n), profile_id=f"p{n % 2}") for n in range(6)]
    apply(store, profiles=[profile("p0"), profile("p1"), profile("p2")], events=made)
    assert crowd(store, 4, p0=1, p1=2, p2=9) == ["p1 1", "p1 3", "p1 5"]
    assert crowd(store, 5, p0=1, p1=2) == []


def test_events_of_a_profile_come_latest_first(store: Store) -> None:
    made = [event(str(n), date=n) for n in (3, 1, 2)]
    apply(store, profiles=[profile("p1")], events=made)
    listed = store.profile_events("p1", 2)
    assert [item["event_id"] for item in listed] == ["3", "2"]
    assert listed[0] == {"type": "order", "event_id": "3", "date": "1970-01-01T00:00:00.003Z", "data": {"note": "né 3"}}


def test_a_batch_that_is_there_already_writes_no_event_again(store: Store) -> None:
    parts: dict[str, Any] = {"profiles": [profile("p1")], "events": [event("1")]}
    apply(store, **parts)
    outcome = apply(store, **parts)
    assert isinstance(outcome, Applied)
    assert outcome.repeated


def bought(store: Store, by: Any = "count") -> list[tuple[str, int, str]]:
    return [(item["product_id"], item["bought_count"], item["last_bought_at"][-5:]) for item in store.products(by)]


def test_products_are_counted_from_their_purchases_however_often_these_change(store: Store) -> None:
    first = [purchase("a", "1", 2, 10), purchase("b", "1", 1, 10), purchase("a", "2", 1, 30)]
    apply(store, profiles=[profile("p1")], purchases=first, products=[product("a", 30), product("b", 10)])
    assert bought(store) == [("a", 3, ".030Z"), ("b", 1, ".010Z")]
    again = [purchase("a", "2", 0, 30), purchase("b", "2", 5, 40)]
    apply(store, batch_id="b2", purchases=again, products=[product("a", 5), product("b", 40, colour="red")])
    assert bought(store) == [("b", 6, ".040Z"), ("a", 2, ".010Z")]
    apply(store, batch_id="b3", purchases=[purchase("a", "9", 9, 20)], products=[product("a", 20)])
    assert bought(store) == [("a", 11, ".020Z"), ("b", 6, ".040Z")]
    assert bought(store, "recent") == [("b", 6, ".040Z"), ("a", 11, ".020Z")]
    assert store.products("recent", 1)[0] == {
        "product_id": "b",
        "name": "Name b",
        "bought_count": 6,
        "last_bought_at": "1970-01-01T00:00:00.040Z",
        "details": {"colour": "red"},
    }
    wanted = [{"profile_id": "p1", "type": "order", "event_id": "1"}]
    kept = store.find_purchases(rows(EVENT_KEY_SCHEMA, wanted)()).read_all().to_pylist()
    assert sorted((item["product_id"], item["items"]) for item in kept) == [("a", 2), ("b", 1)]


def test_an_older_description_does_not_replace_a_newer_one_and_a_missing_name_keeps_the_known_one(store: Store) -> None:
    apply(store, purchases=[purchase("a", "1")], products=[product("a", 20, colour="red")])
    apply(store, batch_id="b2", products=[{**product("a", 10, colour="blue"), "name": "Old"}])
    assert (store.products()[0]["name"], store.products()[0]["details"]) == ("Name a", {"colour": "red"})
    apply(store, batch_id="b3", products=[{**product("a", 30, colour="blue"), "name": None}])
    assert (store.products()[0]["name"], store.products()[0]["details"]) == ("Name a", {"colour": "blue"})


def test_a_product_that_nobody_bought_is_not_listed(store: Store) -> None:
    apply(store, purchases=[purchase("a", "1")], products=[product("a", 20)])
    apply(store, batch_id="b2", purchases=[purchase("a", "1", 0)], products=[product("a", 10)])
    assert store.products() == []
