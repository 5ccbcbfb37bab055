"""Layer 4: one file per step of a run; no Airflow. The command line and the operators call these.

A step is a function of the run context and a goal's name; it reads what earlier steps left in the staging folder,
leaves its own result there and returns small counts. A retry of any step gives the same bytes. ``STEPS`` wraps each
step so that its state, counts, time and error are in the store whatever happens next.
"""

from __future__ import annotations

import errno
import importlib
import time
from collections.abc import Callable
from typing import Any

from crosswalk.config.goals import GoalKind
from crosswalk.core.errors import ConfigError, CrosswalkError, FatalError, LeaseTakenError, RetryableError
from crosswalk.steps.context import RunContext, RunRequest, as_error, open_run
from crosswalk.steps.result import EXIT_CODES, RUN_STATES, StepResult, gravest

__all__ = [
    "EXIT_CODES",
    "RUN_STATES",
    "STEPS",
    "RunContext",
    "RunRequest",
    "StepResult",
    "as_known_error",
    "gravest",
    "open_run",
    "record_outcome",
    "where",
]

Step = Callable[[RunContext, str | None], StepResult]

_OF_RUN = {"authenticate": "authenticate:authenticate", "report": "report:report"}
_READING = {"scan": "scan:scan", "join": "join:join", "process": "process:process"}
# Module and function of each step, by the kind of its goal. Groups are linked, mapped and applied as profiles are
# (``target.py``).
_OF_GOAL: dict[GoalKind, dict[str, str]] = {
    "import_profiles": {
        **_READING,
        "link": "link:link",
        "map": "map:map_properties",
        "approve": "approve:approve",
        "apply": "apply:apply",
        "finish": "finish:finish",
    },
    "import_groups": {
        **_READING,
        "link": "link:link",
        "map": "map:map_properties",
        "approve": "approve:approve",
        "apply": "apply:apply",
        "finish": "finish:finish",
    },
    "export_profiles": {
        "select": "select:select",
        "render": "render:render",
        "approve": "approve:approve",
        "export": "export:export",
    },
}
# After these steps a goal's counts are those of its plan.
_COUNTED = ("map", "apply")


def where(name: str, kind: GoalKind | None) -> str:
    """``module:function`` of a step, below this package.

    Args:
        name: the step.
        kind: the kind of the goal; None for the steps of the whole run.

    Raises:
        ConfigError: goals of that kind have no such step.
    """
    steps = _OF_RUN if kind is None else _OF_GOAL[kind]
    if name not in steps:
        raise ConfigError(f"Goals of kind {kind} have no step {name}.", code="wrong_goal_kind")
    return steps[name]


def _recorded(name: str) -> Step:
    """The step of that name, imported on first use, with its outcome recorded in the store."""

    def run(context: RunContext, goal: str | None = None) -> StepResult:
        kind = None if name in _OF_RUN else context.goal(goal).kind_of_goal
        module, function = where(name, kind).split(":")
        step = getattr(importlib.import_module(f"crosswalk.steps.{module}"), function)
        return record_outcome(context, name, goal, step)

    run.__name__ = name
    return run


def record_outcome(context: RunContext, name: str, goal: str | None, step: Step) -> StepResult:
    """Run a step and keep its state, counts, time and error in the store.

    Raises:
        CrosswalkError: whatever the step raised, with the place filled in; anything else as a FatalError.
    """
    started = time.monotonic()
    before = _known(context, goal) if goal else {}  # *apply* writes its own record inside its transaction
    try:
        result = step(context, goal)
    except CrosswalkError as error:
        _record(context, name, goal, started, before, error=error.at(connection=context.name, goal=goal))
        raise
    except Exception as error:
        wrapped = as_known_error(error, name).at(connection=context.name, goal=goal)
        _record(context, name, goal, started, before, error=wrapped)
        raise wrapped from error
    if name != "report":
        _record(context, name, goal, started, before, result=result)
    return result


def _known(context: RunContext, goal: str) -> dict[str, Any]:
    """What the store has of a goal of this run: ``state`` and ``result``, or nothing."""
    goals = (context.store.run(context.run_id) or {}).get("goals", [])
    return next((item for item in goals if item["goal"] == goal), {})


def as_known_error(error: Exception, step: str) -> FatalError | RetryableError:
    """An error that no step foresaw, as one of ours."""
    if isinstance(error, FileNotFoundError):
        return FatalError(
            f"Step {step} misses a staged file; the staging folder was cleaned.",
            remedy="Start a new run: nothing was lost, and what was applied is not applied again.",
            code="staging_gone",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RetryableError(
            f"The disk is full ({error.filename or 'staging folder'}).",
            remedy="Free space, or point CROSSWALK_STAGING at a larger disk, and run again.",
            code="disk_full",
        )
    return FatalError(
        f"Step {step} met an unexpected {type(error).__name__}.",
        remedy="This is a fault of Crosswalk or of its set-up; the task's log has the traceback.",
        code="unexpected",
    )


def _record(
    context: RunContext,
    step: str,
    goal: str | None,
    started: float,
    before: dict[str, Any],
    *,
    result: StepResult | None = None,
    error: CrosswalkError | None = None,
) -> None:
    """Keep a step's outcome: in the goal's record, or in the run's own (goal ``""``) for steps without a goal."""
    if isinstance(error, ConfigError) and step == "authenticate":
        request = context.request
        context.store.begin_run(context.run_id, context.name, request.mode, request.trigger, context.loaded.fingerprint)
    if goal is None and error is None:
        return
    kept: dict[str, Any] = dict(before.get("result") or {})
    kept["timings"] = {**kept.get("timings", {}), step: round(time.monotonic() - started, 3)}
    kept.pop("error", None)
    state = "running"
    if error is not None:
        kept["error"] = as_error(error)
        state = "busy" if isinstance(error, LeaseTakenError) else "failed"
    elif result is not None:
        _take_counts(context, kept, step, goal, result)
        earlier = before.get("state")
        if step == "finish" and earlier == "failed" and _has_written(context, goal):
            earlier = "done"  # what failed was an earlier try of *finish*
        state = _goal_state(step, kept, result, earlier)
        kept.pop("reason", None)
        if result.reason:
            kept["reason"] = result.reason
    context.store.save_goal_run(context.run_id, goal or "", state, kept)
    if state in ("planned", "held"):
        _keep_quarantine(context, goal)


def _take_counts(context: RunContext, kept: dict[str, Any], step: str, goal: str | None, result: StepResult) -> None:
    if step in _COUNTED and result.summary:
        kept["counts"] = {key: value for key, value in result.summary.items() if key != "repeated"}
        from crosswalk.core.staging import read_json

        manifest = context.goal_folder(context.goal(goal)).plan / "plan.json"
        if manifest.exists():
            kept["warnings"] = read_json(manifest)["warnings"]
    elif step == "apply" and result.state == "nothing_new":
        kept["counts"] = {}  # another run wrote the same; its counts stand there
    elif step == "approve" and result.summary:
        kept.update(result.summary)
    elif step == "finish":
        kept.setdefault("counts", {}).update(result.summary)
    elif step in ("select", "render", "export") and result.summary:
        kept["counts"] = {**kept.get("counts", {}), **result.summary}
    elif step in ("scan", "join") and result.summary:
        kept["counts"] = {**kept.get("counts", {}), **{k: v for k, v in result.summary.items() if isinstance(v, int)}}


def _has_written(context: RunContext, goal: str | None) -> bool:
    """Whether this run has committed the goal."""
    return any(batch.goal == goal for batch in context.store.applied_batches(context.run_id))


def _goal_state(step: str, kept: dict[str, Any], result: StepResult, before: str | None) -> str:
    if result.state == "nothing_new" and before in ("done", "done_with_rejects"):
        return before  # this run committed, was killed, and found its own work when it was repeated
    if result.state is not None:
        return result.state
    if step == "export":
        return "done"  # also where an earlier try failed
    if step == "apply" or (step == "finish" and before not in ("failed", "held", "stale")):
        counts = kept.get("counts", {})
        kinds = ("quarantined", "linked_quarantined", "invalid_values", "events_rejected", "files_rejected")
        return "done_with_rejects" if any(counts.get(kind) for kind in kinds) else "done"
    return before if step == "finish" and before else "running"


def _keep_quarantine(context: RunContext, goal: str | None) -> None:
    """A run that applies nothing still shows its rejects."""
    from crosswalk.engine.session import BATCH_ROWS, literal, open_session

    chosen = context.goal(goal)
    if chosen.direction == "out":  # nothing is read that could be set aside
        return
    folder = context.goal_folder(chosen)
    with open_session(folder.temporary, memory_mb=256) as session:
        rows = session.sql(f"SELECT * FROM read_parquet({literal(folder.plan / 'quarantine.parquet')})")
        context.store.save_quarantine(context.run_id, goal or "", rows.to_arrow_reader(BATCH_ROWS))


_NAMES = ("authenticate", *dict.fromkeys(step for steps in _OF_GOAL.values() for step in steps), "report")
STEPS: dict[str, Step] = {name: _recorded(name) for name in _NAMES}
