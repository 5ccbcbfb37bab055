"""What connection files can already say but no step does yet; such a connection is refused instead of half run.

This is the only place that knows: when the steps are there, the line goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crosswalk.config.connection import Connection, ExportProfiles, Goal
from crosswalk.config.exports import shown_segments
from crosswalk.config.segment_checks import references
from crosswalk.config.segments import GroupCondition, conditions_in
from crosswalk.config.tenant import Tenant

_NOT_YET: dict[str, Callable[[Goal], bool]] = {}
_NOT_YET_OUT: dict[str, Callable[[ExportProfiles, Tenant], bool]] = {
    "columns": lambda goal, tenant: (
        any(column.group_property is not None for column in goal.columns)
        or any(_asks_groups(shown, tenant) for shown in shown_segments(goal, tenant))
    ),
    "segment": lambda goal, tenant: _asks_groups(goal.segment, tenant),
}


def not_available(connection: Connection, tenant: Tenant) -> Iterator[tuple[int, str]]:
    """Index of each goal that asks for something without steps, and the key that asks for it."""
    for index, goal in enumerate(connection.goals):
        yield from ((index, key) for key, asks in _NOT_YET.items() if asks(goal))
        if isinstance(goal, ExportProfiles):
            yield from ((index, key) for key, asks_out in _NOT_YET_OUT.items() if asks_out(goal, tenant))


def _asks_groups(segment: str, tenant: Tenant) -> bool:
    """Whether a segment, or one that it builds on, has a condition on groups; circles are another check's business."""
    waiting, seen = [segment], {segment}
    while waiting:
        declared = tenant.segments.get(waiting.pop())
        if declared is None:
            continue
        if any(isinstance(condition, GroupCondition) for _, _, condition in conditions_in(declared)):
            return True
        further = set(references(declared)) - seen
        seen |= further
        waiting += sorted(further)
    return False
