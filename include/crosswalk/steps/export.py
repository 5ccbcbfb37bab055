"""Send what was rendered: written down in the outbox first, sent when the destination acknowledged all of it."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from crosswalk.core.errors import ConfigError, CrosswalkError
from crosswalk.core.staging import GoalFolder, read_json
from crosswalk.engine.select import new_ids
from crosswalk.engine.session import open_session
from crosswalk.steps.context import RunContext
from crosswalk.steps.lease import holding
from crosswalk.steps.render import write_files
from crosswalk.steps.result import StepResult
from crosswalk.steps.select import choose, difference
from crosswalk.steps.settle import settle_earlier
from crosswalk.store.export_base import Cursor, Export, OutboxEntry, OutboxFile, Position

if TYPE_CHECKING:
    from pathlib import Path

    from crosswalk.config.connection import ExportProfiles
    from crosswalk.connectors.base import Connector
    from crosswalk.store.base import Lease

# When the store changes again and again while files are written, what was selected last is sent.
MOST_SELECTIONS = 3


def export(context: RunContext, goal_name: str | None) -> StepResult:
    """Send the goal's files, unless an earlier try did.

    Consent is decided at the moment of sending (design D11): when anything in the store changed since *select*, the
    profiles are selected and rendered again first.

    Raises:
        LeaseLostError: another run took over.
        ConfigError: the destination refuses a file.
        RetryableError: the connection was lost; running again finds out what the destination got.
    """
    goal = context.profile_export(goal_name)
    folder = context.goal_folder(goal)
    with holding(context) as lease:
        goal_id = context.store.goal_state(context.name, goal.name).goal_id
        sent = settle_earlier(context, goal, goal_id, lease)
        if sent is not None:
            return StepResult(reason=difference(sent), summary=sent)
        for _ in range(MOST_SELECTIONS):
            if not _is_fresh(context, folder):
                chosen = choose(context, goal, lease, again=True)
                if chosen.state is not None:
                    return chosen
            if folder.rendered.exists():
                break
            write_files(context, goal)
        counts = _send(context, goal, folder, lease)
    return StepResult(reason=difference(counts), summary=counts)


def _is_fresh(context: RunContext, folder: GoalFolder) -> bool:
    """Whether nothing in the store changed since the profiles were selected."""
    if not folder.selection.exists():
        return False
    return bool(read_json(folder.selection)["batch_no"] == context.store.position().batch_no)


def _send(context: RunContext, goal: ExportProfiles, folder: GoalFolder, lease: Lease) -> dict[str, Any]:
    selection, rendered = read_json(folder.selection), read_json(folder.rendered)
    position = Position(selection["batch_no"], selection["read_at"])
    counts = {**selection["counts"], **rendered["counts"], "files_written": len(rendered["files"])}
    with context.connector() as connector:
        paths = free_paths(goal, connector, [file["name"] for file in rendered["files"]])
        rows = {posixpath.basename(path): file["rows"] for path, file in zip(paths, rendered["files"], strict=True)}
        if "rows_by_file" in counts:
            counts["rows_by_file"] = rows  # under the names that were free
        files = [
            OutboxFile(path, file["size"], file["sha256"]) for path, file in zip(paths, rendered["files"], strict=True)
        ]
        planned = Export(
            run_id=context.run_id,
            goal_id=selection["goal_id"],
            cursor=Cursor(position, selection["config_hash"]),
            counts=counts,
            files=files,
        )
        with open_session(folder.temporary, memory_mb=256) as session:

            def ids() -> pa.RecordBatchReader:
                return new_ids(session, folder.selected, context.store.exported_ids(planned.goal_id))

            number = context.store.plan_export(planned, ids, lease)
        places = [folder.path / file["place"] for file in rendered["files"]]
        _deliver(context, goal, connector, places, OutboxEntry(number, "sending", planned), lease)
    context.store.acknowledge(OutboxEntry(number, "sending", planned), goal.name, lease)
    return counts


def free_paths(goal: ExportProfiles, connector: Connector, names: list[str]) -> list[str]:
    """Where the files go: custom names replace; with a timestamp all get ``_1`` and so on when one of them is taken."""
    folder = goal.directory.rstrip("/")
    numbered = names
    if goal.file_name.custom is None:
        taken = {file.name for file in connector.list_folder(folder or "/")}
        number = 0
        while taken.intersection(numbered):
            number += 1
            numbered = [
                f"{stem}_{number}{dot}{ending}" for stem, dot, ending in (name.partition(".csv") for name in names)
            ]
    return [f"{folder}/{name}" for name in numbered]


def _deliver(
    context: RunContext,
    goal: ExportProfiles,
    connector: Connector,
    places: list[Path],
    entry: OutboxEntry,
    lease: Lease,
) -> None:
    """Put all files there, that of the profiles last: who sees it finds the others, too."""
    context.store.begin_sending(entry.outbox_no, lease)
    context.progress("sending the files")
    replace = goal.file_name.custom is not None
    try:
        for place, file in reversed(list(zip(places, entry.export.files, strict=True))):
            connector.deliver(place, file.path, replace=replace)
    except CrosswalkError as error:
        # A refused one is not there; after a cut nobody knows, nor when others went before it.
        is_refused = isinstance(error, ConfigError) and len(places) == 1
        context.store.give_up(entry.outbox_no, "failed" if is_refused else "unknown")
        raise
