"""What every store promises to exports: the outbox, the cursor in the change log, the exchange counts."""

from __future__ import annotations

from typing import Any

import pytest

from crosswalk.core.errors import LeaseLostError
from crosswalk.store.base import Lease, Store
from crosswalk.store.export_base import PROFILE_ID_SCHEMA, Cursor, Export, OutboxFile, Position
from tests.simulators.stores import apply, profile, rows

FILE = OutboxFile("/out/a.csv", 12, "ab" * 32)


def lease_of(store: Store, run_id: str = "run-1") -> Lease:
    store.begin_run(run_id, "webshop", "apply", "cli", "hash")
    return store.take_lease("webshop", run_id, 60)


def planned(store: Store, lease: Lease, *ids: str, batch_no: int = 1) -> int:
    goal_id = store.goal_state("webshop", "mail").goal_id
    export = Export(lease.run_id, goal_id, Cursor(Position(batch_no, 5), "config"), {"exported": len(ids)}, [FILE])
    return store.plan_export(export, rows(PROFILE_ID_SCHEMA, [{"profile_id": key} for key in ids]), lease)


def entries(store: Store) -> list[tuple[int, str]]:
    goal_id = store.goal_state("webshop", "mail").goal_id
    return [(entry.outbox_no, entry.state) for entry in store.outbox(goal_id)]


def sent(store: Store, number: int, lease: Lease) -> None:
    goal_id = store.goal_state("webshop", "mail").goal_id
    (entry,) = [entry for entry in store.outbox(goal_id) if entry.outbox_no == number]
    store.acknowledge(entry, "mail", lease)


def known(store: Store) -> set[str]:
    goal_id = store.goal_state("webshop", "mail").goal_id
    return {line["profile_id"] for line in store.exported_ids(goal_id).read_all().to_pylist()}


def changed(store: Store, since: Position | None) -> dict[str, int]:
    return {line["profile_id"]: line["changed"] for line in store.stored_profiles(since).read_all().to_pylist()}


def test_an_export_counts_only_when_it_is_acknowledged_and_then_all_of_it_at_once(store: Store) -> None:
    lease = lease_of(store)
    number = planned(store, lease, "p1", "p2")
    goal_id = store.goal_state("webshop", "mail").goal_id
    assert entries(store) == [(number, "planned")]
    store.begin_sending(number, lease)
    assert entries(store) == [(number, "sending")]
    assert (store.export_cursor(goal_id), store.unique_profiles("webshop")["out"]) == (None, 0)
    sent(store, number, lease)
    assert entries(store) == [(number, "sent")]
    assert store.export_cursor(goal_id) == Cursor(Position(1, 5), "config")
    assert store.unique_profiles("webshop") == {"in": 0, "out": 2}
    goal: dict[str, Any] = (store.run("run-1") or {})["goals"][0]
    assert (goal["goal"], goal["state"], goal["result"]["counts"]) == ("mail", "done", {"exported": 2})
    assert store.goal_state("webshop", "mail").last_good_run_id == "run-1"


def test_what_is_written_down_is_what_comes_back(store: Store) -> None:
    lease = lease_of(store)
    planned(store, lease, "p1")
    (entry,) = store.outbox(store.goal_state("webshop", "mail").goal_id)
    assert entry.export.files == [FILE]
    assert (entry.export.run_id, entry.export.counts) == ("run-1", {"exported": 1})
    assert entry.export.cursor == Cursor(Position(1, 5), "config")


def test_a_failed_export_takes_its_profiles_back_and_an_unknown_one_does_not(store: Store) -> None:
    lease = lease_of(store)
    sent(store, planned(store, lease, "p1"), lease)
    failed, unknown = planned(store, lease, "p2"), planned(store, lease, "p3")
    store.give_up(failed, "failed")
    store.give_up(unknown, "unknown")
    assert known(store) == {"p1", "p3"}
    assert [state for _, state in entries(store)] == ["sent", "unknown"]
    assert store.unique_profiles("webshop")["out"] == 1


def test_a_profile_is_counted_for_the_export_that_sent_it_first(store: Store) -> None:
    lease = lease_of(store)
    sent(store, planned(store, lease, "p1", "p2"), lease)
    again = planned(store, lease, "p2", "p3")
    assert store.unique_profiles("webshop")["out"] == 2
    store.give_up(again, "failed")
    assert known(store) == {"p1", "p2"}


@pytest.mark.parametrize("call", ["plan", "begin", "acknowledge", "move"])
def test_a_run_that_was_overtaken_writes_nothing(store: Store, call: str) -> None:
    old = lease_of(store)
    number = planned(store, old, "p1")
    before = entries(store)
    store.release_lease("webshop", "run-1")
    lease_of(store, "run-2")
    goal_id = store.goal_state("webshop", "mail").goal_id
    calls = {
        "plan": lambda: planned(store, old, "p2"),
        "begin": lambda: store.begin_sending(number, old),
        "acknowledge": lambda: sent(store, number, old),
        "move": lambda: store.move_cursor(goal_id, Cursor(Position(9, 9), "config"), old),
    }
    with pytest.raises(LeaseLostError):
        calls[call]()
    assert (entries(store), store.export_cursor(goal_id), known(store)) == (before, None, {"p1"})


def test_another_runs_export_is_acknowledged_without_touching_its_history(store: Store) -> None:
    number = planned(store, lease_of(store), "p1")
    store.release_lease("webshop", "run-1")
    sent(store, number, lease_of(store, "run-2"))
    assert store.unique_profiles("webshop")["out"] == 1
    assert [(store.run(run) or {})["goals"] for run in ("run-1", "run-2")] == [[], []]


def test_profiles_count_as_changed_from_a_position_on(store: Store) -> None:
    start = store.position()
    assert start.batch_no == 0
    apply(store, profiles=[profile("p1"), profile("p2")])
    middle = store.position()
    apply(store, batch_id="batch-2", profiles=[profile("p2", 1), profile("p3")])
    assert changed(store, None) == {"p1": 1, "p2": 1, "p3": 1}
    assert changed(store, start) == {"p1": 1, "p2": 1, "p3": 1}
    assert changed(store, middle)["p1"] == 0
    assert {key for key, value in changed(store, middle).items() if value} == {"p2", "p3"}
    assert set(changed(store, store.position()).values()) == {0}


def test_a_change_whose_history_was_purged_still_counts(store: Store) -> None:
    apply(store, profiles=[profile("p1")])
    position = store.position()
    apply(store, batch_id="batch-2", profiles=[profile("p1", 1), profile("p2")])
    store._db.execute("UPDATE profile SET modified_at = modified_at + 5000 WHERE profile_id = 'p1'")
    store._db.execute("DELETE FROM change_log")
    assert changed(store, position)["p1"] == 1


def test_a_profile_that_was_merged_away_is_not_streamed(store: Store) -> None:
    apply(store, profiles=[profile("p1"), profile("p2")])
    store._db.execute("UPDATE profile SET replaced_by = 'p1' WHERE profile_id = 'p2'")
    assert set(changed(store, None)) == {"p1"}


def test_the_cursor_moves_where_there_was_nothing_to_send(store: Store) -> None:
    lease = lease_of(store)
    goal_id = store.goal_state("webshop", "mail").goal_id
    for number in (3, 4):
        store.move_cursor(goal_id, Cursor(Position(number, 7), "config"), lease)
        assert store.export_cursor(goal_id) == Cursor(Position(number, 7), "config")
