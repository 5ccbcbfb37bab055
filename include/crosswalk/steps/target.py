"""What an import goal writes into: profiles, or the groups of one type.

A group import runs as a profile import over the properties of its group type: the same linking, strategies, counters
and plan, with other tables of the store behind them. Consent is asked of people, so it does not apply to groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from crosswalk.config.connection import Connection, ImportGoal, ImportGroups, ImportProfiles
from crosswalk.config.tenant import Property, Tenant
from crosswalk.steps.context import RunContext

Lookup = Callable[[pa.RecordBatchReader], pa.RecordBatchReader]


class GroupsAsProfiles(ImportProfiles):
    """A goal that imports groups, in the shape of one that imports profiles."""

    splits_identifiers: ClassVar[bool] = False  # a group has one id, whatever marks it holds


@dataclass(frozen=True)
class Target:
    """An import goal as *link*, *map* and *apply* see it.

    Attributes:
        goal: the goal, as one that imports profiles.
        connection: its connection; without objectives for groups.
        tenant: the tenant model, whose properties are those of the target.
        collection: the tables of the store.
        match: owners of identifier values (MATCH_SCHEMA in, MATCHED_SCHEMA out).
        read: stored documents by id (PROFILE_SCHEMA out).
    """

    goal: ImportProfiles
    connection: Connection
    tenant: Tenant
    collection: Literal["profile", "group"]
    match: Lookup
    read: Lookup


def target_of(context: RunContext, goal_name: str | None) -> Target:
    """The target of an import goal of either kind."""
    goal, store = context.import_goal(goal_name), context.store
    if isinstance(goal, ImportProfiles):
        read = store.read_profiles
        return Target(goal, context.connection, context.tenant, "profile", store.match_identifiers, read)
    return Target(
        as_profile_goal(goal),
        context.connection.model_copy(update={"objectives": []}),
        group_model(context.tenant, goal.group_type),
        "group",
        store.match_groups,
        store.read_groups,
    )


def as_profile_goal(goal: ImportGroups) -> ImportProfiles:
    """The goal as one that imports profiles; its parts are shared, for they were checked already."""
    parts: dict[str, Any] = {name: getattr(goal, name) for name in ImportGoal.model_fields}
    parts |= {"import_profiles": goal.name, "create_profiles": goal.create_groups}
    return GroupsAsProfiles.model_construct(**parts)


def group_model(tenant: Tenant, group_type: str) -> Tenant:
    """The tenant model with the properties of a group type in place of those of profiles."""
    declared = tenant.group_types[group_type].properties
    properties = {key: Property.model_construct(**dict(item)) for key, item in declared.items()}
    return tenant.model_copy(update={"properties": properties})
