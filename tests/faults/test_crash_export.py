"""An export killed at any seam, and run again by the same run or by a new one, leaves exactly one whole file.

The kill points and ``CROSSWALK_CRASH_EVERY`` are those of ``test_crash.py``.
"""

from __future__ import annotations

import shutil

import pytest

from tests.acceptance.shop import Shop
from tests.faults.crash import Seams
from tests.faults.store_dump import dump_exports, held_leases, integrity
from tests.faults.test_crash import Trials, chosen_points, postgres_server, trials

__all__ = ["postgres_server", "trials"]

TENANT = "segments:\n  gent: {any: [{property: city, any_of: [gent, aalst]}]}\n"
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
"""


def lay_out(trials: Trials, name: str) -> Shop:
    shop = trials.fresh()
    (shop.root / "tenant" / "segments.yaml").write_text(TENANT)
    shop.connection(text=CONNECTION.replace("NAME", name))
    return shop


def forget_lease(shop: Shop) -> None:
    """As when its time ran out."""
    store = shop.store()
    store.release_lease("shop", "crashed-run")
    store.close()


def exported(shop: Shop) -> list[list[str]]:
    """The lines of each file in the folder, hidden ones too."""
    return [path.read_text().splitlines() for path in sorted((shop.source / "out").iterdir())]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["{segment_and_timestamp: true}", "{custom: mail.csv}"])
@pytest.mark.parametrize("again", ["crashed-run", "another-run"])
def test_a_killed_export_ends_in_one_whole_file(trials: Trials, name: str, again: str) -> None:
    undisturbed = lay_out(trials, name)
    log = undisturbed.root / "seams.log"
    assert trials.run(undisturbed, Seams(log=log)) == 0
    expected, (whole,), names = dump_exports(undisturbed.store_uri), exported(undisturbed), log.read_text().splitlines()
    assert len(whole) == 21
    assert (expected["open"], expected["not_sent"], len(expected["exported"])) == ([[0]], [[0]], 20)
    assert len(names) > 30, "the harness lost its seams"
    for number in chosen_points(names):
        where = f"killed before call {number} of {len(names)}: {names[number - 1]}"
        shop = lay_out(trials, name)
        assert trials.run(shop, Seams(kill_at=number)) == -9, f"{where}: the kill did not fire"
        assert integrity(shop.store_uri) == "ok", where
        forget_lease(shop)
        assert trials.run(shop, run_id=again) == 0, f"{where}: running again failed"
        assert exported(shop) == [whole], where
        found = dump_exports(shop.store_uri)
        if again != "crashed-run" and name.startswith("{custom"):
            found["sent"] = found["sent"][-1:]  # a file that lies there whole is acknowledged, then replaced
        assert found == expected, where
        assert held_leases(shop.store_uri) == 0, where
        assert not list(shop.source.rglob("*.part")), where
        shutil.rmtree(shop.root)
