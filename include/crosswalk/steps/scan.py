"""Decide which source files an import goal reads: new or changed ones, oldest first.

The ledger remembers of every file its size, time and content hash. Equal size and time means unchanged without
reading it; a changed time with an equal size is settled by the content. A changed configuration, a changed linked file
or a full run selects every primary file that is there; one whose import was undone comes again only when it changed or
on a full run.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crosswalk.config.fingerprint import goal_fingerprint
from crosswalk.connectors.base import RemoteFile, local_name
from crosswalk.core.errors import ConfigError, LeaseTakenError
from crosswalk.core.staging import GoalFolder, write_json
from crosswalk.steps.context import RunContext
from crosswalk.steps.lease import holding
from crosswalk.steps.replay import decide_replay
from crosswalk.steps.result import StepResult
from crosswalk.store.base import FileRecord, GoalState

if TYPE_CHECKING:
    from crosswalk.config.connection import AnyImport, SourceFile
    from crosswalk.connectors.base import Connector

# Times on servers are whole seconds: a file looked at this soon after its time may have changed again since.
RACY_SECONDS = 3


def scan(context: RunContext, goal_name: str | None) -> StepResult:
    """List, wait for stable files, compare with the ledger, write the decision to the goal's ``scan.json``.

    Returns:
        ``skipped`` (goal off or not asked for), ``busy`` (another run writes), ``nothing_new`` with the reason, or None
        to go on.
    """
    goal = context.import_goal(goal_name)
    if not context.wants(goal):
        off = not goal.enabled or not context.connection.enabled
        reason = "is switched off" if off else "is not among the goals of this run"
        return StepResult(state="skipped", reason=f'Goal "{goal.name}" {reason}.')
    if not context.writes:
        return _scan(context, goal)
    try:
        with holding(context):
            return _scan(context, goal)
    except LeaseTakenError as error:
        return StepResult(state="busy", reason=str(error))


def _scan(context: RunContext, goal: AnyImport) -> StepResult:
    folder = context.goal_folder(goal)
    if folder.scan.exists():  # a retry: the decision stands
        return StepResult(summary={"repeated": True})
    state = context.store.goal_state(context.name, goal.name)
    config_hash = goal_fingerprint(context.connection, goal, context.tenant)
    looks = _look_at(context, goal, state, folder)
    if context.request.replay:
        decision = decide_replay(context, goal, folder, state, [look for look in looks if look["role"] != "primary"])
    else:
        decision = decide(goal, looks, state, config_hash, full=context.request.full)
    if decision["selected"]:
        write_json(folder.scan, decision)
        return StepResult(summary={key: decision[key] for key in ("files_read", "files_skipped", "reason")})
    return StepResult(
        state="nothing_new",
        reason=decision["reason"],
        summary={"files_read": 0, "files_skipped": decision["files_skipped"]},
    )


def _look_at(context: RunContext, goal: AnyImport, state: GoalState, folder: GoalFolder) -> list[dict[str, Any]]:
    with context.connector() as connector:
        listed = [(block, connector.list_files(block)) for block in goal.files]
        listed = _within_period(context, listed)
        everything = [file for _, files in listed for file in files]
        look = connector.stable_files(everything, goal.stable_seconds, time.sleep)
        stable = {file.path for file in look.stable}
        return _compare(context, state, connector, folder, listed, stable)


def look_at_files(context: RunContext, goal: AnyImport) -> list[dict[str, Any]]:
    """Every file of the goal with what a run would make of it: new, changed, unchanged, undone or unstable."""
    state = context.store.goal_state(context.name, goal.name)
    folder = context.goal_folder(goal)
    try:
        looks = _look_at(context, goal, state, folder)
    finally:
        folder.remove()
    return [
        {**look, "time": datetime.fromtimestamp(look["modified"], UTC).isoformat(timespec="seconds")} for look in looks
    ]


def _within_period(
    context: RunContext, listed: list[tuple[SourceFile, list[RemoteFile]]]
) -> list[tuple[SourceFile, list[RemoteFile]]]:
    """Leave out primary files outside since/until (plans only)."""
    since, until = context.request.since, context.request.until
    if not since and not until:
        return listed
    low = _epoch(since, context) if since else float("-inf")
    high = _epoch(until, context) if until else float("inf")
    primary, files = listed[0]
    return [(primary, [file for file in files if low <= file.modified < high]), *listed[1:]]


def _epoch(text: str, context: RunContext) -> float:
    from zoneinfo import ZoneInfo

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f'"{text}" is not a date.', remedy="Use 2026-01-31 or 2026-01-31T06:00.", code="bad_period"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(context.connection.timezone))
    return moment.timestamp()


def _compare(
    context: RunContext,
    state: GoalState,
    connector: Connector,
    folder: GoalFolder,
    listed: list[tuple[SourceFile, list[RemoteFile]]],
    stable: set[str],
) -> list[dict[str, Any]]:
    """One look per file: new, changed, unchanged, undone (unchanged, its import was undone) or unstable."""
    now = time.time()
    looks = []
    for position, (block, files) in enumerate(listed):
        for file in files:
            known = state.files.get(file.path)
            look = {
                "path": file.path,
                "block": block.name,
                "role": "primary" if position == 0 else block.name,
                "size": file.size,
                "modified": file.modified,
                "seen_at": now,
            }
            look["look"] = _look(file, known, stable)
            if look["look"] == "unsure":
                local = folder.files / local_name(file)
                fetched = connector.fetch(file, local)
                same = known is not None and fetched.sha256 == known.sha256
                look["look"] = "unchanged" if same else "changed"
                if same and context.writes:
                    role = str(look["role"])
                    seen = FileRecord(file.path, file.size, int(file.modified), fetched.sha256, now, role)
                    context.store.note_file_seen(state.goal_id, seen)
            if look["look"] == "unchanged" and known is not None and known.undone:
                look["look"] = "undone"
            looks.append(look)
    return looks


def _look(file: RemoteFile, known: FileRecord | None, stable: set[str]) -> str:
    if file.path not in stable:
        return "unstable"
    if known is None:
        return "new"
    if known.size != file.size:
        return "changed"
    if known.modified != int(file.modified) or known.modified > known.seen_at - RACY_SECONDS:
        return "unsure"
    return "unchanged"


def decide(
    goal: AnyImport, looks: list[dict[str, Any]], state: GoalState, config_hash: str, *, full: bool
) -> dict[str, Any]:
    """Which files to read, and why; pure, so that the rule can be tested by itself.

    Returns:
        ``selected`` (looks to read: primary files oldest first, then all linked files), ``take_all`` (rows are
        reconsidered even when unchanged), ``reason``, counts, and the state the decision rests on.
    """
    primary = [look for look in looks if look["role"] == "primary" and look["look"] != "unstable"]
    linked = [look for look in looks if look["role"] != "primary"]
    unstable = [look["path"] for look in looks if look["look"] == "unstable"]
    standing = [look for look in primary if look["look"] != "undone"]
    config_changed = state.config_hash is not None and state.config_hash != config_hash
    linked_changed = any(look["look"] in ("new", "changed") for look in linked)
    if full:
        chosen, reason = primary, "full run"
    elif config_changed:
        chosen, reason = standing, "the configuration changed"
    elif linked_changed and state.config_hash is not None:
        chosen, reason = standing, "a linked file changed"
    else:
        chosen, reason = [look for look in standing if look["look"] != "unchanged"], "new or changed files"
    blocked = [look["path"] for look in linked if look["look"] == "unstable"]
    if blocked:
        chosen, reason = [], f"linked file {blocked[0]} is still being written"
    elif not chosen:
        reason = _why_nothing(goal, looks, unstable)
    missing = [block.name for block in goal.files[1:] if block.name not in {look["block"] for look in linked}]
    if chosen and missing:
        paths = ", ".join(f"{block.name} ({block.path})" for block in goal.files if block.name in missing)
        raise ConfigError(
            f"No file was found for the linked file(s) {paths}.",
            remedy="Put the file in place or correct its path; the primary files wait.",
            code="linked_file_missing",
        )
    selected = [*chosen, *linked] if chosen else []
    return {
        "selected": selected,
        "take_all": full or config_changed,
        "reason": reason,
        "files_read": len(selected),
        "files_skipped": len(looks) - len(selected),
        "unstable": unstable,
        "config_hash": config_hash,
        "goal_state": {key: value for key, value in asdict(state).items() if key != "files"},
    }


def _why_nothing(goal: AnyImport, looks: list[dict[str, Any]], unstable: list[str]) -> str:
    if unstable:
        return f"{len(unstable)} file(s) are still being written, the first is {unstable[0]}"
    if not any(look["role"] == "primary" for look in looks):
        return f"no file matches {goal.files[0].path}"
    undone = sum(look["look"] == "undone" for look in looks)
    also = f"; the import of {undone} of them was undone, a full run takes them again" if undone else ""
    return f"all files are unchanged since they were imported{also}"
