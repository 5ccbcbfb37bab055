"""Mappings for columns of a file that a goal does not use yet: new in the file, or never chosen."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from crosswalk.config.connection import AnyImport, ImportGroups, ImportProfiles, SourceFile
from crosswalk.config.tenant import Property
from crosswalk.connectors.base import local_name
from crosswalk.core.errors import ConfigError
from crosswalk.core.names import display
from crosswalk.engine.decode import LocalFile
from crosswalk.engine.detect import read_sample
from crosswalk.engine.detect_values import detect_values
from crosswalk.engine.session import Session, open_session
from crosswalk.steps.context import RunContext
from crosswalk.steps.propose import Target, distinct_targets, missing_properties, property_ids


@dataclass
class Additions:
    """What can be added to a goal.

    Attributes:
        mappings: in the order of the files; the property is written as the mapping must say it.
        properties: those that the tenant model lacks.
        notes: what was left out, and why.
    """

    mappings: list[Target] = field(default_factory=list)
    properties: dict[str, Property] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_additions(
    context: RunContext, goal: AnyImport, *, fields: Collection[str] = (), prefix: str | None = None
) -> Additions:
    """Mappings for these fields, or for all that the goal does not use.

    Args:
        context: an open run in mode plan.
        goal: an import goal.
        fields: ``file.column``; none for all.
        prefix: in front of the new properties; unset: the goal's.

    Raises:
        ConfigError: the goal has another prefix, or there is no such field.
    """
    own = goal.mappings.prefix
    if prefix is not None and own and prefix != own:
        raise ConfigError(
            f'The goal "{goal.name}" has the prefix "{own}", which is put before every mapping.',
            remedy="Leave --prefix out, or make another goal.",
            code="prefix_taken",
        )
    extra = "" if own else prefix or (f"{goal.group_type}_" if isinstance(goal, ImportGroups) else "")
    found, additions = _fields(context, goal), Additions()
    unknown = [name for name in fields if name not in {target.field for target in found}]
    if unknown:
        raise ConfigError(
            f"The files have no field {', '.join(display(name) for name in unknown)}.",
            remedy=f"They have: {', '.join(display(target.field) for target in found[:50])}.",
            code="unknown_field",
        )
    used = _used(goal)
    nested = {block.name for block in goal.files if block.nested}
    chosen = []
    for target in found:
        if target.field in used or (fields and target.field not in fields):
            continue
        if target.file in nested:
            additions.notes.append(f"{display(target.field)} was left out: its file is nested, so choose a strategy.")
            continue
        name = target.property_id.removeprefix(extra or own) or target.property_id
        chosen.append(Target(target.file, target.column, f"{extra}{name}"))
    additions.mappings = distinct_targets(chosen, {mapping.property for mapping in goal.mappings.fields})
    lacking = missing_properties(additions.mappings, goal.definitions(context.tenant), own)
    if isinstance(goal, ImportProfiles):
        additions.properties = lacking
    elif lacking:
        additions.notes.append(f"Declare below group type {goal.group_type}: {', '.join(lacking)}.")
    return additions


def _fields(context: RunContext, goal: AnyImport) -> list[Target]:
    """Every column of the goal's files, as the newest file of each block has it."""
    folder = context.goal_folder(goal)
    found: list[Target] = []
    try:
        with context.connector() as connector, open_session(folder.temporary) as session:
            for block in goal.files:
                files = connector.list_files(block)
                if not files:
                    continue
                local = folder.files / local_name(files[-1])
                connector.fetch(files[-1], local)
                found += _columns(context, goal, block, session, LocalFile(local, files[-1].path))
    finally:
        folder.remove()
    if not found:
        raise ConfigError("None of the goal's files is there now.", remedy="Put one there.", code="no_file")
    return found


def _columns(
    context: RunContext, goal: AnyImport, block: SourceFile, session: Session, local: LocalFile
) -> list[Target]:
    work = context.goal_folder(goal).path / f"sample-{block.name}"
    sample = read_sample(session, local, goal.file_format(block.name), work)
    columns = detect_values(session, sample).columns
    names = property_ids(columns, goal.definitions(context.tenant))
    return [Target(block.name, column, names[column.name]) for column in columns]


def _used(goal: AnyImport) -> set[str]:
    """Fields that the goal maps, links on, or reads answers from."""
    used = {mapping.field for mapping in goal.mappings.fields} | {link.field for link in goal.identifiers}
    used |= {f"{block.name}.{column}" for block in goal.files for column in block.link}
    if isinstance(goal, ImportProfiles):
        used |= {column.field for column in goal.consent}
    return used
