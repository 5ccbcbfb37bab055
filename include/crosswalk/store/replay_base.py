"""What a store can do for replaying what a run set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

PLACES_SCHEMA = pa.schema([("file", pa.string()), ("line", pa.int64())])


@dataclass(frozen=True)
class OpenFile:
    """A file that a run read, as it was then.

    Attributes:
        path: path on the source.
        role: ``primary`` or the name of the linked file block.
        size: bytes.
        modified: modification time on the source, epoch seconds.
        sha256: of its content.
        seen_at: our clock when it was last looked at, epoch seconds.
        rejects: how much of it was set aside and not replayed since.
    """

    path: str
    role: str
    size: int
    modified: int
    sha256: str
    seen_at: float
    rejects: int


class ReplayStore(Protocol):
    """The part of ``Store`` that replays use. What was replayed by a run that was undone counts as not replayed."""

    def open_files(self, run_id: str, goal_id: int) -> list[OpenFile]:
        """The files that a run read for a goal, oldest first; none when it applied nothing or was undone."""

    def open_places(self, run_id: str, goal_id: int) -> pa.RecordBatchReader:
        """Where a run set aside something for a goal that was not replayed since (PLACES_SCHEMA)."""

    def replays(self, run_id: str, goal_id: int) -> list[str]:
        """The runs that replayed rejects of a run."""

    def replay_outcome(
        self, run_id: str, replay_id: str, planned: dict[str, list[str]] | None = None
    ) -> list[dict[str, Any]]:
        """By goal and reason: how many rejects of a run a replay read again, and how many of them it set aside again.

        Of a replay that only plans, ``planned`` says which files of which goal it reads.
        """
