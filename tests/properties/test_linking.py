"""Linking does not depend on the order of rows and equals the components of the reference model (G5)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosswalk.config.connection import Connection, ImportProfiles
from crosswalk.config.tenant import Tenant
from crosswalk.engine.session import Session, open_session
from tests.properties.world import SOURCES, World
from tests.reference_model import Row

GRAPHS = 30
PROPERTIES = ("mail", "card", "phone")
TENANT = Tenant.model_validate(
    {"properties": {**{key: {"type": "text", "identifier": "unique"} for key in PROPERTIES}, "seen": {"type": "text"}}}
)
GOAL = ImportProfiles.model_validate(
    {
        "import_profiles": "g",
        "files": [{"name": "p", "path": "/p"}],
        "identifiers": [{"field": f"p.{key}", "property": key} for key in PROPERTIES],
        "create_profiles": True,
        "mappings": {"fields": [{"field": "p.name", "property": "seen", "strategy": "add"}]},
    }
)
CONNECTION = Connection(kind="sftp", title="t", conn_id="c", goals=[GOAL])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Path]]:
    folder = tmp_path_factory.mktemp("engine")
    with open_session(folder / "tmp", threads=1) as session:
        yield session, folder / "world"


def graph(seed: int, number: int) -> tuple[list[dict[str, str]], dict[str, dict[str, list[str]]]]:
    """A random graph of rows, and the stored profiles that own some of its values; no two graphs share anything."""
    dice = random.Random(f"{seed}-{number}")
    rows = []
    pool = dice.randint(1, 12)
    for _ in range(dice.randint(1, 14)):
        filled = dice.sample(PROPERTIES, dice.choice([1, 1, 2, 2, 3]))
        rows.append({key: f"{number}-{key}-{dice.randint(1, pool)}" for key in filled})
    values = sorted({(key, value) for row in rows for key, value in row.items()})
    owned = dice.sample(values, min(len(values), dice.choice([0, 0, 1, 2, 4])))
    stored: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for key, value in owned:
        stored[f"P{number}-{dice.randint(1, 3)}"][key].append(value)
    return rows, {profile: dict(document) for profile, document in stored.items()}


def expected_fates(rows: list[dict[str, str]], stored: dict[str, dict[str, list[str]]]) -> list[str]:
    """Per row a profile id, ``new:<its component>`` or a reason, by following shared values one by one."""
    owner = {
        (key, value): profile for profile, doc in stored.items() for key, values in doc.items() for value in values
    }
    found = [set(row.items()) for row in rows]
    owners = [{owner[value] for value in values if value in owner} for values in found]
    sound = [index for index in range(len(rows)) if len(owners[index]) < 2]
    fates = ["ambiguous_match"] * len(rows)
    for index in sound:
        reached, members = set(found[index]), {index}
        while True:
            more = {other for other in sound if found[other] & reached} - members
            if not more:
                break
            members |= more
            reached |= set().union(*(found[other] for other in more))
        inside = {owner[value] for value in reached if value in owner}
        if len(inside) > 1 and any(value not in owner for value in found[index]):
            fates[index] = "ambiguous_match"
        elif owners[index] or inside:
            fates[index] = next(iter(owners[index] or inside))
        else:
            fates[index] = f"new:{min(sorted(reached))}"
    return fates


def linked(engine: tuple[Session, Path], graphs: list[Any], order: random.Random | None) -> list[list[str]]:
    """What the engine makes of the same graphs, in an order of rows of choice."""
    world = World(*engine)
    world.seed({profile: doc for _, stored in graphs for profile, doc in stored.items()}, TENANT, {})
    listed = [(number, index, row) for number, (rows, _) in enumerate(graphs) for index, row in enumerate(rows)]
    if order is not None:
        order.shuffle(listed)
    rows = []
    for line, (number, index, cells) in enumerate(listed, start=2):
        named = {f"p.{key}": cells.get(key, "") for key in PROPERTIES}
        rows.append(Row(SOURCES[0], line, {**named, "p.name": f"row {number} {index}"}))
    known = set(world.documents)
    world.run(rows, GOAL, CONNECTION, TENANT)
    fates = {number: [""] * len(rows) for number, (rows, _) in enumerate(graphs)}
    for item in world.quarantine():
        number, index, _ = listed[item["row_id"] - 1]
        assert fates[number][index] == "", "a row was set aside twice"
        fates[number][index] = item["reason"]
    for profile, document in world.documents.items():
        values = sorted((key, value) for key in PROPERTIES for value in document.get(key, []))
        for seen in document.get("seen", []):
            _, number, index = seen.split()
            assert fates[int(number)][int(index)] == "", "a row has two fates"
            fates[int(number)][int(index)] = profile if profile in known else f"new:{values[0]}"
    return [fates[number] for number in range(len(graphs))]


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_three_hundred_graphs_link_as_their_components_in_any_order(engine: tuple[Session, Path], seed: int) -> None:
    graphs = [graph(seed, number) for number in range(GRAPHS)]
    expected = [expected_fates(rows, stored) for rows, stored in graphs]
    assert linked(engine, graphs, None) == expected
    assert linked(engine, graphs, random.Random(seed)) == expected


def test_a_long_chain_of_shared_values_is_one_profile(engine: tuple[Session, Path]) -> None:
    chain = [
        {"mail": f"link{index // 2 if index % 2 else index // 2 + 1}", "card": f"bond{index // 2}"}
        for index in range(30)
    ]
    world = World(*engine)
    listed = [
        Row(SOURCES[0], no + 2, {f"p.{key}": row.get(key, "") for key in PROPERTIES}) for no, row in enumerate(chain)
    ]
    random.Random(3).shuffle(listed)
    counts = world.run(listed, GOAL, CONNECTION, TENANT)
    assert (counts["created"], counts["applied"]) == (1, 30)


def test_a_value_that_many_strangers_share_never_makes_them_one_profile(engine: tuple[Session, Path]) -> None:
    def rows(strangers: int) -> list[Row]:
        cells = [{"p.mail": f"person{no}", "p.card": "", "p.phone": "0800"} for no in range(strangers)]
        return [Row(SOURCES[0], no + 2, cell) for no, cell in enumerate(cells)]

    world = World(*engine)
    assert world.run(rows(21), GOAL, CONNECTION, TENANT)["quarantined"] == {"shared_identifier": 21}
    assert world.documents == {}
    counts = world.run(rows(20), GOAL, CONNECTION, TENANT)
    assert (counts["created"], counts["quarantined"]) == (1, {})


def test_one_row_may_list_more_than_twenty_values_of_its_own(engine: tuple[Session, Path]) -> None:
    goal = GOAL.model_copy(update={"format": GOAL.format.model_copy(update={"multi_value": "|"})})
    cells = {"p.mail": "|".join(f"m{no}" for no in range(25)), "p.card": "1", "p.phone": ""}
    counts = World(*engine).run([Row(SOURCES[0], 2, cells)], goal, CONNECTION, TENANT)
    assert counts["created"] == 1
