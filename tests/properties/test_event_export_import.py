"""Exported events, imported again from their files by the steps of a run, are the same events."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from crosswalk.store import open_store
from tests.acceptance.shop import Shop
from tests.properties.test_export_import import dialects, numbers, words
from tests.simulators.folder_connector import FolderConnector
from tests.simulators.stores import apply, identifier, profile

TYPES = """
event_types:
  order:
    extend: false
    fields:
      note: {type: text, multiple: false}
      words: {type: text}
      amount: {type: decimal}
      count: {type: number}
      seen: {type: datetime}
      day: {type: date}
      friendly: {type: boolean}
      line: {fields: {sku: {type: text, identifier: true}, words: {type: text}, price: {type: decimal, multiple: true}}}
"""
CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
timezone: Europe/Brussels
goals:
"""
OUT = """
  - export_profiles: out
    segment: all_profiles
    directory: /in
    file_name: {custom: people.csv}
    columns: [{profile_id: true}, {property: email}]
    events: {types: all}
    format: FORM
"""
IN = """
  - import_profiles: back
    stable_seconds: 0
    files:
      - {name: order, path: /in/order.csvPACKED}
      - {name: line, path: /in/order_line.csvPACKED, nested: true,
         link: {event_id: order.event_id, profile_id: order.profile_id}}
      - {name: people, path: /in/people.csvPACKED, link: {profile_id: order.profile_id}}
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
    events:
      - type: order
        id: order.event_id
        date: order.event_date
        fields: {FIELDS}
        nested: {line: {file: line, fields: {sku: line.sku, words: line.words, price: line.price}}}
    format: FORM
"""
FIELDS = ("note", "words", "amount", "count", "seen", "day", "friendly")
ENDINGS = {"none": "", "gzip": ".gz", "zip": ".zip", "zstd": ".zst"}
decimals = numbers.map(lambda n: f"{n / 100:.2f}".rstrip("0").rstrip("."))
moments = st.integers(0, 2_000_000_000).map(lambda n: n * 1000)
lines = st.fixed_dictionaries(
    {"sku": words},
    optional={
        "words": st.lists(words, min_size=1, max_size=2, unique=True),
        "price": st.lists(decimals, min_size=1, max_size=2, unique=True),
    },
)
data = st.fixed_dictionaries(
    {},
    optional={
        "note": words,
        "words": st.lists(words, min_size=1, max_size=3, unique=True),
        "amount": decimals,
        "count": numbers.map(str),
        "seen": moments.map(str),
        "day": st.dates().map(str),
        "friendly": st.sampled_from(["true", "false"]),
        "line": st.lists(lines, min_size=1, max_size=3, unique_by=lambda line: line["sku"]),
    },
)
people = st.sampled_from(["p1", "p2"])
events = st.dictionaries(st.tuples(people, words), st.tuples(moments, data), min_size=1, max_size=6)


# Each example is two whole runs, so there are few of them, and what fails is not made smaller.
@settings(max_examples=8, deadline=None, phases=(Phase.generate,))
@given(events=events, form=dialects)
def test_the_same_events_come_back(
    tmp_path_factory: pytest.TempPathFactory, events: dict[tuple[str, str], tuple[int, Any]], form: dict[str, Any]
) -> None:
    form = {key: value for key, value in form.items() if value is not None}
    root = tmp_path_factory.mktemp("events")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crosswalk.connectors.create", lambda kind, details: FolderConnector(root / "source"))
        patch.setenv("CROSSWALK_STAGING", str(root / "staging"))
        patch.setenv("CROSSWALK_ENGINE_THREADS", "1")
        shop = Shop(root, f"sqlite:///{root}/first.db")
        (root / "tenant" / "event_types.yaml").write_text(TYPES)
        fill(shop, events)
        patch.setenv("CROSSWALK_STORE", shop.store_uri)
        result = run(shop, OUT, form)
        assert result["counts"]["replaced_characters"] == 0
        shop.store_uri = f"sqlite:///{root}/second.db"
        patch.setenv("CROSSWALK_STORE", shop.store_uri)
        fields = ", ".join(f"{key}: order.{key}" for key in FIELDS)
        packed = ENDINGS[form.pop("compress")]
        run(shop, IN.replace("FIELDS", fields).replace("PACKED", packed), form)
    assert told(shop, ["p1", "p2"]) == {
        (person, event_id): (moment, data) for (person, event_id), (moment, data) in events.items()
    }


def fill(shop: Shop, events: dict[tuple[str, str], tuple[int, Any]]) -> None:
    planned = [
        {
            "profile_id": person,
            "type": "order",
            "event_id": event_id,
            "date": moment,
            "priority": 1,
            "batch_no": 0,
            "data": json.dumps(data, ensure_ascii=False),
            "expires_at": None,
            "outcome": "created",
        }
        for (person, event_id), (moment, data) in events.items()
    ]
    with open_store(shop.store_uri) as store:
        store.migrate()
        known = [profile(person, properties={"email": [f"{person}@example.org"]}) for person in ("p1", "p2")]
        owned = [identifier(person, f"{person}@example.org") for person in ("p1", "p2")]
        apply(store, run_id="seed", profiles=known, identifiers=owned, events=planned)


def run(shop: Shop, goal: str, form: dict[str, Any]) -> dict[str, Any]:
    shop.connection(text=CONNECTION + goal.replace("FORM", json.dumps(form)))
    finished = shop.run()
    (goal_run,) = [item for item in finished["goals"] if item["goal"] in ("out", "back")]
    assert goal_run["state"] == "done", goal_run["result"]
    return goal_run["result"]


def told(shop: Shop, people: list[str]) -> dict[tuple[str, str], tuple[int, Any]]:
    found = {}
    with open_store(shop.store_uri) as store:
        for person in people:
            owner = store.find_profile("email", f"{person}@example.org")
            for event in store.profile_events(owner["profile_id"], 1000) if owner else []:
                moment = round(datetime.fromisoformat(event["date"]).timestamp() * 1000)
                found[person, event["event_id"]] = (moment, event["data"])
    return found
