"""Rows S-43 to S-45, S-66, S-67, X-31: a connection from its files, and what lies on the server now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from crosswalk.cli.main import main
from tests.acceptance.shop import Shop

GROUP_TYPES = """
group_types:
  home: {properties: {home_id: {type: text, identifier: unique}, home_city: {type: text}}}
"""
SEGMENTS = "segments:\n  everybody: {any: [{property: email, has_value: true}]}\n"
THREE_KINDS = """
kind: sftp
title: Shop
conn_id: shop_sftp
goals:
  - import_profiles: people
    stable_seconds: 0
    files: [{name: people, path: "/in/people*.csv"}]
    identifiers: [{field: people.email, property: email}]
    mappings: {fields: [{field: people.city, property: city}]}
  - import_groups: homes
    group_type: home
    stable_seconds: 0
    files: [{name: homes, path: /homes/, regex: 'h_[0-9]+\\.csv'}]
    identifiers: [{field: homes.id, property: home_id}]
    mappings:
      fields:
        - {field: homes.city, property: home_city}
  - export_profiles: out
    segment: everybody
    directory: /out
    file_name: {custom: people.csv}
    columns: [{property: email}]
"""


class Commands:
    """Runs commands on a shop whose connection is found by name."""

    def __init__(self, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
        self.shop, self.capsys = shop, capsys

    def __call__(self, *arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        return json.loads(self.capsys.readouterr().out)

    def goal(self, name: str, position: int = 0) -> Any:
        text = (self.shop.root / "connections" / f"{name}.yaml").read_text(encoding="utf-8")
        return yaml.safe_load(text)["goals"][position]


@pytest.fixture
def crosswalk(shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("CROSSWALK_TENANT", str(shop.root / "tenant"))
    monkeypatch.setenv("CROSSWALK_CONNECTIONS", str(shop.root / "connections"))
    for module in ("connections", "look", "init"):
        monkeypatch.setattr(f"crosswalk.cli.{module}.resolve", Shop.resolve)
    return Commands(shop, capsys)


@pytest.fixture
def three_kinds(shop: Shop) -> Path:
    (shop.root / "tenant" / "group_types.yaml").write_text(GROUP_TYPES)
    (shop.root / "tenant" / "segments.yaml").write_text(SEGMENTS)
    return shop.connection(text=THREE_KINDS)


# -- S-43 to S-45 -----------------------------------------------------------------------------------------------------


def test_every_detected_column_is_the_identifier_or_one_mapping_and_the_run_writes_them(
    shop: Shop, crosswalk: Commands
) -> None:
    shop.put("people.csv", "email;city;age;joined\nann@example.org;Gent;41;2026-01-31\n")
    crosswalk("init", "web", "--path", "/in/people.csv", "--prefix", "shop_", "--write-properties")
    goal = crosswalk.goal("web")
    fields = [item["field"] for item in [*goal["identifiers"], *goal["mappings"]["fields"]]]
    assert fields == ["people.email", "people.city", "people.age", "people.joined"]
    assert goal["mappings"]["prefix"] == "shop_"
    assert crosswalk("run", "web")["state"] == "done"
    held = shop.values("ann@example.org")
    assert held is not None
    assert {key: held[key] for key in ("shop_city", "shop_age")} == {"shop_city": ["Gent"], "shop_age": ["41"]}


def test_an_empty_mapping_already_carries_the_prefix(shop: Shop, crosswalk: Commands) -> None:
    shop.put("people.csv", "email;city\nann@example.org;Gent\n")
    crosswalk("init", "web", "--path", "/in/people.csv", "--prefix", "shop_")
    text = (shop.root / "connections" / "web.yaml").read_text()
    assert "# - {field: people., property: }   # -> shop_\n" in text


def test_columns_that_came_later_are_added_at_once_for_profiles_and_for_groups(
    shop: Shop, crosswalk: Commands, three_kinds: Path
) -> None:
    shop.put("h_1.csv", "id,city,street,income\n7,Gent,Veld,30000\n", folder="homes")
    added = crosswalk("map", "shop", "--goal", "homes", "--all")
    assert [item["property"] for item in crosswalk.goal("shop", 1)["mappings"]["fields"]] == [
        "home_city",
        "home_street",
        "home_income",
    ]
    assert "home_street, home_income" in added["notes"][0]


# -- S-66, S-67 -------------------------------------------------------------------------------------------------------


def test_a_scan_lists_the_files_of_imports_groups_and_exports_with_size_and_time(
    shop: Shop, crosswalk: Commands, three_kinds: Path
) -> None:
    people = shop.put("people.csv", "email,city\nann@example.org,Gent\n")
    homes = shop.put("h_1.csv", "id,city\n7,Gent\n", folder="homes")
    shop.put("other.txt", "no home\n", folder="homes")
    sent = shop.put("people.csv", "email\nann@example.org\n", folder="out")
    looks = {(look["goal"], look["path"]): look for look in crosswalk("scan", "shop")}
    expected = {
        ("people", "/in/people.csv"): people,
        ("homes", "/homes/h_1.csv"): homes,
        ("out", "/out/people.csv"): sent,
    }
    assert looks.keys() == expected.keys()
    for key, path in expected.items():
        assert looks[key]["size"] == path.stat().st_size
        assert looks[key]["time"].startswith("2023-")


@pytest.mark.parametrize(
    ("goal", "folder", "name"),
    [("people", "in", "people_2.csv"), ("homes", "homes", "h_2.csv"), ("out", "out", "new.csv")],
)
def test_a_new_file_appears_after_a_scan_without_a_run(
    shop: Shop, crosswalk: Commands, three_kinds: Path, goal: str, folder: str, name: str
) -> None:
    shop.put("people.csv", "email,city\nann@example.org,Gent\n")
    shop.put("h_1.csv", "id,city\n7,Gent\n", folder="homes")
    before = {look["path"] for look in crosswalk("scan", "shop")}
    shop.put(name, "id,email,city\n8,bo@example.org,Gent\n", folder=folder)
    new = [look for look in crosswalk("scan", "shop") if look["path"] not in before]
    assert [(look["goal"], look["path"]) for look in new] == [(goal, f"/{folder}/{name}")]
    store = shop.store()
    try:
        assert store.runs() == []
    finally:
        store.close()


def test_new_data_fields_appear_without_a_run(shop: Shop, crosswalk: Commands, three_kinds: Path) -> None:
    shop.put("people.csv", "email,city\nann@example.org,Gent\n")
    assert crosswalk("preview", "shop")["columns"] == ["email", "city"]
    shop.put("people.csv", "email,city,age\nann@example.org,Gent,41\n")
    assert crosswalk("preview", "shop")["columns"] == ["email", "city", "age"]
