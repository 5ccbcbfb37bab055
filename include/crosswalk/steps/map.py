"""Compute the plan: the final document of every touched profile, with before and after, and the counts."""

from __future__ import annotations

from typing import Any

from crosswalk.config.connection import ImportProfiles
from crosswalk.core.staging import GoalFolder, read_json, write_json
from crosswalk.engine.event_task import StoredEvents
from crosswalk.engine.mapping import compute_plan
from crosswalk.engine.session import Session, literal, open_session, write_parquet
from crosswalk.steps.accounting import total_counts
from crosswalk.steps.context import RunContext
from crosswalk.steps.guards import tripped_guards
from crosswalk.steps.missing_groups import find_missing_groups, planned_storage
from crosswalk.steps.result import StepResult
from crosswalk.steps.target import Target, target_of

WIDE = 200  # mappings; each takes more than 1 MB in each thread of the engine, so a goal with more of them gets one


def map_properties(context: RunContext, goal_name: str | None, *, again: bool = False) -> StepResult:
    """Leave the plan in the goal's folder.

    Args:
        context: the run.
        goal_name: the goal.
        again: compute anew, for a new revision of the plan.

    Returns:
        ``held`` when a guard trips and nobody is asked, ``planned`` when the run only plans, else None.
    """
    goal = context.import_goal(goal_name)
    folder = context.goal_folder(goal)
    manifest = folder.plan / "plan.json"
    if not manifest.exists() or again:
        _compute(context, target_of(context, goal_name), folder)
    plan = read_json(manifest)
    asks = context.connection.approve and context.writes
    if plan["held"] and not asks:
        return StepResult(state="held", reason=" ".join(plan["held"]), summary=plan["counts"])
    if not context.writes:
        return StepResult(state="planned", reason="This run only plans.", summary=plan["counts"])
    return StepResult(summary=plan["counts"])


def _compute(context: RunContext, target: Target, folder: GoalFolder) -> None:
    goal = target.goal
    sources, linked = read_json(folder.sources), read_json(folder.link_result)
    context.progress("mapping")
    with open_session(folder.temporary, threads=1 if len(goal.mappings.fields) > WIDE else None) as session:
        result = compute_plan(
            session,
            rows=folder.current_rows,
            sources=sources["sources"],
            links=folder.links,
            profiles=folder.profiles,
            goal=goal,
            connection=target.connection,
            tenant=target.tenant,
            now_ms=int(context.clock() * 1000),
            folder=folder,
            lookup=target.match,
            events=_stored_events(context, goal),
        )
        quarantined = _collect_quarantine(session, folder, sources["files"])
        figures = dict(result.counts)
        more: dict[str, int] = {}
        doubts: list[str] = []
        if target.collection == "group":
            more["group_storage"] = figures["group_storage"] = planned_storage(context, session, folder)
        else:
            more, doubts = find_missing_groups(context, session, goal, folder, sources["batch_id"])
    counts = {**total_counts(folder, result.counts, quarantined), **more}
    if linked["counts"].get("merged"):
        counts["merged"] = linked["counts"]["merged"]
    warnings = [*sources["warnings"], *linked["warnings"], *result.warnings, *doubts]
    decision, request = read_json(folder.scan), context.request
    write_json(
        folder.plan / "plan.json",
        {
            "run_id": context.run_id,
            "connection": context.name,
            "goal": goal.name,
            "batch_id": sources["batch_id"],
            "config_hash": decision["config_hash"],
            "goal_id": decision["goal_state"]["goal_id"],
            "state_version": linked["state_version"],
            "files": [file for file in sources["files"] if not file["rejected"]],
            "replays": decision.get("replays"),
            "collection": target.collection,
            "partial": bool(request.since or request.until or request.limit is not None),
            "counts": counts,
            "warnings": warnings,
            "held": tripped_guards(context.connection.guards_of(goal), counts, figures),
        },
    )


def _stored_events(context: RunContext, goal: ImportProfiles) -> StoredEvents:
    """What the store knows of events; where it has none, the keys of a first import are not even gathered."""
    store = context.store
    if not goal.events or not store.has_events():
        return StoredEvents()
    return StoredEvents(store.find_events, store.find_crowd, store.find_purchases)


def _collect_quarantine(session: Session, folder: GoalFolder, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put what all steps set aside into the plan; returns counts by scope, reason and kind of file."""
    parts = sorted(folder.quarantine.glob("*.parquet"))
    target = folder.plan / "quarantine.parquet"
    listed = ", ".join(literal(part) for part in parts)
    write_parquet(session, f"SELECT * FROM read_parquet([{listed}], union_by_name = true)", target)
    linked = [file["path"] for file in files if file["role"] != "primary"]
    rows = session.execute(
        "SELECT scope, reason, NOT coalesce(list_contains($linked::VARCHAR[], file), false) AS is_primary, count(*) "
        f"FROM read_parquet({literal(target)}) GROUP BY ALL ORDER BY ALL",
        {"linked": linked},
    ).fetchall()
    return [
        {"scope": scope, "reason": reason, "primary": is_primary, "count": count}
        for scope, reason, is_primary, count in rows
    ]
