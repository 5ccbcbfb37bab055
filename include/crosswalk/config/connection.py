"""The typed model of a connection file; source of its JSON Schema.

A connection file is read by ``config/loader.py``: every plain YAML scalar arrives here as text (or None for null), so
``country: NO`` stays text and only a field that is declared as a number or a boolean becomes one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from crosswalk.config.event_mapping import EventMapping, NestedMapping, RowChoice
from crosswalk.config.exports import Column, ExportEvents, ExportProfiles, FileName, Period
from crosswalk.config.formats import ExportFormat, Format
from crosswalk.config.goals import (
    STRATEGIES,
    ConsentColumn,
    FieldMapping,
    Guards,
    IdentifierLink,
    ImportGoal,
    ImportGroups,
    ImportProfiles,
    Mappings,
    SourceFile,
    Strategy,
)
from crosswalk.config.model import Model, Name, given_keys
from crosswalk.config.schedule_forms import Schedule

__all__ = [
    "GOAL_KINDS",
    "STRATEGIES",
    "AnyImport",
    "Column",
    "Connection",
    "ConsentColumn",
    "EventMapping",
    "ExportEvents",
    "ExportFormat",
    "ExportProfiles",
    "FieldMapping",
    "FileName",
    "Format",
    "Goal",
    "Guards",
    "IdentifierLink",
    "ImportGoal",
    "ImportGroups",
    "ImportProfiles",
    "Mappings",
    "NestedMapping",
    "Notifications",
    "Owner",
    "Period",
    "RowChoice",
    "SourceFile",
    "Strategy",
    "goal_kind",
    "slug",
]

EMAIL = r"^[^@\s,;<>\"']+@[^@\s,;<>\"']+\.[^@\s,;<>\"']+$"
GOAL_KINDS: dict[str, type[ImportProfiles] | type[ImportGroups] | type[ExportProfiles]] = {
    "import_profiles": ImportProfiles,
    "import_groups": ImportGroups,
    "export_profiles": ExportProfiles,
}


def goal_kind(value: Any) -> str | None:
    """Which kind of goal a block or a model is; None when it is none or several."""
    kinds = [kind for kind in GOAL_KINDS if kind in given_keys(value)]
    return f"goal:{kinds[0]}" if len(kinds) == 1 else None


Goal = Annotated[
    Annotated[ImportProfiles, Tag("goal:import_profiles")]
    | Annotated[ImportGroups, Tag("goal:import_groups")]
    | Annotated[ExportProfiles, Tag("goal:export_profiles")],
    Discriminator(goal_kind),
]
AnyImport = ImportProfiles | ImportGroups


class Owner(Model):
    """Who answers for the connection."""

    name: str
    email: Annotated[str, Field(pattern=EMAIL)] | None = None


class Notifications(Model):
    """Mail about runs. ``on_success`` is an addition to ``on_failure``, never a replacement (row S-17)."""

    emails: list[Annotated[str, Field(pattern=EMAIL)]] = []
    on_failure: bool = True
    on_success: bool = False
    smtp_conn_id: str = "crosswalk_smtp"


# The first step of a goal that changes something outside the run's own folder.
WRITING_STEPS = ("apply", "export")


class Connection(Model):
    """One YAML file: a system, its secrets by reference, a schedule and one or more goals."""

    kind: str
    id: Name | None = None
    title: Annotated[str, Field(min_length=1, max_length=200)]
    owner: Owner | None = None
    description: str = ""
    labels: list[Annotated[str, Field(min_length=1, max_length=100)]] = []
    conn_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=250)]
    enabled: bool = True
    objectives: list[str] = []
    timezone: str = "UTC"
    schedule: Schedule = "manual"
    notifications: Notifications = Notifications()
    guards: Guards = Guards()
    approve: bool | Literal["held"] = False
    retries: Annotated[int, Field(ge=0, le=20)] = 2
    stop_on_failure: bool = False
    goals: Annotated[list[Goal], Field(min_length=1)]

    def goal(self, name: str) -> Goal:
        """The goal of that name; KeyError when there is none."""
        for goal in self.goals:
            if goal.name == name:
                return goal
        raise KeyError(name)

    def steps_of(self, goal: Goal) -> tuple[str, ...]:
        """The steps of a goal in order: with ``approve``, a person is asked right before anything is written or sent.

        ``approve: held`` asks only when a guard holds a plan, and exports have no guards.
        """
        asked = self.approve is True or (self.approve == "held" and goal.direction == "in")
        if not asked:
            return goal.steps
        at = next(index for index, step in enumerate(goal.steps) if step in WRITING_STEPS)
        return (*goal.steps[:at], "approve", *goal.steps[at:])

    def guards_of(self, goal: ImportGoal) -> Guards:
        """The goal's own guards, else the connection's."""
        return goal.guards or self.guards

    @property
    def directions(self) -> set[str]:
        """Directions of the enabled goals: ``in``, ``out``."""
        return {goal.direction for goal in self.goals if goal.enabled}


def slug(text: str) -> str:
    """A stable id made of a file name: at most 100 letters, digits, ``_`` and ``-``."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_") or "connection"
    return plain if len(plain) <= 100 else f"{plain[:91]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
