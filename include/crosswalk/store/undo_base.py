"""What a store can do for undoing a run: what the run left behind, what came after it, and taking it back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from crosswalk.store.base import Applied, Lease, Moved, Reader
    from crosswalk.store.logged import LoggedTable

UNDONE_SCHEMA = pa.schema(
    [
        ("batch_no", pa.int64()),
        ("profile_id", pa.string()),
        ("version", pa.int64()),  # after the change
        ("kind", pa.string()),  # created, updated
        ("changes", pa.string()),
        ("stored_version", pa.int64()),  # of the profile as it is now; NULL when it is gone
        ("properties", pa.string()),
    ]
)
LATER_SCHEMA = pa.schema(
    [
        ("batch_no", pa.int64()),
        ("run_id", pa.string()),
        ("kind", pa.string()),
        ("undone_by", pa.string()),  # the run that undid this batch
        ("profile_id", pa.string()),
        ("changes", pa.string()),
    ]
)
AMOUNTS_SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()),
        ("amounts", pa.string()),
        ("before_profile_id", pa.string()),
        ("before_amounts", pa.string()),
    ]
)
PROFILE_IDS_SCHEMA = pa.schema([("profile_id", pa.string())])
ANSWERS_SCHEMA = pa.schema(
    [("profile_id", pa.string()), ("objective", pa.string()), ("answered_since", pa.int64())]  # 1 or 0
)
PLANNED_UNDO_SCHEMA = pa.schema(
    [
        ("batch_no", pa.int64()),  # which of the undone batches the entry goes with
        ("profile_id", pa.string()),
        ("action", pa.string()),  # restored, removed
        ("version", pa.int64()),  # as read
        ("properties", pa.string()),  # the final document; NULL when removed
        ("changes", pa.string()),
    ]
)


@dataclass(frozen=True)
class AppliedBatch:
    """A batch that is in the store: one goal of one run.

    Attributes:
        batch_no: its number.
        batch_id: its id.
        goal_id: the goal's number.
        goal: the goal's name.
        state_version: of the goal, as it is now.
        is_logged: whether the change log still has it.
        undoes: the number of the batch that it undid; None for an import.
        undone_by: the run that undid it.
        collection: whether it wrote profiles or groups.
    """

    batch_no: int
    batch_id: str
    goal_id: int
    goal: str
    state_version: int
    is_logged: bool
    undoes: int | None
    undone_by: str | None
    collection: str = "profile"


@dataclass(frozen=True)
class Undo:
    """What the undo of a run commits, in one transaction: one new batch for each batch that it undoes.

    The readers are called inside ``undo``.
    """

    run_id: str
    undone_run_id: str
    connection: str
    lease: Lease
    batches: list[AppliedBatch]
    counts: dict[str, dict[str, Any]]  # by goal
    profiles: Reader
    identifiers: Reader
    consent: Reader
    quarantine: Reader
    logged: dict[str, Reader] = field(default_factory=dict)  # by table of ``logged.py``: ``LoggedTable.planned_schema``
    scratch: Path | None = None


class UndoStore(Protocol):
    """The part of ``Store`` that undo uses."""

    def applied_batches(self, run_id: str) -> list[AppliedBatch]:
        """What a run committed, in the order of the commits."""

    def undone_changes(self, numbers: list[int]) -> pa.RecordBatchReader:
        """The change log of these batches beside the profiles as they are now (UNDONE_SCHEMA)."""

    def later_changes(self, numbers: list[int], profile_ids: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """What other batches changed on these profiles since the first of these batches (LATER_SCHEMA)."""

    def added_amounts(self, numbers: list[int]) -> pa.RecordBatchReader:
        """What rows that these batches wrote last had added, now and before (AMOUNTS_SCHEMA)."""

    def shared_profiles(self, numbers: list[int]) -> pa.RecordBatchReader:
        """Profiles that these batches created and that rows of other batches belong to (PROFILE_IDS_SCHEMA)."""

    def answers(self, numbers: list[int]) -> pa.RecordBatchReader:
        """The answers of these batches, and whether a later batch answered again (ANSWERS_SCHEMA)."""

    def written_rows(self, numbers: list[int]) -> dict[int, int]:
        """How many rows' state goes back when a batch is undone, by batch."""

    def made_rows(self, table: LoggedTable, numbers: list[int]) -> pa.RecordBatchReader:
        """Rows of a logged table that these batches made (``LoggedTable.made_schema``)."""

    def row_history(self, table: LoggedTable, numbers: list[int]) -> pa.RecordBatchReader:
        """What became of rows that these batches wrote, overwrote or removed (``LoggedTable.history_schema``)."""

    def sent_files(self, run_id: str) -> int:
        """How many files a run's exports have sent, or may have sent."""

    def undo(self, undo: Undo) -> Applied | Moved:
        """Take batches back: checks lease, batches, versions, identifiers and goal states in the same transaction."""
