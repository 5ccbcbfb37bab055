"""What a store can do. Steps speak to this interface; ``sqlite.py`` and ``postgres.py`` hold only what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

MATCH_SCHEMA = pa.schema([("property_id", pa.string()), ("value", pa.string())])
MATCHED_SCHEMA = pa.schema([("property_id", pa.string()), ("value", pa.string()), ("profile_id", pa.string())])
PROFILE_SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()),
        ("version", pa.int64()),
        ("properties", pa.string()),  # {property_id: [values]}, values canonical text
        ("permission_level", pa.int64()),
    ]
)
ROW_STATE_SCHEMA = pa.schema(
    [
        ("row_key", pa.binary()),  # 16 bytes
        ("row_hash", pa.binary()),  # 16 bytes, of the row last applied
        ("profile_id", pa.string()),
        ("amounts", pa.string()),  # JSON {property_id: "amount"} that `sum` added for this row, or NULL
    ]
)
PLANNED_PROFILE_SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()),
        ("is_new", pa.bool_()),
        ("outcome", pa.string()),  # created, updated, unchanged
        ("version", pa.int64()),  # as read by link; 0 for new
        ("properties", pa.string()),  # the final document
        ("changes", pa.string()),  # {property_id: {before, after, file, line}}; NULL when unchanged
    ]
)
PLANNED_IDENTIFIER_SCHEMA = pa.schema(
    [("profile_id", pa.string()), ("property_id", pa.string()), ("value", pa.string()), ("action", pa.string())]
)  # action: add, remove; value normalised
CONSENT_SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()),
        ("objective", pa.string()),
        ("state", pa.string()),  # granted, refused
        ("file", pa.string()),
        ("line", pa.int64()),
    ]
)

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

Reader = Callable[[], pa.RecordBatchReader]


@dataclass(frozen=True)
class FileRecord:
    """One source file as the ledger knows it (the last time it was applied).

    Attributes:
        path: path on the source.
        size: bytes.
        modified: modification time on the source, epoch seconds.
        sha256: of the content as it lies on the source.
        seen_at: our clock when size and time were last looked at, epoch seconds.
        role: ``primary`` or the name of the linked file block.
        undone: its import was undone; it comes again only when it changed or on a full run.
    """

    path: str
    size: int
    modified: int
    sha256: str
    seen_at: float
    role: str = "primary"
    undone: bool = False


@dataclass(frozen=True)
class GoalState:
    """What the store knows of one goal: number, state version (moves with each applied batch), last configuration."""

    goal_id: int
    state_version: int
    config_hash: str | None
    last_good_run_at: str | None
    last_good_run_id: str | None
    files: dict[str, FileRecord] = field(default_factory=dict)


@dataclass(frozen=True)
class Lease:
    """The right of one run to write for one connection, under a fencing number that only grows."""

    connection: str
    run_id: str
    fencing: int


@dataclass(frozen=True)
class Batch:
    """Everything that one goal of one run commits, in one transaction.

    The readers are called inside ``apply``; each gives a fresh Arrow reader of the schema named in this module.
    """

    batch_id: str
    run_id: str
    connection: str
    goal: str
    lease: Lease
    goal_id: int
    state_version: int
    config_hash: str
    files: list[FileRecord]
    counts: dict[str, Any]
    profiles: Reader
    identifiers: Reader
    row_state: Reader
    consent: Reader
    quarantine: Reader


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
    """

    batch_no: int
    batch_id: str
    goal_id: int
    goal: str
    state_version: int
    is_logged: bool
    undoes: int | None
    undone_by: str | None


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


@dataclass(frozen=True)
class Applied:
    """The batch is in the store. ``repeated``: it already was, nothing was written now."""

    batch_id: str
    repeated: bool = False


@dataclass(frozen=True)
class Moved:
    """Something that *link* read has changed since; nothing was written.

    ``reasons`` counts by kind: ``version``, ``identifier``, ``goal_state``, ``undone``, ``row_state``.
    """

    reasons: dict[str, int]


class Store(Protocol):
    """The profile store. One instance per thread; safe for many processes."""

    uri: str

    def migrate(self) -> None:
        """Create or upgrade the tables; safe to call by several processes at once."""

    def close(self) -> None:
        """Give the connection back."""

    # -- runs -------------------------------------------------------------------------------------------------------
    def begin_run(self, run_id: str, connection: str, mode: str, trigger: str, config_hash: str) -> None:
        """Record that a run started (state ``running``); a second call for the same run keeps the first start."""

    def finish_run(self, run_id: str, state: str, error: str | None = None) -> None:
        """Record the run's final state and end time."""

    def save_goal_run(self, run_id: str, goal: str, state: str, result: dict[str, Any]) -> None:
        """Record a goal's state and result (counts, warnings, errors, timings); the last call wins."""

    def run(self, run_id: str) -> dict[str, Any] | None:
        """One run with its goals, as plain data; None when unknown."""

    def runs(self, connection: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Runs, newest first, with their goals."""

    def mark_reported(self, run_id: str) -> bool:
        """Claim the sending of the run's mail; True for the first caller only."""

    # -- leases -----------------------------------------------------------------------------------------------------
    def take_lease(self, connection: str, run_id: str, seconds: int) -> Lease:
        """Take, or take again, the connection's lease on database time; LeaseTakenError when another run holds it."""

    def renew_lease(self, lease: Lease, seconds: int) -> None:
        """Prolong; LeaseLostError when it passed to another run."""

    def release_lease(self, connection: str, run_id: str) -> None:
        """Give it up when this run holds it."""

    # -- goals and files --------------------------------------------------------------------------------------------
    def goal_state(self, connection: str, goal: str) -> GoalState:
        """The goal's state and its ledger of files; makes the goal's number on first use."""

    def note_file_seen(self, goal_id: int, file: FileRecord) -> None:
        """Remember new size, time and look of a file whose content is unchanged."""

    # -- bulk -------------------------------------------------------------------------------------------------------
    def row_state(self, goal_id: int) -> pa.RecordBatchReader:
        """The goal's row state (ROW_STATE_SCHEMA)."""

    def match_identifiers(self, values: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Which profiles own these normalised values (MATCH_SCHEMA in, MATCHED_SCHEMA out; misses are absent)."""

    def read_profiles(self, profile_ids: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The living profiles of these ids (one column ``profile_id`` in, PROFILE_SCHEMA out)."""

    def apply(self, batch: Batch) -> Applied | Moved:
        """Commit a batch: checks lease, batch id, versions, identifiers and goal state in the same transaction."""

    # -- undo -------------------------------------------------------------------------------------------------------
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

    def undo(self, undo: Undo) -> Applied | Moved:
        """Take batches back: checks lease, batches, versions, identifiers and goal states in the same transaction."""

    # -- people -----------------------------------------------------------------------------------------------------
    def find_profile(self, property_id: str, value: str) -> dict[str, Any] | None:
        """The profile that owns a normalised identifier value, with its document; None when nobody does."""

    def quarantine(self, run_id: str, limit: int | None = None) -> list[dict[str, Any]]:
        """What a run set aside, in order of file and line."""

    def save_quarantine(self, run_id: str, goal: str, rows: pa.RecordBatchReader) -> None:
        """Replace what a run's goal set aside, for runs that apply nothing (plan, failed)."""

    def profile_changes(self, profile_id: str, limit: int | None = 100) -> list[dict[str, Any]]:
        """What changed a profile, newest first: run, goal and, per property, before, after, file and line.

        ``undone_by`` names the run that took the batch back.
        """

    def unique_profiles(self, connection: str) -> dict[str, int]:
        """Distinct profiles ever exchanged, by direction (``in``, ``out``)."""

    def purge(self, older_than_days: int) -> dict[str, int]:
        """Delete change log, quarantine and runs older than so many days; returns rows by table."""
