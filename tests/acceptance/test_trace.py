"""Trace: which run, file and line put a value there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crosswalk.cli.main import main
from tests.acceptance.shop import Shop
from tests.acceptance.test_undo import CONNECTION, others, people, undo

EVENTS = """    events: [{type: order, id: people.id, date: people.paid}]
    mappings:
      fields:
        - {field: people.card"""


@pytest.fixture
def shop(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop.connection(text=CONNECTION)
    monkeypatch.setenv("CROSSWALK_TENANT", str(shop.root / "tenant"))
    return shop


@pytest.fixture
def traced(capsys: pytest.CaptureFixture[str]) -> Any:
    def trace(*words: str) -> dict[str, Any]:
        assert main(["trace", *words, "--json"]) == 0
        return dict(json.loads(capsys.readouterr().out))

    return trace


def sources(document: dict[str, Any], property_id: str) -> list[tuple[str, str, str | None, int | None]]:
    return [
        (line["value"], line["run_id"], line["file"], line["line"])
        for line in document["values"]
        if line["property"] == property_id
    ]


def test_every_change_is_told_in_order_with_run_file_and_line(shop: Shop, traced: Any) -> None:
    people(shop, "2,bob@x.org,,Gent,,,,", "1,ann@x.org,,Gent,2,,a,")
    others(shop, "9,ann@x.org,Ann,Ieper,,4,,")
    document = traced("email=ANN@x.org")
    cities = [line for line in document["changes"] if line["property"] == "city"]
    assert [(line["run_id"], line["connection"], line["goal"], line["kind"]) for line in cities] == [
        ("run-1", "shop", "people", "created"),
        ("run-2", "shop", "others", "updated"),
    ]
    assert [(line["before"], line["after"], line["file"], line["line"]) for line in cities] == [
        (None, ["Gent"], "/in/people.csv", 3),
        (["Gent"], ["Ieper"], "/in/others.csv", 2),
    ]
    assert cities[0]["at"] <= cities[1]["at"]


def test_each_value_has_the_line_that_brought_it_and_not_one_that_kept_it(shop: Shop, traced: Any) -> None:
    people(shop, "1,ann@x.org,,Gent,2,,a,")
    people(shop, "1,ann@x.org,,Aalst,2,,b,", "2,ann@x.org,,Aalst,3,,b,")
    document = traced("email=ann@x.org")
    assert sources(document, "tags") == [("a", "run-1", "/in/people.csv", 2), ("b", "run-2", "/in/people.csv", 2)]
    assert sources(document, "city") == [("Aalst", "run-2", "/in/people.csv", 3)]
    assert sources(document, "visits") == [("5", "run-1", "/in/people.csv", 2), ("5", "run-2", "/in/people.csv", 3)]


def test_a_value_that_an_undo_gave_back_comes_from_where_it_came_from(shop: Shop, traced: Any) -> None:
    people(shop, "1,ann@x.org,,Gent,4,,,")
    run_id = people(shop, "1,ann@x.org,,Aalst,6,,,")
    undo(shop, run_id)
    document = traced("email=ann@x.org")
    assert sources(document, "visits") == [("4", "run-1", "/in/people.csv", 2)]
    document = traced("email=ann@x.org", "--property", "city")
    assert sources(document, "city") == [("Gent", "run-1", "/in/people.csv", 2)]
    assert [(line["kind"], line["after"]) for line in document["changes"]] == [
        ("created", ["Gent"]),
        ("updated", ["Aalst"]),
        ("undone", ["Gent"]),
    ]


def test_personal_values_are_masked_unless_asked_for(
    shop: Shop, traced: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    people(shop, "1,ann@x.org,k100,Gent,,,,yes")
    others(shop, "9,ann@x.org,Annabel,,,,,")
    masked = json.dumps(traced("email=ann@x.org"))
    assert "ann@x.org" not in masked
    assert "Annabel" not in masked
    assert "k100" not in masked
    assert "Gent" in masked
    assert "newsletter" in masked
    shown = json.dumps(traced("email=ann@x.org", "--unmasked"))
    assert "ann@x.org" in shown
    assert "Annabel" in shown
    assert main(["trace", "email=ann@x.org"]) == 0
    printed = capsys.readouterr().out
    assert "Where the values come from" in printed
    assert "Annabel" not in printed


def test_values_older_than_the_log_are_shown_without_a_source(shop: Shop, traced: Any) -> None:
    people(shop, "1,ann@x.org,,Gent,,,,")
    store = shop.store()
    store._db.execute("UPDATE batch SET applied_at = applied_at - 31 * CAST(86400000 AS BIGINT)")
    store.purge(30)
    store.close()
    document = traced("email=ann@x.org")
    assert document["changes"] == []
    assert sources(document, "city") == [("Gent", None, None, None)]


def test_an_unknown_profile_or_property_is_an_error(shop: Shop) -> None:
    people(shop, "1,ann@x.org,,Gent,,,,")
    assert main(["trace", "email=nobody@x.org"]) == 1
    assert main(["trace", "city=Gent"]) == 2


def test_each_event_has_the_line_that_brought_it(shop: Shop, traced: Any) -> None:
    shop.connection(text=CONNECTION.replace("    mappings:\n      fields:\n        - {field: people.card", EVENTS, 1))
    people(shop, "1,ann@x.org,,Gent,1,,,", "2,bo@x.org,,Gent,2,,,")
    shop.put(
        "people.csv",
        "id,email,card,city,n,paid,tag,news\n1,ann@x.org,,Gent,1,2026-10-01,,\n3,ann@x.org,,,,2026-10-02,,\n",
    )
    shop.run(goals=("people",))
    document = traced("email=ann@x.org")
    assert [
        (line["type"], line["event_id"], line["run_id"], line["file"], line["line"]) for line in document["events"]
    ] == [
        ("order", "3", "run-2", "/in/people.csv", 3),
        ("order", "1", "run-2", "/in/people.csv", 2),
    ]


def absent(capsys: pytest.CaptureFixture[str], identifier: str) -> dict[str, Any]:
    assert main(["trace", identifier, "--json"]) == 1
    return dict(json.loads(capsys.readouterr().out))


def test_a_value_that_did_not_arrive_is_found_where_it_was_set_aside(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.connection(
        text=CONNECTION.replace("create_profiles: true", "create_profiles: true\n    invalid_values: reject_row")
    )
    people(shop, "1,Ann@x.org,k_1,Gent,many,,,", "2,joann@x.org,,Gent,few,,,", "3,,,Gent,1,,,", "few,cells,cy@x.org")
    document = absent(capsys, "email=ann@X.org")
    assert [(row["run_id"], row["file"], row["line"], row["reason"]) for row in document["set_aside"]] == [
        ("run-1", "/in/people.csv", 2, "invalid_number")
    ]
    assert "raw" not in document["set_aside"][0]
    assert "Ann@x.org" not in json.dumps(document)
    assert [(row["reason"], row["rows"]) for row in document["may_be_counted"]] == [("no_identifier", 1)]
    assert [row["line"] for row in absent(capsys, "email=cy@x.org")["set_aside"]] == [5]
    assert [row["line"] for row in absent(capsys, "customer_id=k_1")["set_aside"]] == [2]
    assert absent(capsys, "customer_id=k%1")["set_aside"] == []
    assert main(["trace", "email=ann@x.org"]) == 1
    printed = capsys.readouterr().out
    assert "set aside" in printed
    assert "only counted" in printed
