"""Groups: reading them in bulk for *link*, *map*, segments and exports, and one at a time for people."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from crosswalk.store.backend import Backend
from crosswalk.store.base import MATCHED_SCHEMA, PROFILE_SCHEMA, Batch
from crosswalk.store.collection import INSERT_GROUP, LOG_CHANGE, NEW_GROUP_IDENTIFIER
from crosswalk.store.group_base import STORED_GROUP_SCHEMA
from crosswalk.store.ledger import iso

TEXT, INT = pa.string(), pa.int64()
_GROUP = pa.schema(
    [("group_id", TEXT), ("version", INT), ("properties", TEXT), ("created_at", INT), ("modified_at", INT)]
)
_COUNT = pa.schema([("count", INT)])


class Groups:
    """Groups; see ``GroupStore`` for what each method promises."""

    _db: Backend

    def match_groups(self, values: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Which groups own these values."""
        return self._db.stream(
            "SELECT i.property_id, i.value, i.group_id FROM wanted_value w JOIN group_identifier i "
            "ON i.property_id = w.property_id AND i.value = w.value",
            MATCHED_SCHEMA,
            staged=("wanted_value", values),
        )

    def read_groups(self, group_ids: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The groups of these ids; nobody has to consent to what is kept about a group."""
        return self._db.stream(
            "SELECT g.group_id, g.version, CAST(g.properties AS TEXT), 2 "
            "FROM wanted_profile w JOIN group_ g ON g.group_id = w.profile_id",
            PROFILE_SCHEMA,
            staged=("wanted_profile", group_ids),
        )

    def stored_groups(self) -> pa.RecordBatchReader:
        """All groups by the values that profiles know them by."""
        return self._db.stream(
            "SELECT i.property_id, i.value, CAST(g.properties AS TEXT) FROM group_identifier i "
            "JOIN group_ g ON g.group_id = i.group_id",
            STORED_GROUP_SCHEMA,
        )

    def group_storage(self) -> int:
        """Bytes that the documents of all groups take."""
        found = self._db.query(
            "SELECT CAST(coalesce(sum(octet_length(CAST(properties AS TEXT))), 0) AS BIGINT) AS count FROM group_",
            (),
            _COUNT,
        )
        return int(found[0]["count"])

    def find_group(self, property_id: str, value: str) -> dict[str, Any] | None:
        """The group with this identifier value."""
        found = self._db.query(
            "SELECT g.group_id, g.version, CAST(g.properties AS TEXT), g.created_at, g.modified_at "
            "FROM group_identifier i JOIN group_ g ON g.group_id = i.group_id "
            "WHERE i.property_id = $1 AND i.value = $2",
            (property_id, value),
            _GROUP,
        )
        if not found:
            return None
        row = found[0]
        times = {key: iso(row[key]) for key in ("created_at", "modified_at")}
        return {**row, "properties": json.loads(row["properties"]), **times}

    def _write_new_groups(self, batch: Batch, number: int, now: int) -> int:
        """Make the empty groups that profiles name; returns how many were there by now."""
        inserts = self._db.sink(INSERT_GROUP, {"version": 1, "created_at": now, "modified_at": now})
        values = self._db.sink(NEW_GROUP_IDENTIFIER)
        log = self._db.sink(LOG_CHANGE, {"batch_no": number, "version": 1, "kind": "created"})
        for rows in batch.new_groups():
            inserts.write(rows.select(["profile_id", "properties"]))
            values.write(rows.select(["property_id", "value", "profile_id"]))
            log.write(rows.select(["profile_id", "changes"]))
        inserts.finish()
        log.finish()
        return values.rows - values.finish()
