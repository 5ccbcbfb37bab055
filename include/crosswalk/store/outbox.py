"""Exports: what is sent is written down first, and counts as sent when the destination acknowledged it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from crosswalk.store.backend import Backend, RowStatement
from crosswalk.store.base import Lease
from crosswalk.store.export_base import (
    PROFILE_ID_SCHEMA,
    STORED_PROFILE_SCHEMA,
    Cursor,
    Export,
    OutboxEntry,
    OutboxFile,
    Position,
)
from crosswalk.store.ledger import INT, TEXT, Ledger
from crosswalk.store.ordering import in_order

KEEP_EXPORTED = RowStatement(
    "exported",
    {"goal_id": "int", "profile_id": "text", "outbox_no": "int"},
    "INSERT INTO exported_profile (goal_id, profile_id, outbox_no) {select} {goal_id}, {profile_id}, {outbox_no} "
    "{rows} ON CONFLICT (goal_id, profile_id) DO NOTHING",
)
_ONE = pa.schema([("one", INT)])
_POSITION = pa.schema([("batch_no", INT), ("read_at", INT)])
_CURSOR = pa.schema([("batch_no", INT), ("read_at", INT), ("config_hash", TEXT)])
_ENTRY = pa.schema(
    [
        ("outbox_no", INT),
        ("run_id", TEXT),
        ("state", TEXT),
        ("batch_no", INT),
        ("read_at", INT),
        ("config_hash", TEXT),
        ("counts", TEXT),
    ]
)
_FILE = pa.schema([("outbox_no", INT), ("path", TEXT), ("size", INT), ("sha256", TEXT)])


class Outbox(Ledger):
    """Exports; see ``ExportStore`` for what each method promises."""

    _db: Backend

    def position(self) -> Position:
        """The place in the change log up to which everything is committed."""
        row = self._db.query("SELECT coalesce(max(batch_no), 0) AS batch_no, {now} FROM batch", (), _POSITION)[0]
        return Position(int(row["batch_no"]), int(row["read_at"]))

    def export_cursor(self, goal_id: int) -> Cursor | None:
        """How far the goal's last good export came."""
        found = self._db.query(
            "SELECT batch_no, read_at, config_hash FROM export_cursor WHERE goal_id = $1", (goal_id,), _CURSOR
        )
        return _cursor(found[0]) if found else None

    def stored_profiles(self, since: Position | None = None) -> pa.RecordBatchReader:
        """All living profiles.

        The change log says what changed after a position. The time of the last change says the same for entries that
        were purged since.
        """
        changed, joined = "1", ""
        if since is not None:
            changed = f"CASE WHEN c.profile_id IS NOT NULL OR p.modified_at > {int(since.read_at)} THEN 1 ELSE 0 END"
            joined = (
                f"LEFT JOIN (SELECT DISTINCT profile_id FROM change_log WHERE batch_no > {int(since.batch_no)}) c "
                "ON c.profile_id = p.profile_id "
            )
        return self._db.stream(
            "SELECT p.profile_id, CAST(p.properties AS TEXT), p.permission_level, p.legislation, p.domain_group, "
            f"p.created_at, p.modified_at, {changed} FROM profile p {joined}WHERE p.replaced_by IS NULL",
            STORED_PROFILE_SCHEMA,
        )

    def exported_ids(self, goal_id: int) -> pa.RecordBatchReader:
        """The profiles that the goal has sent, or is about to send."""
        sql = f"SELECT profile_id FROM exported_profile WHERE goal_id = {int(goal_id)}"
        return self._db.stream(sql, PROFILE_ID_SCHEMA)

    def outbox(self, goal_id: int) -> list[OutboxEntry]:
        """The goal's open exports and the last one that was sent."""
        entries = self._db.query(
            "SELECT outbox_no, run_id, state, batch_no, read_at, config_hash, counts FROM outbox o WHERE goal_id = $1 "
            "AND (state IN ('planned', 'sending', 'unknown') OR outbox_no = (SELECT max(outbox_no) FROM outbox s "
            f"WHERE s.goal_id = $1 AND s.state = 'sent')) ORDER BY outbox_no LIMIT {1 << 40}",
            (goal_id,),
            _ENTRY,
        )
        return [self._entry(row, goal_id) for row in entries]

    def _entry(self, row: dict[str, Any], goal_id: int) -> OutboxEntry:
        files = self._db.query(
            f"SELECT outbox_no, path, size, sha256 FROM outbox_file WHERE outbox_no = $1 ORDER BY path LIMIT {1 << 40}",
            (row["outbox_no"],),
            _FILE,
        )
        listed = [OutboxFile(file["path"], file["size"], file["sha256"]) for file in files]
        export = Export(row["run_id"], goal_id, _cursor(row), json.loads(row["counts"]), listed)
        return OutboxEntry(int(row["outbox_no"]), row["state"], export)

    def plan_export(self, export: Export, new_ids: Callable[[], pa.RecordBatchReader], lease: Lease) -> int:
        """Write an export down; returns its number."""

        def work() -> int:
            self._check_lease(lease)
            number = int(self._insert(export))
            for file in export.files:
                self._db.query(
                    "INSERT INTO outbox_file (outbox_no, path, size, sha256) VALUES ($1, $2, $3, $4) RETURNING 1",
                    (number, file.path, file.size, file.sha256),
                    _ONE,
                )
            keys = {"goal_id": export.goal_id, "outbox_no": number}
            self._db.sink(KEEP_EXPORTED, keys).write_all(in_order(new_ids(), "profile_id"))
            self._confirm_lease(lease)
            return number

        return self._db.in_transaction(work)

    def _insert(self, export: Export) -> Any:
        position = export.cursor.position
        return self._db.query(
            "INSERT INTO outbox (run_id, goal_id, state, batch_no, read_at, config_hash, counts, planned_at, "
            "changed_at) VALUES ($1, $2, 'planned', $3, $4, $5, $6, {now}, {now}) RETURNING outbox_no",
            (
                export.run_id,
                export.goal_id,
                position.batch_no,
                position.read_at,
                export.cursor.config_hash,
                json.dumps(export.counts, ensure_ascii=False),
            ),
            _ONE,
        )[0]["one"]

    def begin_sending(self, outbox_no: int, lease: Lease) -> None:
        """Note that the destination may get it from now on."""

        def work() -> None:
            self._set_state(outbox_no, "sending")
            self._confirm_lease(lease)

        self._db.in_transaction(work)

    def acknowledge(self, entry: OutboxEntry, goal: str, lease: Lease) -> None:
        """Note that it is sent."""

        def work() -> None:
            self._set_state(entry.outbox_no, "sent")
            self._write_cursor(entry.export.goal_id, entry.export.cursor)
            if entry.export.run_id == lease.run_id:  # what another run left has its own history
                self._write_goal_run(lease.run_id, goal, "done", {"counts": entry.export.counts})
                self._note_good_run(lease.run_id, goal)
            self._confirm_lease(lease)

        self._db.in_transaction(work)

    def give_up(self, outbox_no: int, state: str) -> None:
        """Note that it is not sent, or that nobody knows."""

        def work() -> None:
            self._set_state(outbox_no, state)
            if state == "failed":
                self._db.execute("DELETE FROM exported_profile WHERE outbox_no = $1", (outbox_no,))

        self._db.in_transaction(work)

    def move_cursor(self, goal_id: int, cursor: Cursor, lease: Lease) -> None:
        """Note that there was nothing to send up to here."""

        def work() -> None:
            self._write_cursor(goal_id, cursor)
            self._confirm_lease(lease)

        self._db.in_transaction(work)

    def _set_state(self, outbox_no: int, state: str) -> None:
        self._db.query(
            "UPDATE outbox SET state = $2, changed_at = {now} WHERE outbox_no = $1 RETURNING 1",
            (outbox_no, state),
            _ONE,
        )

    def _write_cursor(self, goal_id: int, cursor: Cursor) -> None:
        self._db.query(
            "INSERT INTO export_cursor (goal_id, batch_no, read_at, config_hash) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (goal_id) DO UPDATE SET batch_no = excluded.batch_no, read_at = excluded.read_at, "
            "config_hash = excluded.config_hash RETURNING 1",
            (goal_id, cursor.position.batch_no, cursor.position.read_at, cursor.config_hash),
            _ONE,
        )


def _cursor(row: dict[str, Any]) -> Cursor:
    return Cursor(Position(int(row["batch_no"]), int(row["read_at"])), row["config_hash"])
