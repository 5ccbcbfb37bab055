"""Where a profile's values come from: its change log, read from the first entry to the last.

Of a value that no profile has: where runs set it aside, as far as their rejects are kept.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosswalk.store.base import Store

MOST_REJECTS, RECENT_RUNS = 1_000, 200
# A hit within a longer address or number is another value.
_BEFORE, _AFTER = r"(?<![\w@.+-])", r"(?![\w@+-]|\.\w)"


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


def trace_absent(store: Store, value: str) -> dict[str, Any]:
    """Why a value may not have arrived.

    Args:
        store: the profile store.
        value: the identifier, as a person wrote it.

    Returns:
        ``profile_id`` (None); ``set_aside``: rejects whose raw text holds the value, newest first, without that text;
        ``may_be_counted``: recent runs that excluded rows. Those are only counted, so they may hold it.
    """
    text = value.strip()
    spellings = {text, json.dumps(text, ensure_ascii=False)[1:-1]}
    whole = re.compile(f"{_BEFORE}({'|'.join(map(re.escape, sorted(spellings)))}){_AFTER}", re.IGNORECASE)
    candidates = store.rejects_with(text, MOST_REJECTS) if text else []
    found = [{key: row[key] or None for key in row} for row in candidates if whole.search(row.pop("raw"))]
    counted = []
    for run in store.runs(limit=RECENT_RUNS):
        for goal in run["goals"]:
            counts = goal["result"].get("counts") or {}
            if run["mode"] == "apply" and "rows_read" in counts:  # an import
                place = {"run_id": run["run_id"], "connection": run["connection"], "goal": goal["goal"]}
                excluded = {**(counts.get("excluded") or {}), "filtered": counts.get("filtered") or 0}
                counted += [{**place, "reason": reason, "rows": rows} for reason, rows in excluded.items() if rows]
    return {"profile_id": None, "set_aside": found, "may_be_counted": counted}
