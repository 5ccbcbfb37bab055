"""What a store can do. Steps speak to this interface; ``sqlite.py`` and ``postgres.py`` hold only what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from crosswalk.store.export_base import ExportStore
from crosswalk.store.group_base import GroupStore
from crosswalk.store.merge_base import PLANNED_MERGE_SCHEMA, MergeStore
from crosswalk.store.replay_base import ReplayStore
from crosswalk.store.undo_base import UndoStore

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
EVENT_KEY_SCHEMA = pa.schema([("profile_id", pa.string()), ("type", pa.string()), ("event_id", pa.string())])
STORED_EVENT_SCHEMA = pa.schema(
    [
        *EVENT_KEY_SCHEMA,
        ("date", pa.int64()),  # epoch milliseconds
        ("priority", pa.int64()),  # 0 low, 1 high
        ("batch_no", pa.int64()),  # of the batch that wrote it last: what it is recognised by when it is replaced
        ("data", pa.string()),  # {field: "value" | ["value", ...] | [{field: ...}, ...]}, values canonical text
    ]
)
EVENT_HEAD_SCHEMA = pa.schema([field for field in STORED_EVENT_SCHEMA if field.name != "data"])
EVENT_GROWTH_SCHEMA = pa.schema([("profile_id", pa.string()), ("added", pa.int64())])
PLANNED_EVENT_SCHEMA = pa.schema(
    [
        *STORED_EVENT_SCHEMA,  # batch_no as read by map; 0 for new
        ("expires_at", pa.int64()),  # epoch milliseconds; NULL: never
        ("file", pa.string()),
        ("line", pa.int64()),
        ("outcome", pa.string()),  # created, updated, removed
    ]
)
PURCHASE_SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        *EVENT_KEY_SCHEMA,
        ("bought_at", pa.int64()),  # epoch milliseconds
        ("items", pa.int64()),  # how many items of the event are this product; in a plan, 0 takes the purchase away
        ("batch_no", pa.int64()),  # of the batch that wrote it last; in a plan as read by map, 0 for new
    ]
)
PRODUCT_SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("name", pa.string()),
        ("details", pa.string()),  # JSON {field: value} of what a purchase says about it
        ("described_at", pa.int64()),  # when it was bought that way; the latest counts
    ]
)

NEW_GROUP_SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()),  # the group's own id
        ("property_id", pa.string()),  # the identifier of its type
        ("value", pa.string()),  # what profiles know it by
        ("properties", pa.string()),
        ("changes", pa.string()),
    ]
)
Reader = Callable[[], pa.RecordBatchReader]


def no_rows(schema: pa.Schema) -> Reader:
    """A reader of nothing."""
    return lambda: pa.RecordBatchReader.from_batches(schema, [])


NO_EVENTS, NO_PURCHASES, NO_PRODUCTS = map(no_rows, (PLANNED_EVENT_SCHEMA, PURCHASE_SCHEMA, PRODUCT_SCHEMA))
NO_GROUPS = no_rows(NEW_GROUP_SCHEMA)
NO_MERGES, NO_IDENTIFIERS, NO_CONSENT = map(no_rows, (PLANNED_MERGE_SCHEMA, PLANNED_IDENTIFIER_SCHEMA, CONSENT_SCHEMA))


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
    ``scratch`` is a folder for what is too large to sort in memory; None: the system's. ``merged`` profiles become part
    of others before the rest is written; the profiles of the plan are those after the merges.
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
    events: Reader = NO_EVENTS
    purchases: Reader = NO_PURCHASES
    products: Reader = NO_PRODUCTS
    replays: str | None = None  # the run whose rejects this one reads again
    collection: Literal["profile", "group"] = "profile"
    new_groups: Reader = NO_GROUPS
    merged: int = 0
    merges: Reader = NO_MERGES
    merge_identifiers: Reader = NO_IDENTIFIERS
    merge_consent: Reader = NO_CONSENT
    scratch: Path | None = None


@dataclass(frozen=True)
class Applied:
    """The batch is in the store. ``repeated``: it already was, nothing was written now.

    ``other_run`` wrote it; None when it was this run, now or before.
    """

    batch_id: str
    repeated: bool = False
    other_run: str | None = None


@dataclass(frozen=True)
class Moved:
    """Something that *link* read has changed since; nothing was written.

    ``reasons`` counts by kind: ``version``, ``identifier``, ``event``, ``purchase``, ``product``,
    ``goal_state``, ``undone``, ``row_state``.
    """

    reasons: dict[str, int]


class Store(ExportStore, ReplayStore, UndoStore, MergeStore, GroupStore, Protocol):
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
        """One run with its goals in the order they ended, as plain data; None when unknown."""

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

    # -- events -----------------------------------------------------------------------------------------------------
    def has_events(self) -> bool:
        """Whether there is any event or purchase at all; before the first there is nothing to look up."""

    def find_events(self, keys: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The events of these keys (EVENT_KEY_SCHEMA in, STORED_EVENT_SCHEMA out); expired ones are not there."""

    def find_crowd(self, growth: pa.RecordBatchReader, most: int) -> pa.RecordBatchReader:
        """All events of profiles that would have more than ``most`` (EVENT_GROWTH_SCHEMA in, EVENT_HEAD_SCHEMA out)."""

    def find_purchases(self, keys: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The purchases of these events (EVENT_KEY_SCHEMA in, PURCHASE_SCHEMA out)."""

    def profile_events(self, profile_id: str, limit: int = 20) -> list[dict[str, Any]]:
        """A profile's events, latest first: type, id, date and data."""

    def event_sources(self, profile_id: str) -> list[dict[str, Any]]:
        """Where a profile's events come from, latest first: type, id, date, and run, goal, file and line."""

    def products(self, by: Literal["count", "recent"] = "count", limit: int = 20) -> list[dict[str, Any]]:
        """Products bought most often (``count``) or most recently (``recent``), with count and last-bought time."""

    # -- people -----------------------------------------------------------------------------------------------------
    def find_profile(self, property_id: str, value: str) -> dict[str, Any] | None:
        """The profile that owns a normalised identifier value, with its document; None when nobody does."""

    def quarantine(self, run_id: str, limit: int | None = None) -> list[dict[str, Any]]:
        """What a run set aside, in order of file and line, and which run replayed it."""

    def rejects_with(self, text: str, limit: int) -> list[dict[str, Any]]:
        """What runs set aside whose raw text holds a text, whatever its case; newest run first, with ``raw``."""

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
