"""What a store can do for merging: profiles with what a merge looks at, and the merges that a batch commits."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

MERGING_SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()),
        ("version", pa.int64()),
        ("properties", pa.string()),
        ("permission_level", pa.int64()),
        ("legislation", pa.string()),
        ("created_at", pa.int64()),
        ("modified_at", pa.int64()),
        ("merges", pa.int64()),  # how many profiles were merged into it before
    ]
)
PLANNED_MERGE_SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()),
        ("living_id", pa.string()),  # which profile lives on; itself for that one
        ("version", pa.int64()),  # as read
        ("properties", pa.string()),  # the merged document; of a profile that goes, the one it keeps
        ("changes", pa.string()),
        ("permission_level", pa.int64()),  # after
        ("legislation", pa.string()),
        ("created_at", pa.int64()),
        ("old_permission_level", pa.int64()),  # before
        ("old_legislation", pa.string()),
        ("old_created_at", pa.int64()),
    ]
)
MERGED_SCHEMA = pa.schema(
    [
        ("batch_no", pa.int64()),
        ("profile_id", pa.string()),
        ("living_id", pa.string()),
        ("is_whole", pa.int64()),  # 1: the profile is still as that merge left it
    ]
)


class MergeStore(Protocol):
    """The part of ``Store`` that merging uses."""

    def read_merging(self, profile_ids: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The living profiles of these ids with what a merge looks at (MERGING_SCHEMA)."""

    def merged_profiles(self, numbers: list[int]) -> pa.RecordBatchReader:
        """The profiles that these batches merged into others (MERGED_SCHEMA)."""

    def replaced_profiles(self, profile_id: str) -> list[str]:
        """The ids of the profiles that were merged into this one, directly or through others."""
