"""Steps that are stood in for, and a context like Airflow's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import crosswalk.steps as steps
from crosswalk.steps import StepResult


class FakeRun:
    """An open run: its request, and a store that knows one run."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.run_id = request.run_id
        self.name = "shop"
        self.writes = request.mode == "apply"
        self.goals: list[dict[str, Any]] = []
        self.store = SimpleNamespace(run=lambda run_id: {"run_id": run_id, "goals": self.goals})


class Steps:
    """What was called, and what each step shall answer."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None]] = []
        self.requests: list[Any] = []
        self.closed = 0
        self.goals: list[dict[str, Any]] = []
        self.answers: dict[str, StepResult | Exception] = {}

    @contextmanager
    def open_run(self, request: Any, *, resolve: Callable[..., Any], progress: Callable[..., Any]) -> Iterator[FakeRun]:
        self.requests.append(request)
        run = FakeRun(request)
        run.goals = self.goals
        try:
            yield run
        finally:
            self.closed += 1

    def step(self, name: str) -> Callable[[Any, str | None], StepResult]:
        def call(run: FakeRun, goal: str | None) -> StepResult:
            self.calls.append((name, goal))
            answer = self.answers.get(name, StepResult(summary={"rows_read": 3}))
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


@pytest.fixture
def fake_steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    fake = Steps()
    monkeypatch.setattr(steps, "open_run", fake.open_run)
    monkeypatch.setattr(steps, "STEPS", {name: fake.step(name) for name in steps.STEPS})
    return fake


class OutletEvents(dict):
    """Airflow's accessor: one list of events per outlet."""

    def __missing__(self, key: Any) -> Any:
        events: list[tuple[Any, Any]] = []
        self[key] = SimpleNamespace(events=events, add=lambda asset, extra=None: events.append((asset.uri, extra)))
        return self[key]


@pytest.fixture
def context() -> dict[str, Any]:
    """Of a manual run with default params; ``task_states`` is what Airflow knows of the run's tasks."""
    run_id = "manual__2026-11-22T06:00:00+00:00"
    task_states: dict[str, str] = {"authenticate": "success"}
    ti = SimpleNamespace(
        dag_id="sftp__shop",
        task_id="report",
        get_task_states=lambda dag_id, run_ids, task_ids=None: {run_id: dict(task_states)},
    )
    return {
        "dag_run": SimpleNamespace(dag_id="sftp__shop", run_id=run_id, run_type="manual"),
        "run_id": run_id,
        "params": {"mode": "apply", "goals": [], "full": False, "since": None, "until": None, "limit": None},
        "ti": ti,
        "outlet_events": OutletEvents(),
        "task_states": task_states,
    }
