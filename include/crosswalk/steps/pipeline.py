"""All steps of a run in one process, as the command line runs them; the DAG runs the same steps as tasks."""

from __future__ import annotations

from crosswalk.config.connection import Connection, Goal
from crosswalk.core.errors import CrosswalkError
from crosswalk.steps import STEPS, RunContext, StepResult


def run_all(context: RunContext) -> StepResult:
    """Run every wanted goal and the report; a failing goal leaves the others alone.

    Returns:
        The report's result; its ``reason`` is the run's state.

    Raises:
        CrosswalkError: only where nothing of the run could be recorded in the store.
    """
    try:
        start = STEPS["authenticate"](context, None)
    except CrosswalkError:
        return STEPS["report"](context, None)
    if start.state is None:
        for goal in context.connection.goals:
            ok = _run_goal(context, goal)
            if not ok and context.connection.stop_on_failure:
                break
    return STEPS["report"](context, None)


def steps_of(connection: Connection, goal: Goal) -> tuple[str, ...]:
    """The steps of a goal in order."""
    return connection.steps_of(goal)


def _run_goal(context: RunContext, goal: Goal) -> bool:
    for step in steps_of(context.connection, goal):
        context.progress(f"{goal.name}: {step}")
        try:
            result = STEPS[step](context, goal.name)
        except CrosswalkError:
            return False
        if result.state is not None:
            return result.state not in ("held", "stale")
    return True
