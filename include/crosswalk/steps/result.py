"""What a step hands back, and the vocabulary of states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# In order of gravity: a run's state is the gravest of its goals' states.
RUN_STATES = (
    "skipped",
    "nothing_new",
    "done",
    "planned",
    "done_with_rejects",
    "busy",
    "stale",
    "held",
    "failed",
)
EXIT_CODES = {
    "done": 0,
    "nothing_new": 0,
    "skipped": 0,
    "planned": 0,
    "failed": 1,
    "done_with_rejects": 3,
    "held": 4,
    "stale": 4,
    "busy": 5,
}


@dataclass(frozen=True)
class StepResult:
    """How a step ended.

    Attributes:
        state: None to go on; otherwise the goal ends here in this state, without an error.
        reason: why, for people.
        summary: counts and names only; small enough for XCom, no personal value.
    """

    state: str | None = None
    reason: str = ""
    summary: dict[str, Any] = field(default_factory=dict)


def gravest(states: list[str]) -> str:
    """The state of a run with these goal states; ``skipped`` when there is none."""
    return max(states, key=RUN_STATES.index, default="skipped")
