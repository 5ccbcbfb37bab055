from __future__ import annotations

import threading

import pytest

from crosswalk.core.errors import ConfigError, LeaseTakenError, RetryableError
from crosswalk.core.retry import RetryBudget, RetryPolicy, call_with_retry


class Flaky:
    """Fails a number of times, then answers."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures, self.calls = failures, 0
        self.error = error or RetryableError("The network is down.")

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


def test_a_passing_failure_is_tried_again_until_it_succeeds():
    waits: list[float] = []
    flaky = Flaky(3)
    assert call_with_retry(flaky, sleep=waits.append, chance=lambda: 1.0) == "done"
    assert flaky.calls == 4
    assert waits == [0.5, 1.0, 2.0]


def test_waits_vary_by_half_and_never_exceed_the_cap():
    policy = RetryPolicy(base_seconds=1, cap_seconds=8)
    assert [policy.wait_seconds(n, 0.0) for n in range(5)] == [0.5, 1, 2, 4, 4]
    assert [policy.wait_seconds(n, 1.0) for n in range(5)] == [1, 2, 4, 8, 8]
    assert policy.wait_seconds(100_000, 1.0) == 8


def test_a_wait_that_the_other_side_asks_for_is_kept_within_the_cap():
    policy = RetryPolicy(base_seconds=1, cap_seconds=8)
    assert policy.wait_seconds(0, 1.0, asked=5) == 5
    assert policy.wait_seconds(0, 1.0, asked=500) == 8
    error = RetryableError("Too many requests.")
    error.retry_after_seconds = 7.0  # type: ignore[attr-defined]
    waits: list[float] = []
    call_with_retry(Flaky(1, error), sleep=waits.append, chance=lambda: 0.0)
    assert waits == [7.0]


def test_the_last_error_is_raised_when_the_tries_are_used_up():
    flaky = Flaky(99)
    with pytest.raises(RetryableError, match="network is down") as raised:
        call_with_retry(flaky, policy=RetryPolicy(attempts=3), sleep=lambda _: None)
    assert flaky.calls == 3
    assert raised.value.__notes__ == ["Tried 3 times."]


@pytest.mark.parametrize("error", [ConfigError("Wrong."), LeaseTakenError("Busy."), ValueError("Oops.")])
def test_other_errors_are_not_tried_again(error):
    flaky = Flaky(1, error)
    with pytest.raises(type(error)):
        call_with_retry(flaky, sleep=lambda _: pytest.fail("slept"))
    assert flaky.calls == 1


def test_the_budget_of_a_run_ends_all_retries():
    budget = RetryBudget(retries=3)
    calls = 0
    for _ in range(5):
        flaky = Flaky(99)
        with pytest.raises(RetryableError):
            call_with_retry(flaky, budget=budget, sleep=lambda _: None)
        calls += flaky.calls
    assert budget.retries == 0
    assert calls == 5 + 3


def test_the_budget_also_limits_the_time_spent_waiting():
    budget = RetryBudget(retries=100, seconds=2.0)
    waits: list[float] = []
    with pytest.raises(RetryableError):
        call_with_retry(
            Flaky(99), policy=RetryPolicy(attempts=50), budget=budget, sleep=waits.append, chance=lambda: 1.0
        )
    assert waits == [0.5, 1.0]
    assert budget.seconds == pytest.approx(0.5)


def test_a_budget_shared_by_threads_is_never_overdrawn():
    budget, taken = RetryBudget(retries=200, seconds=1e9), []

    def spend() -> None:
        for _ in range(100):
            if budget.spend(1.0):
                taken.append(1)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 200


def test_each_retry_is_announced_before_it_is_waited_for():
    told: list[tuple[str, int, float]] = []
    call_with_retry(
        Flaky(2), sleep=lambda _: None, chance=lambda: 1.0, before_retry=lambda e, n, s: told.append((e.code, n, s))
    )
    assert told == [("try_again", 1, 0.5), ("try_again", 2, 1.0)]
