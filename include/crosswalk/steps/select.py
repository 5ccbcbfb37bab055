"""Decide which profiles an export takes: in the segment, with consent, changed since the last good export."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from crosswalk.config.fingerprint import goal_fingerprint
from crosswalk.core.errors import LeaseTakenError
from crosswalk.core.staging import read_json, write_json
from crosswalk.engine.select import Selection, select_profiles
from crosswalk.engine.session import open_session
from crosswalk.steps.context import RunContext
from crosswalk.steps.lease import holding
from crosswalk.steps.result import StepResult
from crosswalk.steps.settle import settle_earlier
from crosswalk.store.export_base import Cursor, Position

if TYPE_CHECKING:
    from crosswalk.config.connection import ExportProfiles
    from crosswalk.store.base import Lease

log = logging.getLogger(__name__)
PROFILES = "0"  # the name of their text among the staged ones


def select(context: RunContext, goal_name: str | None) -> StepResult:
    """Leave ``selected.parquet``, the text of the profiles' file and ``selection.json`` in the goal's folder.

    Returns:
        ``skipped`` (goal off or not asked for), ``busy`` (another run writes), ``nothing_new`` with the reason,
        ``done`` when an earlier try of this run has sent everything, or None to go on.
    """
    goal = context.profile_export(goal_name)
    if not context.wants(goal):
        off = not goal.enabled or not context.connection.enabled
        reason = "is switched off" if off else "is not among the goals of this run"
        return StepResult(state="skipped", reason=f'Goal "{goal.name}" {reason}.')
    if not context.writes:
        return choose(context, goal, None)
    try:
        with holding(context) as lease:
            return choose(context, goal, lease)
    except LeaseTakenError as error:
        return StepResult(state="busy", reason=str(error))


def choose(context: RunContext, goal: ExportProfiles, lease: Lease | None, *, again: bool = False) -> StepResult:
    """Select under a lease; without one nothing is written to the store.

    Args:
        context: the run.
        goal: the goal.
        lease: this run's, when it writes.
        again: look at the store anew, for a selection that is as fresh as what is sent.
    """
    folder = context.goal_folder(goal)
    if folder.selection.exists() and not again:  # a retry: the decision stands
        return StepResult(summary=read_json(folder.selection)["counts"])
    for path in (
        folder.rendered,
        folder.selection,
    ):  # a crash from here on must not leave what does not belong together
        path.unlink(missing_ok=True)
    state = context.store.goal_state(context.name, goal.name)
    if lease is not None and not again:
        done = settle_earlier(context, goal, state.goal_id, lease)
        if done is not None:
            return StepResult(state="done", reason="An earlier try of this run has sent it.", summary=done)
    cursor, position = context.store.export_cursor(state.goal_id), context.store.position()
    config_hash = goal_fingerprint(context.connection, goal, context.tenant)
    since = _since(context, goal, cursor, config_hash)
    now = Cursor(position, config_hash)
    if lease is not None and since is not None and since.batch_no == position.batch_no and not goal.always_write:
        context.store.move_cursor(state.goal_id, now, lease)
        return StepResult(state="nothing_new", reason="No profile changed since the last good export.")
    selection = _select(context, goal, since)
    counts = selection.counts
    if lease is not None and not counts["exported"] and not writes_empty(goal):
        context.store.move_cursor(state.goal_id, now, lease)
        return StepResult(state="nothing_new", reason=difference(counts), summary=counts)
    decision = {
        "goal_id": state.goal_id,
        "batch_no": position.batch_no,
        "read_at": position.read_at,
        "config_hash": config_hash,
        "counts": counts,
        "rows": selection.rows,
        "replaced": selection.replaced,
    }
    write_json(folder.selection, decision)
    return StepResult(summary=counts)


def writes_empty(goal: ExportProfiles) -> bool:
    """Whether a file without profiles is written: a custom file always shows the state of the last run."""
    return goal.always_write or goal.file_name.custom is not None


def _since(context: RunContext, goal: ExportProfiles, cursor: Cursor | None, config_hash: str) -> Position | None:
    """The position that an incremental export goes on from; None to take all profiles of the segment."""
    if not goal.is_incremental or context.request.full or cursor is None or cursor.config_hash != config_hash:
        return None
    return cursor.position


def _select(context: RunContext, goal: ExportProfiles, since: Position | None) -> Selection:
    folder = context.goal_folder(goal)
    context.progress("selecting profiles")
    with open_session(folder.temporary) as session:
        return select_profiles(
            session,
            context.store.stored_profiles(since),
            goal=goal,
            connection=context.connection,
            tenant=context.tenant,
            now_ms=int(context.clock() * 1000),
            selected=folder.selected,
            lines=folder.lines / PROFILES,
            groups=lambda: (context.store.stored_profiles(), context.store.stored_groups()),
        )


REASONS = {
    "no_consent": "without consent",
    "not_changed": "unchanged since the last good export",
    "no_mapped_value": "without a value for any mapped property",
}


def difference(counts: dict[str, Any]) -> str:
    """Why fewer profiles are exported than are available, for people (row S-65)."""
    excluded = counts["excluded"]
    text = f"{counts['exported']:,} of {counts['available']:,} available profiles go into the file"
    parts = [f"{excluded[key]:,} are {REASONS[key]}" for key in ("not_changed", "no_mapped_value") if excluded.get(key)]
    text += f": {', '.join(parts)}." if parts else "."
    if excluded.get("no_consent"):
        text += f" {excluded['no_consent']:,} more of the segment are not available, because consent is missing."
    return text
