"""The state of a connection at a glance: direction arrows, last runs, unique profiles."""

from __future__ import annotations

from typing import Any

from crosswalk.config.loader import LoadedConnection
from crosswalk.store.base import Store


def connection_status(loaded: LoadedConnection, store: Store) -> dict[str, Any]:
    """Arrows (enabled goals), their health (last run), last good run, unique profiles by direction.

    An arrow is there when a goal of that direction is enabled; it is ``ok`` (green) when the last run that tried it
    ended well, ``error`` when it did not, ``new`` before the first run.
    """
    listed = [run for run in store.runs(loaded.name, 20) if run["mode"] != "undo"]  # an undo exchanges nothing
    runs = [run for run in listed if run["mode"] == "apply" or run["state"] not in ("planned",)]
    directions = loaded.model.directions if loaded.model.enabled else set()
    document: dict[str, Any] = {
        "connection": loaded.name,
        "title": loaded.model.title,
        "enabled": loaded.model.enabled,
        "arrows": {(): "-", ("in",): "<-", ("out",): "->", ("in", "out"): "<->"}[tuple(sorted(directions))],
        "last_run_id": runs[0]["run_id"] if runs else None,
        "last_run_state": runs[0]["state"] if runs else None,
        "unique_profiles": store.unique_profiles(loaded.name),
        "goals": [],
    }
    good = []
    for goal in loaded.model.goals:
        state = store.goal_state(loaded.name, goal.name)
        good.append(state.last_good_run_at)
        document["goals"].append(
            {
                "goal": goal.name,
                "direction": goal.direction,
                "enabled": goal.enabled,
                "last_good_run_at": state.last_good_run_at,
                "last_good_run_id": state.last_good_run_id,
            }
        )
    document["last_good_run_at"] = max((at for at in good if at), default=None)
    for direction in ("in", "out"):
        document[direction] = _health(direction, directions, runs)
    return document


def _health(direction: str, directions: set[str], runs: list[dict[str, Any]]) -> str:
    if direction not in directions:
        return "none"
    states = [run["state"] for run in runs if run["state"] not in ("running", "busy", "skipped")]
    if not states:
        return "new"
    return "error" if states[0] in ("failed", "stale") else "held" if states[0] == "held" else "ok"
