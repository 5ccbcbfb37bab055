"""Which files a replay reads: those in which an earlier run set something aside, in the very version that it read.

A replay is a run like any other, over these files only. Rows that were applied and gave no reject are skipped, as in
every run; rows of which the earlier run set something aside are taken whatever the row state says of them. So a row
comes in once, however often it is replayed, and a sum gets only what the row has not added yet.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crosswalk.connectors.base import RemoteFile, local_name
from crosswalk.core.errors import ConfigError, SourceChangedError
from crosswalk.core.staging import GoalFolder, write_json
from crosswalk.engine.session import open_session, write_parquet
from crosswalk.steps.context import RunContext
from crosswalk.store.replay_base import OpenFile

if TYPE_CHECKING:
    from crosswalk.config.connection import AnyImport
    from crosswalk.connectors.base import Connector
    from crosswalk.store.base import GoalState


def check_replay(context: RunContext, run_id: str) -> None:
    """Refuse what cannot be replayed.

    Raises:
        ConfigError: there is no such run of this connection.
    """
    run = context.store.run(run_id)
    if run is None or run["connection"] != context.name or run["mode"] == "undo":
        raise ConfigError(
            f'There is no run "{run_id}" of this connection with rejects to replay.',
            remedy="crosswalk runs lists them.",
            connection=context.name,
            code="unknown_run",
        )


def decide_replay(
    context: RunContext, goal: AnyImport, folder: GoalFolder, state: GoalState, linked: list[dict[str, Any]]
) -> dict[str, Any]:
    """The decision of *scan* for a replay; leaves the places of the rejects in the goal's folder.

    Args:
        context: the run.
        goal: the goal.
        folder: its staging folder.
        state: what the store knows of it.
        linked: looks at the linked files that lie there now.
    """
    run_id = context.request.replay or ""
    check_replay(context, run_id)
    files = context.store.open_files(run_id, state.goal_id)
    wanted = [file for file in files if file.role == "primary" and file.rejects]
    there = {look["block"] for look in linked}
    wanted_linked = [file for file in files if file.role != "primary" and file.role not in there]
    selected, gone = [], []
    with context.connector() as connector:
        for file in [*wanted, *(wanted_linked if wanted else [])]:
            look = _fetch_same(connector, goal, folder, file)
            if look is not None:
                selected.append(look)
            else:
                gone.append(file)
    found = [look for look in selected if look["role"] == "primary"]
    missing = {block.name for block in goal.files[1:]} - there - {look["block"] for look in selected}
    if found and missing:
        raise ConfigError(
            f"No file was found for the linked file(s) {', '.join(sorted(missing))}.",
            remedy="Put the file in place or correct its path.",
            code="linked_file_missing",
        )
    if found:
        _keep_places(context, folder, run_id, state.goal_id)
    return {
        "selected": [*selected, *linked] if found else [],
        "take_all": False,
        "reason": f"rejects of run {run_id}" if found else _why_nothing(context, run_id, state.goal_id, wanted),
        "files_read": len(selected) + len(linked) if found else 0,
        "files_skipped": len(wanted) - len(found),
        "unstable": [],
        "warnings": [_gone(file) for file in gone if file.role == "primary"],
        "replays": run_id,
        # Other files may still wait for a changed configuration: the ledger goes on saying which one they have seen.
        "config_hash": state.config_hash,
        "goal_state": {key: value for key, value in asdict(state).items() if key != "files"},
    }


def _fetch_same(connector: Connector, goal: AnyImport, folder: GoalFolder, file: OpenFile) -> dict[str, Any] | None:
    """A look at the version of a file that the earlier run read, brought here; None when it is not there any more."""
    parent, _, name = file.path.rpartition("/")
    handled = re.compile(rf"{re.escape(name)}(\.done)?(\.\d+)?")
    local = folder.files / local_name(RemoteFile(file.path, name, file.size, file.modified))
    for place in dict.fromkeys((parent, goal.archive or parent)):
        for remote in connector.list_folder(place or "/"):
            if not handled.fullmatch(remote.name) or remote.size != file.size:
                continue
            try:
                fetched = connector.fetch(remote, local)
            except SourceChangedError:
                continue
            if fetched.sha256 != file.sha256:
                local.unlink(missing_ok=True)
                continue
            facts = {"size": file.size, "modified": file.modified, "sha256": file.sha256}
            write_json(local.with_name(f"{local.name}.json"), facts)  # *join* takes it from here
            block = goal.files[0].name if file.role == "primary" else file.role
            known = {"path": file.path, "block": block, "role": file.role, "seen_at": file.seen_at}
            return {**known, "size": file.size, "modified": file.modified, "look": "replayed"}
    return None


def _keep_places(context: RunContext, folder: GoalFolder, run_id: str, goal_id: int) -> None:
    places = context.store.open_places(run_id, goal_id)
    with open_session(folder.temporary, memory_mb=256) as session:
        session.register("place", places)
        write_parquet(session, "SELECT DISTINCT * FROM place", folder.replayed)
        session.unregister("place")


def _gone(file: OpenFile) -> str:
    return (
        f"{file.rejects} rejects of {file.path} were not replayed: the file does not lie there any more as it was "
        "read. A corrected file is imported by the next run."
    )


def _why_nothing(context: RunContext, run_id: str, goal_id: int, wanted: list[OpenFile]) -> str:
    if wanted:
        return " ".join(_gone(file) for file in wanted)
    done = context.store.replays(run_id, goal_id)
    if done:
        return f"The rejects of run {run_id} were replayed by {', '.join(done)}; what was set aside again is there."
    return f"Run {run_id} set aside nothing that can be read again: only rows of primary files that it applied can."
