"""When the first step of a later goal must not start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from crosswalk.operators.first_step import FirstStepOperator
from crosswalk.operators.scan import ScanFilesOperator
from crosswalk.operators.select_profiles import SelectProfilesOperator

from .conftest import Steps

First = Callable[..., FirstStepOperator]


@pytest.fixture(params=[ScanFilesOperator, SelectProfilesOperator], ids=lambda operator: operator.step)
def first(request: pytest.FixtureRequest) -> First:
    """Makes the first task of the goal ``returns``, for each kind of first step."""
    operator = request.param
    return lambda **extra: operator(
        task_id=operator.step, connection_file="/x/s.yaml", connection="shop", goal="returns", **extra
    )


def test_a_later_goal_runs_when_the_log_in_succeeded(first: First, fake_steps: Steps, context: dict[str, Any]) -> None:
    assert first(authenticated_by="authenticate").execute(context) == {"rows_read": 3}


@pytest.mark.parametrize("state", ["failed", "upstream_failed", "skipped", None])
def test_a_later_goal_is_skipped_when_the_log_in_did_not_succeed(
    state: str | None, first: First, fake_steps: Steps, context: dict[str, Any]
) -> None:
    context["task_states"]["authenticate"] = state
    with pytest.raises(AirflowSkipException, match="authenticate did not succeed"):
        first(authenticated_by="authenticate").execute(context)
    assert fake_steps.calls == []


@pytest.mark.parametrize("state", ["failed", "held", "stale"])
def test_stop_on_failure_skips_what_follows_a_goal_that_did_not_end_well(
    state: str, first: First, fake_steps: Steps, context: dict[str, Any]
) -> None:
    fake_steps.goals = [{"goal": "orders", "state": state, "result": {}}]
    with pytest.raises(AirflowSkipException, match="goal orders did not end well"):
        first(authenticated_by="authenticate", stop_after=("orders",)).execute(context)


@pytest.mark.parametrize("state", ["done", "done_with_rejects", "nothing_new", "skipped", "planned"])
def test_stop_on_failure_lets_the_next_goal_run_after_a_good_one(
    state: str, first: First, fake_steps: Steps, context: dict[str, Any]
) -> None:
    fake_steps.goals = [{"goal": "orders", "state": state, "result": {}}]
    first(authenticated_by="authenticate", stop_after=("orders",)).execute(context)
    assert fake_steps.calls == [(first().step, "returns")]


def test_without_stop_on_failure_a_failed_goal_stops_no_other(
    first: First, fake_steps: Steps, context: dict[str, Any]
) -> None:
    fake_steps.goals = [{"goal": "orders", "state": "failed", "result": {}}]
    first(authenticated_by="authenticate").execute(context)
    assert fake_steps.calls == [(first().step, "returns")]
