"""What earlier tries left in the outbox: the destination is asked what it got; nothing is sent twice or forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crosswalk.steps.context import RunContext

if TYPE_CHECKING:
    from crosswalk.config.connection import ExportProfiles
    from crosswalk.connectors.base import Connector
    from crosswalk.store.base import Lease
    from crosswalk.store.export_base import OutboxEntry


def settle_earlier(context: RunContext, goal: ExportProfiles, goal_id: int, lease: Lease) -> dict[str, Any] | None:
    """Settle every open export of the goal; the counts of this run's own when it turns out to be sent."""
    own = None
    for entry in context.store.outbox(goal_id):
        sent = entry.state == "sent" or settle(context, goal, entry, lease)
        if sent and entry.export.run_id == context.run_id:
            own = entry.export.counts
    return own


def settle(context: RunContext, goal: ExportProfiles, entry: OutboxEntry, lease: Lease) -> bool:
    """Whether an open export was sent after all; it is recorded as sent or as failed."""
    sent = False
    if entry.state != "planned":
        with context.connector() as connector:
            sent = _lies_there(context, goal, connector, entry)
    if sent:
        context.store.acknowledge(entry, goal.name, lease)
    else:
        context.store.give_up(entry.outbox_no, "failed")
    return sent


def _lies_there(context: RunContext, goal: ExportProfiles, connector: Connector, entry: OutboxEntry) -> bool:
    """Whether all files of an export lie there whole. Of a new set of files that was cut off, the begin is removed."""
    work = context.goal_folder(goal).temporary
    work.mkdir(parents=True, exist_ok=True)
    files = entry.export.files  # each is looked at, for what a cut left beside it
    found = [file for file in files if connector.has_delivered(file.path, file.size, file.sha256, work)]
    if len(found) == len(files):
        return True
    if goal.file_name.custom is None:  # custom files are replaced by the next try
        for file in found:
            connector.withdraw(file.path)
    return False
