"""Decide for every profile of the store whether an export takes it, and write the lines of those that it takes.

Each profile ends with one outcome; the first that applies counts:

=================== ==============================================================================================
not_in_segment      it is not in the goal's segment
no_consent          permission level 0, or no consent to any of the connection's objectives (design section 6 rule 8)
not_changed         nothing changed since the last good export, for incremental ones
no_mapped_value     none of the mapped properties has a value that may be shown
exported            it is in the file
=================== ==============================================================================================

Those in the segment and with consent are *available*, which is more than those exported. The store is read once:
documents come in, and decisions, counts and finished lines go out in the same pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crosswalk.config.connection import Connection, ExportProfiles
from crosswalk.config.exports import shown_segments
from crosswalk.config.tenant import CONSENTED, Tenant
from crosswalk.core.staging import durable
from crosswalk.engine import consent
from crosswalk.engine.export_cells import DOUBTFUL, PERSONAL_LEVEL, CellWriter, needed_properties
from crosswalk.engine.membership import Membership
from crosswalk.engine.multi_value import may_need_escapes
from crosswalk.engine.profile_values import ProfileValues
from crosswalk.engine.segments import Segments
from crosswalk.engine.session import BATCH_ROWS, Session, literal
from crosswalk.engine.staged_rows import ParquetSink
from crosswalk.engine.template import Node, name, parquet, render, sql
from crosswalk.engine.text_lines import LineFile, as_cells, header_line, line_batches, line_query

EXCLUDED = ("no_consent", "not_changed", "no_mapped_value")
# The exported profiles, and whether their personal values may be shown.
SELECTED_SCHEMA = pa.schema([("profile_id", pa.large_string()), ("shows_personal", pa.bool_())])


@dataclass(frozen=True)
class Selection:
    """What was decided.

    Attributes:
        counts: ``profiles`` (all living ones), ``available``, ``exported`` and ``excluded`` by reason.
        rows: lines of the file.
        replaced: cells that lost something which the format cannot carry.
    """

    counts: dict[str, Any]
    rows: int
    replaced: int


def select_profiles(
    session: Session,
    stored: pa.RecordBatchReader,
    *,
    goal: ExportProfiles,
    connection: Connection,
    tenant: Tenant,
    now_ms: int,
    selected: Path,
    lines: Path,
    groups: Callable[[], tuple[pa.RecordBatchReader, pa.RecordBatchReader]] | None = None,
) -> Selection:
    """Write down the exported profiles, and the text of their file.

    Args:
        session: the engine.
        stored: all living profiles (``store.base.STORED_PROFILE_SCHEMA``).
        goal: the goal.
        connection: its connection.
        tenant: the tenant model.
        now_ms: the moment that windows of time reach to.
        selected: the Parquet file of the exported profiles (SELECTED_SCHEMA).
        lines: the file's text in UTF-8, with its header.
        groups: all living profiles once more, and all groups (``store.group_base.STORED_GROUP_SCHEMA``); asked only
            where the goal looks at groups.
    """
    membership = asked_of(goal, tenant, now_ms)[1]
    if membership.types and groups is not None:
        membership.prepare(session, *groups())
    found: Counter[str] = Counter()
    header = header_line([column.header for column in goal.columns], goal.format)
    session.execute(f"SET TimeZone = {literal(goal.format.timezone or connection.timezone)}")
    session.register("stored_profiles", stored)
    try:
        batches = line_batches(session, selection_query(goal, connection, tenant, now_ms))
        with (
            durable(lines) as temporary,
            ParquetSink(selected, SELECTED_SCHEMA) as ids,
            LineFile(temporary, header) as file,
        ):
            for batch in batches:
                for item in pc.value_counts(batch.column("outcome")).to_pylist():
                    found[item["values"]] += item["counts"]
                file.write(batch)
                ids.write(batch.select(SELECTED_SCHEMA.names).filter(batch.column("line").is_valid()))
    finally:
        session.unregister("stored_profiles")
        session.execute("SET TimeZone = 'UTC'")
    return Selection(_counts(found), file.rows, file.replaced)


def selection_query(goal: ExportProfiles, connection: Connection, tenant: Tenant, now_ms: int) -> Node:
    """The query over ``stored_profiles``. It filters nothing: a filter would make the engine read documents twice."""
    segments, membership = asked_of(goal, tenant, now_ms)
    values = ProfileValues([*needed_properties(goal, tenant), *segments.properties, CONSENTED])
    cells = CellWriter(goal, connection, tenant, values, segments, membership)
    decided = segments.decide(membership.join(values.read(sql("SELECT * FROM stored_profiles"))), values)
    outcome = sql(
        """
        CASE WHEN NOT $is_in THEN 'not_in_segment' WHEN $blocked THEN 'no_consent' WHEN changed = 0 THEN 'not_changed'
             WHEN $mapped THEN 'exported' ELSE 'no_mapped_value' END
        """,
        is_in=segments.has(goal.segment),
        blocked=consent.is_blocked(connection.objectives, values.of(CONSENTED), name("permission_level")),
        mapped=cells.has_mapped_value(),
    )
    exported = name("is_exported")
    rows = sql(
        f"SELECT outcome, is_exported, profile_id, permission_level >= {PERSONAL_LEVEL} AS shows_personal, $cells FROM "
        f"(SELECT *, outcome = 'exported' AS is_exported, $doubtful AS {DOUBTFUL} FROM "
        "(SELECT *, $outcome AS outcome FROM ($decided)))",
        cells=as_cells(_of_exported(cells.cells(), exported)),
        outcome=outcome,
        doubtful=may_need_escapes(name("properties"), goal.format.multi_value),
        decided=decided,
    )
    kept = ["outcome", *SELECTED_SCHEMA.names]
    return line_query(rows, len(goal.columns), goal.format, keep=kept, when=exported)


def asked_of(goal: ExportProfiles, tenant: Tenant, now_ms: int) -> tuple[Segments, Membership]:
    """The segments that a goal asks for, and the groups."""
    segments = Segments([goal.segment, *shown_segments(goal, tenant)], tenant, now_ms)
    columns = [
        (column.group_property.group_type, column.group_property.property)
        for column in goal.columns
        if column.group_property is not None
    ]
    return segments, Membership(segments, columns, tenant)


def _of_exported(cells: Sequence[Node], exported: Node) -> list[Node]:
    return [sql("CASE WHEN $exported THEN $cell END", exported=exported, cell=cell) for cell in cells]


def _counts(found: Counter[str]) -> dict[str, Any]:
    excluded = {reason: found[reason] for reason in EXCLUDED if found[reason]}
    return {
        "profiles": found.total(),
        "available": found["exported"] + sum(excluded.values()) - excluded.get("no_consent", 0),
        "exported": found["exported"],
        "excluded": excluded,
    }


def new_ids(session: Session, selected: Path, known: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The exported profiles that are not among the known ones (one column ``profile_id``)."""
    session.register("known_ids", known)
    session.execute("CREATE OR REPLACE TEMP TABLE known_id AS SELECT profile_id FROM known_ids")
    session.unregister("known_ids")
    rows = sql(
        "SELECT profile_id FROM $selected AS s ANTI JOIN known_id USING (profile_id)",
        selected=parquet(selected),
    )
    return session.sql(render(rows)).to_arrow_reader(BATCH_ROWS)


def selected_ids(session: Session, selected: Path) -> pa.RecordBatchReader:
    """The exported profiles (one column ``profile_id``)."""
    return (
        session.cursor()
        .sql(render(sql("SELECT profile_id FROM $selected", selected=parquet(selected))))
        .to_arrow_reader(BATCH_ROWS)
    )
