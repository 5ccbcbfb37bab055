"""What the first task of a goal does beside its step: see whether the goal's turn has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from crosswalk.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from crosswalk.steps import RunContext, StepResult

_BAD_GOAL_STATES = ("failed", "held", "stale")


class FirstStepOperator(StepOperator):
    """The first step of a goal, unless the goal must not start.

    That of a later goal starts when the goal before it has ended, however it ended (trigger rule ``all_done``),
    because goals do not depend on each other. Two things still stop it, which no trigger rule can express together:
    a log-in that failed, and ``stop_on_failure`` after a goal that failed or was held.

    Args:
        authenticated_by: task id of the log-in; checked by the later goals only.
        stop_after: earlier goals whose failure stops this one (``stop_on_failure``).
        **kwargs: as for every step.
    """

    def __init__(self, *, authenticated_by: str | None = None, stop_after: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.authenticated_by = authenticated_by
        self.stop_after = stop_after

    def run_step(self, run: RunContext, context: Context) -> StepResult:
        """Run the step, unless this goal must not start."""
        if self.authenticated_by and not self._succeeded(self.authenticated_by, context):
            raise AirflowSkipException(
                f"Task {self.authenticated_by} did not succeed, so this goal cannot reach its system."
            )
        if self.stop_after and (bad := self._bad_goals(run)):
            raise AirflowSkipException(f"stop_on_failure: goal {', '.join(bad)} did not end well.")
        return super().run_step(run, context)

    def _succeeded(self, task_id: str, context: Context) -> bool:
        ti, run_id = context["ti"], context["run_id"]
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[run_id])
        return str(states.get(run_id, {}).get(task_id)) == "success"

    def _bad_goals(self, run: RunContext) -> list[str]:
        goals = (run.store.run(run.run_id) or {}).get("goals", [])
        return [item["goal"] for item in goals if item["goal"] in self.stop_after and item["state"] in _BAD_GOAL_STATES]
