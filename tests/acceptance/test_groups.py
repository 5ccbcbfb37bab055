"""Rows S-91 to S-97: groups imported from files, and what profiles, segments and exports make of them."""

from __future__ import annotations

from typing import Any

import pytest

from crosswalk.core.staging import read_json
from tests.acceptance.shop import Shop

GROUP_TYPES = """
group_types:
  household:
    name: Household
    properties:
      household_id: {type: text, identifier: unique}
      household_city: {type: text}
      household_income: {type: currency, currency: EUR}
      household_moved: {type: datetime}
      household_cars: {type: text}
  company:
    properties:
      company_id: {type: text, identifier: unique}
"""
PROPERTIES = """
properties:
  email: {type: email, identifier: unique}
  city: {type: text}
  household: {type: text, group_type: household}
"""
CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
timezone: Europe/Brussels
GUARDS
goals:
  - import_groups: households
    group_type: household
    stable_seconds: 0
    files: [{name: homes, path: /in/homes*.csv}]
    row_key: [homes.id]
    format: {separator: ";", decimal: ",", multi_value: "|", date: "%d/%m/%Y"}
    identifiers: [{field: homes.id, property: household_id}]
    create_groups: CREATE
    mappings:
      prefix: household_
      fields:
        - {field: homes.city, property: city, strategy: set_or_clear}
        - {field: homes.income, property: income, strategy: sum}
        - {field: homes.moved, property: moved}
        - {field: homes.cars, property: cars, strategy: add}
  - import_profiles: people
    stable_seconds: 0
    files: [{name: people, path: /in/people*.csv}]
    format: {multi_value: "|"}
    row_key: [people.email]
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
    create_missing_groups: MISSING
    mappings:
      fields:
        - {field: people.city, property: city}
        - {field: people.home, property: household}
"""
HOMES = """
id;city;income;moved;cars
h1;Gent;1.000,50;01/02/2026;red|blue
h2;Brugge;20;31/12/2025;
;Aalst;3;;
h1;Antwerpen;0,50;;green
"""


@pytest.fixture
def town(shop: Shop) -> Shop:
    (shop.root / "tenant" / "group_types.yaml").write_text(GROUP_TYPES)
    (shop.root / "tenant" / "properties.yaml").write_text(PROPERTIES)
    connect(shop)
    return shop


def connect(shop: Shop, *, guards: str = "", create: bool = True, missing: bool = False) -> None:
    text = CONNECTION.replace("GUARDS", guards).replace("CREATE", str(create).lower())
    shop.connection(text=text.replace("MISSING", str(missing).lower()))


def imported(shop: Shop, goal: str = "households", **changes: Any) -> dict[str, Any]:
    found = shop.run(goals=(goal,), **changes)["by_goal"][goal]
    assert found["state"] != "failed", found["result"]["error"]
    return {"state": found["state"], **found["result"], **found["result"].get("counts", {})}


def group(shop: Shop, value: str, property_id: str = "household_id") -> dict[str, Any] | None:
    store = shop.store()
    try:
        return store.find_group(property_id, value)
    finally:
        store.close()


def values(shop: Shop, value: str) -> dict[str, list[str]] | None:
    found = group(shop, value)
    return None if found is None else found["properties"]


def test_groups_are_made_and_rows_without_an_id_are_left_out_and_counted(town: Shop) -> None:
    town.put("homes.csv", HOMES)
    counts = imported(town)
    assert counts["state"] == "done"
    assert (counts["rows_read"], counts["created"], counts["applied"]) == (4, 2, 3)
    assert counts["excluded"] == {"no_identifier": 1}
    assert values(town, "h1") == {
        "household_id": ["h1"],
        "household_city": ["Antwerpen"],
        "household_income": ["0.50"],
        "household_moved": ["1769900400000"],
        "household_cars": ["red", "blue", "green"],
    }
    assert values(town, "h2") is not None
    assert imported(town)["state"] == "nothing_new"


def test_an_id_is_never_split(town: Shop) -> None:
    town.put("homes.csv", "id;city;income;moved;cars\na|b;Gent;;;red|blue\n")
    assert imported(town)["created"] == 1
    assert values(town, "a|b") == {
        "household_id": ["a|b"],
        "household_city": ["Gent"],
        "household_cars": ["red", "blue"],
    }


def test_only_changed_rows_come_again_and_sums_stay_right(town: Shop) -> None:
    town.put("homes.csv", HOMES)
    imported(town)
    town.put("homes.csv", HOMES.replace("h2;Brugge;20", "h2;Brugge;25").replace("h1;Antwerpen", "h1;Gent"))
    again = imported(town)
    assert (again["updated"], again["created"]) == (2, 0)
    assert values(town, "h2")["household_income"] == ["25.00"]  # type: ignore[index]
    assert values(town, "h1")["household_income"] == ["0.50"]  # type: ignore[index]
    assert group(town, "h2")["version"] == 2  # type: ignore[index]


def test_groups_that_exist_are_updated_when_none_may_be_made(town: Shop) -> None:
    town.put("homes.csv", "id;city;income;moved;cars\nh1;Gent;;;\n")
    imported(town)
    connect(town, create=False)
    town.put("homes.csv", "id;city;income;moved;cars\nh1;Aalst;;;\nh9;Gent;;;\n")
    counts = imported(town)
    assert counts["excluded"] == {"no_match": 1}
    assert values(town, "h1")["household_city"] == ["Aalst"]  # type: ignore[index]
    assert group(town, "h9") is None


def test_a_group_import_touches_no_profile_and_a_plan_writes_nothing(town: Shop) -> None:
    town.put("people.csv", "email,city,home\nann@example.org,Gent,h1\n")
    imported(town, "people")
    before = town.profile("email", "ann@example.org")
    town.put("homes.csv", HOMES)
    assert imported(town, mode="plan")["state"] == "planned"
    assert group(town, "h1") is None
    imported(town)
    assert town.profile("email", "ann@example.org") == before


def test_storage_beyond_the_allowance_stops_before_anything_is_written(town: Shop) -> None:
    connect(town, guards="guards: {max_group_storage_mb: 0.0001}")
    town.put("homes.csv", HOMES)
    held = imported(town)
    assert held["state"] == "held"
    assert "more than max_group_storage_mb (0.0001) allows" in held["reason"]
    assert group(town, "h1") is None
    connect(town, guards="guards: {max_group_storage_mb: 1}")
    assert imported(town)["state"] == "done"


def test_profiles_keep_ids_of_unknown_groups_and_a_warning_counts_them(town: Shop) -> None:
    town.put("people.csv", "email,city,home\nann@example.org,Gent,h1|h2\nbob@example.org,Gent,h2\n")
    counts = imported(town, "people")
    assert [line for line in counts["warnings"] if "unknown_groups: 2 id(s)" in line]
    assert town.values("ann@example.org")["household"] == ["h1", "h2"]  # type: ignore[index]
    assert group(town, "h1") is None


def test_missing_groups_are_made_empty_once_and_filled_later(town: Shop) -> None:
    connect(town, missing=True)
    town.put("people.csv", "email,city,home\nann@example.org,Gent,h1|h2\nbob@example.org,Gent,h2\n")
    counts = imported(town, "people")
    assert counts["groups_created"] == 2
    assert values(town, "h2") == {"household_id": ["h2"]}
    assert "groups_created" not in imported(town, "people", full=True)["counts"]
    town.put("homes.csv", "id;city;income;moved;cars\nh2;Gent;5;;\n")
    assert imported(town)["updated"] == 1
    assert values(town, "h2") == {"household_id": ["h2"], "household_city": ["Gent"], "household_income": ["5.00"]}


def test_a_kept_plan_of_groups_is_applied_as_it_was_shown(town: Shop) -> None:
    town.put("homes.csv", HOMES)
    imported(town, mode="plan", run_id="kept")
    manifest = next(path for path in town.root.rglob("plan.json"))
    assert read_json(manifest)["collection"] == "group"


def test_an_undo_takes_the_profiles_back_and_leaves_groups_alone_aloud(town: Shop) -> None:
    from crosswalk.steps.undo import open_undo, plan_undo

    town.put("homes.csv", HOMES)
    imported(town, run_id="homes")
    store = town.store()
    try:
        assert [batch.collection for batch in store.applied_batches("homes")] == ["group"]
        assert store.unique_profiles("shop") == {"in": 0, "out": 0}
    finally:
        store.close()
    with open_undo("homes", tenant_folder=str(town.root / "tenant")) as context:
        result = plan_undo(context)
    assert result.state == "nothing_new"
    assert "It imported groups (households): they stay as they are." in result.reason
    assert group(town, "h1") is not None


SEGMENTS = """
segments:
  ghent_homes: {all: [{group_type: household, all: [{property: household_city, any_of: gent}]}]}
  no_ghent_homes: {inverse_of: ghent_homes}
  rich_in_ghent:
    all:
      - group_type: household
        all: [{property: household_city, any_of: gent}, {property: household_income, between: [100, null]}]
"""
EXPORT = """
  - export_profiles: out
    segment: SEGMENT
    directory: /out
    file_name: {custom: out.csv}
    format: {separator: ";", decimal: ",", multi_value: "|", date: "%d/%m/%Y", timezone: Europe/Brussels}
    columns:
      - {property: email}
      - {property: city}
      - {group_property: {group_type: household, property: household_city}, as: towns}
      - {group_property: {group_type: household, property: household_income}, as: income}
      - {group_property: {group_type: household, property: household_moved}, as: moved}
      - {segments: all, as: segments}
"""


def exported(town: Shop, segment: str = "all_profiles") -> list[str]:
    """The lines of the exported file, without the header, in order."""
    connect(town)
    (town.root / "tenant" / "segments.yaml").write_text(SEGMENTS)
    path = town.root / "connections" / "shop.yaml"
    path.write_text(path.read_text().rstrip() + EXPORT.replace("SEGMENT", segment))
    goal = town.run(goals=("out",))["by_goal"]["out"]
    assert goal["state"] in ("done", "nothing_new"), goal["result"]
    file = town.source / "out" / "out.csv"
    header, *lines = file.read_text().splitlines()
    assert header == "email;city;towns;income;moved;segments"
    return sorted(lines)


@pytest.fixture
def peopled(town: Shop) -> Shop:
    town.put("homes.csv", "id;city;income;moved;cars\nh1;Gent;1.000,50;01/02/2026;\nh2;Brugge;20;;\nh3;GENT;;;\n")
    imported(town)
    town.put(
        "people.csv",
        "email,city,home\nann@example.org,x,h1|h2\nbob@example.org,x,h2\ncis@example.org,x,\ndan@example.org,x,h9|h3\n",
    )
    imported(town, "people")
    return town


def test_values_of_a_profiles_groups_are_exported_in_the_order_of_its_ids(peopled: Shop) -> None:
    assert exported(peopled) == [
        "ann@example.org;x;Gent|Brugge;1000,50|20,00;01/02/2026;ghent_homes|rich_in_ghent",
        "bob@example.org;x;Brugge;20,00;;no_ghent_homes",
        "cis@example.org;x;;;;no_ghent_homes",
        "dan@example.org;x;GENT;;;ghent_homes",
    ]


@pytest.mark.parametrize(
    ("segment", "members"),
    [("ghent_homes", ["ann", "dan"]), ("no_ghent_homes", ["bob", "cis"]), ("rich_in_ghent", ["ann"])],
)
def test_a_segment_asks_whether_one_group_fulfils_all_conditions(
    peopled: Shop, segment: str, members: list[str]
) -> None:
    assert [line.partition("@")[0] for line in exported(peopled, segment)] == members


def test_groups_that_must_not_be_shown_do_not_count(peopled: Shop) -> None:
    store = peopled.store()
    try:
        store._db.execute("UPDATE profile SET permission_level = 1")
    finally:
        store.close()
    hidden = PROPERTIES.replace("group_type: household}", "group_type: household, permission_level: personal}")
    (peopled.root / "tenant" / "properties.yaml").write_text(hidden)
    assert {line.split(";", 1)[1] for line in exported(peopled)} == {"x;;;;no_ghent_homes"}
