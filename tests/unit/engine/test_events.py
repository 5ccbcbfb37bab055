"""Timeline events of the plan: values, identity, strategies, rejects, limits, purchases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crosswalk.config.connection import ImportProfiles
from crosswalk.config.tenant import Tenant
from crosswalk.engine.session import Session, open_session
from tests.properties.event_world import EventWorld
from tests.properties.world import SOURCES
from tests.reference_model import Row
from tests.unit.engine.world_case import connection, goal

TENANT = Tenant.model_validate(
    {
        "properties": {"email": {"type": "email", "identifier": "unique"}, "city": {"type": "text"}},
        "objectives": {"news": {}},
        "event_types": {
            "visit": {
                "fields": {
                    "shop": {"multiple": False},
                    "tags": {"type": "text"},
                    "minutes": {"type": "number"},
                    "spent": {"type": "decimal"},
                    "day": {"type": "date"},
                    "at": {"type": "datetime"},
                    "member": {"type": "boolean"},
                    "scores": {"type": "decimal", "multiple": True},
                    "seen": {
                        "fields": {
                            "id": {"identifier": True},
                            "price": {"type": "decimal"},
                            "labels": {"type": "text"},
                            "shop": {"multiple": False},
                        }
                    },
                }
            },
            "opened": {"priority": "low", "fields": {"subject": {"multiple": False}}},
        },
    }
)
FILES = [
    {"name": "p", "path": "/p"},
    {"name": "l", "path": "/l", "link": {"x": "p.x"}, "nested": True},
]
DAY = 86_400_000
JAN_2 = 1_767_312_000_000  # 2026-01-02T00:00Z


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with open_session(tmp_path_factory.mktemp("engine") / "tmp", threads=1) as session:
        yield session


@pytest.fixture
def world(engine: Session, tmp_path: Path) -> EventWorld:
    return EventWorld(engine, tmp_path / "world", now_ms=JAN_2)


def event(**more: Any) -> dict[str, Any]:
    return {"type": "visit", "id": "p.id", "date": "p.date", **more}


def made(*events: dict[str, Any], **more: Any) -> ImportProfiles:
    return goal(files=FILES, events=list(events), **more)


def row(number: int = 2, **cells: Any) -> Row:
    """A row of ann's event 1; cells of the nested file begin with ``l_``."""
    known = {"email": "ann@x.org", "id": "1", "date": "2026-01-02", **cells}
    return Row(SOURCES[0], number, {(f"l.{k[2:]}" if k[:2] == "l_" else f"p.{k}"): v for k, v in known.items()})


def run(
    world: EventWorld, wanted: ImportProfiles, *listed: Row, tenant: Tenant = TENANT, **more: Any
) -> dict[str, Any]:
    return world.run(list(listed), wanted, connection(wanted, **more.pop("head", {})), tenant, **more)


def data(world: EventWorld, key: tuple[str, str] = ("visit", "1")) -> dict[str, Any]:
    return world.told()[key][2]


# -- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "cell", "stored"),
    [
        ("shop", ' Gent "N\\" ', 'Gent "N\\"'),
        ("tags", "a|b| a ", ["a", "b"]),
        ("minutes", "12.0", "12"),
        ("spent", "1,250.50", "1250.5"),
        ("day", "2026-02-28", "2026-02-28"),
        ("day", "2026-02-28T23:30:00-02:00", "2026-03-01"),
        ("at", "2026-01-02T10:00:00", str(JAN_2 + 9 * 3_600_000)),
        ("member", "YES", "true"),
        ("member", "0", "false"),
        ("scores", "1.50|2", ["1.5", "2"]),
        ("shop", "a|b", "a|b"),
    ],
)
def test_a_value_is_read_by_the_type_of_its_field(world: EventWorld, field: str, cell: str, stored: Any) -> None:
    wanted = made(event(fields={field: "p.v"}), format={"multi_value": "|"})
    counts = run(world, wanted, row(v=cell), head={"timezone": "Europe/Brussels"})
    assert (counts["events_created"], data(world)) == (1, {field: stored})


@pytest.mark.parametrize("cell", ["", None, "  "])
def test_an_empty_or_absent_cell_gives_no_field(world: EventWorld, cell: str | None) -> None:
    run(world, made(event(fields={"shop": "p.v"})), row(v=cell))
    assert data(world) == {}


def test_the_date_is_read_with_the_format_and_zone_of_the_file(world: EventWorld) -> None:
    wanted = made(event(), format={"date": "%d/%m/%Y %H:%M", "timezone": "Europe/Brussels"})
    run(world, wanted, row(date="02/01/2026 01:00"))
    assert world.told() == {("visit", "1"): ("ann@x.org", JAN_2, {})}


def test_fields_stand_in_the_order_of_the_event_type(world: EventWorld) -> None:
    run(world, made(event(fields={"minutes": "p.n", "shop": "p.v"})), row(v="A", n="1"))
    assert list(data(world)) == ["shop", "minutes"]


def test_a_list_of_a_nested_file_fills_a_field_with_several_values(world: EventWorld) -> None:
    run(world, made(event(fields={"tags": "l.tag"})), row(l_tag=["a", None, "b", "a", ""]))
    assert data(world) == {"tags": ["a", "b"]}


def test_items_keep_the_places_of_their_rows_whatever_cells_are_empty(world: EventWorld) -> None:
    nested = {"seen": {"file": "l", "fields": {"price": "l.price", "id": "l.sku", "labels": "l.label", "shop": "p.v"}}}
    run(
        world,
        made(event(nested=nested), format={"multi_value": "|"}),
        row(
            v="Gent", l_sku=[" a ", "", None, "d"], l_price=["1.50", "2", None, None], l_label=["x|y|x", "", None, "z"]
        ),
    )
    assert data(world)["seen"] == [
        {"id": "a", "price": "1.5", "labels": ["x", "y", "x"], "shop": "Gent"},
        {"price": "2", "shop": "Gent"},
        {"shop": "Gent"},
        {"id": "d", "labels": ["z"], "shop": "Gent"},
    ]


@pytest.mark.parametrize("listed", [None, [], ["", None]])
def test_without_a_value_there_is_no_item(world: EventWorld, listed: list[str | None] | None) -> None:
    rows = [row(l_sku=listed), row(3, id="2", l_sku=["b"])]
    run(world, made(event(nested={"seen": {"file": "l", "fields": {"id": "l.sku"}}})), *rows)
    assert (data(world), data(world, ("visit", "2"))) == ({}, {"seen": [{"id": "b"}]})


# -- which rows hold an event -----------------------------------------------------------------------------------------


def test_when_chooses_rows_and_one_goal_can_have_several_types(world: EventWorld) -> None:
    opened = {"type": "opened", "id": "p.id", "date": "p.date", "when": {"field": "p.kind", "any_of": ["Mail"]}}
    wanted = made(event(when={"field": "p.kind", "any_of": ["shop", "stand"]}), opened)
    kinds = [" SHOP ", "mail", "other", "", None]
    counts = run(world, wanted, *(row(no + 2, id=str(no), kind=kind) for no, kind in enumerate(kinds)))
    assert sorted(world.told()) == [("opened", "1"), ("visit", "0")]
    assert counts["events_created"] == 2


def test_an_empty_id_is_no_event_and_an_absent_one_is_not_even_counted(world: EventWorld) -> None:
    counts = run(world, made(event()), row(id=""), row(3, id=" "), row(4, id=None), row(5))
    assert (counts["events_without_id"], counts["events_created"], world.quarantine()) == (2, 1, [])


@pytest.mark.parametrize(
    ("cells", "reason", "field", "raw"),
    [
        ({"date": ""}, "event_without_date", "p.date", None),
        ({"date": None}, "event_without_date", "p.date", None),
        ({"date": "tomorrow"}, "invalid_datetime", "p.date", "tomorrow"),
        ({"id": "x" * 501}, "too_long", "p.id", "x" * 501),
    ],
)
def test_an_event_is_rejected_with_its_reason_and_the_profile_is_updated(
    world: EventWorld, cells: dict[str, Any], reason: str, field: str, raw: str | None
) -> None:
    wanted = made(event(), mappings={"fields": [{"field": "p.city", "property": "city"}]})
    counts = run(world, wanted, row(city="Gent", **cells))
    assert (counts["created"], counts["applied"], counts["events_created"], world.events) == (1, 1, 0, {})
    (item,) = world.quarantine()
    assert {key: item[key] for key in ("row_id", "line", "scope", "reason", "field", "raw")} == {
        "row_id": 1,
        "line": 2,
        "scope": "event",
        "reason": reason,
        "field": field,
        "raw": raw,
    }
    assert item["message"] != "The value does not fit."


BAD = {"n": "many", "d": "31-02", "b": "perhaps", "l_price": ["1", "x", ""]}
BAD_FIELDS = {"minutes": "p.n", "day": "p.d", "member": "p.b", "shop": "p.v"}
BAD_NESTED = {"seen": {"file": "l", "fields": {"id": "l.sku", "price": "l.price"}}}


def test_a_value_that_does_not_fit_is_dropped_from_its_event(world: EventWorld) -> None:
    counts = run(world, made(event(fields=BAD_FIELDS, nested=BAD_NESTED)), row(v="A", l_sku=["a", "b", "c"], **BAD))
    assert data(world) == {"shop": "A", "seen": [{"id": "a", "price": "1"}, {"id": "b"}, {"id": "c"}]}
    assert counts["events_created"] == 1
    assert {(item["field"], item["reason"], item["raw"], item["scope"]) for item in world.quarantine()} == {
        ("p.n", "invalid_number", "many", "value"),
        ("p.d", "invalid_date", "31-02", "value"),
        ("p.b", "invalid_boolean", "perhaps", "value"),
        ("l.price", "invalid_decimal", "x", "value"),
    }


def test_with_reject_row_a_value_that_does_not_fit_rejects_the_event_alone(world: EventWorld) -> None:
    wanted = made(event(fields=BAD_FIELDS, nested=BAD_NESTED), invalid_values="reject_row")
    counts = run(world, wanted, row(l_sku=["a", "b", "c"], **BAD), row(3, id="2", n="3"))
    assert (counts["applied"], counts["events_created"], sorted(world.told())) == (2, 1, [("visit", "2")])
    scopes = [item["scope"] for item in world.quarantine() if item["row_id"] == 1]
    assert (scopes.count("event"), scopes.count("value")) == (1, 3)


def test_an_event_of_more_than_4096_bytes_is_rejected_and_of_more_than_1024_warned_about(world: EventWorld) -> None:
    wanted = made(event(fields={"shop": "p.v"}))
    rows = [row(no, id=str(no), v="é" * size) for no, size in ((2, 506), (3, 507), (4, 2042), (5, 2043))]
    counts = run(world, wanted, *rows)
    assert (counts["events_created"], [item["reason"] for item in world.quarantine()]) == (3, ["event_too_large"])
    assert [key[1] for key in sorted(world.told())] == ["2", "3", "4"]
    assert world.warnings == ["2 events are larger than 1,024 bytes."]


def test_rows_that_may_not_be_processed_bring_no_event(world: EventWorld) -> None:
    wanted = made(event(), consent=[{"field": "p.news", "objective": "news", "granted": ["yes"], "refused": ["no"]}])
    rows = [row(news="yes"), row(3, email="bo@x.org", id="2", news="no"), row(4, email="cy@x.org", id="3", news="")]
    counts = run(world, wanted, *rows, head={"objectives": ["news"]})
    assert (list(world.told()), counts["excluded"]) == ([("visit", "1")], {"no_consent": 2})


def test_rows_that_are_set_aside_bring_no_event(world: EventWorld) -> None:
    wanted = made(
        event(), invalid_values="reject_row", mappings={"fields": [{"field": "p.score", "property": "score"}]}
    )
    tenant = TENANT.model_copy(
        update={
            "properties": {
                **TENANT.properties,
                "score": TENANT.properties["city"].model_copy(update={"type": "number"}),
            }
        }
    )
    run(world, wanted, row(score="x"), row(3, id="2", score="1"), tenant=tenant)
    assert list(world.told()) == [("visit", "2")]


# -- the same event again ---------------------------------------------------------------------------------------------


def test_an_event_is_known_by_type_and_id_on_its_profile(world: EventWorld) -> None:
    wanted = made(event(fields={"shop": "p.v"}), row_key=["p.id"])
    first = run(world, wanted, row(v="A"), row(3, id="2", v="B"))
    again = run(world, wanted, row(v="A"), row(3, id="2", v="B"), full=True, batch_id="b2")
    changed = run(world, wanted, row(v="C", date="2026-01-03"), row(3, id="2", v="B"), batch_id="b3")
    outcomes = [[c[f"events_{o}"] for o in ("created", "updated", "unchanged")] for c in (first, again, changed)]
    assert outcomes == [[2, 0, 0], [0, 0, 2], [0, 1, 1]]
    assert world.told()["visit", "1"] == ("ann@x.org", JAN_2 + DAY, {"shop": "C"})
    assert changed["unchanged"] == 1, "the profile itself stays as it is"


def test_unchanged_rows_bring_no_event(world: EventWorld) -> None:
    wanted = made(event())
    run(world, wanted, row())
    counts = run(world, wanted, row(), batch_id="b2")
    assert (counts["unchanged_rows_skipped"], counts["events_unchanged"]) == (1, 0)


def test_within_an_import_the_last_good_row_of_an_event_wins(world: EventWorld) -> None:
    rows = [row(2, v="A"), row(3, v="B"), row(4, v="C", date="never")]
    counts = run(world, made(event(fields={"shop": "p.v"})), *rows)
    assert (data(world), counts["events_repeated"]) == ({"shop": "B"}, 1)


def test_an_event_written_with_another_order_of_fields_is_the_same(world: EventWorld) -> None:
    wanted = made(event(fields={"shop": "p.v", "minutes": "p.n"}))
    run(world, wanted, row(v="A", n="1"))
    (stored,) = world.events.values()
    stored["data"] = json.dumps(dict(reversed(json.loads(stored["data"]).items())))
    assert run(world, wanted, row(v="A", n="1"), full=True)["events_unchanged"] == 1
    assert run(world, wanted, row(v="A", n=""), full=True)["events_updated"] == 1


# -- strategies -------------------------------------------------------------------------------------------------------

PATCH = {"fields": {"shop": "p.v", "minutes": "p.n"}, "nested": BAD_NESTED, "strategy": "update_or_create"}


def test_an_update_writes_only_the_fields_that_the_row_has(world: EventWorld) -> None:
    run(world, made(event(fields={"shop": "p.v", "tags": "p.t"})), row(v="A", t="x"))
    counts = run(world, made(event(**PATCH)), row(v="", n="5", l_sku=["a"]), row(3, id="2", v="B", l_sku=None))
    assert data(world) == {"shop": "A", "tags": ["x"], "minutes": "5", "seen": [{"id": "a"}]}
    assert (counts["events_updated"], counts["events_created"]) == (1, 1)


def test_items_with_a_mapped_identifier_are_joined_in_the_order_of_their_first_coming(world: EventWorld) -> None:
    wanted = made(event(**PATCH))
    run(world, wanted, row(l_sku=["a", "b", ""], l_price=["1", "2", "9"]))
    run(world, wanted, row(l_sku=["c", "a", "a"], l_price=["3", "4", ""]))
    assert data(world)["seen"] == [
        {"id": "a", "price": "4"},
        {"id": "b", "price": "2"},
        {"price": "9"},
        {"id": "c", "price": "3"},
    ]


def test_items_without_a_mapped_identifier_are_replaced_as_a_whole(world: EventWorld) -> None:
    nested = {"seen": {"file": "l", "fields": {"price": "l.price"}}}
    wanted = made(event(nested=nested, strategy="update_or_create"))
    run(world, wanted, row(l_price=["1", "2"]))
    run(world, wanted, row(l_price=["3"]))
    assert data(world)["seen"] == [{"price": "3"}]


def test_update_only_never_makes_an_event(world: EventWorld) -> None:
    wanted = made(event(fields={"shop": "p.v"}, strategy="update_only"))
    counts = run(world, wanted, row(v="A"), row(3, v="B"))
    assert (world.events, counts["events_not_found"]) == ({}, 2)
    run(world, made(event(fields={"minutes": "p.n"})), row(n="1"))
    counts = run(world, wanted, row(v="C"), row(3, v="D"))
    assert (data(world), counts["events_updated"], counts["events_repeated"]) == ({"shop": "D", "minutes": "1"}, 1, 1)


def test_mappings_of_one_type_take_turns_row_by_row(world: EventWorld) -> None:
    def kind(name: str, strategy: str, field: str) -> dict[str, Any]:
        return event(when={"field": "p.kind", "any_of": [name]}, strategy=strategy, fields={field: "p.v"})

    wanted = made(
        kind("o", "update_only", "tags"), kind("u", "update_or_create", "shop"), kind("r", "replace", "minutes")
    )
    kinds = [("o", "lost"), ("u", "A"), ("o", "x"), ("r", "5"), ("o", "y"), ("u", "B")]
    counts = run(world, wanted, *(row(no + 2, kind=kind, v=value) for no, (kind, value) in enumerate(kinds)))
    assert data(world) == {"shop": "B", "tags": ["y"], "minutes": "5"}
    assert (counts["events_created"], counts["events_repeated"], counts["events_not_found"]) == (1, 4, 1)


def test_an_event_that_grows_too_large_stays_as_it_was(world: EventWorld) -> None:
    wanted = made(event(fields={"shop": "p.v", "tags": "p.t"}, strategy="update_or_create"))
    run(world, wanted, row(v="x" * 3000))
    counts = run(world, wanted, row(t="y" * 3000))
    assert (data(world), counts["events_updated"]) == ({"shop": "x" * 3000}, 0)
    assert [(item["reason"], item["scope"], item["line"]) for item in world.quarantine()] == [
        ("event_too_large", "event", 2)
    ]


# -- how many are kept ------------------------------------------------------------------------------------------------


def test_low_events_expire_by_their_date_after_30_days(world: EventWorld) -> None:
    wanted = made({"type": "opened", "id": "p.id", "date": "p.date"})
    rows = [row(id="old", date="2025-12-03T00:00"), row(3, id="new", date="2025-12-03T00:01")]
    counts = run(world, wanted, *rows)
    assert (list(world.told()), counts["events_expired"]) == ([("opened", "new")], 1)
    counts = run(world, wanted, row(3, id="new", date="2025-12-01"))
    assert (world.events, counts["events_expired"]) == ({}, 1)


def test_high_events_never_expire(world: EventWorld) -> None:
    run(world, made(event()), row(date="1970-01-02"))
    assert list(world.told()) == [("visit", "1")]


def test_beyond_250_the_oldest_low_events_go_first_then_the_oldest_high(world: EventWorld) -> None:
    opened = {"type": "opened", "id": "p.id", "date": "p.date", "when": {"field": "p.kind", "any_of": ["low"]}}
    wanted = made(event(when={"field": "p.kind", "any_of": ["high"]}), opened)

    def some(kind: str, numbers: range) -> list[Row]:
        return [row(n + 2, id=f"{n}", kind=kind, date=str(JAN_2 // 1000 - 10_000 + n)) for n in numbers]

    counts = run(world, wanted, *some("high", range(200)), *some("low", range(60)))
    assert (counts["events_created"], counts["events_dropped"]) == (250, 10)
    assert sorted(int(key[1]) for key in world.told() if key[0] == "opened") == list(range(10, 60))
    counts = run(world, wanted, *some("high", range(200, 260)))
    assert (counts["events_created"], counts["events_dropped"]) == (60, 60)
    assert sorted(int(key[1]) for key in world.told()) == list(range(10, 260))
    counts = run(world, wanted, *some("low", range(300, 301)), *some("high", range(5)))
    assert (counts["events_created"], counts["events_dropped"], len(world.events)) == (0, 6, 250)


def test_one_crowded_profile_does_not_cost_another_one_its_events(world: EventWorld) -> None:
    rows = [row(n + 2, id=str(n), date=str(JAN_2 // 1000 + n)) for n in range(251)]
    run(world, made(event()), *rows, row(300, email="bo@x.org", id="b"))
    assert len(world.events) == 251
    assert world.told()["visit", "b"][0] == "bo@x.org"


# -- the product store ------------------------------------------------------------------------------------------------

ORDER = {
    "type": "order",
    "id": "p.id",
    "date": "p.date",
    "nested": {
        "product": {"file": "l", "fields": {"id": "l.sku", "name": "l.name", "quantity": "l.n", "brand": "l.b"}}
    },
}


def order(number: str, skus: list[str | None], **more: Any) -> Row:
    names = [sku and f"Name {sku}" for sku in skus]
    return row(2, **{"id": number, "l_sku": skus, "l_name": names, "l_n": ["3" for _ in skus], "l_b": names, **more})


def test_products_are_counted_once_each_with_their_last_date(world: EventWorld) -> None:
    wanted = made({**ORDER, "product_store": True}, row_key=["p.id"])
    run(world, wanted, order("1", ["a", "b", "a", None, ""]), order("2", ["a"], date="2026-01-03"))
    assert world.bought() == {"a": (3, JAN_2 + DAY), "b": (1, JAN_2)}
    assert json.loads(world.products["b"]["details"]) == {"name": "Name b", "brand": "Name b"}
    run(world, wanted, order("1", ["a", "b", "a", None, ""]), order("2", ["a"], date="2026-01-03"), full=True)
    assert world.bought() == {"a": (3, JAN_2 + DAY), "b": (1, JAN_2)}
    run(world, wanted, order("1", ["b", "c"]), order("2", ["c"], date="2026-01-03"))
    assert world.bought() == {"b": (1, JAN_2), "c": (2, JAN_2 + DAY)}
    assert world.products["a"]["name"] == "Name a", "a product that nobody bought keeps its description"


def test_without_the_option_the_product_store_is_untouched_and_switching_it_on_counts_what_is_there(
    world: EventWorld,
) -> None:
    run(world, made(ORDER), order("1", ["a"]))
    assert (world.bought(), world.products) == ({}, {})
    counts = run(world, made({**ORDER, "product_store": True}), order("1", ["a"]), full=True)
    assert (counts["events_unchanged"], world.bought(), world.products["a"]["name"]) == (1, {"a": (1, JAN_2)}, "Name a")


def test_purchases_stay_when_their_event_has_no_room(world: EventWorld) -> None:
    wanted = made({**ORDER, "product_store": True})
    rows = [order(str(n), ["a"], date=str(JAN_2 // 1000 + n)) for n in range(260)]
    run(world, wanted, *rows[:255])
    run(world, wanted, *rows, full=True)
    assert (len(world.events), world.bought()["a"][0]) == (250, 260)


def test_a_later_run_does_not_describe_a_product_by_an_older_purchase(world: EventWorld) -> None:
    wanted = made({**ORDER, "product_store": True})
    run(world, wanted, order("1", ["a"], l_name=["New"]))
    run(world, wanted, order("0", ["a"], l_name=["Old"], date="2025-01-01"))
    assert world.products["a"]["name"] == "New"


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("buckets", [1, 3, 50])
def test_the_result_does_not_depend_on_the_number_of_buckets(world: EventWorld, buckets: int) -> None:
    wanted = made(
        {**ORDER, "product_store": True}, event(id="p.v", fields={"shop": "p.v"}, strategy="update_or_create")
    )
    rows = [order(str(n), ["a", f"s{n % 3}"], email=f"p{n % 7}@x.org", v=f"v{n % 5}") for n in range(40)]
    run(world, wanted, *rows[:20], buckets=buckets)
    counts = run(world, wanted, *rows, full=True, buckets=buckets)
    assert (counts["events_created"], counts["events_unchanged"], counts["events_repeated"]) == (35, 40, 5)
    assert world.bought() == {"a": (40, JAN_2), "s0": (14, JAN_2), "s1": (13, JAN_2), "s2": (13, JAN_2)}
