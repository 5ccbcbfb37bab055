"""What connection files can already say but no step does yet; such a connection is refused instead of half run.

This is the only place that knows: when the steps are there, the line goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crosswalk.config.connection import Connection, ExportProfiles, Goal, ImportGroups, ImportProfiles

_NOT_YET: dict[str, Callable[[Goal], bool]] = {
    "import_groups": lambda goal: isinstance(goal, ImportGroups),
    "create_missing_groups": lambda goal: isinstance(goal, ImportProfiles) and goal.create_missing_groups,
    "export_profiles": lambda goal: isinstance(goal, ExportProfiles),
}


def not_available(connection: Connection) -> Iterator[tuple[int, str]]:
    """Index of each goal that asks for something without steps, and the key that asks for it."""
    for index, goal in enumerate(connection.goals):
        yield from ((index, key) for key, asks in _NOT_YET.items() if asks(goal))
