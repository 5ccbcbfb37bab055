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
    work = context.goal_folder(goal).temporary
    work.mkdir(parents=True, exist_ok=True)
    found = [connector.has_delivered(file.path, file.size, file.sha256, work) for file in entry.export.files]
    return all(found)  # each is looked at, for what a cut left beside it
