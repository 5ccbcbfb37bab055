"""Write a plan to the store: one goal, one transaction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from crosswalk.core.errors import RetryableError
from crosswalk.core.staging import GoalFolder, read_json
from crosswalk.engine.session import BATCH_ROWS, Session, literal, open_session
from crosswalk.steps.approve import is_approved
from crosswalk.steps.context import RunContext
from crosswalk.steps.lease import holding
from crosswalk.steps.link import link
from crosswalk.steps.map import map_properties
from crosswalk.steps.result import StepResult
from crosswalk.store.base import Applied, Batch, FileRecord, Lease, Moved

REVISIONS = 3


def apply(context: RunContext, goal_name: str | None, *, kept: bool = False) -> StepResult:
    """Commit the plan; when the store moved since *link*, make a new revision of the plan, at most three times.

    Args:
        context: the run.
        goal_name: the goal.
        kept: the plan was seen by a person: it is written as it is or not at all (``stale``); so is an approved one.

    Raises:
        LeaseLostError: another run took over.
        RetryableError: the store kept moving, was locked or could not be reached.
    """
    goal = context.import_goal(goal_name)
    folder = context.goal_folder(goal)
    with holding(context) as lease:
        for _ in range(REVISIONS + 1):
            context.progress("writing to the store")
            outcome = _commit(context, folder, lease)
            if isinstance(outcome, Applied):
                if outcome.other_run:
                    reason = f"Run {outcome.other_run} has written the same already; nothing was written again."
                    return StepResult(state="nothing_new", reason=reason)
                plan = read_json(folder.plan / "plan.json")
                return StepResult(summary={**plan["counts"], "repeated": outcome.repeated})
            if kept or is_approved(folder):
                moved = ", ".join(f"{count} by {kind}" for kind, count in outcome.reasons.items())
                return StepResult(state="stale", reason=f"The store changed since this plan was made ({moved}).")
            link(context, goal.name, again=True)
            revised = map_properties(context, goal.name, again=True)
            if revised.state is not None:
                return revised
    raise RetryableError(
        f"Other runs kept changing the same profiles; {REVISIONS} revisions of the plan were overtaken.",
        remedy="Run again; nothing was written.",
        code="store_moved",
    )


def apply_kept(context: RunContext, goal_name: str | None) -> StepResult:
    """Commit a plan that a person saw, exactly as it is, or not at all."""
    return apply(context, goal_name, kept=True)


def _commit(context: RunContext, folder: GoalFolder, lease: Lease) -> Applied | Moved:
    plan = read_json(folder.plan / "plan.json")
    with open_session(folder.temporary, memory_mb=256) as session:
        batch = Batch(
            batch_id=plan["batch_id"],
            run_id=plan["run_id"],
            connection=plan["connection"],
            goal=plan["goal"],
            lease=lease,
            goal_id=plan["goal_id"],
            state_version=plan["state_version"],
            config_hash=plan["config_hash"],
            files=[
                FileRecord(**{key: file[key] for key in ("path", "size", "modified", "sha256", "seen_at", "role")})
                for file in plan["files"]
            ],
            counts=plan["counts"],
            profiles=_reader(session, folder.plan / "profiles.parquet"),
            identifiers=_reader(session, folder.plan / "identifiers.parquet"),
            row_state=_reader(session, folder.plan / "row_state.parquet"),
            consent=_reader(session, folder.plan / "consent.parquet"),
            quarantine=_reader(session, folder.plan / "quarantine.parquet"),
            replays=plan.get("replays"),
            scratch=folder.temporary,
            collection=plan.get("collection", "profile"),
            **_more_readers(session, folder),
            **_merge_readers(session, folder, plan["counts"].get("merged", 0)),
        )
        return context.store.apply(batch)


def _more_readers(session: Session, folder: GoalFolder) -> dict[str, Any]:
    """Readers of what the plan says about events and missing groups; most goals have no such files."""
    parts = {part: folder.plan / f"{part}.parquet" for part in ("events", "purchases", "products", "new_groups")}
    return {part: _reader(session, path) for part, path in parts.items() if path.exists()}


def _merge_readers(session: Session, folder: GoalFolder, merged: int) -> dict[str, Any]:
    """What the plan says about profiles that become one."""
    if not merged:
        return {}
    paths = (folder.merges, folder.merge_identifiers, folder.merge_consent)
    return {"merged": merged, **{path.stem: _reader(session, path) for path in paths}}


def _reader(session: Session, path: Path) -> Callable[[], pa.RecordBatchReader]:
    def read() -> pa.RecordBatchReader:
        cursor = session.cursor()
        return cursor.sql(f"SELECT * FROM read_parquet({literal(path)})").to_arrow_reader(BATCH_ROWS)

    return read
