"""The campaign must be able to fail: faults are planted in the product one by one, and each must be noticed.

Every check passes on the product as it is, and the same check fails with its fault switched on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crosswalk.config import strict_yaml
from crosswalk.config.loader import load_connection
from crosswalk.core import staging
from crosswalk.core.errors import ConfigError, CrosswalkError, LeaseLostError, RetryableError
from crosswalk.core.redaction import Secret
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.steps import STEPS
from crosswalk.steps.apply import _commit
from crosswalk.steps.context import open_run
from crosswalk.store import collection, sql_store
from crosswalk.store.base import Moved
from tests.acceptance.shop import Shop
from tests.simulators.folder_connector import FolderConnector

GOAL = """
    row_key: [people.id]
    mark_done: true
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
    mappings:
      fields:
        - {field: people.city, property: city}
        - {field: people.n, property: visits, strategy: sum}
"""
ROWS = "id,email,city,n\n1,ann@example.org,Gent,2\n2,bob@example.org,Gent,3\n"
TO_PLAN = ("authenticate", "scan", "join", "process", "link", "map")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    uri = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("CROSSWALK_STORE", uri)
    monkeypatch.setenv("CROSSWALK_STAGING", str(tmp_path / "staging"))
    made = Shop(tmp_path, uri)
    monkeypatch.setattr("crosswalk.connectors.create", lambda kind, details: FolderConnector(made.source))
    made.connection(GOAL)
    made.put("people.csv", ROWS)
    return made


@contextmanager
def planned(shop: Shop, run_id: str) -> Iterator[Any]:
    """A run that has come as far as its plan."""
    with open_run(shop.request(run_id=run_id), resolve=shop.resolve) as context:
        for step in TO_PLAN:
            assert STEPS[step](context, None if step == "authenticate" else "people").state is None
        yield context


def a_zombie_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with planned(shop, "zombie") as context:
        store, folder = context.store, context.goal_folder(context.goal("people"))
        lease = store.take_lease("shop", "zombie", 60)
        store.release_lease("shop", "zombie")
        store.take_lease("shop", "newer", 60)
        try:
            outcome: object = _commit(context, folder, lease)
        except LeaseLostError:
            outcome = "refused"
    assert outcome == "refused"
    assert shop.values("ann@example.org") is None


def a_half_written_file_never_has_its_final_name(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    target = shop.root / "rows.parquet"
    with staging.durable(target) as temporary:
        temporary.write_bytes(b"half")
        assert not target.exists()
    assert target.read_bytes() == b"half"


def a_full_run_adds_no_sum_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.connection(GOAL.replace("mark_done: true", "mark_done: false"))
    assert shop.run()["state"] == "done"
    assert shop.run(full=True)["state"] == "done"
    assert shop.values("ann@example.org")["visits"] == ["2"]


def nobody_overwrites_what_they_did_not_see(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shop.run()["state"] == "done"
    shop.put("people.csv", ROWS.replace("Gent,2", "Aalst,5"))
    with planned(shop, "slow") as context:
        store = context.store
        (row,) = store._db.query(
            "UPDATE profile SET version = version + 1 WHERE profile_id = $1 RETURNING version",
            (shop.profile("email", "ann@example.org")["profile_id"],),
            pa.schema([("version", pa.int64())]),
        )
        assert row["version"] > 1
        lease = store.take_lease("shop", "slow", 60)
        outcome = _commit(context, context.goal_folder(context.goal("people")), lease)
    assert isinstance(outcome, Moved)
    assert shop.values("ann@example.org")["city"] == ["Gent"]


def every_record_ends_in_a_bucket(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put("people.csv", ROWS + "too,few\n")
    run = shop.run()
    assert run["state"] == "done_with_rejects"
    assert [reject["line"] for reject in shop.rejects(run)] == [4]


def a_key_given_twice_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shop.root / "connections" / "shop.yaml"
    path.write_text(path.read_text().replace("title: Shop", "title: Shop\ntitle: Other"))
    refused = False
    try:
        load_connection(path)
    except ConfigError:
        refused = True
    assert refused


def no_secret_reaches_a_message(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret("correct horse battery")
    assert "horse" not in f"{secret}" + str(CrosswalkError(f"login with {secret} refused"))


def a_file_keeps_its_name_until_its_rows_are_in_the_store(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, batch: object) -> None:
        raise RetryableError("The store is locked.")

    with monkeypatch.context() as patch:
        patch.setattr(sql_store.SqlStore, "apply", refuse)
        assert shop.run()["state"] == "failed"
    assert [path.name for path in (shop.source / "in").iterdir()] == ["people.csv"]


def a_guard_holds_the_goal(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.connection(GOAL, head="guards: {max_created: 1}")
    assert shop.run()["state"] == "held"
    assert shop.values("ann@example.org") is None


def plant_unchecked_lease(patch: pytest.MonkeyPatch) -> None:
    for name in ("_check_lease", "_confirm_lease"):
        patch.setattr(sql_store.SqlStore, name, lambda self, lease: None)


def plant_write_in_place(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def careless(path: Path) -> Iterator[Path]:
        path.touch()
        yield path

    patch.setattr(staging, "durable", careless)


def plant_forgotten_amounts(patch: pytest.MonkeyPatch) -> None:
    from crosswalk.steps import link

    real = link._read_row_state

    def forget(context: Any, session: Any, folder: Any, goal_id: int, *, fresh: bool) -> None:
        real(context, session, folder, goal_id, fresh=True)

    patch.setattr(link, "_read_row_state", forget)


def plant_unchecked_versions(patch: pytest.MonkeyPatch) -> None:
    update = collection.UPDATE_PROFILE
    careless = replace(update, sql=update.sql.replace(" AND profile.version = {version}", ""))
    patch.setitem(collection.COLLECTIONS, "profile", replace(collection.PROFILE, update=careless))


def plant_dropped_rejects(patch: pytest.MonkeyPatch) -> None:
    from crosswalk.steps import join

    real = join.stage_file

    def drop(session: Any, local: Any, form: Any, *, quarantine: Path, **named: Any) -> Any:
        staged = real(session, local, form, quarantine=quarantine, **named)
        pq.write_table(QUARANTINE_SCHEMA.empty_table(), quarantine)
        return staged

    patch.setattr(join, "stage_file", drop)


def plant_accepted_duplicates(patch: pytest.MonkeyPatch) -> None:
    reader = next(item for item in vars(strict_yaml).values() if hasattr(item, "_refuse"))
    real = reader._refuse

    def lenient(self: Any, code: str, *arguments: Any, **named: Any) -> Any:
        return None if code == "duplicate_key" else real(self, code, *arguments, **named)

    patch.setattr(reader, "_refuse", lenient)


def plant_talkative_secret(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Secret, "__str__", lambda self: self.reveal())
    patch.setattr(Secret, "__format__", lambda self, spec: self.reveal())


def plant_done_before_commit(patch: pytest.MonkeyPatch) -> None:
    from crosswalk.steps import pipeline

    patch.setattr(pipeline, "steps_of", lambda connection, goal: (*goal.steps[:-2], "finish", "apply"))


def plant_sleeping_guard(patch: pytest.MonkeyPatch) -> None:
    from crosswalk.steps import map as map_step

    patch.setattr(map_step, "tripped_guards", lambda *arguments: [])


@dataclass(frozen=True)
class Fault:
    plant: Callable[[pytest.MonkeyPatch], None]
    check: Callable[[Shop, pytest.MonkeyPatch], None]


FAULTS = {
    "lease unchecked": Fault(plant_unchecked_lease, a_zombie_is_refused),
    "no temporary name": Fault(plant_write_in_place, a_half_written_file_never_has_its_final_name),
    "sum without what it added before": Fault(plant_forgotten_amounts, a_full_run_adds_no_sum_again),
    "versions unchecked": Fault(plant_unchecked_versions, nobody_overwrites_what_they_did_not_see),
    "rejects dropped": Fault(plant_dropped_rejects, every_record_ends_in_a_bucket),
    "duplicate YAML key accepted": Fault(plant_accepted_duplicates, a_key_given_twice_is_refused),
    "secret in an exception": Fault(plant_talkative_secret, no_secret_reaches_a_message),
    "done before commit": Fault(plant_done_before_commit, a_file_keeps_its_name_until_its_rows_are_in_the_store),
    "guard asleep": Fault(plant_sleeping_guard, a_guard_holds_the_goal),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_product_passes_the_check(name: str, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name].check(shop, monkeypatch)


@pytest.mark.parametrize("name", FAULTS)
def test_the_planted_fault_is_caught(name: str, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name].plant(monkeypatch)
    with pytest.raises(AssertionError):
        FAULTS[name].check(shop, monkeypatch)
