"""When the scan of a later goal must not start."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from crosswalk.operators.scan import ScanFilesOperator

from .conftest import Steps


def scan(**extra: Any) -> ScanFilesOperator:
    return ScanFilesOperator(task_id="scan", connection_file="/x/s.yaml", connection="shop", goal="returns", **extra)


def test_a_later_goal_runs_when_the_log_in_succeeded(fake_steps: Steps, context: dict[str, Any]) -> None:
    assert scan(authenticated_by="authenticate").execute(context) == {"rows_read": 3}


@pytest.mark.parametrize("state", ["failed", "upstream_failed", "skipped", None])
def test_a_later_goal_is_skipped_when_the_log_in_did_not_succeed(
    state: str | None, fake_steps: Steps, context: dict[str, Any]
) -> None:
    context["task_states"]["authenticate"] = state
    with pytest.raises(AirflowSkipException, match="authenticate did not succeed"):
        scan(authenticated_by="authenticate").execute(context)
    assert fake_steps.calls == []


@pytest.mark.parametrize("state", ["failed", "held", "stale"])
def test_stop_on_failure_skips_what_follows_a_goal_that_did_not_end_well(
    state: str, fake_steps: Steps, context: dict[str, Any]
) -> None:
    fake_steps.goals = [{"goal": "orders", "state": state, "result": {}}]
    with pytest.raises(AirflowSkipException, match="goal orders did not end well"):
        scan(authenticated_by="authenticate", stop_after=("orders",)).execute(context)


@pytest.mark.parametrize("state", ["done", "done_with_rejects", "nothing_new", "skipped", "planned"])
def test_stop_on_failure_lets_the_next_goal_run_after_a_good_one(
    state: str, fake_steps: Steps, context: dict[str, Any]
) -> None:
    fake_steps.goals = [{"goal": "orders", "state": state, "result": {}}]
    scan(authenticated_by="authenticate", stop_after=("orders",)).execute(context)
    assert fake_steps.calls == [("scan", "returns")]


def test_without_stop_on_failure_a_failed_goal_stops_no_other(fake_steps: Steps, context: dict[str, Any]) -> None:
    fake_steps.goals = [{"goal": "orders", "state": "failed", "result": {}}]
    scan(authenticated_by="authenticate").execute(context)
    assert fake_steps.calls == [("scan", "returns")]
