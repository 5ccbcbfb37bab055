"""What a store can do for exports: streams of profiles, the outbox, and how far each goal has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from crosswalk.store.base import Lease

STORED_PROFILE_SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()),
        ("properties", pa.string()),  # {property_id: [values]}, values canonical text
        ("permission_level", pa.int64()),
        ("legislation", pa.string()),
        ("domain_group", pa.string()),
        ("created_at", pa.int64()),
        ("modified_at", pa.int64()),
        ("changed", pa.int64()),  # 1 when something changed after the cursor, or without one
    ]
)
PROFILE_ID_SCHEMA = pa.schema([("profile_id", pa.string())])
EXPORTED_EVENT_SCHEMA = pa.schema(
    [
        ("profile_id", pa.string()),
        ("type", pa.string()),
        ("event_id", pa.string()),
        ("date", pa.int64()),
        ("data", pa.string()),
    ]
)
OUTBOX_STATES = ("planned", "sending", "unknown", "sent", "failed")


@dataclass(frozen=True)
class Position:
    """A place in the change log.

    Attributes:
        batch_no: the last batch that is committed.
        read_at: the database's time when that was read, epoch milliseconds.
    """

    batch_no: int
    read_at: int


@dataclass(frozen=True)
class Cursor:
    """How far a goal's last good export came, and with which configuration."""

    position: Position
    config_hash: str


@dataclass(frozen=True)
class OutboxFile:
    """A file of an export: where it goes, and what makes it whole."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Export:
    """One export of one goal, as it is written down before it is sent.

    Attributes:
        run_id: the run.
        goal_id: the goal's number.
        cursor: what the goal has seen when this is sent.
        counts: the goal's counts.
        files: what is sent.
    """

    run_id: str
    goal_id: int
    cursor: Cursor
    counts: dict[str, Any]
    files: list[OutboxFile]


@dataclass(frozen=True)
class OutboxEntry:
    """An export in the outbox.

    ``planned``: written down. ``sending``: begun. ``unknown``: it broke where the destination may have taken it.
    ``sent``: the destination acknowledged it. ``failed``: the destination has not got it.
    """

    outbox_no: int
    state: str
    export: Export


class ExportStore(Protocol):
    """The part of ``Store`` that exports use."""

    def position(self) -> Position:
        """The place in the change log up to which everything is committed."""

    def export_cursor(self, goal_id: int) -> Cursor | None:
        """How far the goal's last good export came; None before the first."""

    def stored_profiles(self, since: Position | None = None) -> pa.RecordBatchReader:
        """All living profiles (STORED_PROFILE_SCHEMA); ``since`` says which of them count as changed."""

    def exported_ids(self, goal_id: int) -> pa.RecordBatchReader:
        """The profiles that the goal has sent, or is about to send (PROFILE_ID_SCHEMA)."""

    def stored_events(
        self, since: int | None, until: int | None, profiles: pa.RecordBatchReader | None = None
    ) -> pa.RecordBatchReader:
        """The living events (EXPORTED_EVENT_SCHEMA) from a moment on and before another, in epoch milliseconds.

        ``profiles`` (PROFILE_ID_SCHEMA) says whose; without it, those of all profiles.
        """

    def outbox(self, goal_id: int) -> list[OutboxEntry]:
        """The goal's exports that are neither sent nor failed, and the last one that was sent; oldest first."""

    def plan_export(self, export: Export, new_ids: Callable[[], pa.RecordBatchReader], lease: Lease) -> int:
        """Write an export down, with the profiles that the goal sends for the first time; returns its number."""

    def begin_sending(self, outbox_no: int, lease: Lease) -> None:
        """Note that the destination may get it from now on; LeaseLostError when another run took over."""

    def acknowledge(self, entry: OutboxEntry, goal: str, lease: Lease) -> None:
        """Note that it is sent: state, cursor, exchange counts and the result of the goal commit together."""

    def give_up(self, outbox_no: int, state: str) -> None:
        """Note that it is not sent (``failed``) or that nobody knows (``unknown``)."""

    def move_cursor(self, goal_id: int, cursor: Cursor, lease: Lease) -> None:
        """Note that there was nothing to send up to here."""
