"""Says whether a goal would still give the same result: a hash of everything in the configuration that decides it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from crosswalk.config.connection import Connection, Goal
from crosswalk.config.tenant import Property, Tenant

# Raised when a release reads the same configuration with another result.
_MEANING = 1


def goal_fingerprint(connection: Connection, goal: Goal, tenant: Tenant) -> str:
    """SHA-256 of what decides the result of a goal; when it changes, all files and rows are read again (row S-60).

    In it: formats, links, paths of the linked files, row key, processors, identifiers, consent, mappings, what happens
    with invalid values, objectives, time zone, and the definitions of the properties it writes. Not in it: title,
    schedule, labels, notifications, guards, names and acknowledgements, what happens to files afterwards, and the path
    of the primary file (which files there are is no property of a row).
    """
    content = {
        "meaning": _MEANING,
        "files": [_file(goal, index) for index in range(len(goal.files))],
        "row_key": goal.row_key,
        "processors": goal.processors,
        "identifiers": [link.model_dump() for link in goal.identifiers],
        "match": goal.match,
        "create_profiles": goal.create_profiles,
        "store_identifiers": goal.store_identifiers,
        "consent": [column.model_dump() for column in goal.consent],
        "mappings": [_mapping(goal, index) for index in range(len(goal.mappings.fields))],
        "invalid_values": goal.invalid_values,
        "objectives": sorted(set(connection.objectives)),
        "timezone": connection.timezone,
        "properties": {name: _definition(tenant.properties.get(name)) for name in sorted(_written(goal))},
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _file(goal: Goal, index: int) -> dict[str, Any]:
    block = goal.files[index]
    content = {
        "name": block.name,
        "link": dict(block.link),
        "nested": block.nested,
        "duplicates": block.duplicates,
        "format": goal.file_format(block.name).model_dump(),
    }
    return content if index == 0 else {**content, "path": block.path, "regex": block.regex}


def _mapping(goal: Goal, index: int) -> dict[str, Any]:
    mapping = goal.mappings.fields[index]
    return {**mapping.model_dump(exclude={"existing", "property"}), "target": goal.target(mapping)}


def _written(goal: Goal) -> set[str]:
    return {goal.target(mapping) for mapping in goal.mappings.fields} | {link.property for link in goal.identifiers}


def _definition(declared: Property | None) -> dict[str, Any] | None:
    if declared is None:
        return None
    return {
        "type": declared.type,
        "identifier": declared.identifier,
        "currency": declared.currency,
        "decimals": declared.stored_decimals,
    }
