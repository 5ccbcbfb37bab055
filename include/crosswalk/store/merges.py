"""Merging: the profiles that become one, in the transaction of the batch that made them meet.

A merge is a batch of its own, numbered just before the batch of its run, so that the change log tells both apart and
undo takes both back. Its events move after the run's own events are in: where both profiles have an event, the one of
the living profile counts, and the other stays with the profile that is replaced.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from crosswalk.store.backend import Backend, RowStatement, Sink
from crosswalk.store.merge_base import MERGED_SCHEMA, MERGING_SCHEMA
from crosswalk.store.ordering import in_order

if TYPE_CHECKING:
    from crosswalk.store.base import Batch

_AFTER = {"permission_level": "int", "legislation": "text", "created_at": "int"}
LIVE_ON = RowStatement(
    "merge_living",
    {"profile_id": "text", "version": "int", "properties": "json", **_AFTER, "at": "int"},
    "UPDATE profile SET version = {version} + 1, properties = {properties}, permission_level = {permission_level}, "
    "legislation = {legislation}, created_at = {created_at}, modified_at = {at} {from} "
    "WHERE profile.profile_id = {profile_id} AND profile.version = {version} AND profile.replaced_by IS NULL",
)
REPLACE = RowStatement(
    "merge_replaced",
    {"profile_id": "text", "version": "int", "living_id": "text", "at": "int"},
    "UPDATE profile SET version = {version} + 1, replaced_by = {living_id}, modified_at = {at} {from} "
    "WHERE profile.profile_id = {profile_id} AND profile.version = {version} AND profile.replaced_by IS NULL",
)
REVIVE = RowStatement(
    "merge_revive",
    {"profile_id": "text", "version": "int", "at": "int"},
    "UPDATE profile SET version = {version} + 1, replaced_by = NULL, modified_at = {at} {from} "
    "WHERE profile.profile_id = {profile_id} AND profile.version = {version} AND profile.replaced_by IS NOT NULL",
)
LOG_MERGE = RowStatement(
    "merge_log",
    {"batch_no": "int", "profile_id": "text", "living_id": "text", **_AFTER},
    "INSERT INTO merge_log (batch_no, profile_id, living_id, permission_level, legislation, created_at) {select} "
    "{batch_no}, {profile_id}, {living_id}, {permission_level}, {legislation}, {created_at} {rows}",
    plain_insert="merge_log",
)
# From a profile to the one that lives on now, over any number of merges.
LIVING = (
    "WITH RECURSIVE step(profile_id, living_id) AS (SELECT profile_id, replaced_by FROM profile "
    "WHERE replaced_by IS NOT NULL UNION ALL SELECT s.profile_id, p.replaced_by FROM step s JOIN profile p "
    "ON p.profile_id = s.living_id WHERE p.replaced_by IS NOT NULL), living AS (SELECT s.profile_id, s.living_id "
    "FROM step s JOIN profile p ON p.profile_id = s.living_id WHERE p.replaced_by IS NULL) "
)
_ONE = pa.schema([("one", pa.int64())])
_MADE = pa.schema([("batch_no", pa.int64()), ("applied_at", pa.int64())])
_ID = pa.schema([("profile_id", pa.string())])


class Merges:
    """Profiles that become one; see ``Store`` for what each method promises."""

    _db: Backend

    # -- reading ----------------------------------------------------------------------------------------------------
    def read_merging(self, profile_ids: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The living profiles of these ids with what a merge looks at."""
        return self._db.stream(
            "SELECT p.profile_id, p.version, CAST(p.properties AS TEXT), p.permission_level, p.legislation, "
            "p.created_at, p.modified_at, (SELECT count(*) FROM profile x WHERE x.replaced_by = p.profile_id) "
            "FROM wanted_merging w JOIN profile p ON p.profile_id = w.profile_id WHERE p.replaced_by IS NULL",
            MERGING_SCHEMA,
            staged=("wanted_merging", profile_ids),
        )

    def merged_profiles(self, numbers: list[int]) -> pa.RecordBatchReader:
        """The profiles that these batches merged into others."""
        listed = ", ".join(str(int(number)) for number in numbers)
        return self._db.stream(
            "SELECT m.batch_no, m.profile_id, m.living_id, CASE WHEN p.replaced_by = m.living_id AND "
            "p.version = c.version THEN 1 ELSE 0 END FROM merge_log m LEFT JOIN profile p "
            "ON p.profile_id = m.profile_id LEFT JOIN change_log c ON c.batch_no = m.batch_no "
            f"AND c.profile_id = m.profile_id WHERE m.living_id <> m.profile_id AND m.batch_no IN ({listed})",
            MERGED_SCHEMA,
        )

    def replaced_profiles(self, profile_id: str) -> list[str]:
        """The ids of the profiles that were merged into this one, directly or through others."""
        found = self._db.query(
            f"{LIVING} SELECT profile_id FROM living WHERE living_id = $1 ORDER BY profile_id LIMIT 1000000",
            (profile_id,),
            _ID,
        )
        return [str(row["profile_id"]) for row in found]

    def _has_merges(self) -> bool:
        """Whether any profile was ever merged into another: else nothing has to follow the links."""
        return bool(
            self._db.query(
                "SELECT count(*) AS one FROM (SELECT 1 FROM profile WHERE replaced_by IS NOT NULL LIMIT 1) x", (), _ONE
            )[0]["one"]
        )

    # -- writing ----------------------------------------------------------------------------------------------------
    def _record_merge(self, batch: Batch) -> tuple[int, int]:
        """The number of the batch that holds the merges, and the database's time."""
        made = self._db.query(
            "INSERT INTO batch (batch_id, run_id, connection, goal_id, config_hash, counts, applied_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, {now}) RETURNING batch_no, applied_at",
            (
                hashlib.sha256(f"merge\x1f{batch.batch_id}".encode()).hexdigest()[:32],
                batch.run_id,
                batch.connection,
                batch.goal_id,
                batch.config_hash,
                json.dumps({"merged": batch.merged}),
            ),
            _MADE,
        )[0]
        return int(made["batch_no"]), int(made["applied_at"])

    def _write_merges(self, batch: Batch, number: int, now: int, log: Sink) -> int:
        """Profiles and their log; returns how many are not what *link* read."""
        living, gone = self._db.sink(LIVE_ON, {"at": now}), self._db.sink(REPLACE, {"at": now})
        merges = self._db.sink(LOG_MERGE, {"batch_no": number})
        for planned in in_order(batch.merges(), "profile_id", scratch=batch.scratch):
            lives = pc.equal(planned.column("profile_id"), planned.column("living_id"))
            living.write(planned.filter(lives).select([name for name in LIVE_ON.columns if name != "at"]))
            gone.write(planned.filter(pc.invert(lives)).select(["profile_id", "version", "living_id"]))
            log.write(_log_entries(planned, lives))
            merges.write(
                pa.record_batch(
                    {
                        "profile_id": planned.column("profile_id"),
                        "living_id": planned.column("living_id"),
                        **{name: planned.column(f"old_{name}") for name in _AFTER},
                    }
                )
            )
        log.finish()
        merges.finish()
        return int(living.rows - living.finish() + gone.rows - gone.finish())

    def _move_events(self, number: int) -> None:
        """The events and purchases of replaced profiles go to the living one, unless it has the same event."""
        here = f"m.batch_no = {int(number)} AND m.living_id <> m.profile_id"
        self._db.execute(
            "INSERT INTO merged_event (batch_no, profile_id, type, event_id, event_batch) "
            "SELECT m.batch_no, e.profile_id, e.type, e.event_id, e.batch_no FROM merge_log m "
            f"JOIN event e ON e.profile_id = m.profile_id WHERE {here} AND NOT EXISTS (SELECT 1 FROM event x "
            "WHERE x.profile_id = m.living_id AND x.type = e.type AND x.event_id = e.event_id) "
            "AND e.profile_id = (SELECT max(n.profile_id) FROM merge_log n JOIN event y "
            "ON y.profile_id = n.profile_id WHERE n.batch_no = m.batch_no AND n.living_id = m.living_id "
            "AND y.type = e.type AND y.event_id = e.event_id)"
        )
        moved = (
            f"FROM (SELECT v.profile_id, v.type, v.event_id, m.living_id FROM merged_event v JOIN merge_log m "
            f"ON m.batch_no = v.batch_no AND m.profile_id = v.profile_id WHERE v.batch_no = {int(number)}) z "
        )
        for table, more in (("purchase", ""), ("event", f", batch_no = {int(number)}")):
            self._db.execute(
                f"UPDATE {table} SET profile_id = z.living_id{more} {moved} WHERE {table}.profile_id = z.profile_id "
                f"AND {table}.type = z.type AND {table}.event_id = z.event_id"
            )

    def _take_back_merges(self, numbers: list[int]) -> None:
        """What no document holds goes back for the profiles that are apart again: levels, times and events."""
        listed = ", ".join(str(int(number)) for number in numbers)
        apart = (
            "SELECT m.batch_no, m.profile_id, m.living_id FROM merge_log m JOIN profile p "
            f"ON p.profile_id = m.profile_id WHERE m.batch_no IN ({listed}) AND m.living_id <> m.profile_id "
            "AND p.replaced_by IS NULL"
        )
        self._db.execute(
            "UPDATE profile SET permission_level = z.permission_level, legislation = z.legislation, "
            "created_at = z.created_at FROM (SELECT l.* FROM merge_log l WHERE l.living_id = l.profile_id AND EXISTS "
            f"(SELECT 1 FROM ({apart}) a WHERE a.batch_no = l.batch_no AND a.living_id = l.profile_id)) z "
            "WHERE profile.profile_id = z.profile_id"
        )
        back = (
            "FROM (SELECT v.batch_no AS merged_in, v.profile_id, v.type, v.event_id, v.event_batch, a.living_id "
            f"FROM merged_event v JOIN ({apart}) a ON a.batch_no = v.batch_no AND a.profile_id = v.profile_id) z "
        )
        here = "{0}.profile_id = z.living_id AND {0}.type = z.type AND {0}.event_id = z.event_id"
        untouched = (
            "EXISTS (SELECT 1 FROM event e WHERE e.profile_id = z.living_id AND e.type = z.type "
            "AND e.event_id = z.event_id AND e.batch_no = z.merged_in)"
        )
        self._db.execute(
            f"UPDATE purchase SET profile_id = z.profile_id {back} WHERE {here.format('purchase')} AND {untouched}"
        )
        self._db.execute(
            f"UPDATE event SET profile_id = z.profile_id, batch_no = z.event_batch {back} "
            f"WHERE {here.format('event')} AND event.batch_no = z.merged_in"
        )


def merging_part(batch: Batch) -> Batch:
    """The identifiers and answers of the merges, to be written the way a batch's are."""
    return replace(batch, identifiers=batch.merge_identifiers, consent=batch.merge_consent)


def _log_entries(planned: pa.RecordBatch, lives: pa.BooleanArray) -> pa.RecordBatch:
    return pa.record_batch(
        {
            "profile_id": planned.column("profile_id"),
            "version": pc.add(planned.column("version"), 1),
            "kind": pc.if_else(lives, "merged", "replaced"),
            "changes": planned.column("changes"),
        }
    )
