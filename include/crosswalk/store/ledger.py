"""Runs, leases, goals and the files they have seen: the small tables that say what happened."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from crosswalk.core.errors import LeaseLostError, LeaseTakenError
from crosswalk.store.backend import Backend
from crosswalk.store.base import FileRecord, GoalState, Lease

TEXT, INT, REAL = pa.string(), pa.int64(), pa.float64()
GOOD_STATES = ("done", "done_with_rejects", "nothing_new")

_RUN = pa.schema(
    [
        ("run_id", TEXT),
        ("connection", TEXT),
        ("mode", TEXT),
        ("trigger", TEXT),
        ("config_hash", TEXT),
        ("state", TEXT),
        ("error", TEXT),
        ("started_at", INT),
        ("finished_at", INT),
    ]
)
_GOAL_RUN = pa.schema([("run_id", TEXT), ("goal", TEXT), ("state", TEXT), ("result", TEXT)])
_LEASE = pa.schema([("run_id", TEXT), ("fencing", INT), ("left_ms", INT), ("expires_at", INT)])
_GOAL = pa.schema(
    [
        ("goal_id", INT),
        ("state_version", INT),
        ("config_hash", TEXT),
        ("last_good_run_at", INT),
        ("last_good_run_id", TEXT),
    ]
)
_FILE = pa.schema(
    [
        ("path", TEXT),
        ("size", INT),
        ("modified", INT),
        ("sha256", TEXT),
        ("seen_at", REAL),
        ("role", TEXT),
        ("undone", TEXT),
    ]
)
_ONE = pa.schema([("one", INT)])
_NO_LIMIT = 1 << 40


def iso(epoch_ms: int | None) -> str | None:
    """A moment as people and JSON read it: UTC, to the millisecond."""
    if epoch_ms is None:
        return None
    moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Ledger:
    """Runs, leases, goals and files; see ``Store`` for what each method promises."""

    _db: Backend

    # -- runs -------------------------------------------------------------------------------------------------------
    def begin_run(self, run_id: str, connection: str, mode: str, trigger: str, config_hash: str) -> None:
        """Record that a run started; a second call keeps the first start and makes the run ``running`` again."""
        self._change(
            "INSERT INTO run (run_id, connection, mode, started_by, config_hash, state, started_at) "
            "VALUES ($1, $2, $3, $4, $5, 'running', {now}) ON CONFLICT (run_id) DO UPDATE "
            "SET state = 'running', error = NULL, finished_at = NULL RETURNING 1",
            (run_id, connection, mode, trigger, config_hash),
        )

    def finish_run(self, run_id: str, state: str, error: str | None = None) -> None:
        """Record the run's final state and end time."""
        self._change(
            "UPDATE run SET state = $2, error = $3, finished_at = {now} WHERE run_id = $1 RETURNING 1",
            (run_id, state, error),
        )

    def save_goal_run(self, run_id: str, goal: str, state: str, result: dict[str, Any]) -> None:
        """Record a goal's state and result; a good end also becomes the goal's last good run."""

        def work() -> None:
            self._write_goal_run(run_id, goal, state, result)
            if state in GOOD_STATES:
                self._note_good_run(run_id, goal)

        self._db.in_transaction(work)

    def run(self, run_id: str) -> dict[str, Any] | None:
        """One run with its goals, in the order they were last saved."""
        found = self._db.query(f"SELECT {_RUN_COLUMNS} FROM run WHERE run_id = $1", (run_id,), _RUN)
        if not found:
            return None
        goals = self._db.query(
            "SELECT run_id, goal, state, result FROM goal_run WHERE run_id = $1 "
            f"ORDER BY place, goal LIMIT {_NO_LIMIT}",
            (run_id,),
            _GOAL_RUN,
        )
        return _with_goals(found, goals)[0]

    def runs(self, connection: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Runs, newest first, with their goals in the order they were last saved."""
        chosen = "WHERE connection = $1 " if connection else ""
        chosen += f"ORDER BY started_at DESC, run_id DESC LIMIT {int(limit)}"
        parameters = (connection,) if connection else ()
        found = self._db.query(f"SELECT {_RUN_COLUMNS} FROM run {chosen}", parameters, _RUN)
        goals = self._db.query(
            "SELECT g.run_id, g.goal, g.state, g.result FROM goal_run g "
            f"JOIN (SELECT run_id FROM run {chosen}) r ON r.run_id = g.run_id "
            f"ORDER BY g.place, g.goal LIMIT {_NO_LIMIT}",
            parameters,
            _GOAL_RUN,
        )
        return _with_goals(found, goals)

    def mark_reported(self, run_id: str) -> bool:
        """Claim the sending of the run's mail; True for the first caller only."""
        return self._change(
            "INSERT INTO report_claim (run_id, claimed_at) VALUES ($1, {now}) "
            "ON CONFLICT (run_id) DO NOTHING RETURNING 1",
            (run_id,),
        )

    # -- leases -----------------------------------------------------------------------------------------------------
    def take_lease(self, connection: str, run_id: str, seconds: int) -> Lease:
        """Take, or take again, the connection's lease.

        A plain look comes first: it needs no write lock, so a second run is told at once even while the first one is in
        the middle of a long write.
        """
        self._refuse_taken(connection, run_id)
        taken = self._db.in_transaction(
            lambda: self._db.query(
                "INSERT INTO lease (connection, run_id, fencing, expires_at, term_ms) "
                "VALUES ($1, $2, 1, {now} + $3, $3) ON CONFLICT (connection) DO UPDATE SET "
                "run_id = excluded.run_id, expires_at = excluded.expires_at, term_ms = excluded.term_ms, "
                "fencing = lease.fencing + CASE WHEN lease.run_id = excluded.run_id THEN 0 ELSE 1 END "
                "WHERE lease.run_id = excluded.run_id OR lease.expires_at <= {now} RETURNING fencing",
                (connection, run_id, int(seconds * 1000)),
                _ONE,
            )
        )
        if not taken:
            self._refuse_taken(connection, run_id)
            raise LeaseTakenError("Another run took the lease at the same moment.", connection=connection)
        return Lease(connection, run_id, int(taken[0]["one"]))

    def renew_lease(self, lease: Lease, seconds: int) -> None:
        """Prolong; LeaseLostError when it passed to another run."""
        kept = self._change(
            "UPDATE lease SET expires_at = {now} + $4, term_ms = $4 "
            "WHERE connection = $1 AND run_id = $2 AND fencing = $3 RETURNING 1",
            (lease.connection, lease.run_id, lease.fencing, int(seconds * 1000)),
        )
        if not kept:
            raise lease_lost(lease)

    def release_lease(self, connection: str, run_id: str) -> None:
        """Give it up when this run holds it; the row stays, so that the fencing number goes on growing."""
        self._change(
            "UPDATE lease SET run_id = NULL, expires_at = 0 WHERE connection = $1 AND run_id = $2 RETURNING 1",
            (connection, run_id),
        )

    def _refuse_taken(self, connection: str, run_id: str) -> None:
        held = self._db.query(
            "SELECT run_id, fencing, expires_at - {now}, expires_at FROM lease "
            "WHERE connection = $1 AND run_id IS NOT NULL",
            (connection,),
            _LEASE,
        )
        if held and held[0]["run_id"] != run_id and held[0]["left_ms"] > 0:
            raise LeaseTakenError(
                f'Run "{held[0]["run_id"]}" is writing and holds the lease until {iso(held[0]["expires_at"])}.',
                remedy="Wait for it to end; if it died, the lease ends by itself at that time.",
                connection=connection,
            )

    def _confirm_lease(self, lease: Lease) -> None:
        """At the end of a transaction: still ours, locked until the commit, and prolonged by its own term."""
        kept = self._db.query(
            "UPDATE lease SET expires_at = "
            "CASE WHEN expires_at > {now} + term_ms THEN expires_at ELSE {now} + term_ms END "
            "WHERE connection = $1 AND run_id = $2 AND fencing = $3 RETURNING 1",
            (lease.connection, lease.run_id, lease.fencing),
            _ONE,
        )
        if not kept:
            raise lease_lost(lease)

    def _check_lease(self, lease: Lease) -> None:
        """At the beginning of a transaction: fail before the work rather than after it."""
        held = self._db.query(
            "SELECT 1 AS one FROM lease WHERE connection = $1 AND run_id = $2 AND fencing = $3",
            (lease.connection, lease.run_id, lease.fencing),
            _ONE,
        )
        if not held:
            raise lease_lost(lease)

    # -- goals and files --------------------------------------------------------------------------------------------
    def goal_state(self, connection: str, goal: str) -> GoalState:
        """The goal's state and its ledger of files; makes the goal's number on first use."""
        select = (
            "SELECT goal_id, state_version, config_hash, last_good_run_at, last_good_run_id "
            "FROM goal WHERE connection = $1 AND goal = $2"
        )
        found = self._db.query(select, (connection, goal), _GOAL)
        if not found:
            self._change(
                "INSERT INTO goal (connection, goal) VALUES ($1, $2) "
                "ON CONFLICT (connection, goal) DO NOTHING RETURNING 1",
                (connection, goal),
            )
            found = self._db.query(select, (connection, goal), _GOAL)
        row = found[0]
        files = self._db.query(
            "SELECT path, size, modified, sha256, seen_at, role, coalesce(undone_by, '') FROM source_file "
            "WHERE goal_id = $1",
            (row["goal_id"],),
            _FILE,
        )
        return GoalState(
            goal_id=row["goal_id"],
            state_version=row["state_version"],
            config_hash=row["config_hash"],
            last_good_run_at=iso(row["last_good_run_at"]),
            last_good_run_id=row["last_good_run_id"],
            files={file["path"]: FileRecord(**{**file, "undone": bool(file["undone"])}) for file in files},
        )

    def note_file_seen(self, goal_id: int, file: FileRecord) -> None:
        """Remember size, time and look of a file whose content is as the ledger knows it."""
        self._change(
            "UPDATE source_file SET size = $4, modified = $5, seen_at = $6 "
            "WHERE goal_id = $1 AND path = $2 AND sha256 = $3 RETURNING 1",
            (goal_id, file.path, file.sha256, file.size, file.modified, float(file.seen_at)),
        )

    def _write_goal_run(self, run_id: str, goal: str, state: str, result: dict[str, Any]) -> None:
        """A goal that is saved again ends again: it moves behind the others."""
        self._db.query(
            "INSERT INTO goal_run (run_id, goal, place, state, result) VALUES ($1, $2, "
            "(SELECT coalesce(max(place), 0) + 1 FROM goal_run WHERE run_id = $1), $3, $4) "
            "ON CONFLICT (run_id, goal) DO UPDATE "
            "SET place = excluded.place, state = excluded.state, result = excluded.result RETURNING 1",
            (run_id, goal, state, json.dumps(result, ensure_ascii=False)),
            _ONE,
        )

    def _note_good_run(self, run_id: str, goal: str) -> None:
        """The last good run, by the time it started; plans do not count, an older run never replaces a newer."""
        self._db.query(
            "UPDATE goal SET last_good_run_id = r.run_id, last_good_run_at = r.started_at FROM run r "
            "WHERE r.run_id = $1 AND r.mode = 'apply' AND goal.connection = r.connection AND goal.goal = $2 "
            "AND (goal.last_good_run_at IS NULL OR goal.last_good_run_at <= r.started_at) RETURNING 1",
            (run_id, goal),
            _ONE,
        )

    def _change(self, sql: str, parameters: tuple[str | int | float | bytes | None, ...]) -> bool:
        """One statement in its own transaction; whether it changed a row (it ends in RETURNING 1)."""
        return bool(self._db.in_transaction(lambda: self._db.query(sql, parameters, _ONE)))


_RUN_COLUMNS = 'run_id, connection, mode, started_by AS "trigger", config_hash, state, error, started_at, finished_at'


def lease_lost(lease: Lease) -> LeaseLostError:
    """The error for a run that was overtaken."""
    return LeaseLostError(
        f'Run "{lease.run_id}" lost its lease (number {lease.fencing}): another run took over. Nothing was written.',
        remedy="Look at the newer run; if it did not finish the work, start a new one.",
        connection=lease.connection,
    )


def _with_goals(runs: list[dict[str, Any]], goals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_run: dict[str, list[dict[str, Any]]] = {}
    for goal in goals:
        entry = {"goal": goal["goal"], "state": goal["state"], "result": json.loads(goal["result"])}
        by_run.setdefault(goal["run_id"], []).append(entry)
    return [
        {
            **run,
            "started_at": iso(run["started_at"]),
            "finished_at": iso(run["finished_at"]),
            "goals": by_run.get(run["run_id"], []),
        }
        for run in runs
    ]
