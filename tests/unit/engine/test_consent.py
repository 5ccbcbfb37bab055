"""Answers, objectives and permission levels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crosswalk.engine.session import Session, open_session
from tests.properties.world import World
from tests.reference_model import Row
from tests.unit.engine.world_case import TENANT, connection, goal, rows

ANSWERS = [
    {"field": "p.news", "objective": "news", "granted": ["Yes", "1"], "refused": ["no"]},
    {"field": "p.offers", "objective": "offers", "granted": ["yes"], "refused": ["no"]},
]
MADE = goal("p.city city", consent=ANSWERS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with open_session(tmp_path_factory.mktemp("engine") / "tmp", threads=1) as session:
        yield session


@pytest.fixture
def world(engine: Session, tmp_path: Path) -> World:
    world = World(engine, tmp_path / "world")
    world.seed({"ann": {"email": ["ann@x.org"], "consented_objectives": ["news"], "city": ["Gent"]}}, TENANT, {})
    return world


def run(world: World, listed: list[Row], objectives: list[str] | None = None, made: Any = MADE) -> dict[str, Any]:
    return world.run(listed, made, connection(made, objectives=objectives or []), TENANT)


def test_the_last_answer_counts_and_only_changes_are_logged(world: World) -> None:
    run(world, rows("email city news offers", "ann@x.org|A|no|", "ann@x.org|B|YES |yes"))
    assert world.documents["ann"]["consented_objectives"] == ["news", "offers"]
    assert world.consent_log == [("ann", "offers", "granted")]


def test_an_answer_moves_the_objective_to_the_other_list(world: World) -> None:
    run(world, rows("email city news offers", "ann@x.org|A|no|no"))
    assert world.documents["ann"]["refused_objectives"] == ["news", "offers"]
    assert "consented_objectives" not in world.documents["ann"]
    assert world.consent_log == [("ann", "news", "refused"), ("ann", "offers", "refused")]


def test_an_unknown_answer_is_an_invalid_value_and_empty_or_absent_says_nothing(world: World) -> None:
    counts = run(world, rows("email city news offers", "ann@x.org|A|perhaps|-", "ann@x.org|A| |"))
    assert counts["invalid_values"] == 1
    assert [(item["reason"], item["field"], item["raw"]) for item in world.quarantine()] == [
        ("unknown_answer", "p.news", "perhaps")
    ]
    assert world.documents["ann"]["consented_objectives"] == ["news"]


@pytest.mark.parametrize(("news", "offers"), list(itertools.product(["yes", "no", ""], repeat=2)))
def test_consent_to_any_objective_is_enough_and_needed(world: World, news: str, offers: str) -> None:
    counts = run(world, rows("email city news offers", f"new@x.org|A|{news}|{offers}"), ["news", "offers"])
    allowed = "yes" in (news, offers)
    assert (counts["created"], counts["excluded"]) == ((1, {}) if allowed else (0, {"no_consent": 1}))
    assert (("email", "new@x.org") in world.identifiers) == allowed


def test_a_refusal_is_written_although_the_rest_of_its_rows_is_not(world: World) -> None:
    listed = rows("email city news offers", "ann@x.org|Aalst||", "ann@x.org|Mons|no|")
    counts = run(world, listed, ["news"])
    assert counts["excluded"] == {"no_consent": 2}
    assert (counts["applied"], counts["updated"]) == (0, 1)
    assert world.documents["ann"]["city"] == ["Gent"]
    assert world.documents["ann"]["refused_objectives"] == ["news"]
    assert world.row_state == {}


def test_stored_consent_is_enough(world: World) -> None:
    assert run(world, rows("email city news offers", "ann@x.org|Aalst||"), ["news"])["updated"] == 1
    assert run(world, rows("email city news offers", "ann@x.org|Mons||"), ["offers"])["excluded"] == {"no_consent": 1}
    assert world.documents["ann"]["city"] == ["Aalst"]


def test_level_zero_takes_answers_and_nothing_else(world: World) -> None:
    world.levels["ann"] = 0
    counts = run(world, rows("email city news offers", "ann@x.org|Aalst|no|"))
    assert (counts["excluded"], world.documents["ann"]["city"]) == ({"no_consent": 1}, ["Gent"])
    assert world.documents["ann"]["refused_objectives"] == ["news"]


def test_a_profile_that_may_not_be_processed_and_gets_no_answer_is_not_in_the_plan(world: World) -> None:
    counts = run(world, rows("email city news offers", "ann@x.org|Aalst||"), ["offers"])
    assert (counts["unchanged"], counts["updated"], world.changes) == (0, 0, [])


def test_two_columns_for_one_objective_follow_each_other(world: World) -> None:
    twice = [ANSWERS[0], {**ANSWERS[1], "objective": "news"}]
    run(world, rows("email city news offers", "ann@x.org|A|yes|no"), made=goal("p.city city", consent=twice))
    assert world.documents["ann"]["refused_objectives"] == ["news"]
