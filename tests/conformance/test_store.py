"""What every store backend promises: one suite, run on a real SQLite file and a real PostgreSQL server."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
import pytest

from crosswalk.core.errors import FatalError, LeaseLostError, LeaseTakenError, RetryableError
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.store import open_store, ordering
from crosswalk.store.base import PROFILE_SCHEMA, ROW_STATE_SCHEMA, Applied, FileRecord, Lease, Moved, Store
from tests.simulators.stores import (
    apply,
    batch,
    identifier,
    matches,
    profile,
    row,
    rows,
    stored,
)


def set_aside(line: int | None, reason: str = "invalid_value", file: str | None = "/in/a.csv") -> dict[str, Any]:
    """A quarantined row."""
    return {"file": file, "line": line, "stage": "map", "scope": "value", "reason": reason, "raw": f"ligne n° {line}"}


# -- tables -------------------------------------------------------------------------------------------------------


def test_migrating_again_changes_nothing(store: Store) -> None:
    apply(store, profiles=[profile("p1")])
    store.migrate()
    assert stored(store, "p1")["p1"][0] == 1


def test_a_store_of_a_newer_release_is_refused(store: Store) -> None:
    store._db.execute("INSERT INTO schema_version (version, applied_at) VALUES (999, 0)")
    with pytest.raises(Exception, match="newer release"):
        store.migrate()


def test_a_second_store_object_sees_what_the_first_wrote(store: Store, store_uri: str) -> None:
    apply(store, profiles=[profile("p1")])
    other = open_store(store_uri)
    assert stored(other, "p1") == {"p1": (1, {"name": ["name 0"]})}
    other.close()


def test_a_closed_store_opens_again_on_use(store: Store) -> None:
    store.begin_run("run-1", "webshop", "apply", "cli", "hash")
    store.close()
    assert store.run("run-1")["state"] == "running"


# -- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_is_recorded_with_its_goals_in_the_order_they_ended(store: Store) -> None:
    store.begin_run("run-1", "webshop", "apply", "scheduled", "hash")
    store.save_goal_run("run-1", "z_first", "done", {"counts": {"rows_read": 3}, "warnings": ["é"]})
    store.save_goal_run("run-1", "a_second", "failed", {"error": {"code": "try_again"}})
    store.finish_run("run-1", "failed", "a_second failed")
    run = store.run("run-1")
    assert (run["connection"], run["mode"], run["trigger"], run["config_hash"]) == (
        "webshop",
        "apply",
        "scheduled",
        "hash",
    )
    assert (run["state"], run["error"]) == ("failed", "a_second failed")
    assert run["started_at"].endswith("Z")
    assert run["finished_at"] >= run["started_at"]
    assert run["goals"][0] == {
        "goal": "z_first",
        "state": "done",
        "result": {"counts": {"rows_read": 3}, "warnings": ["é"]},
    }
    assert [goal["goal"] for goal in run["goals"]] == ["z_first", "a_second"]


def test_goals_keep_the_order_in_which_they_ended_when_the_clock_stands_still(store: Store) -> None:
    store.begin_run("run-1", "webshop", "apply", "cli", "hash")
    store._db.tokens = {**store._db.tokens, "now": "1767225600000"}
    for goal in ("again", "z", "y", "x"):
        store.save_goal_run("run-1", goal, "running", {})
    apply(store, goal="orders")
    store.save_goal_run("run-1", "again", "done", {})
    ended = ["z", "y", "x", "orders", "again"]
    assert [goal["goal"] for goal in store.run("run-1")["goals"]] == ended
    assert [goal["goal"] for goal in store.runs()[0]["goals"]] == ended


def test_beginning_a_run_again_keeps_its_start_and_makes_it_run(store: Store) -> None:
    store.begin_run("run-1", "webshop", "apply", "scheduled", "hash")
    started = store.run("run-1")["started_at"]
    store.finish_run("run-1", "failed", "it broke")
    store.begin_run("run-1", "webshop", "apply", "scheduled", "hash")
    run = store.run("run-1")
    assert (run["started_at"], run["state"], run["finished_at"], run["error"]) == (started, "running", None, None)


def test_the_last_result_of_a_goal_wins(store: Store) -> None:
    store.begin_run("run-1", "webshop", "apply", "cli", "hash")
    store.save_goal_run("run-1", "orders", "failed", {"counts": {"rows_read": 1}})
    store.save_goal_run("run-1", "orders", "done", {"counts": {"rows_read": 2}})
    assert store.run("run-1")["goals"] == [{"goal": "orders", "state": "done", "result": {"counts": {"rows_read": 2}}}]


def test_an_unknown_run_is_none(store: Store) -> None:
    assert store.run("nobody") is None
    assert store.runs() == []


def test_runs_come_newest_first_of_one_connection_or_of_all(store: Store) -> None:
    for number in range(5):
        store.begin_run(f"run-{number}", "webshop" if number % 2 else "shop", "apply", "cli", "hash")
        store.save_goal_run(f"run-{number}", "orders", "done", {"number": number})
    assert [run["run_id"] for run in store.runs()] == ["run-4", "run-3", "run-2", "run-1", "run-0"]
    assert [run["run_id"] for run in store.runs("webshop")] == ["run-3", "run-1"]
    newest = store.runs(limit=1)
    assert [(run["run_id"], [goal["result"]["number"] for goal in run["goals"]]) for run in newest] == [("run-4", [4])]


def test_only_the_first_caller_may_send_the_mail(store: Store, store_uri: str) -> None:
    other = open_store(store_uri)
    assert [store.mark_reported("run-1"), other.mark_reported("run-1"), store.mark_reported("run-1")] == [
        True,
        False,
        False,
    ]
    assert other.mark_reported("run-2") is True
    other.close()


# -- leases -------------------------------------------------------------------------------------------------------


def test_a_lease_is_taken_again_by_its_own_run_under_the_same_number(store: Store) -> None:
    assert store.take_lease("webshop", "run-1", 60) == Lease("webshop", "run-1", 1)
    assert store.take_lease("webshop", "run-1", 60) == Lease("webshop", "run-1", 1)


def test_another_run_is_told_who_holds_the_lease_until_when(store: Store) -> None:
    store.take_lease("webshop", "run-1", 60)
    with pytest.raises(LeaseTakenError, match=r'Connection "webshop": Run "run-1" .* until 20\d\d-'):
        store.take_lease("webshop", "run-2", 60)
    assert store.take_lease("another", "run-2", 60).fencing == 1


def test_an_ended_lease_passes_on_with_a_higher_number(store: Store) -> None:
    old = store.take_lease("webshop", "run-1", 0)
    assert store.take_lease("webshop", "run-2", 60) == Lease("webshop", "run-2", 2)
    with pytest.raises(LeaseLostError, match="lost its lease"):
        store.renew_lease(old, 60)
    with pytest.raises(LeaseTakenError):
        store.take_lease("webshop", "run-1", 60)


def test_an_ended_lease_that_nobody_took_can_be_renewed(store: Store) -> None:
    lease = store.take_lease("webshop", "run-1", 0)
    store.renew_lease(lease, 60)
    with pytest.raises(LeaseTakenError):
        store.take_lease("webshop", "run-2", 60)


def test_a_released_lease_is_free_at_once_and_its_number_goes_on(store: Store) -> None:
    store.take_lease("webshop", "run-1", 60)
    store.release_lease("webshop", "run-2")  # not its own: nothing happens
    with pytest.raises(LeaseTakenError):
        store.take_lease("webshop", "run-2", 60)
    store.release_lease("webshop", "run-1")
    assert store.take_lease("webshop", "run-2", 60).fencing == 2
    store.release_lease("webshop", "run-2")
    assert store.take_lease("webshop", "run-1", 60).fencing == 3


# -- goals and files ----------------------------------------------------------------------------------------------


def test_a_goal_gets_its_number_on_first_use_and_keeps_it(store: Store) -> None:
    first = store.goal_state("webshop", "orders")
    assert (first.state_version, first.config_hash, first.last_good_run_at, first.files) == (0, None, None, {})
    assert store.goal_state("webshop", "orders").goal_id == first.goal_id
    assert store.goal_state("webshop", "returns").goal_id != first.goal_id
    assert store.goal_state("another", "orders").goal_id != first.goal_id


def test_the_ledger_of_files_commits_with_the_batch(store: Store) -> None:
    files = [
        FileRecord("/in/a.csv", 3 << 40, 1_767_225_600, "aa", 1767225601.25),
        FileRecord("/in/products.csv", 0, 0, "bb", 0.0, "products"),
    ]
    apply(store, files=files, config_hash="config-7")
    state = store.goal_state("webshop", "orders")
    assert state.files == {file.path: file for file in files}
    assert (state.state_version, state.config_hash) == (1, "config-7")


def test_a_file_that_comes_again_replaces_its_ledger_row(store: Store) -> None:
    apply(store, files=[FileRecord("/in/a.csv", 1, 1, "aa", 1.0)])
    newer = FileRecord("/in/a.csv", 2, 2, "bb", 2.0)
    apply(store, batch_id="batch-2", files=[newer, dataclasses.replace(newer, role="products")])
    assert store.goal_state("webshop", "orders").files == {"/in/a.csv": newer}


def test_noting_a_file_as_seen_moves_its_time_only_when_the_content_is_the_same(store: Store) -> None:
    apply(store, files=[FileRecord("/in/a.csv", 1, 1, "aa", 1.0)])
    goal_id = store.goal_state("webshop", "orders").goal_id
    store.note_file_seen(goal_id, FileRecord("/in/a.csv", 1, 99, "other", 99.0))
    store.note_file_seen(goal_id, FileRecord("/in/new.csv", 1, 99, "aa", 99.0))
    assert store.goal_state("webshop", "orders").files == {"/in/a.csv": FileRecord("/in/a.csv", 1, 1, "aa", 1.0)}
    seen = FileRecord("/in/a.csv", 1, 99, "aa", 99.5)
    store.note_file_seen(goal_id, seen)
    assert store.goal_state("webshop", "orders").files == {"/in/a.csv": seen}


def test_the_last_good_run_is_the_start_of_the_newest_run_that_applied(store: Store) -> None:
    for number, (mode, state) in enumerate(
        [("apply", "done"), ("apply", "nothing_new"), ("apply", "failed"), ("plan", "done")]
    ):
        store.begin_run(f"run-{number}", "webshop", mode, "cli", "hash")
        store.goal_state("webshop", "orders")
        store.save_goal_run(f"run-{number}", "orders", state, {})
    state = store.goal_state("webshop", "orders")
    assert state.last_good_run_id == "run-1"
    assert state.last_good_run_at == store.run("run-1")["started_at"]
    store.save_goal_run("run-0", "orders", "done", {})
    assert store.goal_state("webshop", "orders").last_good_run_id == "run-1"


# -- applying -----------------------------------------------------------------------------------------------------


def test_a_batch_writes_all_of_its_parts_together(store: Store) -> None:
    store.begin_run("run-1", "webshop", "apply", "cli", "hash")
    outcome = apply(
        store,
        profiles=[profile("p1", properties={"email": ["ann@example.org"], "city": ["Liège", 'a"b\\c']}), profile("p2")],
        identifiers=[identifier("p1", "ann@example.org"), identifier("p2", "7", property_id="customer_id")],
        row_state=[row(1, "p1", 11, '{"revenue": "12.5"}'), row(2, "p2"), row(3, None)],
        consent=[{"profile_id": "p1", "objective": "newsletter", "state": "granted", "file": "a.csv", "line": 2}],
        quarantine=[set_aside(4)],
        counts={"rows_read": 4},
    )
    assert outcome == Applied("batch-1")
    document = {"email": ["ann@example.org"], "city": ["Liège", 'a"b\\c']}
    assert stored(store, "p1", "p2", "p3") == {"p1": (1, document), "p2": (1, {"name": ["name 0"]})}
    assert matches(store, ("email", "ann@example.org"), ("email", "7"), ("customer_id", "7")) == [
        ("customer_id", "7", "p2"),
        ("email", "ann@example.org", "p1"),
    ]
    goal = store.goal_state("webshop", "orders")
    reader = store.row_state(goal.goal_id)
    assert reader.schema == ROW_STATE_SCHEMA
    kept = sorted(reader.read_all().to_pylist(), key=lambda line: line["row_key"])
    assert kept == [row(1, "p1", 11, '{"revenue": "12.5"}'), row(2, "p2"), row(3, None)]
    assert [line["line"] for line in store.quarantine("run-1")] == [4]
    assert store.run("run-1")["goals"][0]["result"]["counts"] == {"rows_read": 4}
    assert (goal.state_version, goal.last_good_run_id) == (1, "run-1")
    assert consents(store) == [("p1", "newsletter", "granted", "a.csv", 2)]


def consents(store: Store) -> list[tuple[str, str, str, str, int]]:
    """The consent log."""
    names = ["profile_id", "objective", "state", "file", "line"]
    schema = pa.schema([(name, pa.int64() if name == "line" else pa.string()) for name in names])
    lines = store._db.query(f"SELECT {', '.join(names)} FROM consent_log", (), schema)
    return sorted(tuple(line.values()) for line in lines)


def test_the_same_batch_twice_writes_nothing_the_second_time(store: Store) -> None:
    parts = {
        "profiles": [profile("p1")],
        "identifiers": [identifier("p1", "a")],
        "row_state": [row(1, "p1")],
        "quarantine": [set_aside(1)],
    }
    assert apply(store, **parts) == Applied("batch-1", repeated=False)
    assert apply(store, **parts) == Applied("batch-1", repeated=True)
    assert apply(store, run_id="run-2", **parts) == Applied("batch-1", repeated=True, other_run="run-1")
    assert stored(store, "p1")["p1"][0] == 1
    assert store.goal_state("webshop", "orders").state_version == 1
    assert store.quarantine("run-2") == []
    assert len(store.profile_changes("p1")) == 1


def test_a_changed_profile_moves_its_version_and_an_unchanged_one_does_not(store: Store) -> None:
    apply(store, profiles=[profile("p1"), profile("p2")])
    planned = [profile("p1", 1), profile("p2", 1, "unchanged")]
    assert apply(store, batch_id="batch-2", profiles=planned) == Applied("batch-2")
    assert stored(store, "p1", "p2") == {"p1": (2, {"name": ["name 1"]}), "p2": (1, {"name": ["name 0"]})}
    assert [entry["batch_id"] for entry in store.profile_changes("p2")] == ["batch-1"]


@pytest.mark.parametrize("outcome", ["updated", "unchanged"])
def test_a_version_that_moved_rolls_everything_back(store: Store, outcome: str) -> None:
    apply(store, profiles=[profile("p1"), profile("p2")])
    apply(store, batch_id="batch-2", connection="another", profiles=[profile("p1", 1)])
    late = apply(
        store,
        batch_id="batch-3",
        config_hash="config-9",
        profiles=[profile("p1", 1, outcome), profile("p2", 1), profile("p9")],
        identifiers=[identifier("p2", "late")],
        row_state=[row(5, "p2")],
        files=[FileRecord("/in/late.csv", 1, 1, "aa", 1.0)],
        quarantine=[set_aside(1)],
    )
    assert late == Moved({"version": 1})
    assert stored(store, "p1", "p2", "p9") == {"p1": (2, {"name": ["name 1"]}), "p2": (1, {"name": ["name 0"]})}
    state = store.goal_state("webshop", "orders")
    assert (state.state_version, state.config_hash, state.files) == (1, "config-1", {})
    assert store.row_state(state.goal_id).read_all().num_rows == 0
    assert matches(store, ("email", "late")) == []
    assert store.quarantine("run-1") == []
    again = apply(store, batch_id="batch-3", profiles=[profile("p1", 2), profile("p2", 1), profile("p9")])
    assert again == Applied("batch-3")


def test_a_profile_that_vanished_or_appeared_counts_as_moved(store: Store) -> None:
    apply(store, profiles=[profile("p1")])
    assert apply(store, batch_id="batch-2", profiles=[profile("gone", 3)]) == Moved({"version": 1})
    assert apply(store, batch_id="batch-3", profiles=[profile("p1")]) == Moved({"version": 1})
    assert stored(store, "p1", "gone") == {"p1": (1, {"name": ["name 0"]})}


def test_an_identifier_that_another_profile_owns_rolls_everything_back(store: Store) -> None:
    apply(store, profiles=[profile("p1")], identifiers=[identifier("p1", "a")])
    late = apply(
        store, batch_id="batch-2", profiles=[profile("p2")], identifiers=[identifier("p2", "b"), identifier("p2", "a")]
    )
    assert late == Moved({"identifier": 1})
    assert stored(store, "p2") == {}
    assert matches(store, ("email", "a"), ("email", "b")) == [("email", "a", "p1")]


def test_an_identifier_passes_from_one_profile_to_another_within_a_batch(store: Store) -> None:
    apply(store, profiles=[profile("p1"), profile("p2")], identifiers=[identifier("p1", "a"), identifier("p2", "b")])
    planned = [identifier("p2", "a"), identifier("p1", "b")]
    planned += [identifier("p1", "a", "remove"), identifier("p2", "b", "remove")]
    assert apply(store, batch_id="batch-2", identifiers=planned) == Applied("batch-2")
    assert matches(store, ("email", "a"), ("email", "b")) == [("email", "a", "p2"), ("email", "b", "p1")]


def test_only_the_owner_can_remove_an_identifier(store: Store) -> None:
    apply(store, profiles=[profile("p1")], identifiers=[identifier("p1", "a")])
    apply(store, batch_id="batch-2", identifiers=[identifier("p2", "a", "remove")])
    assert matches(store, ("email", "a")) == [("email", "a", "p1")]


def test_adding_an_identifier_that_the_profile_has_already_is_harmless(store: Store) -> None:
    apply(store, profiles=[profile("p1")], identifiers=[identifier("p1", "a")])
    again = apply(store, batch_id="batch-2", identifiers=[identifier("p1", "a"), identifier("p1", "b")])
    assert again == Applied("batch-2")
    assert matches(store, ("email", "a"), ("email", "b")) == [("email", "a", "p1"), ("email", "b", "p1")]


def test_a_plan_that_gives_one_value_to_two_profiles_is_fatal(store: Store) -> None:
    with pytest.raises(FatalError) as caught:
        apply(
            store, profiles=[profile("p1"), profile("p2")], identifiers=[identifier("p1", "a"), identifier("p2", "a")]
        )
    assert caught.value.code == "store_repeated_key"
    assert stored(store, "p1") == {}


def test_a_plan_that_lists_a_profile_twice_writes_nothing(store: Store) -> None:
    with pytest.raises(FatalError) as caught:
        apply(store, profiles=[profile("p1"), profile("p1")])
    assert caught.value.code == "store_repeated_key"
    assert stored(store, "p1") == {}
    assert store.goal_state("webshop", "orders").state_version == 0


def test_a_goal_that_moved_since_link_rolls_everything_back(store: Store) -> None:
    apply(store, profiles=[profile("p1")])
    assert apply(store, batch_id="batch-2", state_version=0, profiles=[profile("p2")]) == Moved({"goal_state": 1})
    assert stored(store, "p2") == {}


def test_row_state_is_replaced_by_key_and_kept_apart_by_goal(store: Store) -> None:
    apply(store, row_state=[row(1, "p1", 1, '{"revenue": "1"}'), row(2, "p2", 1)])
    apply(store, batch_id="batch-2", row_state=[row(1, "p3", 2)])
    apply(store, batch_id="batch-3", goal="returns", row_state=[row(1, "p4", 9)])
    state = store.goal_state("webshop", "orders")
    kept = sorted(store.row_state(state.goal_id).read_all().to_pylist(), key=lambda line: line["row_key"])
    assert kept == [row(1, "p3", 2), row(2, "p2", 1)]


def test_a_batch_without_the_lease_is_refused(store: Store) -> None:
    old = store.take_lease("webshop", "run-1", 0)
    store.take_lease("webshop", "run-2", 60)
    state = store.goal_state("webshop", "orders")
    with pytest.raises(LeaseLostError):
        store.apply(batch(old, state.goal_id, 0, profiles=[profile("p1")]))
    forged = dataclasses.replace(old, fencing=2)
    with pytest.raises(LeaseLostError):
        store.apply(batch(forged, state.goal_id, 0, profiles=[profile("p1")]))
    assert stored(store, "p1") == {}


def test_a_repeated_batch_without_the_lease_is_refused_too(store: Store) -> None:
    old = store.take_lease("webshop", "run-1", 0)
    state = store.goal_state("webshop", "orders")
    apply(store, run_id="run-2", profiles=[profile("p1")])
    with pytest.raises(LeaseLostError):
        store.apply(batch(old, state.goal_id, 0, profiles=[profile("p1")]))


def test_applying_prolongs_the_lease_by_its_own_term(store: Store) -> None:
    lease = store.take_lease("webshop", "run-1", 60)
    store._db.execute("UPDATE lease SET expires_at = 0")  # the lease ran out during a long write, nobody took it
    state = store.goal_state("webshop", "orders")
    assert store.apply(batch(lease, state.goal_id, 0)) == Applied("batch-1")
    with pytest.raises(LeaseTakenError):
        store.take_lease("webshop", "run-2", 60)


def test_a_reader_that_breaks_in_the_middle_leaves_nothing_behind(store: Store) -> None:
    lease = store.take_lease("webshop", "run-1", 60)
    state = store.goal_state("webshop", "orders")
    good = batch(lease, state.goal_id, 0, profiles=[profile("p1")], row_state=[row(1, "p1")])

    def broken() -> pa.RecordBatchReader:
        def batches() -> Any:
            yield from good.row_state()
            raise OSError("the staged file vanished")

        return pa.RecordBatchReader.from_batches(ROW_STATE_SCHEMA, batches())

    with pytest.raises(OSError, match="vanished"):
        store.apply(dataclasses.replace(good, row_state=broken))
    assert stored(store, "p1") == {}
    assert store.apply(good) == Applied("batch-1")


@pytest.mark.parametrize("where", ["profiles", "identifiers", "quarantine"])
def test_a_nul_character_is_a_clear_error_and_writes_nothing(store: Store, where: str) -> None:
    parts: dict[str, Any] = {
        "profiles": [profile("p1"), {**profile("p2"), "properties": '{"name": ["a\x00b"]}'}],
        "identifiers": [identifier("p1", "ann\x00@example.org")],
        "quarantine": [{**set_aside(1), "raw": "\x00"}],
    }
    with pytest.raises(FatalError, match="NUL") as caught:
        apply(store, **{"profiles": [profile("p1")], where: parts[where]})
    assert caught.value.code == "nul_character"
    assert "ann" not in str(caught.value)
    assert stored(store, "p1", "p2") == {}


def test_a_nul_in_a_look_up_is_a_clear_error_too(store: Store) -> None:
    with pytest.raises(FatalError, match="NUL"):
        matches(store, ("email", "a\x00b"))


@pytest.mark.parametrize("piece_bytes", [ordering.PIECE_BYTES, 50_000])
def test_thousands_of_rows_in_many_pieces_arrive_whole(
    store: Store, piece_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "PIECE_BYTES", piece_bytes)
    count = 5_000
    ids = [f"p{number:05d}" for number in range(count)]
    apply(
        store,
        profiles=[profile(profile_id, properties={"n": [profile_id]}) for profile_id in ids],
        identifiers=[identifier(profile_id, f"{profile_id}@example.org") for profile_id in ids],
        row_state=[row(number, profile_id) for number, profile_id in enumerate(ids)],
    )
    planned = [profile(profile_id, 1, ("updated", "unchanged")[number % 2]) for number, profile_id in enumerate(ids)]
    planned += [profile(f"q{number}") for number in range(2_500)]
    assert apply(store, batch_id="batch-2", profiles=planned) == Applied("batch-2")
    found = stored(store, *ids, *(f"q{number}" for number in range(2_500)))
    assert len(found) == 7_500
    assert sum(version for version, _ in found.values()) == 2_500 * 2 + 2_500 + 2_500
    assert found["p00001"] == (1, {"n": ["p00001"]})
    assert len(matches(store, *[("email", f"{profile_id}@example.org") for profile_id in ids])) == count
    assert store.unique_profiles("webshop") == {"in": count, "out": 0}


# -- reading ------------------------------------------------------------------------------------------------------


def test_bulk_reads_of_nothing_have_the_right_types(store: Store) -> None:
    assert store.row_state(1).read_all().schema == ROW_STATE_SCHEMA
    wanted = rows(pa.schema([("profile_id", pa.string())]), [])()
    table = store.read_profiles(wanted).read_all()
    assert (table.schema, table.num_rows) == (PROFILE_SCHEMA, 0)
    assert matches(store) == []


def test_columns_that_are_empty_in_the_first_thousand_rows_keep_their_type(store: Store) -> None:
    states = [row(number, None) for number in range(3_000)] + [row(9_999, "p1", 0, '{"revenue": "2.5"}')]
    apply(store, row_state=states)
    goal_id = store.goal_state("webshop", "orders").goal_id
    table = store.row_state(goal_id).read_all()
    assert [line["amounts"] for line in table.to_pylist() if line["amounts"]] == ['{"revenue": "2.5"}']
    assert table.num_rows == 3_001


def test_numbers_and_documents_come_back_as_the_same_text(store: Store) -> None:
    document = {"a": ["2.5", "007", "1e5", "", "null", "true"], "b": [], "€": ["\U0001f600", "line\nbreak"]}
    apply(store, profiles=[profile("p1", properties=document)], identifiers=[identifier("p1", "007")])
    assert stored(store, "p1")["p1"][1] == document
    assert matches(store, ("email", "007"), ("email", "7")) == [("email", "007", "p1")]


def test_other_calls_may_happen_while_a_bulk_read_is_open(store: Store) -> None:
    apply(store, row_state=[row(number, "p1") for number in range(50_000)])
    goal_id = store.goal_state("webshop", "orders").goal_id
    reader = store.row_state(goal_id)
    first = reader.read_next_batch()
    assert apply(store, batch_id="batch-2", row_state=[row(1, "p2", 7)]) == Applied("batch-2")
    second = store.row_state(goal_id).read_all()
    rest = reader.read_all()
    assert first.num_rows + rest.num_rows == second.num_rows == 50_000


def test_a_bulk_read_that_is_left_half_way_does_not_block_the_store(store: Store) -> None:
    apply(store, row_state=[row(number, "p1") for number in range(50_000)])
    reader = store.row_state(store.goal_state("webshop", "orders").goal_id)
    reader.read_next_batch()
    store.close()
    assert apply(store, batch_id="batch-2", profiles=[profile("p1")]) == Applied("batch-2")


def test_a_replaced_profile_is_not_read_as_a_living_one(store: Store) -> None:
    apply(store, profiles=[profile("p1"), profile("p2")], identifiers=[identifier("p1", "a")])
    store._db.execute("UPDATE profile SET replaced_by = 'p2' WHERE profile_id = 'p1'")
    assert list(stored(store, "p1", "p2")) == ["p2"]
    assert store.find_profile("email", "a") is None
    assert apply(store, batch_id="batch-2", profiles=[profile("p1", 1)]) == Moved({"version": 1})


def test_a_profile_is_found_by_an_identifier(store: Store) -> None:
    apply(store, profiles=[profile("p1", properties={"email": ["a"]})], identifiers=[identifier("p1", "a")])
    found = store.find_profile("email", "a")
    assert (found["profile_id"], found["version"], found["properties"]) == ("p1", 1, {"email": ["a"]})
    assert (found["permission_level"], found["legislation"], found["domain_group"]) == (2, "NONE", "DEFAULT")
    assert found["created_at"] == found["modified_at"]
    assert store.find_profile("email", "b") is None
    assert store.find_profile("email", "a' OR '1'='1") is None


def test_the_history_of_a_profile_names_run_goal_and_place(store: Store) -> None:
    apply(store, profiles=[profile("p1", properties={"city": ["Gent"]})])
    apply(store, batch_id="batch-2", run_id="run-2", goal="returns", profiles=[profile("p1", 1)])
    newest, oldest = store.profile_changes("p1")
    assert (newest["run_id"], newest["goal"], newest["kind"], newest["version"]) == ("run-2", "returns", "updated", 2)
    assert (oldest["run_id"], oldest["goal"], oldest["kind"], oldest["version"]) == ("run-1", "orders", "created", 1)
    assert oldest["changes"] == {"city": {"before": None, "after": ["Gent"], "file": "a.csv", "line": 2}}
    assert len(store.profile_changes("p1", limit=1)) == 1
    assert store.profile_changes("nobody") == []


def test_quarantine_comes_in_order_of_file_and_line_and_a_repeat_replaces_it(store: Store) -> None:
    lines = [set_aside(10), set_aside(9), set_aside(None, file=None), set_aside(1, file="/in/B.csv"), set_aside(None)]
    store.save_quarantine("run-1", "orders", rows(QUARANTINE_SCHEMA, [set_aside(77)])())
    store.save_quarantine("run-1", "orders", rows(QUARANTINE_SCHEMA, lines)())
    store.save_quarantine("run-1", "returns", rows(QUARANTINE_SCHEMA, [set_aside(5)])())
    found = store.quarantine("run-1")
    assert [(line["file"], line["line"]) for line in found] == [
        (None, None),
        ("/in/B.csv", 1),
        ("/in/a.csv", None),
        ("/in/a.csv", 5),
        ("/in/a.csv", 9),
        ("/in/a.csv", 10),
    ]
    assert set(found[0]) == {*QUARANTINE_SCHEMA.names, "goal", "replayed_by"}
    assert found[3]["goal"] == "returns"
    assert found[5]["raw"] == "ligne n° 10"
    assert len(store.quarantine("run-1", limit=2)) == 2
    assert store.quarantine("run-2") == []


def test_unique_profiles_are_counted_once_over_the_goals_of_a_connection(store: Store) -> None:
    apply(store, row_state=[row(1, "p1"), row(2, "p1"), row(3, None), row(4, "p2")])
    apply(store, batch_id="batch-2", goal="returns", row_state=[row(1, "p2"), row(2, "p3")])
    apply(store, batch_id="batch-3", connection="another", row_state=[row(1, "p9")])
    assert store.unique_profiles("webshop") == {"in": 3, "out": 0}
    assert store.unique_profiles("nobody") == {"in": 0, "out": 0}


def test_purging_removes_old_history_but_never_what_makes_a_repeat_harmless(store: Store) -> None:
    store.begin_run("run-1", "webshop", "apply", "cli", "hash")
    parts: dict[str, Any] = {"profiles": [profile("p1")], "row_state": [row(1, "p1")], "quarantine": [set_aside(1)]}
    apply(store, **parts)
    store.finish_run("run-1", "done")
    assert set(store.purge(30).values()) == {0}
    for table, column in (("run", "finished_at"), ("batch", "applied_at")):
        store._db.execute(f"UPDATE {table} SET {column} = {column} - 31 * CAST(86400000 AS BIGINT)")
    assert store.purge(30) == {
        "event": 0,
        "change_log": 1,
        "event_log": 0,
        "purchase_log": 0,
        "product_log": 0,
        "row_log": 0,
        "quarantine": 1,
        "goal_run": 1,
        "report_claim": 0,
        "run": 1,
    }
    assert [batch.is_logged for batch in store.applied_batches("run-1")] == [False]
    assert store.profile_changes("p1") == []
    assert store.quarantine("run-1") == []
    assert store.runs() == []
    assert apply(store, **parts) == Applied("batch-1", repeated=True)
    assert stored(store, "p1")["p1"][0] == 1


# -- waiting ------------------------------------------------------------------------------------------------------


def test_a_store_that_stays_locked_is_an_error_to_try_again(store: Store, store_uri: str) -> None:
    impatient = open_store(store_uri, wait_seconds=1)
    impatient.take_lease("webshop", "run-1", 60)
    state = impatient.goal_state("webshop", "orders")
    store._db.begin()
    store._db.serialise()
    with pytest.raises(RetryableError, match="locked") as caught:
        impatient.apply(batch(Lease("webshop", "run-1", 1), state.goal_id, 0, profiles=[profile("p1")]))
    assert caught.value.code == "store_locked"
    store._db.rollback()
    assert apply(impatient, profiles=[profile("p1")]) == Applied("batch-1")
    impatient.close()


def test_a_busy_connection_is_told_at_once_while_another_run_is_in_the_middle_of_writing(
    store: Store, store_uri: str
) -> None:
    store.take_lease("webshop", "run-1", 60)
    other = open_store(store_uri, wait_seconds=30)
    store._db.begin()
    store._db.serialise()
    with pytest.raises(LeaseTakenError):
        other.take_lease("webshop", "run-2", 60)
    store._db.rollback()
    other.close()
