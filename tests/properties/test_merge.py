"""Which profiles merge, against a plain model: for any rows, owners and rules, in any order of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosswalk.config.tenant import MergeRule, Property, Tenant
from crosswalk.engine.merge import merge_owners
from crosswalk.engine.session import Session, open_session
from crosswalk.engine.tables import Tables
from crosswalk.store.merge_base import MERGING_SCHEMA

PROPERTIES = ["card", "email"]
PROFILES = 5
Row = tuple[tuple[int, int], ...]  # the row's values: property and number of the value

a_value = st.tuples(st.integers(0, 1), st.integers(0, 4))
a_row = st.lists(a_value, min_size=1, max_size=4, unique=True).map(tuple)
a_world = st.fixed_dictionaries(
    {
        "rows": st.lists(a_row, min_size=1, max_size=6),
        "owners": st.dictionaries(a_value, st.integers(1, PROFILES), min_size=5, max_size=9),
        "created": st.lists(st.integers(1, 3), min_size=PROFILES, max_size=PROFILES),
        "cities": st.lists(st.sampled_from(["A", "B"]), min_size=PROFILES, max_size=PROFILES),
        "rules": st.lists(st.tuples(st.integers(0, 1), st.booleans()), min_size=1, max_size=2, unique=True),
    }
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with open_session(tmp_path_factory.mktemp("engine") / "tmp", threads=1) as session:
        yield session


def decided(engine: Session, world: dict[str, Any], rows: list[Row]) -> dict[int, int]:
    """What the engine says: profile to the one it becomes."""
    tables = Tables(engine)
    values = sorted({value for row in rows for value in row})
    edges = [(no, prop, place, values.index((prop, item)) + 1) for no, row in enumerate(rows)
             for place, (prop, item) in enumerate(row)]  # fmt: skip
    owners = [(values.index(value) + 1, owner) for value, owner in world["owners"].items() if value in values]
    made = {
        "edges": ("tuple_no identifier position value_no", edges),
        "link_value": ("value_no property_no value", [(n, p, f"value{i}") for n, (p, i) in enumerate(values, 1)]),
        "value_owner": ("value_no owner_no", owners),
        "owner": ("owner_no profile_id", [(number, f"p{number}") for number in range(1, PROFILES + 1)]),
    }
    for table, (columns, listed) in made.items():
        names = columns.split()
        kinds = [pa.string() if name in ("value", "profile_id") else pa.int64() for name in names]
        content = [pa.array([item[at] for item in listed], kind) for at, kind in enumerate(kinds)]
        tables.take_in(table, pa.table(content, names).to_reader(), "*")
    tables.drop("merge_member")

    def read_merging(ids: pa.RecordBatchReader) -> pa.RecordBatchReader:
        found = [int(item[1:]) for item in ids.read_all().column("profile_id").to_pylist()]
        content = [
            {
                "profile_id": f"p{number}",
                "version": 1,
                "properties": f'{{"city":["{world["cities"][number - 1]}"]}}',
                "permission_level": 2,
                "legislation": "NONE",
                "created_at": world["created"][number - 1],
                "modified_at": 1,
                "merges": 0,
            }
            for number in found
        ]
        return pa.Table.from_pylist(content, MERGING_SCHEMA).to_reader()

    declared = {name: Property(type="text", identifier="unique") for name in PROPERTIES}
    rules = [
        MergeRule.model_validate(
            {"identifier": PROPERTIES[prop], "conditions": [{"property": "city", "same": True}] if same else []}
        )
        for prop, same in world["rules"]
    ]
    tenant = Tenant(properties={**declared, "city": Property(type="text")}, merge_rules=rules)
    goal = SimpleNamespace(match="any")
    task: Any = SimpleNamespace(
        tables=tables, tenant=tenant, goal=goal, properties=PROPERTIES, read_merging=read_merging
    )
    if not merge_owners(task):
        return {}
    return dict(tables.all("SELECT owner_no, living_no FROM merge_member"))


def expected(world: dict[str, Any], rows: list[Row]) -> dict[int, int]:
    """The same by the words of the documentation."""
    owners, cities = world["owners"], world["cities"]

    def may(prop: int, one: int, other: int) -> bool:
        return any(rule == prop and (not same or cities[one - 1] == cities[other - 1]) for rule, same in world["rules"])

    def named(row: Row) -> tuple[int | None, list[tuple[tuple[int, int], int | None]]]:
        """The row's lead, and the values that it brings and its lead does not own."""
        owned = [(value[0], place, owners[value]) for place, value in enumerate(row) if value in owners]
        lead = min(owned)[2] if owned else None
        return lead, [(value, owners.get(value)) for value in row if owners.get(value) != lead]

    against: set[frozenset[int]] = set()
    accepted: set[frozenset[int]] = set()
    links: set[frozenset[int]] = set()
    meetings: dict[tuple[int, int], set[int]] = {}  # the leads that meet at a value of nobody
    sound: dict[tuple[int, int], set[int]] = {}  # the same, of rows that the rules have nothing against
    for row in rows:
        lead, claims = named(row)
        if lead is None:
            continue
        good = {frozenset((lead, owner)) for value, owner in claims if owner and may(value[0], lead, owner)}
        bad = {frozenset((lead, owner)) for _, owner in claims if owner} - good
        accepted |= good
        against |= bad
        links |= set() if bad else good
        for value, owner in claims:
            if owner is None:
                meetings.setdefault(value, set()).add(lead)
                sound.setdefault(value, set()).update([] if bad else [lead])
    for value, leads in meetings.items():
        pairs = {frozenset((a, b)) for a in leads for b in leads if a < b and may(value[0], a, b)}
        accepted |= pairs
        links |= {pair for pair in pairs if pair <= sound[value]}
    groups = [{number} for number in range(1, PROFILES + 1)]
    for pair in links:
        joined = [group for group in groups if group & pair]
        groups = [group for group in groups if not group & pair] + [set().union(*joined)]
    result = {}
    for group in groups:
        if len(group) > 1 and not any(pair <= group and pair not in accepted for pair in against):
            living = max(group, key=lambda number: (world["created"][number - 1], f"p{number}"))
            result |= dict.fromkeys(group, living)
    return result


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(world=a_world, data=st.data())
def test_the_engine_merges_what_the_model_merges_in_any_order_of_rows(
    engine: Session, world: dict[str, Any], data: st.DataObject
) -> None:
    wanted = expected(world, world["rows"])
    assert decided(engine, world, world["rows"]) == wanted
    assert decided(engine, world, data.draw(st.permutations(world["rows"]))) == wanted
