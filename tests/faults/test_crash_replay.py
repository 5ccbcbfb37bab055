"""A replay killed at any seam, and run again, ends where an undisturbed one ends: no row comes in twice."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.acceptance.shop import TENANT, Shop
from tests.faults.crash import Seams
from tests.faults.store_dump import dump, held_leases, integrity
from tests.faults.test_crash import RUN, Trials, chosen_points, listing, trials
from tests.simulators.postgres import postgres_server

__all__ = ["postgres_server", "trials"]


def corrected(trials: Trials) -> Shop:
    """A fresh shop whose model takes what the run before had to set aside."""
    shop = trials.fresh()
    model = TENANT["properties.yaml"].replace("visits: {type: number}", "visits: {type: decimal}")
    (shop.root / "tenant" / "properties.yaml").write_text(model)
    return shop


@pytest.mark.timeout(600)
def test_a_replay_killed_at_any_seam_and_run_again_ends_like_an_undisturbed_one(trials: Trials) -> None:
    assert trials.run(trials.base, run_id="second-run") == 0
    before = dump(trials.base.store_uri)
    undisturbed = corrected(trials)
    log = undisturbed.root / "seams.log"
    assert trials.run(undisturbed, Seams(log=log), replay="second-run") == 0
    expected, files, names = dump(undisturbed.store_uri), listing(undisturbed), log.read_text().splitlines()
    came = {row[0] for row in expected["profiles"]} ^ {row[0] for row in before["profiles"]}
    assert not came, "the row was applied before, without the value that did not fit"
    visits = [row[2].get("visits") for row in expected["profiles"] if row[2]["customer_id"] == ["32"]]
    assert visits == [["2.5"]]
    rejects = {run: [row[9] for row in expected["quarantine"] if row[0] == run] for run in ("second-run", RUN)}
    assert set(rejects["second-run"]) == {RUN}
    assert len(rejects[RUN]) == len(rejects["second-run"]) - 1
    assert listing(trials.base) == files
    assert len(names) > 60, "the harness lost its seams"
    points = chosen_points(names)
    if not os.environ.get("CROSSWALK_CRASH_EVERY"):
        commits = [number for number, name in enumerate(names, start=1) if "commit" in name]
        points = sorted({*points[::5], *commits[-6:]})
    for number in points:
        where = f"killed before call {number} of {len(names)}: {names[number - 1]}"
        shop = corrected(trials)
        assert trials.run(shop, Seams(kill_at=number), replay="second-run") == -9, f"{where}: the kill did not fire"
        assert integrity(shop.store_uri) == "ok", where
        assert trials.run(shop, replay="second-run") == 0, f"{where}: running again failed"
        assert dump(shop.store_uri) == expected, where
        assert listing(shop) == files, where
        assert held_leases(shop.store_uri) == 0, where
        shutil.rmtree(shop.root)
    print(f"{len(points)} kills, 0 lost, 0 doubled")
