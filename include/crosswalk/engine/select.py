"""Decide for every profile of the store whether an export takes it, and write the cells of those that it takes.

Each profile ends with one outcome; the first that applies counts:

=================== ==============================================================================================
not_in_segment      it is not in the goal's segment
no_consent          permission level 0, or no consent to any of the connection's objectives (design section 6 rule 8)
not_changed         nothing changed since the last good export, for incremental ones
no_mapped_value     none of the mapped properties has a value that may be shown
exported            it is in the file
=================== ==============================================================================================

Those in the segment and with consent are *available*, which is more than those exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from crosswalk.config.connection import Connection, ExportProfiles
from crosswalk.config.exports import shown_segments
from crosswalk.config.tenant import CONSENTED, Tenant
from crosswalk.core.staging import durable
from crosswalk.engine import consent
from crosswalk.engine.export_cells import DOUBTFUL, CellWriter, needed_properties
from crosswalk.engine.multi_value import may_need_escapes
from crosswalk.engine.profile_values import ProfileValues
from crosswalk.engine.segments import Segments
from crosswalk.engine.session import BATCH_ROWS, Session, literal
from crosswalk.engine.template import Node, name, named, parquet, render, sql

EXCLUDED = ("no_consent", "not_changed", "no_mapped_value")
STAGED = "FORMAT parquet, COMPRESSION lz4_raw, DICTIONARY_SIZE_LIMIT 16"


@dataclass(frozen=True)
class Selection:
    """What was decided.

    Attributes:
        counts: ``profiles`` (all living ones), ``available``, ``exported`` and ``excluded`` by reason.
    """

    counts: dict[str, Any]


def select_profiles(
    session: Session,
    stored: pa.RecordBatchReader,
    *,
    goal: ExportProfiles,
    connection: Connection,
    tenant: Tenant,
    now_ms: int,
    out: Path,
) -> Selection:
    """Write ``outcome``, ``profile_id`` and the cells ``c0``, ``c1``... of every profile; cells of exported ones only.

    Args:
        session: the engine.
        stored: all living profiles (``store.base.STORED_PROFILE_SCHEMA``).
        goal: the goal.
        connection: its connection.
        tenant: the tenant model.
        now_ms: the moment that windows of time reach to.
        out: the Parquet file.
    """
    session.execute(f"SET TimeZone = {literal(goal.format.timezone or connection.timezone)}")
    session.register("stored_profiles", stored)
    try:
        query = render(selection_query(goal, connection, tenant, now_ms))
        with durable(out) as temporary:
            session.execute(f"COPY ({query}) TO {literal(temporary)} ({STAGED})")
    finally:
        session.unregister("stored_profiles")
        session.execute("SET TimeZone = 'UTC'")
    return Selection(_counts(session, out))


def selection_query(goal: ExportProfiles, connection: Connection, tenant: Tenant, now_ms: int) -> Node:
    """The query over ``stored_profiles``. It filters nothing: a filter would make the engine read documents twice."""
    segments = Segments([goal.segment, *shown_segments(goal, tenant)], tenant, now_ms)
    values = ProfileValues([*needed_properties(goal, tenant), *segments.properties, CONSENTED])
    cells = CellWriter(goal, connection, tenant, values, segments)
    decided = segments.decide(values.read(sql("SELECT * FROM stored_profiles")), values)
    outcome = sql(
        """
        CASE WHEN NOT $is_in THEN 'not_in_segment' WHEN $blocked THEN 'no_consent' WHEN changed = 0 THEN 'not_changed'
             WHEN $mapped THEN 'exported' ELSE 'no_mapped_value' END
        """,
        is_in=segments.has(goal.segment),
        blocked=consent.is_blocked(connection.objectives, values.of(CONSENTED), name("permission_level")),
        mapped=cells.has_mapped_value(),
    )
    columns = _of_exported([name("profile_id"), *cells.cells()])
    return sql(
        f"SELECT outcome, $columns FROM (SELECT *, $outcome AS outcome, $doubtful AS {DOUBTFUL} FROM ($decided))",
        columns=[named(column, alias) for column, alias in columns],
        outcome=outcome,
        doubtful=may_need_escapes(name("properties"), goal.format.multi_value),
        decided=decided,
    )


def _of_exported(cells: Sequence[Node]) -> list[tuple[Node, str]]:
    aliases = ["profile_id", *(f"c{number}" for number in range(len(cells) - 1))]
    return [
        (sql("CASE WHEN outcome = 'exported' THEN $cell END", cell=cell), alias)
        for cell, alias in zip(cells, aliases, strict=True)
    ]


def _counts(session: Session, selected: Path) -> dict[str, Any]:
    rows = session.execute(
        f"SELECT outcome, count(*) FROM read_parquet({literal(selected)}) GROUP BY outcome"
    ).fetchall()
    found: dict[str, int] = dict(rows)
    excluded = {reason: found[reason] for reason in EXCLUDED if found.get(reason)}
    exported = found.get("exported", 0)
    return {
        "profiles": sum(found.values()),
        "available": exported + sum(excluded.values()) - excluded.get("no_consent", 0),
        "exported": exported,
        "excluded": excluded,
    }


def new_ids(session: Session, selected: Path, known: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The exported profiles that are not among the known ones (one column ``profile_id``)."""
    session.register("known_ids", known)
    session.execute("CREATE OR REPLACE TEMP TABLE known_id AS SELECT profile_id FROM known_ids")
    session.unregister("known_ids")
    rows = sql(
        "SELECT profile_id FROM $selected AS s ANTI JOIN known_id USING (profile_id) WHERE outcome = 'exported'",
        selected=parquet(selected),
    )
    return session.sql(render(rows)).to_arrow_reader(BATCH_ROWS)
