"""Groups that a profile import names and that nobody has imported: made empty, or counted in a warning."""

from __future__ import annotations

import json
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa
import pyarrow.parquet as pq

from crosswalk.config.connection import ImportProfiles
from crosswalk.core.staging import GoalFolder, durable
from crosswalk.engine.session import Session, literal
from crosswalk.engine.template import render, sql, text
from crosswalk.steps.context import RunContext
from crosswalk.store.base import MATCH_SCHEMA, NEW_GROUP_SCHEMA


def find_missing_groups(
    context: RunContext, session: Session, goal: ImportProfiles, folder: GoalFolder, batch_id: str
) -> tuple[dict[str, int], list[str]]:
    """Look up the groups that the plan's new values name; with ``create_missing_groups`` plan the missing ones.

    Returns:
        counts (``groups_created``) and warnings.
    """
    types = {}
    for mapping in goal.mappings.fields:
        declared = context.tenant.properties.get(goal.target(mapping))
        if declared is not None and declared.group_type:
            types[goal.target(mapping)] = declared.group_type
    target = folder.plan / "new_groups.parquet"
    target.unlink(missing_ok=True)
    if not types:
        return {}, []
    missing = _missing(context, session, folder, types)
    if not missing:
        return {}, []
    if goal.create_missing_groups:
        with durable(target) as temporary:
            pq.write_table(
                pa.Table.from_pylist([_empty(batch_id, *key) for key in missing], NEW_GROUP_SCHEMA), temporary
            )
        return {"groups_created": len(missing)}, []
    names = {_identifier(context, group_type): group_type for group_type in types.values()}
    found = {kind: sum(names[key] == kind for key, _ in missing) for kind in dict.fromkeys(names.values())}
    said = [
        f"unknown_groups: {count:,} id(s) of groups of type {kind} are not known; the profiles keep them. Import the "
        "groups, or set create_missing_groups."
        for kind, count in found.items()
        if count
    ]
    return {}, said


def _missing(context: RunContext, session: Session, folder: GoalFolder, types: dict[str, str]) -> list[tuple[str, str]]:
    """Identifier property and value of every group that is named and not there, in order."""
    named: set[tuple[str, str]] = set()
    for property_id, group_type in types.items():
        path = f"/{property_id.replace('~', '~0').replace('/', '~1')}/after"
        query = render(
            sql(
                "SELECT DISTINCT unnest(from_json(json_extract(changes, $path), '[\"VARCHAR\"]')) AS value "
                "FROM read_parquet($file) WHERE changes IS NOT NULL",
                path=text(path),
                file=text(folder.plan / "profiles.parquet"),
            )
        )
        named |= {(_identifier(context, group_type), str(row[0])) for row in session.execute(query).fetchall()}
    if not named:
        return []
    wanted = pa.Table.from_pylist([{"property_id": key, "value": value} for key, value in sorted(named)], MATCH_SCHEMA)
    found = context.store.match_groups(wanted.to_reader()).read_all().to_pylist()
    return sorted(named - {(row["property_id"], row["value"]) for row in found})


def _identifier(context: RunContext, group_type: str) -> str:
    declared = context.tenant.group_types[group_type].properties
    return next(key for key, item in declared.items() if item.identifier == "unique")


def _empty(batch_id: str, property_id: str, value: str) -> dict[str, str]:
    changes = {property_id: {"before": None, "after": [value], "file": None, "line": None}}
    return {
        "profile_id": str(uuid5(NAMESPACE_URL, f"crosswalk:{batch_id}:{property_id}:{value}")),
        "property_id": property_id,
        "value": value,
        "properties": json.dumps({property_id: [value]}, ensure_ascii=False, separators=(",", ":")),
        "changes": json.dumps(changes, ensure_ascii=False, separators=(",", ":")),
    }


def planned_storage(context: RunContext, session: Session, folder: GoalFolder) -> int:
    """Bytes that the documents of all groups will take once the plan is written."""
    after, before = (folder.plan / "profiles.parquet", folder.profiles)
    grown = session.execute(
        f"SELECT coalesce((SELECT sum(strlen(properties)) FROM read_parquet({literal(after)})), 0) - "
        f"coalesce((SELECT sum(strlen(properties)) FROM read_parquet({literal(before)})), 0)"
    ).fetchone()
    return context.store.group_storage() + int(grown[0] if grown else 0)
