"""Where a profile's values come from: its change log, read from the first entry to the last."""

from __future__ import annotations

from typing import Any


def trace_profile(profile: dict[str, Any], log: list[dict[str, Any]]) -> dict[str, Any]:
    """Every change of a profile in order, and what put each of its values there.

    A value's source is the entry that brought it, not one that merely kept it. A value that an undo gave back still
    comes from where it came from at first. A sum has a source for each entry that added to it and was not undone.

    Args:
        profile: as the store has it.
        log: its change log, newest first.

    Returns:
        ``profile_id``; ``changes``: one line for each property of each entry; ``values``: one line for each value and
        source, the source empty where the log is no longer kept.
    """
    lines: list[dict[str, Any]] = []
    sources: dict[tuple[str, str], dict[str, Any]] = {}
    sums: dict[str, list[dict[str, Any]]] = {}
    for entry in reversed(log):
        for property_id, change in sorted(entry["changes"].items()):
            line = _line(entry, property_id, change)
            lines.append(line)
            if not change.get("sum"):
                sums.pop(property_id, None)
            elif entry["kind"] != "undone" and not entry["undone_by"]:
                sums.setdefault(property_id, []).append(line)
            for value in change["after"] or []:
                if value not in (change["before"] or []) and not _came_before(sources, property_id, value, entry):
                    sources[property_id, value] = line
    values = []
    for property_id, listed in sorted(profile["properties"].items()):
        for value in listed:
            found = sums.get(property_id) or [sources.get((property_id, value), {})]
            values += [_source(property_id, value, line) for line in found]
    return {"profile_id": profile["profile_id"], "changes": lines, "values": values}


def _came_before(sources: dict[tuple[str, str], Any], property_id: str, value: str, entry: dict[str, Any]) -> bool:
    return entry["kind"] == "undone" and (property_id, value) in sources


def _line(entry: dict[str, Any], property_id: str, change: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": entry["at"],
        "run_id": entry["run_id"],
        "connection": entry["connection"],
        "goal": entry["goal"],
        "kind": entry["kind"],
        "property": property_id,
        "before": change["before"],
        "after": change["after"],
        "file": change["file"],
        "line": change["line"],
        "undone_by": entry["undone_by"],
    }


def _source(property_id: str, value: str, line: dict[str, Any]) -> dict[str, Any]:
    keys = ("run_id", "connection", "goal", "at", "file", "line")
    return {"property": property_id, "value": value, **{key: line.get(key) for key in keys}}
