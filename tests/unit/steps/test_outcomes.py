"""Which module does a step of which kind of goal, and what the store keeps of its outcome."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crosswalk.config.connection import GOAL_KINDS
from crosswalk.core.errors import ConfigError, RetryableError
from crosswalk.steps import STEPS, RunContext, RunRequest, StepResult, open_run, record_outcome, where
from tests.unit.dag_builder.conftest import CONNECTION, EXPORT_GOAL, GROUP_GOAL, PROPERTIES

STEPS_OF_KIND = {
    "import_profiles": ("scan", "join", "process", "link", "map", "apply", "finish"),
    "import_groups": ("scan", "join", "process", "link", "map", "apply", "finish"),
    "export_profiles": ("select", "render", "export"),
}


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunContext]:
    """A run of a connection with one goal of each kind."""
    monkeypatch.setenv("CROSSWALK_STORE", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("CROSSWALK_STAGING", str(tmp_path / "staging"))
    (tmp_path / "tenant").mkdir()
    (tmp_path / "tenant" / "properties.yaml").write_text(PROPERTIES)
    file = tmp_path / "shop.yaml"
    file.write_text(CONNECTION.lstrip() + GROUP_GOAL.lstrip("\n") + EXPORT_GOAL.lstrip("\n"))
    request = RunRequest(str(file), "run-1", tenant_folder=str(tmp_path / "tenant"))
    with open_run(request, resolve=lambda conn_id: pytest.fail("nothing is contacted")) as opened:
        opened.store.begin_run("run-1", opened.name, "apply", "manual", opened.loaded.fingerprint)
        yield opened


@pytest.mark.parametrize("kind", GOAL_KINDS)
def test_every_step_of_a_kind_has_its_module(kind: Any) -> None:
    for step in STEPS_OF_KIND[kind]:
        module, function = where(step, kind).split(":")
        assert callable(getattr(importlib.import_module(f"crosswalk.steps.{module}"), function))


def test_the_goals_say_the_same_steps(context: RunContext) -> None:
    for goal in context.connection.goals:
        listed = STEPS_OF_KIND[goal.kind_of_goal]
        assert goal.steps == tuple(s for s in listed if s != "process" or getattr(goal, "processors", None))
        assert set(goal.steps) <= STEPS.keys()


def test_a_step_that_a_kind_of_goal_does_not_have_is_refused(context: RunContext) -> None:
    for step, goal in (("select", "orders"), ("scan", "newsletter")):
        with pytest.raises(ConfigError) as caught:
            STEPS[step](context, goal)
        assert caught.value.code == "wrong_goal_kind"


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        ("import_goal", "newsletter"),
        ("profile_import", "households"),
        ("group_import", "orders"),
        ("profile_export", "orders"),
    ],
)
def test_a_goal_of_another_kind_is_refused_by_name(context: RunContext, ask: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f'Goal "{name}" is of kind') as caught:
        getattr(context, ask)(name)
    assert caught.value.code == "wrong_goal_kind"


def test_goals_are_found_by_kind_and_name(context: RunContext) -> None:
    assert context.import_goal("orders").name == context.profile_import("orders").name == "orders"
    assert context.import_goal("households").name == context.group_import("households").name == "households"
    assert context.profile_export("newsletter").name == "newsletter"


def kept(context: RunContext, goal: str) -> dict[str, Any]:
    run = context.store.run("run-1")
    assert run is not None
    return next(item for item in run["goals"] if item["goal"] == goal)


def test_an_export_is_done_after_its_last_step_and_its_counts_add_up(context: RunContext) -> None:
    outcomes = {"select": {"available": 5}, "render": {"exported": 4}, "export": {"files": 1}}
    for step, summary in outcomes.items():
        record_outcome(context, step, "newsletter", lambda run, goal, told=summary: StepResult(summary=told))
        assert kept(context, "newsletter")["state"] == ("done" if step == "export" else "running")
    assert kept(context, "newsletter")["result"]["counts"] == {"available": 5, "exported": 4, "files": 1}


def test_a_planned_export_keeps_its_counts_and_has_no_rejects(context: RunContext) -> None:
    planned = StepResult(state="planned", reason="This run only plans.", summary={"available": 5})
    record_outcome(context, "render", "newsletter", lambda run, goal: planned)
    assert kept(context, "newsletter")["state"] == "planned"
    assert kept(context, "newsletter")["result"]["counts"] == {"available": 5}


def refuse(run: RunContext, goal: str | None) -> StepResult:
    raise RetryableError("The connection was lost.")


@pytest.mark.parametrize("step", ["apply", "finish"])
def test_an_import_whose_last_steps_failed_at_first_ends_as_done(
    context: RunContext, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_outcome(context, "map", "orders", lambda run, goal: StepResult(summary={"created": 1}))
    if step == "finish":
        record_outcome(context, "apply", "orders", lambda run, goal: StepResult(summary={"created": 1}))
        monkeypatch.setattr("crosswalk.steps._has_written", lambda context, goal: True)
    with pytest.raises(RetryableError):
        record_outcome(context, step, "orders", refuse)
    assert kept(context, "orders")["state"] == "failed"
    record_outcome(context, step, "orders", lambda run, goal: StepResult(summary={"created": 1}))
    assert kept(context, "orders")["state"] == "done"
    assert "error" not in kept(context, "orders")["result"]


def test_an_import_that_wrote_nothing_stays_failed_whatever_comes_after_it(context: RunContext) -> None:
    with pytest.raises(RetryableError):
        record_outcome(context, "apply", "orders", refuse)
    record_outcome(context, "finish", "orders", lambda run, goal: StepResult())
    assert kept(context, "orders")["state"] == "failed"


def test_a_held_plan_that_is_written_is_done_before_its_files_are_renamed(context: RunContext) -> None:
    context.store.save_goal_run("run-1", "orders", "held", {})
    record_outcome(context, "apply", "orders", lambda run, goal: StepResult(summary={"created": 1}))
    assert kept(context, "orders")["state"] == "done"
