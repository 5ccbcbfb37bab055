"""Decide for every row which profile it belongs to, and which rows changed since they were last applied."""

from __future__ import annotations

import pyarrow as pa

from crosswalk.core.staging import GoalFolder, read_json, write_json
from crosswalk.engine.link import link_rows
from crosswalk.engine.session import Session, open_session, write_parquet
from crosswalk.steps.context import RunContext
from crosswalk.steps.result import StepResult
from crosswalk.steps.target import target_of
from crosswalk.store.base import ROW_STATE_SCHEMA


def link(context: RunContext, goal_name: str | None, *, again: bool = False) -> StepResult:
    """Leave ``links.parquet`` and ``profiles.parquet`` in the goal's folder.

    Args:
        context: the run.
        goal_name: the goal.
        again: look at the store anew, for a new revision of the plan.
    """
    target = target_of(context, goal_name)
    goal = target.goal
    folder = context.goal_folder(goal)
    if folder.link_result.exists() and folder.links.exists() and not again:
        return StepResult(summary=read_json(folder.link_result)["counts"])
    decision, sources = read_json(folder.scan), read_json(folder.sources)
    context.progress("linking")
    state = context.store.goal_state(context.name, goal.name)
    with open_session(folder.temporary) as session:
        _read_row_state(context, session, folder, state.goal_id, fresh=state.config_hash is None)
        result = link_rows(
            session,
            rows=folder.current_rows,
            sources=sources["sources"],
            goal=goal,
            tenant=target.tenant,
            batch_id=sources["batch_id"],
            row_state=folder.row_state,
            take_all=decision["take_all"],
            replayed=folder.replayed if decision.get("replays") else None,
            lookup=target.match,
            read_profiles=target.read,
            out=folder,
            read_merging=context.store.read_merging if target.collection == "profile" else None,
        )
    write_json(
        folder.link_result,
        {"counts": result.counts, "warnings": list(result.warnings), "state_version": state.state_version},
    )
    return StepResult(summary=result.counts)


def _read_row_state(context: RunContext, session: Session, folder: GoalFolder, goal_id: int, *, fresh: bool) -> None:
    """Bring the goal's row state from the store into staging."""
    stored = pa.RecordBatchReader.from_batches(ROW_STATE_SCHEMA, []) if fresh else context.store.row_state(goal_id)
    session.register("stored_row_state", stored)
    write_parquet(session, "SELECT * FROM stored_row_state", folder.row_state)
    session.unregister("stored_row_state")
