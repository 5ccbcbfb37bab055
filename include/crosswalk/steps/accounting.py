"""The equation of every run: each row that was read ends in exactly one bucket."""

from __future__ import annotations

from typing import Any

from crosswalk.core.errors import FatalError
from crosswalk.core.staging import GoalFolder, read_json


def total_counts(folder: GoalFolder, plan: dict[str, Any], quarantined: list[dict[str, Any]]) -> dict[str, Any]:
    """Bring the counters of all steps together and check that they add up.

    ``rows_read`` counts every primary record that the files hold, those that never became a row included:
    rows_read = filtered + unchanged_rows_skipped + sum(excluded) + sum(quarantined) + applied.

    Args:
        folder: the goal's staging folder.
        plan: counters of *map*, which include those of *link*.
        quarantined: counts by scope, reason and whether the file is a primary one, over all steps.

    Raises:
        FatalError: the equation does not hold; nothing may be written.
    """
    sources = read_json(folder.sources)["counts"]
    process = folder.path / "process.json"
    filtered = sum(read_json(process)["filtered"].values()) if process.exists() else 0
    rows: dict[str, int] = {}
    linked: dict[str, int] = {}
    values: dict[str, int] = {}
    events: dict[str, int] = {}
    for item in quarantined:
        kept_apart = {"value": values, "event": events}.get(item["scope"])
        bucket = kept_apart if kept_apart is not None else rows if item["primary"] else linked
        bucket[item["reason"]] = bucket.get(item["reason"], 0) + item["count"]
    primary_records = sources["rows_read"] + sources["primary_records_quarantined"]
    counts = {
        "rows_read": primary_records,
        "filtered": filtered,
        "unchanged_rows_skipped": plan["unchanged_rows_skipped"],
        "excluded": plan["excluded"],
        "quarantined": rows,
        "applied": plan["applied"],
        "created": plan["created"],
        "updated": plan["updated"],
        "unchanged": plan["unchanged"],
        "invalid_values": sum(values.values()),
        "invalid_by_reason": values,
        "linked_quarantined": linked,
        **_event_counts(plan, events),
        **{key: plan[key] for key in ("rounded_values", "overwritten_profiles", "cleared_values", "touched_existing")},
        **{key: value for key, value in sources.items() if key not in ("rows_read", "primary_records_quarantined")},
    }
    right = filtered + counts["unchanged_rows_skipped"] + sum(counts["excluded"].values()) + counts["applied"]
    right += sum(rows.values())
    if right != primary_records:
        raise FatalError(
            f"{primary_records} rows were read but {right} are accounted for; nothing was written.",
            remedy="This is a fault of Crosswalk: keep the files and report it.",
            code="accounting",
        )
    return counts


def _event_counts(plan: dict[str, Any], rejected: dict[str, int]) -> dict[str, Any]:
    """The counters of events; none for goals without them."""
    counts = {key: value for key, value in plan.items() if key.startswith("events_")}
    if not counts:
        return {}
    return {**counts, "events_rejected": sum(rejected.values()), "events_rejected_by_reason": rejected}
