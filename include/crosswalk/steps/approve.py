"""Ask a person before a plan is written or a file is sent (``approve`` of the connection).

The question stands between the plan and the step that writes. Nobody holds the lease meanwhile, so other runs go on; a
plan that was approved is then written exactly as it was seen, or not at all (``stale``). Whoever asks is not this
module's business: the command line confirms with ``--yes`` or ``crosswalk apply``, in Airflow the task waits for input.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import Any

from crosswalk.core.errors import CrosswalkError
from crosswalk.core.staging import GoalFolder, read_json, write_json
from crosswalk.steps.context import RunContext
from crosswalk.steps.mail import question_message, send
from crosswalk.steps.result import StepResult

log = logging.getLogger(__name__)

# Counts of a plan that changes something; a plan without any is not worth a question.
_CHANGES = (
    "created",
    "updated",
    "merged",
    "events_created",
    "events_updated",
    "events_dropped",
    "exported",
    "events_exported",
)


def approve(context: RunContext, goal_name: str | None) -> StepResult:
    """Go on when nobody has to be asked or somebody agreed; else stop as ``held`` with the plan kept.

    Args:
        context: the run.
        goal_name: the goal.
    """
    goal = context.goal(goal_name)
    folder = context.goal_folder(goal)
    if is_approved(folder):
        return StepResult(summary={"approved_by": read_json(folder.approval)["by"]})
    reasons = _reasons(context, folder, goal.name)
    if not reasons:
        return StepResult()
    if context.request.approved_by:
        _keep(folder, context.request.approved_by)
        return StepResult(summary={"approved_by": context.request.approved_by})
    context.store.release_lease(context.name, context.run_id)
    return StepResult(state="held", reason=" ".join([*reasons, "Nothing is written until a person agrees."]))


def is_approved(folder: GoalFolder) -> bool:
    """Whether a person agreed to the plan as it is now; there is none where an export had nothing left to send."""
    return folder.approval.exists() and read_json(folder.approval)["plan"] == _digest(folder)


def answer(context: RunContext, goal_name: str | None, *, by: str | None, agrees: bool) -> StepResult:
    """Take the answer that Airflow waited for.

    Args:
        context: the run.
        goal_name: the goal.
        by: who answered; None when nobody did in time.
        agrees: what they said.
    """
    if agrees and by:
        _keep(context.goal_folder(context.goal(goal_name)), by)
        return approve(context, goal_name)
    reason = f"{by} rejected the plan; nothing was written." if by else "Nobody answered in time; nothing was written."
    return StepResult(state="held", reason=reason)


def tell(context: RunContext, goal_name: str, question_url: str | None) -> str:
    """Mail the question to the people who get mail about failures, once; returns what became of the mail."""
    wanted = context.connection.notifications
    if not (wanted.emails and wanted.on_failure):
        return "not wanted"
    run = context.store.run(context.run_id) or {}
    goal = next(item for item in run["goals"] if item["goal"] == goal_name)
    try:
        details = context.resolve(wanted.smtp_conn_id)
        send(details, question_message(context.connection, context.name, run, goal, question_url), wanted.emails)
    except CrosswalkError as error:
        log.error("The question about run %s was not delivered: %s", context.run_id, error)
        return f"not delivered: {error.code}"
    return "sent"


def _keep(folder: GoalFolder, by: str) -> None:
    write_json(
        folder.approval, {"by": by, "at": datetime.now(UTC).isoformat(timespec="seconds"), "plan": _digest(folder)}
    )


def _digest(folder: GoalFolder) -> str | None:
    """What the person saw: the plan of an import, the finished file of an export; None when neither is there."""
    plan = folder.plan / "plan.json"
    seen = plan if plan.exists() else folder.rendered
    return hashlib.sha256(seen.read_bytes()).hexdigest() if seen.exists() else None


def _reasons(context: RunContext, folder: GoalFolder, goal_name: str) -> list[str]:
    """Why a person is asked; empty when nobody has to be."""
    manifest = folder.plan / "plan.json"
    plan: dict[str, Any] = read_json(manifest) if manifest.exists() else {"held": []}
    if plan["held"]:
        return list(plan["held"])
    if context.connection.approve == "held":
        return []
    known = {item["goal"]: item for item in (context.store.run(context.run_id) or {}).get("goals", [])}
    counts = (known.get(goal_name, {}).get("result") or {}).get("counts", {})
    return ["This connection asks before it writes (approve: true)."] if any(map(counts.get, _CHANGES)) else []
