"""An export killed at any seam, and run again by the same run or by a new one, leaves one whole set of files.

The kill points and ``CROSSWALK_CRASH_EVERY`` are those of ``test_crash.py``.
"""

from __future__ import annotations

import shutil

import pytest

from crosswalk.store.base import Applied
from tests.acceptance.shop import Shop
from tests.conformance.test_events import event
from tests.faults.crash import Seams
from tests.faults.store_dump import dump_exports, held_leases, integrity
from tests.faults.test_crash import Trials, chosen_points, postgres_server, trials
from tests.simulators.stores import apply

__all__ = ["postgres_server", "trials"]

TENANT = {
    "segments.yaml": "segments:\n  gent: {any: [{property: city, any_of: [gent, aalst]}]}\n",
    "event_types.yaml": "event_types:\n  visit: {fields: {shop: {type: text}, talk: {fields: {with: {type: text}}}}}\n",
}
CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
objectives: [newsletter]
goals:
  - export_profiles: out
    segment: gent
    directory: /out
    file_name: NAME
    columns: [{profile_id: true}, {property: email}, {property: city}]
    events: {types: visit}
"""


def lay_out(trials: Trials, name: str) -> Shop:
    shop = trials.fresh()
    for file, text in TENANT.items():
        (shop.root / "tenant" / file).write_text(text)
    shop.connection(text=CONNECTION.replace("NAME", name))
    return shop


def add_visits(shop: Shop) -> None:
    """Five visits, each with two items of a nested field."""
    with shop.store() as store:
        ids = sorted(row["profile_id"] for row in store.stored_profiles().read_all().to_pylist())
        data = '{"shop":["Gent"],"talk":[{"with":["Eva"]},{"with":["Tom"]}]}'
        visits = [{**event(f"v{n}", profile_id=ids[n]), "type": "visit", "data": data} for n in range(5)]
        assert isinstance(apply(store, run_id="visits", connection="visits", batch_id="visits", events=visits), Applied)


def forget_lease(shop: Shop) -> None:
    """As when its time ran out."""
    store = shop.store()
    store.release_lease("shop", "crashed-run")
    store.close()


def exported(shop: Shop) -> list[list[str]]:
    """The lines of each file in the folder, hidden ones too."""
    return [path.read_text().splitlines() for path in sorted((shop.source / "out").iterdir())]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("{segment_and_timestamp: true}", "crashed-run"),
        ("{segment_and_timestamp: true}", "another-run"),
        ("{custom: mail.csv}", "another-run"),
    ],
)
def test_a_killed_export_ends_in_one_whole_set_of_files(trials: Trials, name: str, again: str) -> None:
    add_visits(trials.base)
    undisturbed = lay_out(trials, name)
    log = undisturbed.root / "seams.log"
    assert trials.run(undisturbed, Seams(log=log)) == 0
    expected, whole, names = dump_exports(undisturbed.store_uri), exported(undisturbed), log.read_text().splitlines()
    assert sorted(len(lines) for lines in whole) == [6, 11, 22]
    assert (expected["open"], expected["not_sent"], len(expected["exported"])) == ([[0]], [[0]], 21)
    assert len(names) > 30, "the harness lost its seams"
    for number in chosen_points(names, whole=trials.whole):
        where = f"killed before call {number} of {len(names)}: {names[number - 1]}"
        shop = lay_out(trials, name)
        assert trials.run(shop, Seams(kill_at=number)) == -9, f"{where}: the kill did not fire"
        assert integrity(shop.store_uri) == "ok", where
        forget_lease(shop)
        assert trials.run(shop, run_id=again) == 0, f"{where}: running again failed"
        assert exported(shop) == whole, where
        found = dump_exports(shop.store_uri)
        if again != "crashed-run" and name.startswith("{custom"):
            found["sent"] = found["sent"][-len(whole) :]  # what lies there whole is acknowledged, then replaced
        assert found == expected, where
        assert held_leases(shop.store_uri) == 0, where
        assert not list(shop.source.rglob("*.part")), where
        shutil.rmtree(shop.root)
