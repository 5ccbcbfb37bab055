"""What the plan says: values, strategies, sums, unique identifiers, counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crosswalk.config.connection import ImportProfiles
from crosswalk.core.errors import FatalError
from crosswalk.engine import mapping
from crosswalk.engine.map_task import MapTask
from crosswalk.engine.session import Session, open_session
from crosswalk.store.base import (
    CONSENT_SCHEMA,
    PLANNED_IDENTIFIER_SCHEMA,
    PLANNED_PROFILE_SCHEMA,
    ROW_STATE_SCHEMA,
)
from tests.properties.world import World
from tests.reference_model import Row
from tests.unit.engine.world_case import CARD, EMAIL, TENANT, connection, goal, rows


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with open_session(tmp_path_factory.mktemp("engine") / "tmp", threads=1) as session:
        yield session


@pytest.fixture
def world(engine: Session, tmp_path: Path) -> World:
    world = World(engine, tmp_path / "world")
    world.seed({"ann": {"email": ["ann@x.org"], "city": ["Gent"], "tags": ["a", "b"], "spent": ["10.00"]}}, TENANT, {})
    return world


def run(world: World, made: ImportProfiles, listed: list[Row], **more: Any) -> dict[str, Any]:
    return world.run(listed, made, connection(made), TENANT, **more)


def test_the_plan_has_the_schemas_of_the_store(world: World) -> None:
    run(world, goal("p.city city", "p.n visits sum"), rows("email city n", "ann@x.org|Aalst|1", "new@x.org|Mons|2"))
    for part, schema in (
        ("profiles", PLANNED_PROFILE_SCHEMA),
        ("identifiers", PLANNED_IDENTIFIER_SCHEMA),
        ("consent", CONSENT_SCHEMA),
        ("row_state", ROW_STATE_SCHEMA),
    ):
        found = pq.read_schema(world.folder.plan / f"{part}.parquet")
        assert [(item.name, item.type) for item in found] == [(item.name, item.type) for item in schema], part


def test_changes_name_before_after_and_the_row_that_decided(world: World) -> None:
    run(
        world,
        goal("p.city city", "p.tag tags add"),
        rows("email city tag", "ann@x.org|Aalst|c", "ann@x.org|-|a", "ann@x.org|Mons|"),
    )
    plan = pq.read_table(world.folder.plan / "profiles.parquet").to_pylist()
    (item,) = plan
    assert (item["outcome"], item["version"], item["is_new"]) == ("updated", 1, False)
    assert json.loads(item["changes"]) == {
        "city": {"before": ["Gent"], "after": ["Mons"], "file": "/in/a.csv", "line": 4},
        "tags": {"before": ["a", "b"], "after": ["a", "b", "c"], "file": "/in/a.csv", "line": 2},
    }
    assert json.loads(item["properties"])["spent"] == ["10.00"]


@pytest.mark.parametrize(
    ("strategy", "cells", "after"),
    [
        ("set", ["A", "B", ""], ["B"]),
        ("set", ["", "-"], ["Gent"]),
        ("set_if_empty", ["A"], ["Gent"]),
        ("set_or_clear", ["A", ""], None),
        ("set_or_clear", ["", "A"], ["A"]),
        ("set_or_clear", ["A", "-"], ["A"]),
        ("add", ["A", "Gent", "B", "A"], ["Gent", "A", "B"]),
    ],
)
def test_rows_of_one_profile_apply_in_order(
    world: World, strategy: str, cells: list[str], after: list[str] | None
) -> None:
    run(world, goal(f"p.city city {strategy}"), rows("email city", *(f"ann@x.org|{cell}" for cell in cells)))
    assert world.documents["ann"].get("city") == after


def test_several_mappings_of_one_property_apply_in_their_order_within_a_row(world: World) -> None:
    made = goal("p.one city", "p.two city", "p.one tags add", "p.two tags add")
    run(world, made, rows("email one two", "ann@x.org|A|B", "ann@x.org|C|"))
    assert (world.documents["ann"]["city"], world.documents["ann"]["tags"]) == (["C"], ["a", "b", "A", "B", "C"])


def test_properties_that_differ_only_in_capitals_stay_apart(world: World) -> None:
    run(world, goal("p.one city", "p.two City"), rows("email one two", "ann@x.org|low|HIGH"))
    assert (world.documents["ann"]["city"], world.documents["ann"]["City"]) == (["low"], ["HIGH"])


def test_an_invalid_value_is_dropped_alone_and_kept_in_quarantine(world: World) -> None:
    counts = run(world, goal("p.n visits", "p.city city"), rows("email n city", "ann@x.org|many|Aalst"))
    assert (counts["invalid_values"], counts["applied"], world.documents["ann"]["city"]) == (1, 1, ["Aalst"])
    (refused,) = world.quarantine()
    assert {key: refused[key] for key in ("row_id", "file", "line", "field", "stage", "scope", "reason", "raw")} == {
        "row_id": 1,
        "file": "/in/a.csv",
        "line": 2,
        "field": "p.n",
        "stage": "map",
        "scope": "value",
        "reason": "invalid_number",
        "raw": "many",
    }


def test_an_invalid_value_can_set_the_whole_row_aside(world: World) -> None:
    made = goal("p.n visits", "p.m score", "p.city city", invalid_values="reject_row")
    counts = run(world, made, rows("email n m city", "ann@x.org|x|y|Aalst", "new@x.org|1|z|Mons", "ann@x.org|2|2|-"))
    assert counts["quarantined"] == {"invalid_decimal": 1, "invalid_number": 1}
    assert (counts["applied"], counts["created"], counts["invalid_values"]) == (1, 0, 1)
    assert world.documents["ann"]["city"] == ["Gent"]
    first = next(item for item in world.quarantine() if item["scope"] == "row")
    assert json.loads(first["raw"])["p.n"] == "x"


def test_several_values_of_a_cell_are_checked_one_by_one(world: World) -> None:
    made = goal("p.n visits add", format={"multi_value": ";"})
    cells = {"p.email": "ann@x.org", "p.n": "1; x;2;1;y"}
    counts = run(world, made, [Row("/in/a.csv", 2, cells)])
    assert world.documents["ann"]["visits"] == ["1", "2"]
    assert counts["invalid_values"] == 2
    assert sorted(item["raw"] for item in world.quarantine()) == ["x", "y"]


def test_fields_of_nested_files_add_and_sum_all_their_rows(world: World) -> None:
    made = goal("q.sku tags add", "q.price spent sum")
    run(
        world,
        made,
        [Row("/in/a.csv", 2, {"p.email": "ann@x.org", "q.sku": ["c", "a", " c "], "q.price": ["1.50", "", "2"]})],
    )
    assert (world.documents["ann"]["tags"], world.documents["ann"]["spent"]) == (["a", "b", "c"], ["13.50"])


def test_rounding_is_counted_only_where_digits_are_lost(world: World) -> None:
    counts = run(world, goal("p.n score"), rows("email n", "ann@x.org|1.50000", "b@x.org|1.00005", "c@x.org|1.5"))
    assert counts["rounded_values"] == 1
    assert world.documents["ann"]["score"] == ["1.5"]


def test_more_than_a_thousand_values_are_cut_and_reported(world: World) -> None:
    made = goal("p.tag tags add", format={"multi_value": ";"})
    run(world, made, [Row("/in/a.csv", 2, {"p.email": "ann@x.org", "p.tag": ";".join(f"t{no}" for no in range(1200))})])
    assert len(world.documents["ann"]["tags"]) == 1000
    assert [item["reason"] for item in world.quarantine()] == ["too_many_values"]


# -- sums --------------------------------------------------------------------------------------------------------------

SUM = goal("p.n spent sum", row_key=["p.id"])


def test_a_sum_adds_what_a_row_has_more_than_before(world: World) -> None:
    run(world, SUM, rows("id email n", "1|ann@x.org|2", "2|ann@x.org|3"))
    assert world.documents["ann"]["spent"] == ["15.00"]
    run(world, SUM, rows("id email n", "1|ann@x.org|7.5", "2|ann@x.org|3"), batch_id="b2")
    assert world.documents["ann"]["spent"] == ["20.50"]
    run(world, SUM, rows("id email n", "1|ann@x.org|7.5", "2|ann@x.org|3"), batch_id="b3", full=True)
    assert world.documents["ann"]["spent"] == ["20.50"]


def test_a_row_key_that_occurs_twice_adds_its_last_amount(world: World) -> None:
    listed = rows("id email n", "1|ann@x.org|2", "1|ann@x.org|5", "1|ann@x.org|")
    run(world, SUM, listed)
    assert world.documents["ann"]["spent"] == ["15.00"]
    assert run(world, SUM, listed, batch_id="b2")["unchanged_rows_skipped"] == 3
    run(world, SUM, rows("id email n", "1|ann@x.org|4"), batch_id="b3")
    assert world.documents["ann"]["spent"] == ["14.00"]


def test_a_row_that_moves_to_another_profile_takes_its_amount_along(world: World) -> None:
    run(world, SUM, rows("id email n", "1|ann@x.org|2", "2|ann@x.org|3"))
    run(world, SUM, rows("id email n", "1|new@x.org|4", "2|ann@x.org|3"), batch_id="b2")
    assert world.documents["ann"]["spent"] == ["13.00"]
    assert world.documents[world.identifiers["email", "new@x.org"]]["spent"] == ["4.00"]


def test_an_amount_that_disappears_from_a_row_stays_added(world: World) -> None:
    run(world, SUM, rows("id email n", "1|ann@x.org|2"))
    run(world, SUM, rows("id email n", "1|ann@x.org|"), batch_id="b2")
    assert world.documents["ann"]["spent"] == ["12.00"]
    run(world, SUM, rows("id email n", "1|ann@x.org|3"), batch_id="b3")
    assert world.documents["ann"]["spent"] == ["13.00"]


def test_a_sum_beyond_its_type_adds_nothing_and_is_reported(world: World) -> None:
    made = goal("p.n visits sum", row_key=["p.id"])
    run(world, made, rows("id email n", "1|ann@x.org|2147483647", "2|new@x.org|5"))
    counts = run(world, made, rows("id email n", "1|ann@x.org|2147483647", "3|ann@x.org|1"), batch_id="b2")
    assert world.documents["ann"]["visits"] == ["2147483647"]
    assert counts["invalid_values"] == 1
    assert [item["reason"] for item in world.quarantine()] == ["sum_out_of_range"]
    run(world, made, rows("id email n", "3|ann@x.org|-7"), batch_id="b3")
    assert world.documents["ann"]["visits"] == ["2147483640"]


def test_a_sum_starts_at_zero_and_drops_further_stored_values(world: World) -> None:
    world.seed({"ann": {"email": ["ann@x.org"], "visits": ["5", "7"]}, "bob": {"email": ["bob@x.org"]}}, TENANT, {})
    run(world, goal("p.n visits sum"), rows("email n", "ann@x.org|1", "bob@x.org|0"))
    assert (world.documents["ann"]["visits"], world.documents["bob"]["visits"]) == (["6"], ["0"])


# -- unique identifiers ------------------------------------------------------------------------------------------------


def test_a_mapped_identifier_of_another_profile_is_not_taken_over(world: World) -> None:
    world.seed({"ann": {"email": ["ann@x.org"]}, "bob": {"email": ["bob@x.org"], "card": ["2"]}}, TENANT, {})
    counts = run(world, goal("p.card card", "p.city city"), rows("email card city", "ann@x.org|2|Gent"))
    assert world.documents["ann"] == {"email": ["ann@x.org"], "city": ["Gent"]}
    assert counts["invalid_values"] == 1
    (refused,) = world.quarantine()
    assert (refused["reason"], refused["scope"], refused["field"], refused["line"]) == (
        "identifier_taken",
        "value",
        "p.card",
        2,
    )


def test_of_two_profiles_that_want_one_new_identifier_the_first_row_gets_it(world: World) -> None:
    run(world, goal("p.card card"), rows("email card", "b@x.org|9", "ann@x.org|9"))
    assert world.identifiers["card", "9"] == world.identifiers["email", "b@x.org"]
    assert "card" not in world.documents["ann"]


def test_rows_that_link_by_a_value_have_it_before_rows_that_map_it(world: World) -> None:
    made = goal("p.other card", identifiers=[EMAIL, CARD])
    run(world, made, rows("email card other", "ann@x.org||9", "new@x.org|9|"))
    assert world.identifiers["card", "9"] == world.identifiers["email", "new@x.org"]
    assert "card" not in world.documents["ann"]


def test_replacing_an_identifier_gives_the_old_value_back(world: World) -> None:
    world.seed({"ann": {"email": ["ann@x.org"], "card": ["1"]}}, TENANT, {})
    run(world, goal("p.card card"), rows("email card", "ann@x.org|2"))
    assert world.identifiers == {("email", "ann@x.org"): "ann", ("card", "2"): "ann"}


# -- counts ------------------------------------------------------------------------------------------------------------


def test_guards_get_the_profiles_that_lose_values(world: World) -> None:
    world.seed(
        {key: {"email": [f"{key}@x.org"], "city": ["Gent"], "tags": ["a"]} for key in ("p1", "p2", "p3", "p4")},
        TENANT,
        {},
    )
    made = goal("p.city city set_or_clear", "p.tag tags add")
    listed = rows(
        "email city tag", "p1@x.org|Aalst|", "p2@x.org||b", "p3@x.org|Gent|c", "p4@x.org|-|", "new@x.org|Mons|"
    )
    counts = run(world, made, listed)
    figures = {key: counts[key] for key in ("overwritten_profiles", "cleared_values", "touched_existing", "unchanged")}
    assert figures == {"overwritten_profiles": 2, "cleared_values": 1, "touched_existing": 4, "unchanged": 1}


def test_an_empty_file_makes_an_empty_plan(world: World) -> None:
    made = goal("p.city city set", "p.n visits sum", "p.tag tags add")
    counts = run(world, made, [])
    assert (counts["rows_read"], counts["created"], counts["updated"]) == (0, 0, 0)
    assert pq.read_table(world.folder.plan / "profiles.parquet").num_rows == 0


def test_a_goal_without_mappings_only_links(world: World) -> None:
    counts = run(world, goal(), rows("email", "ann@x.org", "new@x.org"))
    assert (counts["created"], counts["unchanged"], counts["updated"]) == (1, 1, 0)


def test_fields_that_the_files_lack_are_absent(world: World) -> None:
    run(world, goal("p.nowhere city set_or_clear", "p.nothing visits sum"), rows("email", "ann@x.org"))
    assert world.documents["ann"]["city"] == ["Gent"]


def test_rows_that_do_not_add_up_stop_everything(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(task: MapTask) -> dict[str, int]:
        return {"invented": 1}

    monkeypatch.setattr(mapping, "rejected_rows", forget)
    with pytest.raises(FatalError, match="accounted for") as raised:
        run(world, goal("p.city city"), rows("email city", "ann@x.org|Aalst"))
    assert raised.value.code == "accounting"
