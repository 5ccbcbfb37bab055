"""Which profile a row belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crosswalk.config.connection import ImportProfiles
from crosswalk.core.errors import RetryableError
from crosswalk.engine.session import Session, open_session
from crosswalk.store.base import PROFILE_SCHEMA
from tests.properties.world import World
from tests.reference_model import Row
from tests.unit.engine.world_case import CARD, EMAIL, TENANT, connection, goal, rows

BOTH = [EMAIL, CARD]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with open_session(tmp_path_factory.mktemp("engine") / "tmp", threads=1) as session:
        yield session


@pytest.fixture
def world(engine: Session, tmp_path: Path) -> World:
    world = World(engine, tmp_path / "world")
    world.seed(
        {"ann": {"email": ["ann@x.org"], "card": ["1"]}, "bob": {"email": ["bob@x.org"], "card": ["2"]}}, TENANT, {}
    )
    return world


def run(world: World, made: ImportProfiles, listed: list[Row], **more: Any) -> dict[str, Any]:
    return world.run(listed, made, connection(made), TENANT, **more)


def test_a_row_is_linked_by_the_normalised_identifier(world: World) -> None:
    counts = run(world, goal("p.city city"), rows("email city", " ANN@X.org |Gent", "zoe@x.org|Aalst"))
    assert (counts["updated"], counts["created"], counts["applied"]) == (1, 1, 2)
    assert world.documents["ann"]["city"] == ["Gent"]


def test_numbers_link_by_value(world: World) -> None:
    world.seed({"ann": {"customer": ["7"]}}, TENANT, {})
    made = goal("p.city city", identifiers=[{"field": "p.nr", "property": "customer"}])
    assert run(world, made, rows("nr city", "007|Gent", "7.0|Aalst"))["updated"] == 1
    assert world.documents["ann"]["city"] == ["Aalst"]


def test_rows_without_a_valid_identifier_are_excluded(world: World) -> None:
    counts = run(world, goal("p.city city"), rows("email city", "|Gent", " |Gent", "-|Gent", "nonsense|Gent"))
    assert counts["excluded"] == {"no_identifier": 4}
    assert counts["invalid_values"] == 1
    (refused,) = world.quarantine()
    assert (refused["line"], refused["field"], refused["reason"]) == (5, "p.email", "invalid_email")
    assert (refused["scope"], refused["stage"], refused["raw"]) == ("value", "link", "nonsense")


def test_rows_without_a_profile_are_excluded_when_none_may_be_made(world: World) -> None:
    counts = run(world, goal("p.city city", create_profiles=False), rows("email city", "zoe@x.org|Gent"))
    assert counts["excluded"] == {"no_match": 1}
    assert set(world.documents) == {"ann", "bob"}


def test_identifiers_of_two_profiles_make_a_row_ambiguous(world: World) -> None:
    listed = rows("email card city", "ann@x.org|2|Gent", "ann@x.org|1|Aalst")
    counts = run(world, goal("p.city city", identifiers=BOTH), listed)
    assert counts["quarantined"] == {"ambiguous_match": 1}
    assert (world.documents["ann"]["city"], "city" in world.documents["bob"]) == (["Aalst"], False)
    (refused,) = world.quarantine()
    assert refused["message"] == "The identifiers name different profiles: ann, bob"
    assert (refused["line"], refused["scope"]) == (2, "row")
    assert refused["raw"] == '{"p.email":"ann@x.org","p.card":"2","p.city":"Gent"}'


def test_two_profiles_that_meet_through_a_value_of_nobody_are_ambiguous_but_their_own_rows_are_not(
    world: World,
) -> None:
    made = goal("p.city city", identifiers=[*BOTH, {"field": "p.nr", "property": "customer"}])
    listed = rows("email card nr city", "ann@x.org||9|A", "|2|9|B", "ann@x.org|||C", "||9|D")
    counts = run(world, made, listed)
    assert counts["quarantined"] == {"ambiguous_match": 3}
    assert world.documents["ann"]["city"] == ["C"]


def test_rows_that_share_an_identifier_become_one_new_profile(world: World) -> None:
    listed = rows("email card city", "new@x.org||A", "|9|B", "new@x.org|9|C")
    assert run(world, goal("p.city city", identifiers=BOTH), listed)["created"] == 1
    (made,) = set(world.documents) - {"ann", "bob"}
    assert world.documents[made] == {"city": ["C"], "email": ["new@x.org"], "card": ["9"]}


def test_a_matched_profile_gets_the_rows_other_identifiers_only_when_the_goal_says_so(world: World) -> None:
    listed = rows("email card", "ann@x.org|77")
    run(world, goal(identifiers=BOTH, store_identifiers=False), listed)
    assert world.documents["ann"]["card"] == ["1"]
    run(world, goal(identifiers=BOTH), listed, full=True)
    assert world.documents["ann"]["card"] == ["1", "77"]
    assert world.identifiers["card", "77"] == "ann"


def test_new_values_of_one_row_come_in_the_order_of_the_identifiers_and_of_their_cell(world: World) -> None:
    other = {"field": "p.other", "property": "card"}
    made = goal(identifiers=[EMAIL, CARD, other], format={"multi_value": "+"})
    run(world, made, rows("email card other", "ann@x.org|9+7|8"))
    assert world.documents["ann"]["card"] == ["1", "9", "7", "8"]


def test_match_all_wants_every_identifier_on_one_profile(world: World) -> None:
    listed = rows("email card city", "ann@x.org||A", "ann@x.org|1|B", "ann@x.org|2|C", "ann@x.org|9|D", "new@x.org|8|E")
    counts = run(world, goal("p.city city", identifiers=BOTH, match="all"), listed)
    assert counts["excluded"] == {"no_identifier": 1}
    assert counts["quarantined"] == {"ambiguous_match": 1, "identifier_taken": 1}
    assert (counts["updated"], counts["created"]) == (1, 1)
    assert world.documents["ann"] == {"email": ["ann@x.org"], "card": ["1"], "city": ["B"]}


def test_match_all_gives_a_shared_value_to_the_first_new_tuple(world: World) -> None:
    listed = rows("email card city", "u@x.org|8|A", "v@x.org|8|B", "v@x.org|9|C", "u@x.org|8|D")
    counts = run(world, goal("p.city city", identifiers=BOTH, match="all"), listed)
    assert (counts["created"], counts["quarantined"]) == (2, {"identifier_taken": 1})
    assert world.documents[world.identifiers["email", "u@x.org"]]["city"] == ["D"]
    assert world.documents[world.identifiers["card", "9"]]["city"] == ["C"]


def test_a_cell_with_several_identifiers_offers_alternatives(world: World) -> None:
    made = goal("p.city city", format={"multi_value": "|"})
    cells = {"p.email": "x@x.org|ann@x.org|bad", "p.city": "Gent"}
    counts = run(world, made, [Row("/in/a.csv", 2, cells)])
    assert (counts["updated"], counts["invalid_values"]) == (1, 1)
    assert world.documents["ann"]["email"] == ["ann@x.org", "x@x.org"]


def test_an_invalid_identifier_rejects_the_row_when_the_goal_says_so(world: World) -> None:
    made = goal("p.city city", identifiers=BOTH, invalid_values="reject_row")
    counts = run(world, made, rows("email card city", "bad|1|Gent", "ann@x.org|1|Aalst"))
    assert counts["quarantined"] == {"invalid_email": 1}
    assert (counts["applied"], world.documents["ann"]["city"]) == (1, ["Aalst"])


def test_only_changed_rows_and_those_of_the_same_profile_are_taken(world: World) -> None:
    made = goal("p.city city set_or_clear", "p.n visits sum", row_key=["p.id"])
    run(world, made, rows("id email city n", *(f"{no}|p{no % 4}@x.org|Gent|1" for no in range(8))))
    changed = [f"{no}|p{no % 4}@x.org|{'Aalst' if no == 1 else 'Gent'}|1" for no in range(8)]
    counts = run(world, made, rows("id email city n", *changed), batch_id="b2")
    assert (counts["unchanged_rows_skipped"], counts["applied"]) == (6, 2)
    assert (counts["updated"], counts["unchanged"]) == (0, 1)
    assert world.documents[world.identifiers["email", "p1@x.org"]]["visits"] == ["2"]


def test_a_changed_row_brings_along_rows_that_hang_together_by_other_identifiers(world: World) -> None:
    made = goal("p.city city", identifiers=BOTH, row_key=["p.id"])
    lines = ["1|a@x.org||A", "2|a@x.org|5|B", "3||5|C", "4|z@x.org||D"]
    run(world, made, rows("id email card city", *lines))
    counts = run(world, made, rows("id email card city", "1|a@x.org||X", *lines[1:]), batch_id="b2")
    assert (counts["applied"], counts["unchanged_rows_skipped"]) == (3, 1)
    assert world.documents[world.identifiers["card", "5"]]["city"] == ["C"]


def test_equal_rows_without_a_key_count_by_occurrence_and_per_file(world: World) -> None:
    made = goal("p.n visits sum")
    twice = rows("email n", "new@x.org|1", "new@x.org|1")
    run(world, made, [*twice, *rows("email n", "new@x.org|1", file=1)])
    profile = world.identifiers["email", "new@x.org"]
    assert world.documents[profile]["visits"] == ["3"]
    counts = run(world, made, [*twice, *rows("email n", "new@x.org|1", file=1)], batch_id="b2")
    assert counts["unchanged_rows_skipped"] == 3
    run(world, made, rows("email n", *["new@x.org|1"] * 3), batch_id="b3")
    assert world.documents[profile]["visits"] == ["4"]


def test_rows_whose_key_cells_are_all_empty_are_told_apart_by_content(world: World) -> None:
    made = goal("p.n visits sum", row_key=["p.id"])
    run(world, made, rows("id email n", "|new@x.org|1", "|new@x.org|2"))
    assert world.documents[world.identifiers["email", "new@x.org"]]["visits"] == ["3"]


def test_ids_of_new_profiles_depend_on_the_batch_and_the_row_alone(
    world: World, engine: Session, tmp_path: Path
) -> None:
    other = World(engine, tmp_path / "other")
    listed = rows("email", "new@x.org", "more@x.org")
    for store, batch in ((world, "b1"), (other, "b1")):
        run(store, goal(), listed, batch_id=batch)
    assert set(other.documents) == set(world.documents) - {"ann", "bob"}
    third = World(engine, tmp_path / "third")
    run(third, goal(), listed, batch_id="b2")
    assert not set(third.documents) & set(other.documents)


def test_a_profile_that_vanishes_between_the_two_looks_is_tried_again(world: World) -> None:
    empty = pa.Table.from_batches([], schema=PROFILE_SCHEMA)
    world.read = lambda wanted: empty.to_reader() if wanted.read_all() is not None else None  # type: ignore[method-assign]
    with pytest.raises(RetryableError, match="vanished") as raised:
        run(world, goal("p.city city"), rows("email city", "ann@x.org|Gent"))
    assert raised.value.code == "store_moved"


def test_links_hold_one_row_per_considered_row_and_leave_out_unchanged_ones(world: World) -> None:
    made = goal("p.city city", row_key=["p.email"])
    run(world, made, rows("email city", "ann@x.org|A", "|B"))
    run(world, made, rows("email city", "ann@x.org|A", "|B", "zoe@x.org|C"), batch_id="b2")
    links = pq.read_table(world.folder.links).to_pylist()
    assert sorted((link["row_id"], link["outcome"], link["reason"]) for link in links) == [
        (2, "excluded", "no_identifier"),
        (3, "apply", None),
    ]


def test_hostile_field_names_are_only_names(world: World) -> None:
    field = "p.we\"ird; DROP TABLE x --'"
    made = goal({"field": field, "property": "city"}, identifiers=[{"field": 'p.e"mail', "property": "email"}])
    counts = run(world, made, [Row("/in/a.csv", 2, {'p.e"mail': "ann@x.org", field: "'); --"})])
    assert counts["updated"] == 1
    assert world.documents["ann"]["city"] == ["'); --"]
