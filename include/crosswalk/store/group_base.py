"""What a store can do for groups: households, companies, accounts."""

from __future__ import annotations

from typing import Any, Protocol

import pyarrow as pa

STORED_GROUP_SCHEMA = pa.schema(
    [
        ("property_id", pa.string()),  # the identifier of the group's type
        ("value", pa.string()),  # what profiles know the group by
        ("properties", pa.string()),  # {property_id: [values]}, values canonical text
    ]
)


class GroupStore(Protocol):
    """The part of ``Store`` that groups use. They are planned and applied as profiles are (``Batch.collection``)."""

    def match_groups(self, values: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Which groups own these values (MATCH_SCHEMA in, MATCHED_SCHEMA out; misses are absent)."""

    def read_groups(self, group_ids: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The groups of these ids (one column ``profile_id`` in, PROFILE_SCHEMA out)."""

    def stored_groups(self) -> pa.RecordBatchReader:
        """All groups by the values that profiles know them by (STORED_GROUP_SCHEMA)."""

    def group_storage(self) -> int:
        """Bytes that the documents of all groups take."""

    def find_group(self, property_id: str, value: str) -> dict[str, Any] | None:
        """The group with this identifier value: ``group_id``, version, properties, times and number of changes."""
