"""The last step of every run: settle its state, give the lease back, send the mail, once."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosswalk.core.errors import CrosswalkError
from crosswalk.steps.context import RunContext, RunRequest, as_error, open_run
from crosswalk.steps.mail import run_message, send
from crosswalk.steps.result import StepResult, gravest

if TYPE_CHECKING:
    from crosswalk.connectors.base import ConnectionDetails

log = logging.getLogger(__name__)


def report(context: RunContext, goal: str | None = None, *, crash: str | None = None) -> StepResult:
    """Record the run's state and tell people about it.

    A goal that was asked for and left no result failed before it could say so.

    Args:
        context: the run.
        goal: unused; a run has one report.
        crash: why the run ended before its steps could tell, for runs that died.

    Returns:
        state ``failed`` when a goal failed, else the run's state as reason, with the counts of each goal.
    """
    store = context.store
    store.begin_run(
        context.run_id, context.name, context.request.mode, context.request.trigger, context.loaded.fingerprint
    )
    known = {item["goal"]: item for item in (store.run(context.run_id) or {}).get("goals", [])}
    for wanted in context.connection.goals:
        settled = known.get(wanted.name, {}).get("state")
        if context.wants(wanted) and settled in (None, "running"):
            _settle(context, wanted.name, known, crash)
    run = store.run(context.run_id) or {}
    goals = run.get("goals", [])
    state = gravest([item["state"] for item in goals])
    store.finish_run(context.run_id, state, _first_error(goals))
    store.release_lease(context.name, context.run_id)
    delivered = _notify(context, state)
    if state in ("held", "planned", "failed"):  # a plan may be applied, a failed task may be cleared
        remove_old_runs(context.folder.path.parent)
    else:
        context.folder.remove()
    summary: dict[str, Any] = {item["goal"]: item["state"] for item in goals}
    summary["mail"] = delivered
    return StepResult(state="failed" if state == "failed" else None, reason=state, summary=summary)


def remove_old_runs(folder: Path) -> None:
    """Delete staging folders of runs that nobody touched for ``CROSSWALK_STAGING_DAYS`` (7) days."""
    oldest = time.time() - float(os.environ.get("CROSSWALK_STAGING_DAYS", "7")) * 86_400
    for run in folder.iterdir() if folder.is_dir() else ():
        if run.is_dir() and run.stat().st_mtime < oldest:
            shutil.rmtree(run, ignore_errors=True)


def _settle(context: RunContext, goal: str, known: dict[str, Any], crash: str | None) -> None:
    earlier = known.get(goal, {}).get("result") or {}
    upstream = known.get("", {}).get("result", {}).get("error")
    error = (
        earlier.get("error")
        or upstream
        or {
            "code": "interrupted",
            "message": crash or "The run ended before this goal could finish; running again is safe.",
            "file": None,
            "line": None,
        }
    )
    context.store.save_goal_run(context.run_id, goal, "failed", {**earlier, "error": error})


def _first_error(goals: list[dict[str, Any]]) -> str | None:
    for item in goals:
        error = (item.get("result") or {}).get("error")
        if item["state"] == "failed" and error:
            return str(error["message"])
    return None


def _notify(context: RunContext, state: str) -> str:
    """Send the run's mail when it is wanted; returns ``sent``, ``not wanted``, ``already sent`` or why not."""
    wanted = context.connection.notifications
    bad = state in ("failed", "held", "stale")
    if not wanted.emails or not ((bad and wanted.on_failure) or (not bad and wanted.on_success and wanted.on_failure)):
        return "not wanted"
    if not bad and state not in ("done", "done_with_rejects"):
        return "not wanted"
    if not context.store.mark_reported(context.run_id):
        return "already sent"
    run = context.store.run(context.run_id) or {}
    try:
        details = context.resolve(wanted.smtp_conn_id)
        send(details, run_message(context.connection, context.name, run, state, context.request.run_url), wanted.emails)
    except CrosswalkError as error:
        log.error("The mail about run %s was not delivered: %s", context.run_id, error)
        return f"not delivered: {error.code}"
    return "sent"


def send_if_unreported(request: RunRequest, *, resolve: Callable[[str], ConnectionDetails], reason: str = "") -> None:
    """For the DAG's failure callback: settle and mail a run whose report step did not get to it.

    Does nothing where the store shows that *report* did its work.
    """
    with open_run(request, resolve=resolve) as context:
        run = context.store.run(request.run_id)
        if run is not None and run["state"] != "running":
            return
        text = f"The run was ended by Airflow ({reason})." if reason else None
        try:
            report(context, crash=text)
        except CrosswalkError as error:
            log.error("The run %s could not be reported: %s", request.run_id, as_error(error)["message"])
