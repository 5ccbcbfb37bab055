"""Tries again what failed for a passing reason: waits grow, vary and stop at a limit for the whole run.

Only ``RetryableError`` is tried again. A taken lease is not, although it may pass: a run that finds one ends at once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from crosswalk.core.errors import LeaseTakenError, RetryableError

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often one call is tried and how long to wait in between.

    Attributes:
        attempts: calls in all, the first included.
        base_seconds: the longest first wait; it doubles from try to try.
        cap_seconds: no single wait is longer, also when the other side asks for more.
    """

    attempts: int = 4
    base_seconds: float = 0.5
    cap_seconds: float = 30.0

    def wait_seconds(self, retry: int, chance: float, asked: float | None = None) -> float:
        """The wait before the given retry (0 is the first).

        Half of it is fixed and half by chance, so that callers that failed together do not come back together.

        Args:
            retry: number of the retry.
            chance: a number from 0 to 1.
            asked: what the other side asked for (``Retry-After``); waited for at least, within the cap.
        """
        grown = min(self.cap_seconds, self.base_seconds * 2.0 ** min(retry, 60))
        wait = grown * (0.5 + 0.5 * chance)
        return min(self.cap_seconds, max(wait, asked or 0.0))


@dataclass
class RetryBudget:
    """What one run may spend on retries altogether; shared by its calls and safe between threads.

    A system that fails every call would otherwise cost the full number of tries for each of thousands of calls.

    Attributes:
        retries: retries left.
        seconds: seconds of waiting left.
    """

    retries: int = 50
    seconds: float = 600.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def spend(self, seconds: float) -> bool:
        """Take one retry and its wait; False, and nothing taken, when either is not there."""
        with self._lock:
            if self.retries < 1 or self.seconds < seconds:
                return False
            self.retries -= 1
            self.seconds -= seconds
            return True


def call_with_retry(
    call: Callable[[], T],
    *,
    policy: RetryPolicy | None = None,
    budget: RetryBudget | None = None,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
    before_retry: Callable[[RetryableError, int, float], None] | None = None,
) -> T:
    """Call until it succeeds, fails for good, or the tries or the budget are used up.

    Args:
        call: what to do; must be safe to repeat.
        policy: tries and waits; the default when unset.
        budget: what the run has left for retries; unlimited when unset.
        sleep: waits for that many seconds.
        chance: gives a number from 0 to 1.
        before_retry: told the error, the number of the retry (1 is the first) and the wait, for example to log them
            or to connect anew.

    Raises:
        RetryableError: the last failure, with a note how often it was tried.
    """
    policy = policy or RetryPolicy()
    retry = 0
    while True:
        try:
            return call()
        except LeaseTakenError:
            raise
        except RetryableError as error:
            wait = policy.wait_seconds(retry, chance(), getattr(error, "retry_after_seconds", None))
            retry += 1
            if retry >= policy.attempts or (budget is not None and not budget.spend(wait)):
                error.add_note(f"Tried {retry} time{'s' if retry > 1 else ''}.")
                raise
            if before_retry is not None:
                before_retry(error, retry, wait)
            sleep(wait)
