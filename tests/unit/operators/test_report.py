"""The end of a run: failing it, telling the connections after it, and the callback for runs that died."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import crosswalk.steps.report as report_step
from crosswalk.core.errors import ConfigError, FatalError
from crosswalk.operators.report import ReportCrash, ReportOperator, finished_uri
from crosswalk.steps import StepResult

from .conftest import Steps


def report() -> ReportOperator:
    return ReportOperator(task_id="report", connection_file="/x/s.yaml", connection="shop")


def announced(task: ReportOperator, context: dict[str, Any]) -> list[Any]:
    return context["outlet_events"][task.outlets[0]].events


@pytest.mark.parametrize("state", ["done", "done_with_rejects", "nothing_new"])
def test_a_run_that_ended_well_is_announced(state: str, fake_steps: Steps, context: dict[str, Any]) -> None:
    fake_steps.answers["report"] = StepResult(reason=state, summary={"orders": state, "mail": "not wanted"})
    task = report()
    task.execute(context)
    assert announced(task, context) == [(finished_uri("shop"), {"orders": state})]


@pytest.mark.parametrize("state", ["busy", "held", "stale", "skipped", "planned"])
def test_any_other_run_is_not_announced(state: str, fake_steps: Steps, context: dict[str, Any]) -> None:
    fake_steps.answers["report"] = StepResult(reason=state, summary={"orders": state})
    task = report()
    task.execute(context)
    assert announced(task, context) == []


def test_a_plan_is_not_announced(fake_steps: Steps, context: dict[str, Any]) -> None:
    context["params"]["mode"] = "plan"
    fake_steps.answers["report"] = StepResult(reason="nothing_new", summary={"orders": "nothing_new"})
    task = report()
    task.execute(context)
    assert announced(task, context) == []


def test_a_failed_goal_fails_the_run_with_its_own_message(fake_steps: Steps, context: dict[str, Any]) -> None:
    error = {"code": "mark_done", "message": "file /in/a.csv line 7: no right to rename."}
    fake_steps.goals = [
        {"goal": "orders", "state": "failed", "result": {"error": error}},
        {"goal": "returns", "state": "done", "result": {}},
    ]
    fake_steps.answers["report"] = StepResult(state="failed", reason="failed", summary={"orders": "failed"})
    task = report()
    with pytest.raises(FatalError) as caught:
        task.execute(context)
    assert 'goal "orders" failed [mark_done]: file /in/a.csv line 7: no right to rename.' in str(caught.value)
    assert "returns" not in str(caught.value)
    assert announced(task, context) == []


def test_the_log_says_what_became_of_each_goal_also_of_a_plan(
    fake_steps: Steps, context: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    context["params"]["mode"] = "plan"
    counts = {"rows_read": 1200, "created": 1100, "excluded": {"no_consent": 100}}
    fake_steps.goals = [{"goal": "orders", "state": "planned", "result": {"counts": counts}}]
    fake_steps.answers["report"] = StepResult(reason="planned", summary={"orders": "planned", "mail": "not wanted"})
    report().execute(context)
    logged = capsys.readouterr().out
    for line in (
        "Goal orders: planned",
        "rows read 1,200, created 1,100",
        "excluded: 100 no_consent",
        "Mail: not wanted",
    ):
        assert line in logged


@pytest.mark.parametrize("state", ["failed", "upstream_failed"])
def test_a_task_that_failed_without_a_trace_fails_the_run_too(
    state: str, fake_steps: Steps, context: dict[str, Any]
) -> None:
    context["task_states"].update({"orders.join": state, "report": "running"})
    fake_steps.answers["report"] = StepResult(reason="done", summary={"orders": "done"})
    with pytest.raises(FatalError, match=r"orders\.join"):
        report().execute(context)


def test_the_callback_reports_the_run_that_died(monkeypatch: pytest.MonkeyPatch, context: dict[str, Any]) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(report_step, "send_if_unreported", lambda request, **more: calls.append((request, more)))
    ReportCrash("/x/s.yaml", "shop", None)({**context, "reason": "task_failure"})
    request, more = calls[0]
    assert request.run_id == "shop__manual__2026-11-22T06:00:00+00:00"
    assert more["reason"] == "task_failure"


@pytest.mark.parametrize(
    ("error", "shown"),
    [(ConfigError("The connection file is broken."), "The connection file is broken."), (KeyError("jane"), "KeyError")],
)
def test_the_callback_never_raises_because_airflow_would_only_log_a_traceback(
    error: Exception,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    context: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(request: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(report_step, "send_if_unreported", fails)
    with caplog.at_level(logging.ERROR):
        ReportCrash("/x/s.yaml", "shop", None)(context)
    assert shown in caplog.text
    assert "jane" not in caplog.text
