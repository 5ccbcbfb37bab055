"""Undo: what a run left in the store, and taking it back in one transaction.

What happens to a profile is decided in the engine. Row state goes back here, by statements over whole batches: a row
that the batch wrote last gets back what ``row_log`` kept of it, or goes when it was new. A row that a later batch wrote
stays as it is, and that batch's entry in ``row_log`` passes over the undone batch to what was there before it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crosswalk.store.backend import RowStatement
from crosswalk.store.base import Applied, Moved
from crosswalk.store.changes import LOG_CONSENT, Changes, OvertakenError
from crosswalk.store.collection import LOG_CHANGE, UPDATE_PROFILE
from crosswalk.store.logged import listed as _listed
from crosswalk.store.merges import REVIVE
from crosswalk.store.ordering import in_order
from crosswalk.store.undo_base import (
    AMOUNTS_SCHEMA,
    ANSWERS_SCHEMA,
    LATER_SCHEMA,
    PROFILE_IDS_SCHEMA,
    UNDONE_SCHEMA,
    AppliedBatch,
    Undo,
)
from crosswalk.store.undo_logged import UndoingLogged

REMOVE_PROFILE = RowStatement(
    "profile_remove",
    {"profile_id": "text", "version": "int"},
    "DELETE FROM profile {using} WHERE profile.profile_id = {profile_id} AND profile.version = {version} "
    "AND profile.replaced_by IS NULL",
)
# Looking profiles up in many batches one by one, or reading the log since from end to end: what costs less.
LOOK_UPS = 2_000_000

TEXT, INT = pa.string(), pa.int64()
_ONE = pa.schema([("one", INT)])
_BATCH = pa.schema(
    [
        ("batch_no", INT),
        ("batch_id", TEXT),
        ("goal_id", INT),
        ("goal", TEXT),
        ("state_version", INT),
        ("is_logged", INT),
        ("undoes", INT),
        ("undone_by", TEXT),
        ("collection", TEXT),
    ]
)
_ROWS = pa.schema([("batch_no", INT), ("rows", INT)])
_RESULT = pa.schema([("result", TEXT)])


class Undoing(UndoingLogged, Changes):
    """Taking runs back; see ``Store`` for what each method promises."""

    # -- reading ----------------------------------------------------------------------------------------------------
    def applied_batches(self, run_id: str) -> list[AppliedBatch]:
        """What a run committed, in the order of the commits."""
        found = self._db.query(
            "SELECT b.batch_no, b.batch_id, b.goal_id, g.goal, g.state_version, b.is_logged, coalesce(b.undoes, -1), "
            "coalesce(b.undone_by, ''), b.collection FROM batch b JOIN goal g ON g.goal_id = b.goal_id "
            "WHERE b.run_id = $1 ORDER BY b.batch_no LIMIT 1000000",
            (run_id,),
            _BATCH,
        )
        return [
            AppliedBatch(
                **{
                    **row,
                    "is_logged": bool(row["is_logged"]),
                    "undoes": None if row["undoes"] < 0 else row["undoes"],
                    "undone_by": row["undone_by"] or None,
                }
            )
            for row in found
        ]

    def undone_changes(self, numbers: list[int]) -> pa.RecordBatchReader:
        """The change log of these batches beside the profiles as they are now."""
        return self._db.stream(
            "SELECT c.batch_no, c.profile_id, c.version, c.kind, CAST(c.changes AS TEXT), p.version, "
            "CAST(p.properties AS TEXT) FROM change_log c LEFT JOIN profile p "
            "ON p.profile_id = c.profile_id AND (p.replaced_by IS NULL OR c.kind = 'replaced') "
            f"WHERE c.batch_no IN {_listed(numbers)}",
            UNDONE_SCHEMA,
        )

    def later_changes(self, numbers: list[int], profile_ids: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """What other batches changed on these profiles since the first of these batches."""
        wanted = profile_ids.read_all()
        since = f"batch_no > {min(numbers)} AND b.batch_no NOT IN {_listed(numbers)}"
        batches = self._db.query(f"SELECT count(*) AS one FROM batch b WHERE b.{since}", (), _ONE)[0]["one"]
        columns = "b.batch_no, b.run_id, c.kind, coalesce(b.undone_by, ''), c.profile_id, CAST(c.changes AS TEXT)"
        few = wanted.num_rows * batches <= LOOK_UPS
        tables = (  # SQLite keeps the order of a CROSS JOIN; PostgreSQL finds its own
            "batch b CROSS JOIN wanted_profile w CROSS JOIN change_log c"
            if few
            else "batch b CROSS JOIN change_log c CROSS JOIN wanted_profile w"
        )
        return self._db.stream(
            f"SELECT {columns} FROM {tables} WHERE b.{since} AND c.batch_no = b.batch_no "
            "AND c.profile_id = w.profile_id",
            LATER_SCHEMA,
            staged=("wanted_profile", wanted.to_reader()),
        )

    def added_amounts(self, numbers: list[int]) -> pa.RecordBatchReader:
        """What rows that these batches wrote last had added, now and before."""
        return self._db.stream(
            "SELECT r.profile_id, r.amounts, l.profile_id, l.amounts FROM batch b "
            "JOIN row_state r ON r.goal_id = b.goal_id AND r.batch_no = b.batch_no "
            "LEFT JOIN row_log l ON l.batch_no = b.batch_no AND l.row_key = r.row_key "
            f"WHERE b.batch_no IN {_listed(numbers)} AND (r.amounts IS NOT NULL OR l.amounts IS NOT NULL)",
            AMOUNTS_SCHEMA,
        )

    def shared_profiles(self, numbers: list[int]) -> pa.RecordBatchReader:
        """Profiles that these batches created and that others belong to: rows, events, purchases, merged profiles."""
        listed = _listed(numbers)
        parts = [
            f"SELECT r.profile_id FROM {table} r JOIN change_log c ON c.profile_id = r.profile_id "
            f"WHERE r.batch_no NOT IN {listed} AND c.batch_no IN {listed} AND c.kind = 'created'"
            for table in ("row_state", "event", "purchase")
        ]
        parts.append(
            "SELECT p.replaced_by FROM profile p JOIN change_log c ON c.profile_id = p.replaced_by "
            f"WHERE p.replaced_by IS NOT NULL AND c.batch_no IN {listed} AND c.kind = 'created'"
        )
        return self._db.stream(" UNION ".join(parts), PROFILE_IDS_SCHEMA)

    def answers(self, numbers: list[int]) -> pa.RecordBatchReader:
        """The answers of these batches, and whether a later batch answered again; what was undone does not count."""
        listed = _listed(numbers)
        return self._db.stream(
            "SELECT a.profile_id, a.objective, max(CASE WHEN b.batch_no IS NULL THEN 0 ELSE 1 END) FROM consent_log a "
            "LEFT JOIN consent_log o ON o.profile_id = a.profile_id AND o.objective = a.objective "
            f"AND o.batch_no > a.batch_no AND o.batch_no NOT IN {listed} "
            "LEFT JOIN batch b ON b.batch_no = o.batch_no AND b.undoes IS NULL AND b.undone_by IS NULL "
            f"WHERE a.batch_no IN {listed} GROUP BY a.profile_id, a.objective",
            ANSWERS_SCHEMA,
        )

    def written_rows(self, numbers: list[int]) -> dict[int, int]:
        """How many rows' state goes back when a batch is undone, by batch."""
        found = self._db.query(
            "SELECT b.batch_no, count(*) AS rows FROM batch b JOIN row_state r ON r.goal_id = b.goal_id "
            f"AND r.batch_no = b.batch_no WHERE b.batch_no IN {_listed(numbers)} GROUP BY b.batch_no",
            (),
            _ROWS,
        )
        return {row["batch_no"]: row["rows"] for row in found}

    # -- writing ----------------------------------------------------------------------------------------------------
    def undo(self, undo: Undo) -> Applied | Moved:
        """Take batches back, all or none."""
        try:
            return self._db.in_transaction(lambda: self._undo(undo))
        except OvertakenError as overtaken:
            return Moved(overtaken.reasons)

    def _undo(self, undo: Undo) -> Applied:
        self._db.serialise()
        self._check_lease(undo.lease)
        known = {batch.batch_no: batch for batch in self.applied_batches(undo.undone_run_id)}
        states = [known[batch.batch_no].undone_by for batch in undo.batches]
        if all(state == undo.run_id for state in states):
            return Applied(undo.run_id, repeated=True)
        if any(states):
            raise OvertakenError("undone", sum(state is not None for state in states))
        made: dict[int, tuple[int, int]] = {}
        moves: Counter[int] = Counter()
        for batch in undo.batches:  # a goal that merged profiles has two of them
            made[batch.batch_no] = self._record_undo(undo, batch, moves[batch.goal_id])
            moves[batch.goal_id] += 1
        self._take_back_profiles(undo, made)
        self._take_back_merges([batch.batch_no for batch in undo.batches])
        self._write_identifiers(undo)
        self._take_back_logged(undo)
        for batch in undo.batches:
            self._take_back_rows(batch)
            self._mark_files(undo, batch)
            self._write_goal_run(undo.run_id, batch.goal, "done", {"counts": undo.counts[batch.goal]})
            self._note_undone(undo, batch)
            self._forget_replay(undo.undone_run_id, batch.goal)
        self._refuse_orphans(sorted(number for number, _ in made.values()))
        self._write_answers(undo, made)
        for goal in dict.fromkeys(batch.goal for batch in undo.batches):
            chosen = (rows.filter(pc.equal(rows.column("goal"), goal)) for rows in undo.quarantine())
            self._replace_quarantine(undo.run_id, goal, chosen)
        self._confirm_lease(undo.lease)
        return Applied(undo.run_id)

    def _record_undo(self, undo: Undo, batch: AppliedBatch, moves: int) -> tuple[int, int]:
        """The new batch's number and the database's time; the undone one is marked, the goal's state moves."""
        moved = self._db.query(
            "UPDATE goal SET state_version = state_version + 1 WHERE goal_id = $1 AND state_version = $2 RETURNING 1",
            (batch.goal_id, batch.state_version + moves),
            _ONE,
        )
        if not moved:
            raise OvertakenError("goal_state", 1)
        self._db.execute("UPDATE batch SET undone_by = $1 WHERE batch_no = $2", (undo.run_id, batch.batch_no))
        made = self._db.query(
            "INSERT INTO batch (batch_id, run_id, connection, goal_id, config_hash, counts, applied_at, undoes) "
            "SELECT $1, $2, connection, goal_id, config_hash, $3, {now}, batch_no FROM batch WHERE batch_no = $4 "
            "RETURNING batch_no, applied_at",
            (
                hashlib.sha256(f"undo\x1f{batch.batch_id}".encode()).hexdigest()[:32],
                undo.run_id,
                json.dumps(undo.counts[batch.goal], ensure_ascii=False),
                batch.batch_no,
            ),
            pa.schema([("batch_no", INT), ("applied_at", INT)]),
        )[0]
        return int(made["batch_no"]), int(made["applied_at"])

    def _take_back_profiles(self, undo: Undo, made: dict[int, tuple[int, int]]) -> None:
        """One pass over the plan: profiles that get values back, profiles that go, the log of both."""
        now = max(at for _, at in made.values())
        updates = self._db.sink(UPDATE_PROFILE, {"at": now})
        removals = self._db.sink(REMOVE_PROFILE)
        revivals = self._db.sink(REVIVE, {"at": now})
        log = self._db.sink(LOG_CHANGE, {"kind": "undone"})
        for planned in in_order(undo.profiles(), "profile_id", scratch=undo.scratch):
            updates.write(_of(planned, "restored", "profile_id", "version", "properties"))
            removals.write(_of(planned, "removed", "profile_id", "version"))
            revivals.write(_of(planned, "revived", "profile_id", "version"))
            log.write(_log_entries(planned, made))
        log.finish()
        missed = sum(sink.rows - sink.finish() for sink in (updates, removals, revivals))
        if missed:
            raise OvertakenError("version", missed)

    def _take_back_rows(self, batch: AppliedBatch) -> None:
        number = batch.batch_no
        log = f"FROM row_log l WHERE l.batch_no = {number}"
        known, kept = f"(SELECT l.row_key {log})", f"(SELECT l.* {log})"
        values = "row_hash = m.row_hash, profile_id = m.profile_id, amounts = m.amounts"
        written = f"row_state.goal_id = {batch.goal_id} AND row_state.batch_no = {number}"
        passed = f"row_log.batch_no > {number} AND row_log.written_by = {number}"
        for table, mine, column in (("row_state", written, "batch_no"), ("row_log", passed, "written_by")):
            self._db.execute(f"DELETE FROM {table} WHERE {mine} AND row_key NOT IN {known}")
            self._db.execute(
                f"UPDATE {table} SET {values}, {column} = m.written_by FROM {kept} m "
                f"WHERE {mine} AND {table}.row_key = m.row_key"
            )

    def _mark_files(self, undo: Undo, batch: AppliedBatch) -> None:
        """Primary files stay in the ledger, marked, as long as they are the version that the batch read."""
        self._db.query(
            "UPDATE source_file SET undone_by = $1 WHERE goal_id = $2 AND role = 'primary' AND EXISTS (SELECT 1 FROM "
            "batch_file f WHERE f.batch_no = $3 AND f.path = source_file.path AND f.sha256 = source_file.sha256) "
            "RETURNING 1",
            (undo.run_id, batch.goal_id, batch.batch_no),
            _ONE,
        )

    def _note_undone(self, undo: Undo, batch: AppliedBatch) -> None:
        """The undone run says so too."""
        place = (undo.undone_run_id, batch.goal)
        found = self._db.query("SELECT result FROM goal_run WHERE run_id = $1 AND goal = $2", place, _RESULT)
        if found:
            result = {**json.loads(found[0]["result"]), "undone_by": undo.run_id}
            self._db.execute(
                "UPDATE goal_run SET result = $3 WHERE run_id = $1 AND goal = $2",
                (*place, json.dumps(result, ensure_ascii=False)),
            )

    def _refuse_orphans(self, made: list[int]) -> None:
        """A row or an event that came to a profile while its removal was planned must not lose it."""
        for table in ("row_state", "event"):
            found = self._db.query(
                f"SELECT count(*) AS one FROM change_log c JOIN {table} r ON r.profile_id = c.profile_id "
                f"LEFT JOIN profile p ON p.profile_id = c.profile_id WHERE c.batch_no IN {_listed(made)} "
                "AND p.profile_id IS NULL",
                (),
                _ONE,
            )[0]["one"]
            if found:
                raise OvertakenError(table, found)

    def _write_answers(self, undo: Undo, made: dict[int, tuple[int, int]]) -> None:
        """An answer that was taken back is a new entry; the old one stays, for it was given."""
        sink = self._db.sink(LOG_CONSENT)
        for rows in undo.consent():
            sink.write(_numbered(rows, made))
        sink.finish()


def _of(planned: pa.RecordBatch, action: str, *columns: str) -> pa.RecordBatch:
    return planned.select(list(columns)).filter(pc.equal(planned.column("action"), action))


def _numbered(rows: pa.RecordBatch, made: dict[int, tuple[int, int]]) -> pa.RecordBatch:
    """The rows with the numbers of the new batches in place of those that they undo."""
    old = pa.array(list(made), INT)
    new = pa.array([number for number, _ in made.values()], INT)
    numbers: Any = new.take(pc.index_in(rows.column("batch_no"), value_set=old))
    return rows.set_column(rows.schema.get_field_index("batch_no"), "batch_no", numbers)


def _log_entries(planned: pa.RecordBatch, made: dict[int, tuple[int, int]]) -> pa.RecordBatch:
    wanted = planned.select(["batch_no", "profile_id", "version", "changes"])
    return _numbered(wanted, made).set_column(2, "version", pc.add(wanted.column("version"), 1))
