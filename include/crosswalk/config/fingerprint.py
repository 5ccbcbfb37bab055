"""Says whether a goal would still give the same result: a hash of everything in the configuration that decides it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from crosswalk.config.connection import Connection, ExportProfiles, Goal, ImportGoal, ImportGroups, ImportProfiles
from crosswalk.config.event_types import EventField, EventType, ItemField
from crosswalk.config.exports import shown_segments
from crosswalk.config.segments import (
    GroupCondition,
    PropertyCondition,
    SegmentCondition,
    conditions_in,
)
from crosswalk.config.tenant import Definition, Tenant

# Raised when a release reads the same configuration with another result.
_MEANING = 1


def goal_fingerprint(connection: Connection, goal: Goal, tenant: Tenant) -> str:
    """SHA-256 of what decides the result of a goal.

    When it changes, all files and rows are read again (row S-60), or everything is exported again.

    In it for imports: formats, links, paths of the linked files, row key, processors, identifiers, consent, mappings,
    events, what happens with invalid values, objectives, time zone, and the definitions of the properties and event
    types it writes. In it for exports: columns, format, events, objectives, time zone, the segment with all that it
    builds on, and the definitions of what is written.

    Not in it: title, schedule, labels, notifications, guards, names and acknowledgements, what happens to files
    afterwards, and the places of the primary file and of exported files (which files there are is no property of a
    row).
    """
    if isinstance(goal, ExportProfiles):
        content = _export_content(connection, goal, tenant)
    elif isinstance(goal, ImportGroups):
        content = _group_content(connection, goal, tenant)
    else:
        content = _profile_content(connection, goal, tenant)
    text = json.dumps({"meaning": _MEANING, **content}, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _import_content(connection: Connection, goal: ImportGoal) -> dict[str, Any]:
    return {
        "files": [_file(goal, index) for index in range(len(goal.files))],
        "row_key": goal.row_key,
        "processors": goal.processors,
        "identifiers": [link.model_dump() for link in goal.identifiers],
        "mappings": [_mapping(goal, index) for index in range(len(goal.mappings.fields))],
        "invalid_values": goal.invalid_values,
        "timezone": connection.timezone,
    }


def _profile_content(connection: Connection, goal: ImportProfiles, tenant: Tenant) -> dict[str, Any]:
    content = {
        **_import_content(connection, goal),
        "match": goal.match,
        "create_profiles": goal.create_profiles,
        "store_identifiers": goal.store_identifiers,
        "consent": [column.model_dump() for column in goal.consent],
        "objectives": sorted(set(connection.objectives)),
        "properties": {name: _definition(tenant.properties.get(name)) for name in sorted(_written(goal))},
    }
    # Left out where they say nothing, so that goals without them keep the fingerprint they had before these keys.
    if goal.events:
        content["events"] = [event.model_dump() for event in goal.events]
        content["event_types"] = _event_types({event.type for event in goal.events}, tenant)
    if goal.create_missing_groups:
        groups = {name: _group_of(tenant, name) for name in sorted(_written(goal))}
        content["groups_made"] = {name: group_type for name, group_type in groups.items() if group_type}
    return content


def _group_of(tenant: Tenant, name: str) -> str | None:
    declared = tenant.properties.get(name)
    return declared.group_type if declared else None


def _group_content(connection: Connection, goal: ImportGroups, tenant: Tenant) -> dict[str, Any]:
    declared = goal.definitions(tenant)
    return {
        **_import_content(connection, goal),
        "group_type": goal.group_type,
        "create_groups": goal.create_groups,
        "properties": {name: _definition(declared.get(name)) for name in sorted(_written(goal))},
    }


def _export_content(connection: Connection, goal: ExportProfiles, tenant: Tenant) -> dict[str, Any]:
    events = goal.events
    types = [] if events is None else tenant.event_types if events.types == "all" else events.types
    properties = {column.property for column in goal.columns if column.property}
    shown = set(shown_segments(goal, tenant))
    return {
        "segment": goal.segment,
        "columns": [{**column.model_dump(), "as_": column.header} for column in goal.columns],
        "format": goal.format.model_dump(exclude={"compress"}),
        "events": events.model_dump() if events else None,
        "event_types": _event_types(set(types), tenant),
        "objectives": sorted(set(connection.objectives)),
        "timezone": connection.timezone,
        "properties": {name: _definition(tenant.definition(name)) for name in sorted(properties)},
        "group_properties": {
            f"{column.group_property.group_type}/{column.group_property.property}": _definition(
                tenant.group_property(column.group_property.group_type, column.group_property.property)
            )
            for column in goal.columns
            if column.group_property
        },
        "segments": _segments({goal.segment, *shown}, tenant),
        "names": _names(shown, tenant) if goal.format.ids == "name" else None,
    }


def _names(shown: set[str], tenant: Tenant) -> dict[str, str | None]:
    """What is written instead of ids."""
    segments = {name: segment.name for name, segment in tenant.segments.items() if name in shown}
    return segments | {f"objective/{name}": objective.name for name, objective in tenant.objectives.items()}


def _segments(wanted: set[str], tenant: Tenant) -> dict[str, Any]:
    """The conditions of segments and of all segments that they build on, with the properties these look at."""
    found: dict[str, Any] = {}
    waiting = sorted(wanted)
    while waiting:
        name = waiting.pop()
        segment = tenant.segments.get(name)
        if name in found or segment is None:
            continue
        inner = [condition for _, _, condition in conditions_in(segment)]
        waiting += [condition.segment for condition in inner if isinstance(condition, SegmentCondition)]
        tests = [condition.property for condition in inner if isinstance(condition, PropertyCondition)]
        groups = {
            f"{condition.group_type}/{test.property}": _definition(
                tenant.group_property(condition.group_type, test.property)
            )
            for condition in inner
            if isinstance(condition, GroupCondition)
            for test in condition.all
        }
        found[name] = {
            "conditions": segment.model_dump(exclude={"name", "description"}, exclude_none=True),
            "properties": {test: _definition(tenant.definition(test)) for test in tests} | groups,
        }
    return found


def _event_types(names: set[str], tenant: Tenant) -> dict[str, Any]:
    return {name: _event_type(tenant.event_types.get(name)) for name in sorted(names)}


def _event_type(declared: EventType | None) -> dict[str, Any] | None:
    if declared is None:
        return None
    return {
        "kept_days": declared.kept_days,
        "priority": declared.priority,
        # A list, for the order of the fields is that of the columns of an exported file.
        "fields": [[name, _event_field(field)] for name, field in declared.fields.items()],
    }


def _event_field(field: EventField | ItemField) -> dict[str, Any]:
    if isinstance(field, ItemField):
        return {"type": field.type, "multiple": field.is_multiple, "identifier": field.identifier}
    nested = [[name, _event_field(item)] for name, item in (field.fields or {}).items()]
    return {"type": field.value_type, "multiple": field.is_multiple, "fields": nested}


def _file(goal: ImportGoal, index: int) -> dict[str, Any]:
    block = goal.files[index]
    content = {
        "name": block.name,
        "link": dict(block.link),
        "nested": block.nested,
        "duplicates": block.duplicates,
        "format": goal.file_format(block.name).model_dump(),
    }
    return content if index == 0 else {**content, "path": block.path, "regex": block.regex}


def _mapping(goal: ImportGoal, index: int) -> dict[str, Any]:
    mapping = goal.mappings.fields[index]
    return {**mapping.model_dump(exclude={"existing", "property"}), "target": goal.target(mapping)}


def _written(goal: ImportGoal) -> set[str]:
    return {goal.target(mapping) for mapping in goal.mappings.fields} | {link.property for link in goal.identifiers}


def _definition(declared: Definition | None) -> dict[str, Any] | None:
    if declared is None:
        return None
    return {
        "type": declared.type,
        "identifier": declared.identifier,
        "currency": declared.currency,
        "decimals": declared.stored_decimals,
    }
