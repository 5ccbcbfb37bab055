"""A run killed at any seam, and run again, ends where an undisturbed run ends: nothing lost, nothing doubled.

``make test`` kills once at each distinct seam (first and last time it is passed), of the store's statements at every
third, on both stores;
``make campaign`` kills at every call. ``CROSSWALK_CRASH_EVERY=1`` does the same here.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.shop import CONNECTION, Shop
from tests.faults.crash import Seams, run_once
from tests.faults.store_dump import dump, held_leases, integrity
from tests.simulators.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server"]

GOAL = """
    row_key: [people.id]
    mark_done: true
    processors:
      - filter: {field: people.city, drop: [Nowhere]}
    identifiers:
      - {field: people.email, property: email}
      - {field: people.id, property: customer_id}
    create_profiles: true
    consent: [{field: people.news, objective: newsletter, granted: ["yes"], refused: ["no"]}]
    mappings:
      fields:
        - {field: people.city, property: city}
        - {field: people.n, property: visits, strategy: sum}
        - {field: people.tag, property: tags, strategy: add}
    events:
      - type: sale
        id: people.sale
        date: people.sold
        fields: {city: people.city}
        nested: {product: {file: lines, fields: {id: lines.sku}}}
        product_store: true
      - {type: move, id: people.id, date: people.sold, strategy: update_or_create, fields: {city: people.city}}
    """
MERGE_RULES = "merge_rules: [{identifier: customer_id}]\n"  # the last row of the third file makes two profiles one
EVENT_TYPES = """
event_types:
  sale:
    fields: {city: {multiple: false}, product: {fields: {id: {identifier: true}}}}
  move: {priority: high, fields: {city: {multiple: false}}}
"""
LINKED = "{name: lines, path: /in/lines.csv, link: {id: people.id}, nested: true}"
LINES = "id,sku\n" + "".join(f"{n},{sku}\n" for n in range(32) for sku in "ab"[: 1 + n % 2])
HEAD = "id,email,city,n,tag,news,sale,sold\n"
FIRST = HEAD + "".join(f"{n},p{n}@example.org,Gent,1,a,yes,s{n},2026-01-01\n" for n in [*range(20), 9001])
SECOND = (
    HEAD
    + "".join(
        f"{n},p{n}@example.org,Aalst,{n},b,{'no' if n % 3 else 'yes'},s{n % 12},2026-01-0{n % 9 + 1}\n"
        for n in range(5, 30)
    )
    + "31,p31@example.org,Nowhere,1,c,,,\n32,p32@example.org,Gent,2.5,c,,s32,\nfew,cells\n,,Gent,1,a,,,\n"
)
THIRD = (
    HEAD
    + "40,p7@example.org,Ieper,5,z,,s7,2026-02-01\n41,q41@example.org,Ieper,5,z,no,s41,2026-02-01\n"
    + "9001,p1@example.org,Lier,7,m,,s90,2026-02-01\n"
)
RUN = "crashed-run"


class Trials:
    """A prepared shop (one run done, new files waiting) that can be laid out afresh for every trial."""

    def __init__(self, root: Path, new_store: Callable[[Path | None], str], *, whole: bool) -> None:
        self.root = root
        self.whole = whole  # kill at all kinds of seams; else only at those of the store
        self.new_store = new_store
        self.count = 0
        self.base = self._shop(root / "base", new_store(None))
        self.base.connection(GOAL, text=CONNECTION.replace("}]", f"}}, {LINKED}]"))
        self.base.put("lines.csv", LINES)
        self.base.put("people_1.csv", FIRST)
        assert self._run(self.base, "first-run", None) == 0
        self.base.put("people_2.csv", SECOND)
        self.base.put("people_3.csv", THIRD)

    @staticmethod
    def _shop(root: Path, uri: str) -> Shop:
        root.mkdir(parents=True, exist_ok=True)
        shop = Shop(root, uri)
        (root / "tenant" / "event_types.yaml").write_text(EVENT_TYPES)
        (root / "tenant" / "merge_rules.yaml").write_text(MERGE_RULES)
        return shop

    @staticmethod
    def _run(shop: Shop, run_id: str, seams: Seams | None, replay: str | None = None) -> int:
        os.environ["CROSSWALK_STORE"] = shop.store_uri
        os.environ["CROSSWALK_STAGING"] = str(shop.root / "staging")
        return run_once(shop, run_id, seams, replay)

    def fresh(self) -> Shop:
        """A copy of the prepared shop with a store of its own."""
        self.count += 1
        root = self.root / f"trial-{self.count}"
        root.mkdir(parents=True)
        shop = self._shop(root, self.new_store(root))
        for name in ("source", "connections"):
            shutil.rmtree(root / name, ignore_errors=True)
            shutil.copytree(self.base.root / name, root / name)
        return shop

    def run(self, shop: Shop, seams: Seams | None = None, run_id: str = RUN, replay: str | None = None) -> int:
        return self._run(shop, run_id, seams, replay)


@pytest.fixture(params=["sqlite", "postgresql"])
def trials(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trials:
    for name in ("CROSSWALK_STORE", "CROSSWALK_STAGING"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("CROSSWALK_ENGINE_THREADS", "1")
    if request.param == "sqlite":
        base = tmp_path / "base.db"

        def new_store(root: Path | None) -> str:
            if root is None:
                return f"sqlite:///{base}"
            for path in tmp_path.glob("base.db*"):
                shutil.copyfile(path, root / path.name.replace("base", "store"))
            return f"sqlite:///{root}/store.db"

    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        template = server.new_database()
        name = template.rpartition("/")[2]
        made = iter(range(1, 1_000_000))

        def new_store(root: Path | None) -> str:
            if root is None:
                return template
            copy = f"{name}_{next(made)}"
            server.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{name}"')
            return server.uri(copy)

    return Trials(tmp_path / "shops", new_store, whole=request.param == "sqlite")


def chosen_points(names: list[str], *, whole: bool = True) -> list[int]:
    """Numbers of the calls to kill at: the last of each name, for some also the first and the middle, or all.

    Args:
        names: of all calls.
        whole: False leaves out what is the same on both stores: reading files and computing plans.
    """
    if os.environ.get("CROSSWALK_CRASH_EVERY"):
        return list(range(1, len(names) + 1))
    calls: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(names, start=1):
        calls[name].append(number)
    # Statements within a transaction: a kill at any of them rolls the same back, so every third will do.
    inner = [name for name in sorted(calls) if name.startswith("store.") and "commit" not in name]
    chosen = {numbers[-1] for name, numbers in calls.items() if name not in inner or inner.index(name) % 3 == 0}
    for name in ("file.replace", "store.commit", "store.commit done"):
        chosen |= {calls[name][0], calls[name][len(calls[name]) // 2]}
    return sorted(number for number in chosen if whole or names[number - 1].startswith("store."))


def listing(shop: Shop) -> list[str]:
    return sorted(path.name for path in (shop.source / "in").iterdir())


@pytest.mark.timeout(900)
def test_a_run_killed_at_any_seam_and_run_again_ends_like_an_undisturbed_one(trials: Trials) -> None:
    undisturbed = trials.fresh()
    log = undisturbed.root / "seams.log"
    assert trials.run(undisturbed, Seams(log=log)) == 0
    expected, files, names = dump(undisturbed.store_uri), listing(undisturbed), log.read_text().splitlines()
    assert (len(expected["profiles"]), len(expected["merged"])) == (33, 1)
    assert (len(expected["events"]), len(expected["purchases"]), len(expected["products"])) == (74, 55, 2)
    assert files == ["lines.csv", "people_1.csv.done", "people_2.csv.done", "people_3.csv.done"]
    assert len(names) > 60, "the harness lost its seams"
    points = chosen_points(names, whole=trials.whole)
    assert len(points) > 10
    for number in points:
        where = f"killed before call {number} of {len(names)}: {names[number - 1]}"
        shop = trials.fresh()
        assert trials.run(shop, Seams(kill_at=number)) == -9, f"{where}: the kill did not fire"
        assert integrity(shop.store_uri) == "ok", where
        assert trials.run(shop) == 0, f"{where}: running again failed"
        assert dump(shop.store_uri) == expected, where
        assert listing(shop) == files, where
        assert held_leases(shop.store_uri) == 0, where
        assert not list(shop.root.rglob("*.part")), where
        shutil.rmtree(shop.root)
    print(f"{len(points)} kills, 0 lost, 0 doubled")
