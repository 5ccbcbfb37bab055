"""Writing: one batch, one transaction; and what runs set aside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crosswalk.core.errors import FatalError
from crosswalk.store.backend import Backend, RowStatement, UniqueError
from crosswalk.store.base import Applied, Batch, FileRecord, Moved
from crosswalk.store.collection import COLLECTIONS, LOG_CHANGE, Collection
from crosswalk.store.events import DELETE_EXPIRED, Events
from crosswalk.store.groups import Groups
from crosswalk.store.ledger import Ledger
from crosswalk.store.logged import LOGGED
from crosswalk.store.merges import Merges, merging_part
from crosswalk.store.ordering import in_order
from crosswalk.store.products import Products
from crosswalk.store.replay import Replaying
from crosswalk.store.undo_base import Undo

KEEP_ROW_STATE = RowStatement(
    "row_state",
    {
        "goal_id": "int",
        "row_key": "blob",
        "row_hash": "blob",
        "profile_id": "text",
        "amounts": "text",
        "batch_no": "int",
    },
    "INSERT INTO row_state (goal_id, row_key, row_hash, profile_id, amounts, batch_no) "
    "{select} {goal_id}, {row_key}, {row_hash}, {profile_id}, {amounts}, {batch_no} {rows} "
    "ON CONFLICT (goal_id, row_key) DO UPDATE SET row_hash = excluded.row_hash, profile_id = excluded.profile_id, "
    "amounts = excluded.amounts, batch_no = excluded.batch_no",
)
LOG_ROW_STATE = RowStatement(
    "row_log",
    {"batch_no": "int", "goal_id": "int", "row_key": "blob"},
    "INSERT INTO row_log (batch_no, row_key, row_hash, profile_id, amounts, written_by) "
    "SELECT {batch_no}, o.row_key, o.row_hash, o.profile_id, o.amounts, o.batch_no FROM row_state o {beside} "
    "WHERE o.goal_id = {goal_id} AND o.row_key = {row_key}",
)
LOG_CONSENT = RowStatement(
    "consent",
    {"batch_no": "int", "profile_id": "text", "objective": "text", "state": "text", "file": "text", "line": "int"},
    "INSERT INTO consent_log (batch_no, profile_id, objective, state, file, line) "
    "{select} {batch_no}, {profile_id}, {objective}, {state}, {file}, {line} {rows}",
    plain_insert="consent_log",
)
QUARANTINE_COLUMNS = {
    "row_id": "int",
    "file": "text",
    "line": "int",
    "field": "text",
    "stage": "text",
    "scope": "text",
    "reason": "text",
    "message": "text",
    "raw": "text",
}
SET_ASIDE = RowStatement(
    "set_aside",
    {"run_id": "text", "goal": "text", **QUARANTINE_COLUMNS},
    "INSERT INTO quarantine (run_id, goal, row_id, file, line, field, stage, scope, reason, message, raw) "
    "{select} {run_id}, {goal}, {row_id}, {file}, {line}, {field}, {stage}, {scope}, {reason}, {message}, {raw} {rows}",
    plain_insert="quarantine",
)
_FILE = {"path": "text", "size": "int", "modified": "int", "sha256": "text", "role": "text"}
KEEP_FILE = RowStatement(
    "file",
    {"goal_id": "int", **_FILE, "seen_at": "real"},
    "INSERT INTO source_file (goal_id, path, size, modified, sha256, seen_at, role) "
    "{select} {goal_id}, {path}, {size}, {modified}, {sha256}, {seen_at}, {role} {rows} "
    "ON CONFLICT (goal_id, path) DO UPDATE SET size = excluded.size, modified = excluded.modified, "
    "sha256 = excluded.sha256, seen_at = excluded.seen_at, role = excluded.role, undone_by = NULL",
)
LOG_FILE = RowStatement(
    "batch_file",
    {"batch_no": "int", **_FILE},
    "INSERT INTO batch_file (batch_no, path, size, modified, sha256, role) "
    "{select} {batch_no}, {path}, {size}, {modified}, {sha256}, {role} {rows}",
    plain_insert="batch_file",
)
_ONE = pa.schema([("one", pa.int64())])
_WRITER = pa.schema([("run_id", pa.string())])
_QUARANTINE = pa.schema(
    [("goal", pa.string())]
    + [(name, pa.int64() if kind == "int" else pa.string()) for name, kind in QUARANTINE_COLUMNS.items()]
    + [("replayed_by", pa.string())]
)


class OvertakenError(Exception):
    """Rolls the transaction back; ``reasons`` becomes ``Moved``."""

    def __init__(self, kind: str, count: int) -> None:
        super().__init__(kind)
        self.reasons = {kind: count}


class Changes(Ledger, Groups, Events, Products, Replaying, Merges):
    """Applying batches; see ``Store`` for what each method promises."""

    _db: Backend

    def apply(self, batch: Batch) -> Applied | Moved:
        """Commit a batch, or nothing."""
        try:
            return self._db.in_transaction(lambda: self._apply(batch))
        except OvertakenError as overtaken:
            return Moved(overtaken.reasons)
        except UniqueError:
            appeared = self._count_existing(batch)
            if not appeared:
                raise
            return Moved({"version": appeared})

    def _apply(self, batch: Batch) -> Applied:
        self._db.serialise()
        self._check_lease(batch.lease)
        known = self._db.query("SELECT run_id FROM batch WHERE batch_id = $1", (batch.batch_id,), _WRITER)
        if known:
            writer = known[0]["run_id"]
            return Applied(batch.batch_id, repeated=True, other_run=writer if writer != batch.run_id else None)
        self._move_goal(batch)
        merge = self._merge(batch) if batch.merged else None
        number, now = self._record_batch(batch)
        self._write_profiles(batch, number, now)
        self._write_identifiers(batch)
        if self._write_new_groups(batch, number, now):
            raise OvertakenError("identifier", 1)
        self._write_row_state(batch, number)
        self._write_consent(batch, number)
        missed = self._write_events(batch, number)
        if missed:
            raise OvertakenError("event", missed)
        if merge is not None:
            self._move_events(merge)
        self._write_products(batch, number)
        self._replace_quarantine(batch.run_id, batch.goal, batch.quarantine())
        self._write_files(batch, number)
        if batch.replays:
            self._mark_replayed(batch.run_id, batch.goal, number, batch.replays)
        self._write_goal_run(batch.run_id, batch.goal, "done", {"counts": batch.counts, "batch_id": batch.batch_id})
        self._note_good_run(batch.run_id, batch.goal)
        self._confirm_lease(batch.lease)
        return Applied(batch.batch_id)

    def _move_goal(self, batch: Batch) -> None:
        moved = self._db.query(
            "UPDATE goal SET state_version = state_version + 1, config_hash = $3 "
            "WHERE goal_id = $1 AND state_version = $2 RETURNING 1",
            (batch.goal_id, batch.state_version, batch.config_hash),
            _ONE,
        )
        if not moved:
            raise OvertakenError("goal_state", 1)

    def _merge(self, batch: Batch) -> int:
        """Make profiles one, before the plan that counts on it is written; returns the number of that batch."""
        number, now = self._record_merge(batch)
        missed = self._write_merges(batch, number, now, self._db.sink(LOG_CHANGE, {"batch_no": number}))
        if missed:
            raise OvertakenError("version", missed)
        part = merging_part(batch)
        self._write_identifiers(part)
        self._write_consent(part, number)
        return number

    def _record_batch(self, batch: Batch) -> tuple[int, int]:
        """The batch's number and the database's time."""
        row = self._db.query(
            "INSERT INTO batch (batch_id, run_id, connection, goal_id, config_hash, counts, collection, applied_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, {now}) RETURNING batch_no, applied_at",
            (
                batch.batch_id,
                batch.run_id,
                batch.connection,
                batch.goal_id,
                batch.config_hash,
                json.dumps(batch.counts, ensure_ascii=False),
                batch.collection,
            ),
            pa.schema([("batch_no", pa.int64()), ("applied_at", pa.int64())]),
        )[0]
        return int(row["batch_no"]), int(row["applied_at"])

    def _write_profiles(self, batch: Batch, number: int, now: int) -> None:
        """One pass over the plan: new ones, changed ones, the log of both; unchanged ones are only compared."""
        collection = COLLECTIONS[batch.collection]
        inserts = self._db.sink(collection.insert, {"version": 1, "created_at": now, "modified_at": now})
        updates = self._db.sink(collection.update, {"at": now})
        log = self._db.sink(LOG_CHANGE, {"batch_no": number})
        for planned in in_order(batch.profiles(), "profile_id", scratch=batch.scratch):
            inserts.write(_of(planned, "created", "profile_id", "properties"))
            updates.write(_of(planned, "updated", "profile_id", "version", "properties"))
            log.write(_log_entries(planned))
            self._compare_unchanged(_of(planned, "unchanged", "profile_id", "version"), collection)
        inserts.finish()
        log.finish()  # its key is what notices a plan that lists a profile twice
        missed = updates.rows - updates.finish()
        if missed:
            raise OvertakenError("version", missed)

    def _count_existing(self, batch: Batch) -> int:
        """How many of the profiles that the batch would create are there, after an insert of them failed."""
        collection = COLLECTIONS[batch.collection]

        def work() -> int:
            existing = 0
            for planned in batch.profiles():
                with self._db.staged("new_profile", _of(planned, "created", "profile_id")):
                    existing += self._db.query(
                        f"SELECT count(*) AS one FROM new_profile n JOIN {collection.table} p "
                        f"ON p.{collection.key} = n.profile_id",
                        (),
                        _ONE,
                    )[0]["one"]
            return existing

        return self._db.in_transaction(work)

    def _compare_unchanged(self, planned: pa.RecordBatch, collection: Collection) -> None:
        """A profile that stays as it is must still be the one that was compared; it is read, not written."""
        if not planned.num_rows:
            return
        with self._db.staged("same_profile", planned):
            same = self._db.query(
                f"SELECT count(*) AS one FROM same_profile s JOIN {collection.table} p "
                f"ON p.{collection.key} = s.profile_id AND p.version = s.version AND p.{collection.living}",
                (),
                _ONE,
            )[0]["one"]
        if same != planned.num_rows:
            raise OvertakenError("version", planned.num_rows - same)

    def _write_identifiers(self, batch: Batch | Undo) -> None:
        """Removals first, so that a value can pass from one profile to another within a batch."""
        collection = COLLECTIONS[batch.collection if isinstance(batch, Batch) else "profile"]
        self._db.sink(collection.remove).write_all(_identifiers(batch, "remove"))
        taken = self._db.write_new(
            lambda: self._missed(collection.add, _identifiers(batch, "add")),
            lambda: self._missed(collection.claim, _identifiers(batch, "add")),
        )
        if taken:
            _refuse_ambiguous(_identifiers(batch, "add"))
            raise OvertakenError("identifier", taken)

    def _missed(self, statement: RowStatement, rows: Iterable[pa.RecordBatch]) -> int:
        """Write rows; how many of them were not written."""
        sink = self._db.sink(statement)
        written = sink.write_all(rows)
        return sink.rows - written

    def _write_row_state(self, batch: Batch, number: int) -> None:
        constants = {"goal_id": batch.goal_id, "batch_no": number}
        if batch.state_version:  # else there is nothing that could be overwritten
            keys = (rows.select(["row_key"]) for rows in batch.row_state())
            self._db.sink(LOG_ROW_STATE, constants).write_all(in_order(keys, "row_key", scratch=batch.scratch))
        self._db.sink(KEEP_ROW_STATE, constants).write_all(
            in_order(batch.row_state(), "row_key", scratch=batch.scratch)
        )

    def _write_consent(self, batch: Batch, number: int) -> None:
        self._db.sink(LOG_CONSENT, {"batch_no": number}).write_all(batch.consent())

    def _write_files(self, batch: Batch, number: int) -> None:
        files = _file_rows(batch.files)
        self._db.sink(KEEP_FILE, {"goal_id": batch.goal_id}).write_all([files])
        self._db.sink(LOG_FILE, {"batch_no": number}).write_all([files])

    # -- quarantine -------------------------------------------------------------------------------------------------
    def save_quarantine(self, run_id: str, goal: str, rows: pa.RecordBatchReader) -> None:
        """Replace what a run's goal set aside."""
        kept = list(rows)  # a retry of the transaction needs them again; they are few
        self._db.in_transaction(lambda: self._replace_quarantine(run_id, goal, kept))

    def quarantine(self, run_id: str, limit: int | None = None) -> list[dict[str, Any]]:
        """What a run set aside, in order of file and line."""
        columns = ", ".join(_QUARANTINE.names)
        return self._db.query(
            f"SELECT {columns} FROM quarantine WHERE run_id = $1 ORDER BY file NULLS FIRST, line NULLS FIRST, "
            f"goal, row_id NULLS FIRST, field NULLS FIRST LIMIT {1 << 40 if limit is None else int(limit)}",
            (run_id,),
            _QUARANTINE,
        )

    def _replace_quarantine(self, run_id: str, goal: str, rows: Iterable[pa.RecordBatch]) -> None:
        self._db.execute("DELETE FROM quarantine WHERE run_id = $1 AND goal = $2", (run_id, goal))
        self._db.sink(SET_ASIDE, {"run_id": run_id, "goal": goal}).write_all(rows)

    # -- retention --------------------------------------------------------------------------------------------------
    def purge(self, older_than_days: int) -> dict[str, int]:
        """Delete history older than so many days; returns rows by table.

        Batch ids, row state, files and consent stay: they are what makes a repeat harmless and an answer provable.
        """
        old = f"{{now}} - {int(older_than_days)} * CAST(86400000 AS BIGINT)"
        runs = f"(SELECT run_id FROM run WHERE finished_at < {old})"
        batches = f"(SELECT batch_no FROM batch WHERE applied_at < {old})"
        statements = {
            "event": DELETE_EXPIRED,
            "change_log": f"DELETE FROM change_log WHERE batch_no IN {batches}",
            **{f"{table.name}_log": table.purge(f"l.batch_no IN {batches}") for table in LOGGED},
            "row_log": f"DELETE FROM row_log WHERE batch_no IN {batches}",
            "quarantine": f"DELETE FROM quarantine WHERE run_id IN {runs}",
            "goal_run": f"DELETE FROM goal_run WHERE run_id IN {runs}",
            "report_claim": f"DELETE FROM report_claim WHERE run_id IN {runs}",
            "run": f"DELETE FROM run WHERE finished_at < {old}",
        }

        def work() -> dict[str, int]:
            self._db.execute(f"UPDATE batch SET is_logged = 0 WHERE applied_at < {old}")  # cannot be undone any more
            return {table: self._db.execute_counted(sql) for table, sql in statements.items()}

        return self._db.in_transaction(work)


def _of(planned: pa.RecordBatch, outcome: str, *columns: str) -> pa.RecordBatch:
    """These columns of the profiles with that outcome; documents are only copied where they are written."""
    return planned.select(list(columns)).filter(pc.equal(planned.column("outcome"), outcome))


def _log_entries(planned: pa.RecordBatch) -> pa.RecordBatch:
    wanted = planned.select(["profile_id", "version", "outcome", "changes"])
    changed = wanted.filter(pc.not_equal(wanted.column("outcome"), "unchanged"))
    return pa.record_batch(
        {
            "profile_id": changed.column("profile_id"),
            "version": pc.add(changed.column("version"), 1),
            "kind": changed.column("outcome"),
            "changes": changed.column("changes"),
        }
    )


def _identifiers(batch: Batch | Undo, action: str) -> Iterable[pa.RecordBatch]:
    chosen = (rows.filter(pc.equal(rows.column("action"), action)) for rows in batch.identifiers())
    return in_order(chosen, "property_id", "value", scratch=batch.scratch)


def _refuse_ambiguous(adds: Iterable[pa.RecordBatch]) -> None:
    """A plan that gives one value to two profiles would be overtaken by itself for ever."""
    table = pa.Table.from_batches(list(adds)).select(["property_id", "value", "profile_id"])
    owners = table.group_by(["property_id", "value"]).aggregate([("profile_id", "count_distinct")])
    double = pc.sum(pc.greater(owners.column("profile_id_count_distinct"), 1)).as_py()
    if double:
        raise FatalError(
            f"The plan gives {double} identifier value(s) to more than one profile; nothing was written.",
            remedy="Please report it: linking should have set those rows aside.",
            code="store_repeated_key",
        )


def _file_rows(files: list[FileRecord]) -> pa.RecordBatch:
    """One row per path; a file that is both primary and linked counts as primary."""
    by_path: dict[str, FileRecord] = {}
    for file in files:
        if file.path not in by_path or file.role == "primary":
            by_path[file.path] = file
    chosen = list(by_path.values())
    return pa.record_batch(
        {
            "path": pa.array([file.path for file in chosen], pa.string()),
            "size": pa.array([file.size for file in chosen], pa.int64()),
            "modified": pa.array([file.modified for file in chosen], pa.int64()),
            "sha256": pa.array([file.sha256 for file in chosen], pa.string()),
            "seen_at": pa.array([float(file.seen_at) for file in chosen], pa.float64()),
            "role": pa.array([file.role for file in chosen], pa.string()),
        }
    )
