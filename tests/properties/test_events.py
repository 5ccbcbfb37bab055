"""Any events in any rows, split over any imports, end where a plain loop over the rows ends (P13)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crosswalk.config.connection import Connection, ImportProfiles
from crosswalk.config.tenant import Tenant
from crosswalk.engine.session import Session, open_session
from tests.properties.event_world import EventWorld
from tests.properties.world import SOURCES
from tests.reference_model import Row

TENANT = Tenant.model_validate(
    {
        "properties": {"email": {"type": "email", "identifier": "unique"}},
        "event_types": {
            "sale": {
                "fields": {
                    "shop": {"multiple": False},
                    "total": {"type": "number"},
                    "product": {"fields": {"id": {"identifier": True}, "size": {"multiple": False}}},
                }
            },
            "note": {"fields": {"shop": {"multiple": False}}},
        },
    }
)
MAPPED = {
    "sale": {
        "fields": {"shop": "p.shop", "total": "p.total"},
        "nested": {"product": {"file": "l", "fields": {"id": "l.sku", "size": "l.size"}}},
    },
    "note": {"fields": {"shop": "p.shop"}},
}
STRATEGIES = ("replace", "update_or_create", "update_only")
DAYS = {"": None, "x": None, "2026-01-01": 1_767_225_600_000, "2026-01-02": 1_767_312_000_000}
cells = st.fixed_dictionaries(
    {
        "p.mail": st.sampled_from(["a@x.org", "b@x.org"]),
        "p.id": st.sampled_from(["", "1", "2", None]),
        "p.date": st.sampled_from(list(DAYS)),
        "p.kind": st.sampled_from(["0", "1", "2"]),
        "p.shop": st.sampled_from(["", "Gent", 'a"b', None]),
        "p.total": st.sampled_from(["", "1", "many", "2.0", None]),
        "l": st.none() | st.lists(st.tuples(*[st.sampled_from([None, "", "k", "m"])] * 2), max_size=3),
    }
)
entries = st.lists(st.tuples(st.sampled_from(["sale", "note"]), st.sampled_from(STRATEGIES)), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Path]]:
    folder = tmp_path_factory.mktemp("engine")
    with open_session(folder / "tmp", threads=1) as session:
        yield session, folder


def goal_of(chosen: list[tuple[str, str]]) -> ImportProfiles:
    events = [
        {
            "type": kind,
            "id": "p.id",
            "date": "p.date",
            "strategy": strategy,
            "when": {"field": "p.kind", "any_of": [str(no)]},
            "product_store": kind == "sale",
            **MAPPED[kind],
        }
        for no, (kind, strategy) in enumerate(chosen)
    ]
    files = [
        {"name": "p", "path": "/p"},
        {"name": "l", "path": "/l", "link": {"x": "p.x"}, "nested": True},
    ]
    links = [{"field": "p.mail", "property": "email"}]
    return ImportProfiles.model_validate(
        {"import_profiles": "g", "files": files, "identifiers": links, "create_profiles": True, "events": events}
    )


def row_of(number: int, made: dict[str, Any]) -> Row:
    plain = {key: value for key, value in made.items() if key != "l"}
    listed = made["l"]
    items = (
        {"l.sku": None, "l.size": None}
        if listed is None
        else {
            "l.sku": [item[0] for item in listed],
            "l.size": [item[1] for item in listed],
        }
    )
    return Row(SOURCES[0], number + 2, {**plain, **items})


class Model:
    """What should happen, one row after another."""

    def __init__(self, chosen: list[tuple[str, str]]) -> None:
        self.chosen = chosen
        self.events: dict[tuple[str, str, str], tuple[int, dict[str, Any]]] = {}

    def take(self, row: dict[str, Any]) -> None:
        no, moment = int(row["p.kind"]), DAYS[row["p.date"]]
        if no >= len(self.chosen) or not row["p.id"] or moment is None:
            return
        kind, strategy = self.chosen[no]
        key = (row["p.mail"], kind, row["p.id"])
        before = self.events.get(key)
        if before is None and strategy == "update_only":
            return
        data = {} if before is None or strategy == "replace" else dict(before[1])
        said = self._said(kind, row)
        items = said.pop("product", [])
        data |= said
        if items:
            data["product"] = items if strategy == "replace" else self._joined(data.get("product", []), items)
        self.events[key] = (moment, data)

    @staticmethod
    def _said(kind: str, row: dict[str, Any]) -> dict[str, Any]:
        said: dict[str, Any] = {"shop": row["p.shop"]} if row["p.shop"] else {}
        if kind == "sale":
            said |= {"total": row["p.total"][0]} if row["p.total"] in ("1", "2.0") else {}
            pairs = [{"id": sku, "size": size} for sku, size in row["l"] or []]
            said["product"] = [found for pair in pairs if (found := {k: v for k, v in pair.items() if v})]
        return said

    @staticmethod
    def _joined(held: list[dict[str, str]], items: list[dict[str, str]]) -> list[dict[str, str]]:
        joined: dict[str, dict[str, str]] = {}
        for place, item in enumerate([*held, *items]):
            name = item.get("id", f" {place}")
            joined[name] = {**joined.get(name, {}), **item}
        return list(joined.values())

    def bought(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for (_, kind, _), (moment, data) in self.events.items():
            for item in data.get("product", []) if kind == "sale" else []:
                if "id" in item:
                    count, last = found.get(item["id"], (0, moment))
                    found[item["id"]] = (count + 1, max(last, moment))
        return found


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(
    chosen=entries,
    made=st.lists(cells, min_size=1, max_size=8),
    cuts=st.sets(st.integers(1, 7), max_size=3),
    data=st.data(),
)
def test_events_end_where_a_loop_over_the_rows_ends(
    engine: tuple[Session, Path],
    chosen: list[tuple[str, str]],
    made: list[dict[str, Any]],
    cuts: set[int],
    data: st.DataObject,
) -> None:
    session, folder = engine
    goal = goal_of(chosen)
    connection = Connection(kind="sftp", title="t", conn_id="c", goals=[goal])
    model, world = Model(chosen), EventWorld(session, folder / "world")
    for row in made:
        model.take(row)
    rows = [row_of(no, row) for no, row in enumerate(made)]
    places = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    for part, (first, last) in enumerate(itertools.pairwise(places)):
        buckets = data.draw(st.sampled_from([None, 1, 3]))
        world.run(rows[first:last], goal, connection, TENANT, batch_id=f"b{part}", full=True, buckets=buckets)
    found = {
        (world.documents[key[0]]["email"][0], *key[1:]): (item["date"], json.loads(item["data"]))
        for key, item in world.events.items()
    }
    assert found == model.events
    assert world.bought() == model.bought()
    before = {key: dict(item) for key, item in world.events.items()}
    if all(strategy == "replace" for _, strategy in chosen):
        counts = world.run(rows, goal, connection, TENANT, batch_id="again", full=True)
        assert (counts["events_created"], counts["events_updated"]) == (0, 0)
        assert (world.events, world.bought()) == (before, model.bought())
