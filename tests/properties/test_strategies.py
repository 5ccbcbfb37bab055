"""Any goal over any rows: the engine's plan ends in the store of the reference model (G1 to G4, G7)."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crosswalk.config.connection import Connection, ImportProfiles
from crosswalk.config.tenant import Tenant
from crosswalk.engine.session import Session, open_session
from tests.properties.world import SOURCES, World
from tests.reference_model import Import, Row, Store

TENANT = Tenant.model_validate(
    {
        "properties": {
            "email": {"type": "email", "identifier": "unique"},
            "card": {"type": "text", "identifier": "unique"},
            "other": {"type": "text", "identifier": "unique"},
            "city": {"type": "text"},
            "City": {"type": "text"},
            "count": {"type": "number"},
            "score": {"type": "decimal"},
            "spent": {"type": "currency", "currency": "EUR"},
            "born": {"type": "datetime"},
        },
        "objectives": {"news": {}, "offers": {}},
    }
)
EMAILS = ["", " ", "a@x.org", "A@x.org ", "b@x.org", "c@x.org", "bad", None]
CARDS = ["", "1", "2", " 1", "3", None]
TEXTS = ["", " ", "Gent", "gent", 'a"b', "é|ü", "x|y|x", "\x1f", None]
NUMBERS = ["", "1", "2.5", "2,5", "12.0", "-3", "1.234", "1,234.50", "0.00005", "0.015", "x", "2147483647", None]
DATES = ["", "2024-07-01", "1719828000", "2024-03-31T02:30", "2024-10-27 02:30:00", "31-02-2024", None]
FIELDS = {
    "p.mail": EMAILS,
    "p.card": CARDS,
    "p.other": CARDS,
    "p.city": TEXTS,
    "q.city": TEXTS,
    "p.n": NUMBERS,
    "q.n": NUMBERS,
    "p.born": DATES,
    "p.news": ["", "yes", "YES ", "no", "maybe", None],
    "p.key": ["", "k1", "k2", "k3", "k4"],
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Path]]:
    folder = tmp_path_factory.mktemp("engine")
    with open_session(folder / "tmp", threads=1) as session:
        yield session, folder / "world"


ISLANDS = 8


def on_island(cell: str | None, island: int) -> str | None:
    """The cell as it reads on an island: identifiers and keys differ, so islands never meet."""
    if cell is None or not cell.strip():
        return cell
    return cell.replace("x.org", f"x{island}.org") if "@" in cell else f"{cell}-{island}"


@st.composite
def rows(draw: st.DrawFn, most: int = 7) -> list[Row]:
    """Rows of several small worlds that know nothing of each other, mixed: one run of the engine tries them all."""
    made = []
    for island in range(ISLANDS):
        for _ in range(draw(st.integers(0, most))):
            cells = {name: draw(st.sampled_from(values)) for name, values in FIELDS.items()}
            for name in ("p.mail", "p.card", "p.other", "p.key"):
                cells[name] = on_island(cells[name], island)
            made.append(cells)
    draw(st.randoms(use_true_random=False)).shuffle(made)
    second = draw(st.integers(0, len(made)))
    return [Row(SOURCES[no >= second], no + 2, cells) for no, cells in enumerate(made)]


def _mapping(draw: st.DrawFn, property_id: str) -> list[dict[str, Any]]:
    kind = TENANT.properties[property_id].type
    numeric = kind in ("number", "decimal", "currency")
    fields = ["p.n", "q.n"] if numeric else ["p.born"] if kind == "datetime" else ["p.city", "q.city"]
    if property_id == "other":
        fields = ["p.other", "p.card"]
    choices = ["set", "set_if_empty", "set_or_clear", "add", *(["sum"] if numeric else [])]
    strategy = draw(st.sampled_from(choices))
    used = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=2, unique=True))
    return [{"field": name, "property": property_id, "strategy": strategy} for name in used]


@st.composite
def goals(draw: st.DrawFn) -> tuple[ImportProfiles, Connection]:
    wanted = draw(
        st.lists(st.sampled_from(["city", "City", "count", "score", "spent", "born", "other"]), max_size=4, unique=True)
    )
    fields = [item for property_id in wanted for item in _mapping(draw, property_id)]
    if draw(st.booleans()):
        fields.append({"field": "p.mail", "property": "email", "strategy": draw(st.sampled_from(["set", "add"]))})
    identifiers = draw(
        st.sampled_from(
            [
                [{"field": "p.mail", "property": "email"}],
                [{"field": "p.mail", "property": "email"}, {"field": "p.card", "property": "card"}],
            ]
        )
    )
    consent = [{"field": "p.news", "objective": "news", "granted": ["yes"], "refused": ["NO"]}]
    goal = ImportProfiles.model_validate(
        {
            "import_profiles": "g",
            "files": [{"name": "p", "path": "/p"}, {"name": "q", "path": "/q", "link": {"a": "p.a"}}],
            "identifiers": identifiers,
            "match": draw(st.sampled_from(["any", "any", "all"])),
            "create_profiles": draw(st.sampled_from([True, True, False])),
            "store_identifiers": draw(st.booleans()),
            "row_key": draw(st.sampled_from([[], ["p.key"]])),
            "format": {
                "decimal": draw(st.sampled_from([".", ".", ","])),
                "multi_value": draw(st.sampled_from([None, "|"])),
            },
            "invalid_values": draw(st.sampled_from(["drop", "drop", "reject_row"])),
            "consent": draw(st.sampled_from([[], consent])),
            "mappings": {"fields": fields},
        }
    )
    objectives = draw(st.sampled_from([[], [], ["news", "offers"]])) if goal.consent else []
    zone = draw(st.sampled_from(["UTC", "Europe/Brussels"]))
    return goal, Connection(kind="sftp", title="t", conn_id="c", goals=[goal], objectives=objectives, timezone=zone)


STORED = {
    "P1": {"email": ["a@x.org"], "city": ["Aalst", "Gent"], "count": ["5", "7"], "other": ["2"], "score": ["0.5"]},
    "P2": {
        "card": ["2"],
        "email": ["c@x.org"],
        "consented_objectives": ["news"],
        "spent": ["10.00"],
        'odd "key"': ["kept"],
    },
    "P3": {"card": ["3"], "refused_objectives": ["news"], "City": ["x"]},
}


def stored_world() -> dict[str, dict[str, list[str]]]:
    """The stored profiles of every island."""
    found = {}
    for island in range(ISLANDS):
        for key, document in STORED.items():
            found[f"{key}-{island}"] = {
                property_id: [on_island(v, island) if property_id in ("email", "card", "other") else v for v in values]
                for property_id, values in document.items()
            }
    return found


stores = st.sampled_from([{}, stored_world(), stored_world()])


def _equal(world: World, store: Store) -> None:
    assert dict(world.documents.items()) == store.documents
    expected = {
        (p, v): key
        for key, doc in store.documents.items()
        for p, values in doc.items()
        if p in TENANT.properties and TENANT.properties[p].identifier == "unique"
        for v in values
    }
    assert world.identifiers == expected
    kept = [(profile, amounts) for _, profile, amounts in store.row_state.values()]
    assert world.amounts() == sorted(([(p, dict(a)) for p, a in kept]), key=repr) or _same_amounts(world, kept)


def _same_amounts(world: World, kept: list[tuple[str, dict[str, Decimal]]]) -> bool:
    def plain(items: Any) -> list[Any]:
        return sorted(
            (profile, sorted((k, v.normalize() + 0) for k, v in amounts.items())) for profile, amounts in items
        )

    assert plain(world.amounts()) == plain(kept)
    return True


def _row_counts(counts: dict[str, Any]) -> dict[str, int]:
    flat = {"rows_read": counts["rows_read"], "unchanged_rows_skipped": counts["unchanged_rows_skipped"]}
    flat |= {key: counts[key] for key in ("applied", "created", "updated", "unchanged")}
    flat |= counts["excluded"]
    for reason, count in counts["quarantined"].items():
        kept = reason if reason in ("ambiguous_match", "identifier_taken", "shared_identifier") else "rejected"
        flat[kept] = flat.get(kept, 0) + count
    return {key: count for key, count in flat.items() if count}


# Every example holds eight worlds in two imports: 30 examples are 240 worlds.
COMMIT = settings(
    max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate]
)


@COMMIT
@given(made=goals(), stored=stores, first=rows(), second=rows(), blocked=st.booleans())
def test_the_plan_ends_in_the_store_of_the_reference_model(
    engine: tuple[Session, Path], made: Any, stored: Any, first: list[Row], second: list[Row], blocked: bool
) -> None:
    goal, connection = made
    world = World(*engine)
    levels = {f"P2-{island}": 0 for island in range(0, ISLANDS, 2)} if blocked and stored else {}
    world.seed(stored, TENANT, levels)
    store = Store(copy.deepcopy(stored), dict(levels))
    for number, batch in enumerate((first, second)):
        counts = world.run(batch, goal, connection, TENANT, batch_id=f"b{number}")
        expected = Import(store, goal, connection, TENANT, f"b{number}").run(batch)
        _equal(world, store)
        assert _row_counts(counts) == dict(expected)


FEW = settings(COMMIT, max_examples=6)


def _fresh(engine: tuple[Session, Path], stored: Any) -> World:
    world = World(*engine)
    world.seed(stored, TENANT, {})
    return world


@FEW
@given(made=goals(), stored=stores, listed=rows())
def test_the_same_rows_again_change_nothing(
    engine: tuple[Session, Path], made: Any, stored: Any, listed: list[Row]
) -> None:
    goal, connection = made
    world = _fresh(engine, stored)
    first = world.run(listed, goal, connection, TENANT)
    before = copy.deepcopy(world.documents)
    again = world.run(listed, goal, connection, TENANT, batch_id="again")
    assert (world.documents, world.changes) == (before, [])
    assert again["created"] == again["updated"] == 0
    if first["applied"] == first["rows_read"]:
        assert again["unchanged_rows_skipped"] == again["rows_read"]
    world.run(listed, goal, connection, TENANT, batch_id="full", full=True)
    assert world.documents == before


@FEW
@given(made=goals(), stored=stores, listed=rows(), cuts=st.lists(st.integers(0, 60), max_size=3))
def test_any_split_into_imports_ends_in_the_same_store(
    engine: tuple[Session, Path], made: Any, stored: Any, listed: list[Row], cuts: list[int]
) -> None:
    goal, connection = made
    kept = [m for m in goal.mappings.fields if m.property != "other"]
    changes = {"identifiers": goal.identifiers[:1], "consent": [], "row_key": ["p.key"], "match": "any"}
    goal = goal.model_copy(update={**changes, "mappings": goal.mappings.model_copy(update={"fields": kept})})
    for number, row in enumerate(listed):
        row.cells["p.key"] = f"key {number}"
    whole, parts = _fresh(engine, stored), _fresh(engine, stored)
    connection = connection.model_copy(update={"objectives": []})
    whole.run(listed, goal, connection, TENANT)
    edges = sorted({0, len(listed), *(min(cut, len(listed)) for cut in cuts)})
    for start, end in itertools.pairwise(edges):
        parts.run(listed[start:end], goal, connection, TENANT, batch_id=f"part {start}")
    assert _by_address(parts) == _by_address(whole)


def _by_address(world: World) -> dict[str, Any]:
    return {document.get("email", [key])[0]: document for key, document in world.documents.items()}


@FEW
@given(made=goals(), stored=stores, listed=rows())
def test_the_plan_is_the_same_in_one_bucket_and_in_many(
    engine: tuple[Session, Path], made: Any, stored: Any, listed: list[Row]
) -> None:
    goal, connection = made
    plans = []
    for buckets in (1, 5):
        world = _fresh(engine, stored)
        counts = world.run(listed, goal, connection, TENANT, buckets=buckets)
        tables = [
            pq.read_table(world.folder.plan / f"{part}.parquet").to_pylist()
            for part in ("profiles", "identifiers", "consent")
        ]
        state = sorted(pq.read_table(world.folder.plan / "row_state.parquet").to_pylist(), key=repr)
        plans.append((counts, tables, state, sorted(map(repr, world.quarantine()))))
    assert plans[0] == plans[1]
