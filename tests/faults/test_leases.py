"""Two runs at once, and runs that sleep past the end of their lease: one writes, the others are told so.

Trials E1 and E2 of the fault campaign, in processes of their own, on both stores. ``CROSSWALK_TEST_SEED`` gives a seed
back.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

from crosswalk.core.errors import CrosswalkError, LeaseLostError, LeaseTakenError, RetryableError
from crosswalk.store import open_store
from crosswalk.store.base import ROW_STATE_SCHEMA, Applied, Store
from tests.simulators.stores import batch, profile, row, stored

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.simulators.stores"])
SEED = int(os.environ.get("CROSSWALK_TEST_SEED", "20261122"))
DOUBLE_RUNS, ZOMBIES, CONTENDERS = 20, 10, 8
WAIT = 60


@contextmanager
def started(*processes: Any) -> Iterator[None]:
    """Run processes for the time of a block, and end those that are left."""
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.join(0.1)
            if process.is_alive():
                process.kill()  # ends a stopped one too
            process.join(WAIT)


def open_in_child(uri: str) -> Store:
    """The store; the children's own server keeps an environment of its own."""
    os.environ["CROSSWALK_ALLOW_UNSAFE_STORE"] = "1"
    return open_store(uri, wait_seconds=30)


def collect(queue: Any, count: int) -> list[Any]:
    """So many answers of the processes."""
    return [queue.get(timeout=WAIT) for _ in range(count)]


# -- E1: simultaneous runs ----------------------------------------------------------------------------------------


def contend(uri: str, number: int, plan: list[dict[int, float]], barrier: Any, answers: Any) -> None:
    """In each round of the plan that names this process: wait the offset, take the lease, apply a batch."""
    store = open_in_child(uri)
    store.begin_run(f"warm-{number}", "warm", "apply", "test", "")
    for turn, offsets in enumerate(plan):
        barrier.wait(WAIT)
        if number in offsets:
            time.sleep(offsets[number])
            answers.put((turn, *try_to_write(store, f"connection-{turn}", f"run-{number}")))
        barrier.wait(WAIT)
    store.close()


def try_to_write(store: Store, connection: str, run_id: str) -> tuple[str, float, str]:
    """What a run does at *scan* and at *apply*; how it ended, after how many seconds, and the message."""
    begun = time.monotonic()
    try:
        lease = store.take_lease(connection, run_id, 60)
        state = store.goal_state(connection, "orders")
        planned = [profile(f"{connection}-{run_id}")]
        outcome = store.apply(
            batch(lease, state.goal_id, state.state_version, batch_id=run_id + connection, profiles=planned)
        )
        return type(outcome).__name__, time.monotonic() - begun, ""
    except LeaseTakenError as error:
        return "busy", time.monotonic() - begun, str(error)


def test_of_simultaneous_runs_of_one_connection_exactly_one_writes(store: Store, store_uri: str) -> None:
    chance = random.Random(SEED)
    plan = [
        {number: chance.uniform(0, 0.03) for number in chance.sample(range(CONTENDERS), chance.randint(2, CONTENDERS))}
        for _ in range(DOUBLE_RUNS)
    ]
    barrier, answers = PROCESSES.Barrier(CONTENDERS), PROCESSES.Queue()
    processes = [
        PROCESSES.Process(target=contend, args=(store_uri, number, plan, barrier, answers))
        for number in range(CONTENDERS)
    ]
    with started(*processes):
        told = collect(answers, sum(len(offsets) for offsets in plan))
    for turn, offsets in enumerate(plan):
        mine = [answer[1:] for answer in told if answer[0] == turn]
        ends = sorted(end for end, _, _ in mine)
        assert ends == ["Applied"] + ["busy"] * (len(offsets) - 1), f"round {turn}, seed {SEED}"
        for end, seconds, message in mine:
            assert end == "Applied" or seconds < 5, f"round {turn}, seed {SEED}"
            assert end == "Applied" or ('Run "run-' in message and f'"connection-{turn}"' in message)
        written = stored(store, *(f"connection-{turn}-run-{number}" for number in range(CONTENDERS)))
        assert len(written) == 1, f"round {turn}, seed {SEED}"
        assert store.goal_state(f"connection-{turn}", "orders").state_version == 1


def grab(uri: str, number: int, barrier: Any, answers: Any) -> None:
    """Take one lease together with all others."""
    store = open_in_child(uri)
    store.run("warm")
    barrier.wait(WAIT)
    try:
        answers.put(store.take_lease("webshop", f"run-{number}", 60).fencing)
    except LeaseTakenError:
        answers.put("busy")
    store.close()


def test_of_twenty_processes_that_take_a_lease_at_once_one_gets_it(store: Store, store_uri: str) -> None:
    barrier, answers = PROCESSES.Barrier(20), PROCESSES.Queue()
    processes = [PROCESSES.Process(target=grab, args=(store_uri, number, barrier, answers)) for number in range(20)]
    with started(*processes):
        told = collect(answers, 20)
    assert sorted(map(str, told)) == ["1"] + ["busy"] * 19


def test_processes_that_make_the_tables_at_once_do_not_disturb_each_other(store_uri: str) -> None:
    barrier, answers = PROCESSES.Barrier(6), PROCESSES.Queue()
    processes = [PROCESSES.Process(target=make_tables, args=(store_uri, barrier, answers)) for _ in range(6)]
    with started(*processes):
        assert collect(answers, 6) == ["made"] * 6


def make_tables(uri: str, barrier: Any, answers: Any) -> None:
    """Open an empty store together with all others."""
    barrier.wait(WAIT)
    store = open_in_child(uri)
    try:
        store.migrate()
        store.runs()
        answers.put("made")
    except CrosswalkError as error:
        answers.put(repr(error))
    store.close()


# -- two connections on the same profiles -------------------------------------------------------------------------

COUNTERS, ADDITIONS = ("p1", "p2", "p3"), 15


def count_up(uri: str, number: int, answers: Any) -> None:
    """Add one to every counter, again and again; overtaken attempts are made anew from what is stored."""
    store = open_in_child(uri)
    overtaken = 0
    lease = store.take_lease(f"connection-{number}", f"run-{number}", 600)
    names = COUNTERS if number % 2 else COUNTERS[::-1]
    for turn in range(ADDITIONS):
        while True:
            state = store.goal_state(lease.connection, "count")
            found = stored(store, *names)
            planned = [
                profile(name, found[name][0], properties={"n": [str(int(found[name][1]["n"][0]) + 1)]})
                for name in names
            ]
            done = batch(lease, state.goal_id, state.state_version, batch_id=f"{number}-{turn}", profiles=planned)
            if isinstance(store.apply(dataclasses.replace(done, goal="count")), Applied):
                break
            overtaken += 1
    answers.put(overtaken)
    store.close()


def test_no_update_is_lost_between_connections_that_write_the_same_profiles(store: Store, store_uri: str) -> None:
    lease = store.take_lease("setup", "run-0", 60)
    goal_id = store.goal_state("setup", "orders").goal_id
    store.apply(batch(lease, goal_id, 0, profiles=[profile(name, properties={"n": ["0"]}) for name in COUNTERS]))
    answers = PROCESSES.Queue()
    processes = [PROCESSES.Process(target=count_up, args=(store_uri, number, answers)) for number in range(3)]
    with started(*processes):
        collect(answers, 3)
    total = 3 * ADDITIONS
    assert stored(store, *COUNTERS) == {name: (1 + total, {"n": [str(total)]}) for name in COUNTERS}


# -- E2: zombies --------------------------------------------------------------------------------------------------


def fall_asleep(uri: str, turns: int, where: str, term: float, answers: Any) -> None:
    """Take a lease, stop before or inside the transaction of *apply*, be woken, go on as if nothing had happened."""
    store = open_in_child(uri)
    for turn in range(turns):
        connection = f"connection-{turn}"
        lease = store.take_lease(connection, "zombie", term)
        state = store.goal_state(connection, "orders")
        work = batch(
            lease, state.goal_id, state.state_version, batch_id=f"zombie-{turn}", profiles=[profile(f"zombie-{turn}")]
        )
        if where == "before":
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            work = dataclasses.replace(work, row_state=stopping_reader(turn))
        try:
            answers.send(type(store.apply(work)).__name__)
        except (LeaseLostError, RetryableError) as error:
            answers.send(type(error).__name__)
    store.close()


def told_by(zombie: Any) -> str:
    """The next answer, through a pipe: a queue's feeding thread may be stopped with its process, answer in hand."""
    assert zombie.poll(WAIT)
    return str(zombie.recv())


def stopping_reader(turn: int) -> Callable[[], pa.RecordBatchReader]:
    """A reader that stops its process while it is read."""

    def batches() -> Iterator[pa.RecordBatch]:
        os.kill(os.getpid(), signal.SIGSTOP)
        yield pa.RecordBatch.from_pylist([row(turn, f"zombie-{turn}")], schema=ROW_STATE_SCHEMA)

    return lambda: pa.RecordBatchReader.from_batches(ROW_STATE_SCHEMA, batches())


def wait_until_stopped(pid: int) -> None:
    """Until the kernel says that the process is stopped."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/stat") as handle:  # noqa: PTH123 - the process may be gone, then this raises
            if handle.read().rpartition(")")[2].split()[0] == "T":
                return
        time.sleep(0.01)
    raise AssertionError("the process did not stop")


def take_over(store: Store, connection: str) -> int:
    """Wait for the end of the zombie's lease, take it, and write."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        try:
            lease = store.take_lease(connection, "newer", 60)
        except LeaseTakenError:
            time.sleep(0.02)
            continue
        return lease.fencing
    raise AssertionError("the lease did not end")


def write_as_newer(store: Store, connection: str, turn: int) -> None:
    lease = store.take_lease(connection, "newer", 60)
    state = store.goal_state(connection, "orders")
    planned = [profile(f"newer-{turn}")]
    done = store.apply(batch(lease, state.goal_id, state.state_version, batch_id=f"newer-{turn}", profiles=planned))
    assert isinstance(done, Applied)


def test_a_run_that_wakes_up_after_another_took_over_cannot_write(store: Store, store_uri: str) -> None:
    answers, mouth = PROCESSES.Pipe(duplex=False)
    zombie = PROCESSES.Process(target=fall_asleep, args=(store_uri, ZOMBIES, "before", 0.3, mouth))
    with started(zombie):
        for turn in range(ZOMBIES):
            wait_until_stopped(zombie.pid)
            assert take_over(store, f"connection-{turn}") == 2
            if turn % 2:  # the newer run has written already, or is only about to
                write_as_newer(store, f"connection-{turn}", turn)
            os.kill(zombie.pid, signal.SIGCONT)
            assert told_by(answers) == "LeaseLostError"
            if not turn % 2:
                write_as_newer(store, f"connection-{turn}", turn)
    assert stored(store, *(f"zombie-{turn}" for turn in range(ZOMBIES))) == {}
    assert len(stored(store, *(f"newer-{turn}" for turn in range(ZOMBIES)))) == ZOMBIES


def test_of_a_run_stopped_inside_its_transaction_and_a_newer_one_only_one_writes(store: Store, store_uri: str) -> None:
    """PostgreSQL lets the newer run take the lease; SQLite's write lock makes it wait, and the older one wins."""
    impatient = open_store(store_uri, wait_seconds=1)
    answers, mouth = PROCESSES.Pipe(duplex=False)
    zombie = PROCESSES.Process(target=fall_asleep, args=(store_uri, 1, "inside", 0.3, mouth))
    with started(zombie):
        wait_until_stopped(zombie.pid)
        fencing, code = None, None
        try:
            fencing = take_over(impatient, "connection-0")
        except RetryableError as error:
            code = error.code
        os.kill(zombie.pid, signal.SIGCONT)
        outcome = told_by(answers)
    impatient.close()
    wrote = bool(stored(store, "zombie-0"))
    assert (outcome, wrote, fencing, code) in [
        ("LeaseLostError", False, 2, None),
        ("Applied", True, None, "store_locked"),
    ]
    if wrote:
        with pytest.raises(LeaseTakenError):
            store.take_lease("connection-0", "newer", 60)
    else:
        write_as_newer(store, "connection-0", 0)
