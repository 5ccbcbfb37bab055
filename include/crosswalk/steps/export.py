"""Send what was rendered: written down in the outbox first, sent when the destination acknowledged it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from crosswalk.core.errors import ConfigError, CrosswalkError
from crosswalk.core.staging import GoalFolder, read_json
from crosswalk.engine.select import new_ids
from crosswalk.engine.session import open_session
from crosswalk.steps.context import RunContext
from crosswalk.steps.lease import holding
from crosswalk.steps.render import write_file
from crosswalk.steps.result import StepResult
from crosswalk.steps.select import choose, difference
from crosswalk.steps.settle import settle_earlier
from crosswalk.store.export_base import Cursor, Export, OutboxEntry, OutboxFile, Position

if TYPE_CHECKING:
    from crosswalk.config.connection import ExportProfiles
    from crosswalk.connectors.base import Connector
    from crosswalk.store.base import Lease


def export(context: RunContext, goal_name: str | None) -> StepResult:
    """Send the goal's file, unless an earlier try did.

    Consent is decided at the moment of sending (design D11): when anything in the store changed since *select*, the
    profiles are selected and rendered again first.

    Raises:
        LeaseLostError: another run took over.
        ConfigError: the destination refuses the file.
        RetryableError: the connection was lost; running again finds out what the destination got.
    """
    goal = context.profile_export(goal_name)
    folder = context.goal_folder(goal)
    with holding(context) as lease:
        goal_id = context.store.goal_state(context.name, goal.name).goal_id
        sent = settle_earlier(context, goal, goal_id, lease)
        if sent is not None:
            return StepResult(reason=difference(sent), summary=sent)
        if not _is_fresh(context, folder):
            chosen = choose(context, goal, lease, again=True)
            if chosen.state is not None:
                return chosen
        if not folder.rendered.exists():
            write_file(context, goal)
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
    counts = {**selection["counts"], **rendered["counts"], "files_written": 1}
    with context.connector() as connector:
        path = _free_path(goal, connector, rendered["name"])
        planned = Export(
            run_id=context.run_id,
            goal_id=selection["goal_id"],
            cursor=Cursor(position, selection["config_hash"]),
            counts=counts,
            files=[OutboxFile(path, rendered["size"], rendered["sha256"])],
        )
        with open_session(folder.temporary, memory_mb=256) as session:

            def ids() -> pa.RecordBatchReader:
                return new_ids(session, folder.selected, context.store.exported_ids(planned.goal_id))

            number = context.store.plan_export(planned, ids, lease)
        entry = OutboxEntry(number, "sending", planned)
        _deliver(context, goal, connector, folder, entry, lease)
    context.store.acknowledge(entry, goal.name, lease)
    return counts


def _free_path(goal: ExportProfiles, connector: Connector, name: str) -> str:
    """Where the file goes: a custom name replaces, one with a timestamp gets ``_1`` and so on where it is taken."""
    folder = goal.directory.rstrip("/")
    if goal.file_name.custom is not None:
        return f"{folder}/{name}"
    taken = {file.name for file in connector.list_folder(folder or "/")}
    stem, dot, ending = name.partition(".csv")
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{stem}_{number}{dot}{ending}"
    return f"{folder}/{free}"


def _deliver(
    context: RunContext,
    goal: ExportProfiles,
    connector: Connector,
    folder: GoalFolder,
    entry: OutboxEntry,
    lease: Lease,
) -> None:
    context.store.begin_sending(entry.outbox_no, lease)
    context.progress("sending the file")
    replace = goal.file_name.custom is not None
    try:
        for file in entry.export.files:
            connector.deliver(folder.outgoing, file.path, replace=replace)
    except CrosswalkError as error:
        # Refused means that it is not there; after a cut nobody knows.
        context.store.give_up(entry.outbox_no, "failed" if isinstance(error, ConfigError) else "unknown")
        raise
