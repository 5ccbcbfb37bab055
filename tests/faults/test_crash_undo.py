"""An undo killed at any seam, and called again, ends where an undisturbed one ends."""

from __future__ import annotations

import os
import shutil

import pytest

from crosswalk.steps.undo import apply_undo, open_undo
from tests.acceptance.shop import Shop
from tests.faults.crash import Seams, in_child
from tests.faults.store_dump import dump, held_leases, integrity
from tests.faults.test_crash import Trials, chosen_points, trials
from tests.simulators.folder_connector import FolderConnector
from tests.simulators.postgres import postgres_server

__all__ = ["postgres_server", "trials"]


def undo_once(shop: Shop, run_id: str, seams: Seams | None = None) -> int:
    """Undo a run in a child; ``seams`` may kill it."""
    os.environ["CROSSWALK_STORE"] = shop.store_uri
    os.environ["CROSSWALK_STAGING"] = str(shop.root / "staging")

    def work() -> None:
        if seams is not None:
            seams.install(FolderConnector(shop.source))
        with open_undo(run_id, tenant_folder=str(shop.root / "tenant")) as context:
            apply_undo(context)

    return in_child(work)


@pytest.mark.timeout(600)
def test_an_undo_killed_at_any_seam_and_called_again_ends_like_an_undisturbed_one(trials: Trials) -> None:
    assert trials.run(trials.base, run_id="second-run") == 0
    undisturbed = trials.fresh()
    log = undisturbed.root / "seams.log"
    assert undo_once(undisturbed, "second-run", Seams(log=log)) == 0
    expected, names = dump(undisturbed.store_uri), log.read_text().splitlines()
    assert (len(expected["profiles"]), expected["merged"]) == (21, [])
    assert all(row[2].get("city") == ["Gent"] for row in expected["profiles"])
    assert len(names) > 40, "the harness lost its seams"
    commits = [number for number, name in enumerate(names, start=1) if "commit" in name]
    points = chosen_points(names)
    if not os.environ.get("CROSSWALK_CRASH_EVERY"):
        points = sorted({*points[::4], *commits[-6:]})
    for number in points:
        where = f"killed before call {number} of {len(names)}: {names[number - 1]}"
        shop = trials.fresh()
        assert undo_once(shop, "second-run", Seams(kill_at=number)) == -9, f"{where}: the kill did not fire"
        assert integrity(shop.store_uri) == "ok", where
        assert undo_once(shop, "second-run") == 0, f"{where}: calling it again failed"
        assert dump(shop.store_uri) == expected, where
        store = shop.store()
        assert store.run("undo-second-run")["state"] == "done", where
        store.close()
        assert held_leases(shop.store_uri) == 0, where
        assert not list(shop.root.rglob("*.part")), where
        shutil.rmtree(shop.root)
    print(f"{len(points)} kills, 0 lost, 0 doubled")
