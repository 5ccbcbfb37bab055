"""Every step operator: what it asks for, and how outcomes and errors become task states."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from crosswalk.core.errors import ConfigError, FatalError, RetryableError
from crosswalk.dag_builder.build import retry_policy
from crosswalk.operators.apply import ApplyPlanOperator
from crosswalk.operators.approve import ApprovePlanOperator
from crosswalk.operators.authenticate import AuthenticateOperator
from crosswalk.operators.export_files import ExportFilesOperator
from crosswalk.operators.finish import FinishFilesOperator
from crosswalk.operators.join import JoinFilesOperator
from crosswalk.operators.link import LinkIdentifiersOperator
from crosswalk.operators.map_properties import MapPropertiesOperator
from crosswalk.operators.process import ProcessRowsOperator
from crosswalk.operators.render_files import RenderFilesOperator
from crosswalk.operators.report import ReportOperator
from crosswalk.operators.scan import ScanFilesOperator
from crosswalk.operators.select_profiles import SelectProfilesOperator
from crosswalk.operators.step import StepOperator, run_id_of
from crosswalk.steps import STEPS, StepResult

from .conftest import Steps

OPERATORS = {
    "authenticate": AuthenticateOperator,
    "scan": ScanFilesOperator,
    "join": JoinFilesOperator,
    "process": ProcessRowsOperator,
    "link": LinkIdentifiersOperator,
    "map": MapPropertiesOperator,
    "approve": ApprovePlanOperator,
    "apply": ApplyPlanOperator,
    "finish": FinishFilesOperator,
    "select": SelectProfilesOperator,
    "render": RenderFilesOperator,
    "export": ExportFilesOperator,
    "report": ReportOperator,
}


@pytest.fixture(autouse=True)
def plain_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own logger goes around the standard one, which pytest reads."""
    monkeypatch.setattr(StepOperator, "log", logging.getLogger("crosswalk-test"), raising=False)


def make(operator: type[StepOperator], **extra: Any) -> StepOperator:
    return operator(
        task_id=operator.step, connection_file="/x/shop.yaml", connection="shop", tenant_folder="/x/tenant", **extra
    )


def test_there_is_one_operator_per_step() -> None:
    assert OPERATORS.keys() == STEPS.keys()
    assert all(operator.step == step for step, operator in OPERATORS.items())


@pytest.mark.parametrize("step", OPERATORS)
def test_an_operator_runs_its_step_and_hands_on_its_counts_only(
    step: str, fake_steps: Steps, context: dict[str, Any]
) -> None:
    assert make(OPERATORS[step], goal="orders").execute(context) == {"rows_read": 3}
    assert fake_steps.calls == [(step, "orders")]
    assert fake_steps.closed == 1


@pytest.mark.parametrize("operator", OPERATORS.values())
def test_a_constructor_opens_nothing_and_renders_nothing(operator: type[StepOperator]) -> None:
    task = make(operator, goal="orders")
    assert list(task.template_fields) == []
    assert task.connection_file == "/x/shop.yaml"  # a file that does not exist


def test_the_request_carries_the_params_of_the_run(fake_steps: Steps, context: dict[str, Any]) -> None:
    context["params"] = {
        "mode": "plan",
        "goals": ["orders"],
        "full": True,
        "since": "2026-01-01",
        "until": "2026-02-01",
        "limit": 10,
        "replay": "run-1",
    }
    make(JoinFilesOperator, goal="orders").execute(context)
    request = fake_steps.requests[0]
    assert (request.mode, request.goals, request.full) == ("plan", ("orders",), True)
    assert (request.since, request.until, request.limit) == ("2026-01-01", "2026-02-01", 10)
    assert request.replay == "run-1"
    assert request.connection_file == "/x/shop.yaml"
    assert request.tenant_folder == "/x/tenant"
    assert request.trigger == "manual"
    assert request.run_url.endswith("/dags/sftp__shop/runs/manual__2026-11-22T06%3A00%3A00%2B00%3A00")


@pytest.mark.parametrize(
    ("run_type", "trigger"),
    [("scheduled", "scheduled"), ("manual", "manual"), ("asset_triggered", "asset"), ("backfill", "scheduled")],
)
def test_the_request_says_what_started_the_run(
    run_type: str, trigger: str, fake_steps: Steps, context: dict[str, Any]
) -> None:
    context["dag_run"].run_type = run_type
    make(JoinFilesOperator).execute(context)
    assert fake_steps.requests[0].trigger == trigger


def test_runs_of_two_connections_at_the_same_time_have_different_ids() -> None:
    assert run_id_of("shop", "scheduled__2026-11-22T06:00:00+00:00") != run_id_of(
        "mail", "scheduled__2026-11-22T06:00:00+00:00"
    )


@pytest.mark.parametrize("state", ["nothing_new", "busy", "skipped", "planned", "held", "stale"])
def test_a_state_that_ends_the_goal_skips_the_task_with_its_reason(
    state: str, fake_steps: Steps, context: dict[str, Any]
) -> None:
    fake_steps.answers["scan"] = StepResult(state=state, reason="all files are unchanged")
    with pytest.raises(AirflowSkipException, match=f"{state}: all files are unchanged"):
        make(ScanFilesOperator, goal="orders").execute(context)


@pytest.mark.parametrize("error", [ConfigError("a"), RetryableError("b"), FatalError("c")])
def test_an_error_keeps_its_class_and_loses_its_traceback(
    error: Exception, fake_steps: Steps, context: dict[str, Any]
) -> None:
    fake_steps.answers["join"] = error
    with pytest.raises(type(error)) as caught:
        make(JoinFilesOperator, goal="orders").execute(context)
    assert caught.value is error
    assert "call" not in _names(caught.value)  # the step's own frame
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def _names(error: BaseException) -> list[str]:
    names, entry = [], error.__traceback__
    while entry:
        names.append(entry.tb_frame.f_code.co_name)
        entry = entry.tb_next
    return names


def test_an_unexpected_error_logs_the_places_but_not_the_text(
    fake_steps: Steps, context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    error = FatalError("Step join met an unexpected ValueError.", code="unexpected")
    try:
        raise ValueError("jane@example.org is not a number")
    except ValueError as cause:
        error.__cause__ = cause
    fake_steps.answers["join"] = error
    task = make(JoinFilesOperator, goal="orders")
    with caplog.at_level(logging.INFO), pytest.raises(FatalError) as caught:
        task.execute(context)
    logged = [record.getMessage() for record in caplog.records]
    assert any("ValueError at" in line and "test_step.py" in line for line in logged)
    assert not any("jane@example.org" in line for line in logged)
    assert caught.value.__cause__ is None


def test_at_debug_level_the_whole_chain_is_kept(
    fake_steps: Steps, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__LOGGING__LOGGING_LEVEL", "DEBUG")
    error = RetryableError("The line was cut.")
    error.__cause__ = OSError("broken pipe")
    fake_steps.answers["join"] = error
    task = make(JoinFilesOperator, goal="orders")
    with pytest.raises(RetryableError) as caught:
        task.execute(context)
    assert isinstance(caught.value.__cause__, OSError)
    assert "call" in _names(caught.value)


def test_a_network_error_that_nobody_translated_is_retried(fake_steps: Steps, context: dict[str, Any]) -> None:
    fake_steps.answers["join"] = ConnectionResetError("peer 10.0.0.1")
    with pytest.raises(RetryableError, match="ConnectionResetError") as caught:
        make(JoinFilesOperator, goal="orders").execute(context)
    assert "10.0.0.1" not in str(caught.value)


def test_an_error_that_nobody_expected_is_not_retried_and_shows_no_value(
    fake_steps: Steps, context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    fake_steps.answers["join"] = KeyError("jane@example.org")
    with caplog.at_level(logging.INFO), pytest.raises(FatalError, match="unexpected KeyError") as caught:
        make(JoinFilesOperator, goal="orders").execute(context)
    assert retry_policy().evaluate(caught.value, 1, 3).action.value == "fail"
    assert "KeyError at" in caplog.text
    assert "jane@example.org" not in caplog.text
    assert caught.value.__cause__ is None


def test_the_log_says_where_help_is(
    fake_steps: Steps, context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    fake_steps.answers["join"] = ConfigError("No.", code="no_such_folder")
    task = make(JoinFilesOperator, goal="orders")
    with caplog.at_level(logging.INFO), pytest.raises(ConfigError):
        task.execute(context)
    assert "docs/troubleshooting.md#no_such_folder" in caplog.text
