"""A group import killed at any seam, and run again, ends where an undisturbed one ends; so does one that makes groups.

The kill points and ``CROSSWALK_CRASH_EVERY`` are those of ``test_crash.py``.
"""

from __future__ import annotations

import os
import shutil

import pytest

from tests.acceptance.shop import Shop
from tests.faults.crash import Seams
from tests.faults.store_dump import dump, held_leases, integrity
from tests.faults.test_crash import Trials, chosen_points, postgres_server, trials

__all__ = ["postgres_server", "trials"]

GROUP_TYPES = """
group_types:
  home:
    properties:
      home_id: {type: text, identifier: unique}
      home_city: {type: text}
      home_income: {type: currency, currency: EUR}
"""
PROPERTIES = """
properties:
  email: {type: email, identifier: unique}
  customer_id: {type: text, identifier: unique}
  home: {type: text, group_type: home}
"""
CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
goals:
  - import_groups: homes
    group_type: home
    stable_seconds: 0
    mark_done: true
    files: [{name: homes, path: /in/homes.csv}]
    row_key: [homes.id]
    identifiers: [{field: homes.id, property: home_id}]
    mappings:
      fields:
        - {field: homes.city, property: home_city}
        - {field: homes.income, property: home_income, strategy: sum}
  - import_profiles: residents
    stable_seconds: 0
    files: [{name: residents, path: /in/residents.csv}]
    row_key: [residents.email]
    identifiers: [{field: residents.email, property: email}]
    create_profiles: true
    create_missing_groups: true
    mappings: {fields: [{field: residents.home, property: home}]}
"""
HOMES = "id,city,income\n" + "".join(f"h{n},Gent,{n}\n" for n in range(12)) + ",Gent,1\nh3,Aalst,x\n"
RESIDENTS = "email,home\n" + "".join(f"r{n}@example.org,h{n}\n" for n in range(8, 20))


def lay_out(trials: Trials) -> Shop:
    shop = trials.fresh()
    (shop.root / "tenant" / "group_types.yaml").write_text(GROUP_TYPES)
    (shop.root / "tenant" / "properties.yaml").write_text(PROPERTIES)
    shop.connection(text=CONNECTION)
    return shop


@pytest.mark.timeout(900)
def test_a_killed_import_of_groups_ends_like_an_undisturbed_one(trials: Trials) -> None:
    trials.base.put("homes.csv", HOMES)
    trials.base.put("residents.csv", RESIDENTS)
    undisturbed = lay_out(trials)
    log = undisturbed.root / "seams.log"
    assert trials.run(undisturbed, Seams(log=log)) == 0
    expected, names = dump(undisturbed.store_uri), log.read_text().splitlines()
    assert (len(expected["groups"]), len(expected["group_identifiers"])) == (20, 20)
    assert len(names) > 40, "the harness lost its seams"
    # The seams of reading and computing are those of profiles, which test_crash.py kills at.
    points = chosen_points(names)
    if not os.environ.get("CROSSWALK_CRASH_EVERY"):
        points = [number for number in points if names[number - 1].startswith(("store.commit", "file."))]
    assert len(points) > 5
    for number in points:
        where = f"killed before call {number} of {len(names)}: {names[number - 1]}"
        shop = lay_out(trials)
        assert trials.run(shop, Seams(kill_at=number)) == -9, f"{where}: the kill did not fire"
        assert integrity(shop.store_uri) == "ok", where
        assert trials.run(shop) == 0, f"{where}: running again failed"
        assert dump(shop.store_uri) == expected, where
        assert held_leases(shop.store_uri) == 0, where
        shutil.rmtree(shop.root)
