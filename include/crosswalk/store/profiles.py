"""Reading profiles: in bulk for *link* and *map*, one at a time for people."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from crosswalk.store.backend import Backend
from crosswalk.store.base import MATCHED_SCHEMA, PROFILE_SCHEMA, ROW_STATE_SCHEMA
from crosswalk.store.ledger import iso
from crosswalk.store.merges import LIVING, Merges

TEXT, INT = pa.string(), pa.int64()
_PROFILE = pa.schema(
    [
        ("profile_id", TEXT),
        ("version", INT),
        ("properties", TEXT),
        ("permission_level", INT),
        ("legislation", TEXT),
        ("domain_group", TEXT),
        ("created_at", INT),
        ("modified_at", INT),
    ]
)
_CHANGE = pa.schema(
    [
        ("run_id", TEXT),
        ("connection", TEXT),
        ("goal", TEXT),
        ("batch_id", TEXT),
        ("version", INT),
        ("kind", TEXT),
        ("changes", TEXT),
        ("at", INT),
        ("undone_by", TEXT),
    ]
)
_COUNT = pa.schema([("count", INT)])


class Profiles(Merges):
    """Profiles and what links to them; see ``Store`` for what each method promises."""

    _db: Backend

    def row_state(self, goal_id: int) -> pa.RecordBatchReader:
        """The goal's row state; rows of a profile that was merged belong to the one that lives on."""
        if self._has_merges():
            return self._db.stream(
                f"{LIVING} SELECT r.row_key, r.row_hash, coalesce(l.living_id, r.profile_id), r.amounts "
                f"FROM row_state r LEFT JOIN living l ON l.profile_id = r.profile_id WHERE r.goal_id = {int(goal_id)}",
                ROW_STATE_SCHEMA,
            )
        sql = f"SELECT row_key, row_hash, profile_id, amounts FROM row_state WHERE goal_id = {int(goal_id)}"
        return self._db.stream(sql, ROW_STATE_SCHEMA)

    def match_identifiers(self, values: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Which living profiles own these values; a value that is asked for twice is answered twice."""
        return self._db.stream(
            "SELECT i.property_id, i.value, i.profile_id FROM wanted_value w JOIN profile_identifier i "
            "ON i.property_id = w.property_id AND i.value = w.value",
            MATCHED_SCHEMA,
            staged=("wanted_value", values),
        )

    def read_profiles(self, profile_ids: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The living profiles of these ids."""
        return self._db.stream(
            "SELECT p.profile_id, p.version, CAST(p.properties AS TEXT), p.permission_level "
            "FROM wanted_profile w JOIN profile p ON p.profile_id = w.profile_id WHERE p.replaced_by IS NULL",
            PROFILE_SCHEMA,
            staged=("wanted_profile", profile_ids),
        )

    def find_profile(self, property_id: str, value: str) -> dict[str, Any] | None:
        """The profile that owns a normalised identifier value, with its document and times."""
        found = self._db.query(
            "SELECT p.profile_id, p.version, CAST(p.properties AS TEXT), p.permission_level, p.legislation, "
            "p.domain_group, p.created_at, p.modified_at FROM profile_identifier i "
            "JOIN profile p ON p.profile_id = i.profile_id "
            "WHERE i.property_id = $1 AND i.value = $2 AND p.replaced_by IS NULL",
            (property_id, value),
            _PROFILE,
        )
        if not found:
            return None
        row = found[0]
        return {
            **row,
            "properties": json.loads(row["properties"]),
            "created_at": iso(row["created_at"]),
            "modified_at": iso(row["modified_at"]),
        }

    def profile_changes(self, profile_id: str, limit: int | None = 100) -> list[dict[str, Any]]:
        """What changed a profile, newest first: run, goal and, per property, before, after, file and line."""
        found = self._db.query(
            "SELECT b.run_id, b.connection, g.goal, b.batch_id, c.version, c.kind, CAST(c.changes AS TEXT), "
            "b.applied_at, coalesce(b.undone_by, '') "
            "FROM batch b JOIN change_log c ON c.batch_no = b.batch_no AND c.profile_id = $1 "
            "JOIN goal g ON g.goal_id = b.goal_id "
            f"ORDER BY b.batch_no DESC LIMIT {1 << 40 if limit is None else int(limit)}",
            (profile_id,),
            _CHANGE,
        )
        return [
            {
                **row,
                "changes": json.loads(row["changes"] or "{}"),
                "at": iso(row["at"]),
                "undone_by": row["undone_by"] or None,
            }
            for row in found
        ]

    def unique_profiles(self, connection: str) -> dict[str, int]:
        """Distinct profiles ever exchanged, by direction."""
        found = self._db.query(
            "SELECT count(DISTINCT s.profile_id) AS count FROM goal g JOIN row_state s ON s.goal_id = g.goal_id "
            "WHERE g.connection = $1 AND NOT EXISTS (SELECT 1 FROM batch b WHERE b.goal_id = g.goal_id "
            "AND b.collection = 'group')",
            (connection,),
            _COUNT,
        )
        sent = self._db.query(
            "SELECT count(DISTINCT e.profile_id) AS count FROM goal g JOIN exported_profile e ON e.goal_id = g.goal_id "
            "JOIN outbox o ON o.outbox_no = e.outbox_no AND o.state = 'sent' WHERE g.connection = $1",
            (connection,),
            _COUNT,
        )
        return {"in": int(found[0]["count"]), "out": int(sent[0]["count"])}
