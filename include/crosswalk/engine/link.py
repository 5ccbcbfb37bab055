"""Link: which profile each row belongs to, and which rows changed since they were last applied.

The unit is the *tuple*: the raw identifier cells of a row. Millions of rows share far fewer tuples, so values are read,
matched and decided once per tuple, and the decision is joined back to the rows.

Steps: row keys and hashes; rows that are new or changed against the row state; the tuples they touch, with all tuples
that share a linking value with those (to the fixed point: the unit of a change is the profile); the stored owners of
the values; the decision (``link_graph.py``); the touched profiles.

=========== =================== =========================================================================
outcome     reason              when
=========== =================== =========================================================================
apply                           the row belongs to ``profile_no``
excluded    no_identifier       every identifier is empty or invalid (``match: all``: one of them is)
excluded    no_match            no profile has these identifiers and ``create_profiles`` is off
quarantined ambiguous_match     the identifiers name different profiles
quarantined identifier_taken    ``match: all``: only a part of the identifiers belongs to a profile
quarantined shared_identifier   a value that more than 20 otherwise different new rows share
quarantined ``invalid_email``.. ``invalid_values: reject_row`` and an identifier that does not fit its type
=========== =================== =========================================================================

Rows that did not change are left out of ``links.parquet``. Two rows with one row key in one import are one row that
changed twice: they are compared by the hash of both, and ``special`` marks them for *map*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlglot import exp

from crosswalk.config.connection import ImportProfiles
from crosswalk.config.tenant import Tenant
from crosswalk.core.errors import FatalError, RetryableError
from crosswalk.core.staging import GoalFolder
from crosswalk.engine import functions
from crosswalk.engine.link_graph import decide
from crosswalk.engine.link_keys import build_tuples, find_changed, find_repeated, stage_keys
from crosswalk.engine.link_quarantine import write_quarantine
from crosswalk.engine.link_task import LinkTask, Lookup
from crosswalk.engine.merge import merge_owners
from crosswalk.engine.merge_documents import write_merges
from crosswalk.engine.session import Session, write_parquet
from crosswalk.engine.template import Node, all_of, name, number, parquet, render, sql, texts


@dataclass(frozen=True)
class LinkResult:
    """What *link* decided.

    Attributes:
        counts: ``rows_read``, ``unchanged_rows_skipped``, ``applied``, and by reason ``excluded`` and ``quarantined``.
        warnings: sentences for people.
    """

    counts: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def link_rows(
    session: Session,
    *,
    rows: Path,
    sources: Sequence[str],
    goal: ImportProfiles,
    tenant: Tenant,
    batch_id: str,
    row_state: Path,
    take_all: bool,
    lookup: Lookup,
    read_profiles: Lookup,
    out: GoalFolder,
    replayed: Path | None = None,
    read_merging: Lookup | None = None,
) -> LinkResult:
    """Decide for every row; leaves ``links.parquet``, ``profiles.parquet``, ``link_values.parquet`` and the quarantine.

    Args:
        session: the engine.
        rows: the staged rows.
        sources: source paths by ``file_index``.
        goal: the goal.
        tenant: the tenant model.
        batch_id: makes the ids of new profiles, so that a retry makes the same ones.
        row_state: the goal's row state (ROW_STATE_SCHEMA) as Parquet.
        take_all: take unchanged rows too.
        lookup: owners of identifier values (MATCH_SCHEMA in, MATCHED_SCHEMA out).
        read_profiles: stored profiles by id (PROFILE_SCHEMA out).
        out: where to leave the results.
        replayed: Parquet with file and line of rows to take whatever row state says of them.
        read_merging: stored profiles by id with what a merge looks at (MERGING_SCHEMA out); None: nothing merges.

    Raises:
        RetryableError: a profile vanished between the two looks at the store.
        FatalError: the rows do not add up.
    """
    task = LinkTask(
        session,
        rows,
        sources,
        goal,
        tenant,
        batch_id,
        row_state,
        take_all,
        lookup,
        read_profiles,
        out,
        replayed,
        read_merging,
    )
    out.merges.unlink(missing_ok=True)
    try:
        stage_keys(task)
        find_changed(task)
        build_tuples(task)
        _find_owners(task)
        task.merged = merge_owners(task) if read_merging is not None else 0
        if task.merged:
            write_merges(task)
        decide(task)
        _look_up_state(task)
        _write_profiles(task)
        _write_links(task)
        _write_values(task)
        write_quarantine(task)
        return LinkResult(_counts(task))
    finally:
        task.scratch.unlink(missing_ok=True)


def _find_owners(task: LinkTask) -> None:
    """``link_value`` (the distinct values of hot tuples), ``edges`` (tuple to value) and ``value_owner``."""
    refused = [sql("$problem IS NULL", problem=name(f"problem_{index}")) for index in range(len(task.readers))]
    task.tables.make(
        "decided",
        sql(
            "SELECT tuple_no FROM hot SEMI JOIN (SELECT tuple_no FROM tuple_reads WHERE $clean) AS sound USING "
            "(tuple_no)",
            clean=all_of(refused),
        )
        if task.rejects_rows
        else sql("SELECT tuple_no FROM hot"),
    )
    task.tables.make(
        "link_value",
        sql(
            "SELECT row_number() OVER () AS value_no, * FROM "
            "(SELECT DISTINCT property_no, value FROM tuple_values SEMI JOIN decided USING (tuple_no))"
        ),
    )
    task.tables.make(
        "edges",
        sql(
            "SELECT tuple_no, identifier, position, value_no FROM tuple_values SEMI JOIN decided USING (tuple_no) "
            "JOIN link_value USING (property_no, value)"
        ),
    )
    wanted = task.tables.stream(
        sql(
            "SELECT list_extract($names, property_no + 1) AS property_id, value FROM link_value",
            names=texts(task.properties),
        )
    )
    task.tables.take_in("matched", task.lookup(wanted), "property_id, value, profile_id")
    task.tables.make(
        "owner",
        sql(
            "SELECT row_number() OVER (ORDER BY profile_id) AS owner_no, profile_id FROM (SELECT DISTINCT "
            "profile_id FROM matched)"
        ),
    )
    task.tables.make(
        "value_owner",
        sql(
            "SELECT value_no, owner_no FROM link_value JOIN matched "
            "ON matched.property_id = list_extract($names, property_no + 1) AND matched.value = link_value.value "
            "JOIN owner USING (profile_id)",
            names=texts(task.properties),
        ),
    )


def _routed(task: LinkTask, fates: str, columns: str) -> Node:
    """The considered rows with the fate of their tuple.

    Args:
        task: the task.
        fates: a table of the tuples' raw identifiers and what was decided about them.
        columns: its columns to take along.
    """
    same = [sql("$left IS NOT DISTINCT FROM $right", left=name(raw, "k"), right=name(raw, "t")) for raw in task.raw]
    return sql(
        "SELECT k.row_id, k.place, k.row_key, k.row_hash, k.state_hash, k.special, k.by_content, $columns "
        f"FROM keyed AS k JOIN {fates} AS t ON $same",
        columns=[name(column, "t") for column in columns.split()],
        same=all_of(same),
    )


def _look_up_state(task: LinkTask) -> None:
    """``state_hit``: what row state has of the rows to apply; only where there is row state."""
    if not task.has_state:
        return
    task.tables.make(
        "tuple_fate", sql("SELECT * FROM tuples JOIN decision USING (tuple_no) LEFT JOIN owner USING (owner_no)")
    )
    task.tables.make(
        "state_hit",
        sql(
            """
            SELECT r.row_id, s.amounts, s.profile_id AS old_profile_id,
                   coalesce(r.profile_id = s.profile_id, false) AS stays,
                   coalesce(r.profile_id = s.profile_id, false) AND r.state_hash = s.row_hash AS known
            FROM ($routed) AS r JOIN $state AS s ON r.row_key = s.row_key WHERE r.outcome = 'apply'
            """,
            routed=_routed(task, "tuple_fate", "outcome profile_id"),
            state=parquet(task.row_state),
        ),
    )


def _write_profiles(task: LinkTask) -> None:
    """``profiles.parquet``: new profiles, then the stored ones as they are now, each with its number in this run."""
    tables = task.tables
    created = int(tables.one("SELECT coalesce(max(new_no) + 1, 0) FROM decision"))
    tables.make("wanted", sql("SELECT profile_id FROM owner SEMI JOIN decision USING (owner_no)"))
    if task.has_state:
        moved = sql("SELECT DISTINCT old_profile_id FROM state_hit WHERE NOT stays AND amounts IS NOT NULL")
        tables.session.execute(f"INSERT INTO wanted {render(moved)} EXCEPT SELECT profile_id FROM wanted").fetchall()
    new = sql(
        "SELECT new_no AS profile_no, true AS is_new, $profile_id AS profile_id, 0::BIGINT AS version, "
        "NULL::VARCHAR AS properties, 2::BIGINT AS permission_level "
        "FROM (SELECT new_no, $digest AS digest FROM new_group ORDER BY new_no)",
        profile_id=functions.uuid5_text(name("digest")),
        digest=functions.uuid5_digest(uuid5(NAMESPACE_URL, f"crosswalk:{task.batch_id}"), sql("group_row::VARCHAR")),
    )
    query = sql("SELECT * FROM ($new)", new=new)
    if tables.count("wanted"):
        stored = task.read_profiles(tables.stream(sql("SELECT profile_id FROM wanted ORDER BY profile_id")))
        task.session.register("stored_profiles", stored)
        query = sql(
            "SELECT * FROM ($new) UNION ALL SELECT row_number() OVER () + $before AS profile_no, false AS is_new, "
            "profile_id, version, properties, permission_level FROM ($stored)",
            new=new,
            before=number(created - 1),
            stored=_after_merges() if task.merged else sql("SELECT * FROM stored_profiles"),
        )
    write_parquet(task.session, render(query), task.out.profiles, quick=True)
    tables.make(
        "stored_number",
        sql("SELECT profile_id, profile_no FROM $profiles WHERE NOT is_new", profiles=parquet(task.out.profiles)),
    )
    tables.make(
        "fate",
        sql(
            "SELECT t.*, d.outcome, d.reason, d.detail, d.new_no, coalesce(d.new_no, s.profile_no) AS profile_no "
            "FROM tuples AS t JOIN decision AS d USING (tuple_no) LEFT JOIN owner USING (owner_no) "
            "LEFT JOIN stored_number AS s USING (profile_id)"
        ),
    )
    lost = tables.one("SELECT count(*) FROM fate WHERE outcome = 'apply' AND profile_no IS NULL")
    if lost:
        raise RetryableError(
            f"Profiles of {lost} identifiers vanished from the store while rows were linked to them.",
            remedy="Run again; nothing was written.",
            code="store_moved",
            goal=task.goal.name,
        )


def _after_merges() -> Node:
    """The stored profiles as the merges of this run leave them."""
    return sql(
        "SELECT s.profile_id, coalesce(m.version + 1, s.version) AS version, "
        "coalesce(m.properties, s.properties) AS properties, "
        "coalesce(m.permission_level, s.permission_level) AS permission_level "
        "FROM stored_profiles AS s LEFT JOIN merged_profile AS m USING (profile_id)"
    )


def _write_links(task: LinkTask) -> None:
    """``links.parquet``: the rows that are considered, each with its fate, key, hash and what row state has of it."""
    fields = "outcome reason profile_no"
    if task.has_state:
        query = sql(
            """
            SELECT r.* EXCLUDE (place, state_hash), h.amounts, coalesce(h.known, false) AS known,
                   h.row_id IS NOT NULL AND NOT h.stays AS moved, old.profile_no AS moved_from
            FROM ($routed) AS r LEFT JOIN state_hit AS h USING (row_id)
            LEFT JOIN stored_number AS old ON old.profile_id = h.old_profile_id AND NOT h.stays
            """,
            routed=_routed(task, "fate", fields),
        )
        write_parquet(task.session, render(query), task.out.links, quick=True)
        return
    query = sql(
        "SELECT * EXCLUDE (place, state_hash), NULL::VARCHAR AS amounts, false AS known, false AS moved, "
        "NULL::BIGINT AS moved_from FROM ($routed)",
        routed=_routed(task, "fate", fields),
    )
    write_parquet(task.session, render(query), task.out.links, quick=True)
    task.tables.view("first_links", sql("SELECT * FROM $links", links=parquet(task.out.links)))
    if find_repeated(task, "first_links"):
        task.tables.make(
            "told_apart",
            sql(
                "SELECT l.* REPLACE (coalesce(a.row_key, l.row_key) AS row_key, coalesce(a.special, false) AS special) "
                "FROM first_links AS l LEFT JOIN adjusted AS a USING (row_id)"
            ),
        )
        write_parquet(task.session, "SELECT * FROM told_apart", task.out.links, quick=True)
        task.tables.drop("told_apart")


def _write_values(task: LinkTask) -> None:
    """``link_values.parquet``: identifier values that their profile does not have yet, with the first row of each.

    ``ord`` is their order: by row, then by identifier as the goal lists them, then by place in the cell.
    """
    values = sql(
        """
        SELECT profile_no, list_extract($names, property_no + 1) AS property_id, value, min(first_row) AS row_id,
               arg_min(place, first_row) AS place,
               min(first_row * 1000000 + identifier * 10000 + least(position, 9999)) AS ord
        FROM edges JOIN fate USING (tuple_no) JOIN link_value USING (value_no) LEFT JOIN value_owner USING (value_no)
        WHERE outcome = 'apply' AND (new_no IS NOT NULL OR ($stored AND owner_no IS NULL))
        GROUP BY profile_no, property_no, value
        """,
        names=texts(task.properties),
        stored=exp.convert(task.goal.store_identifiers and task.goal.match == "any"),
    )
    write_parquet(task.session, render(values), link_values_path(task.out), quick=True)


def link_values_path(folder: GoalFolder) -> Path:
    """Where *link* leaves the identifier values to store: profile_no, property_id, value, row_id, place, ord."""
    return folder.path / "link_values.parquet"


def _counts(task: LinkTask) -> dict[str, Any]:
    """Rows by outcome; they must add up to the rows that came in."""
    rows = int(task.tables.one(sql("SELECT count(*) FROM $rows", rows=parquet(task.rows))))
    counts: dict[str, Any] = {"rows_read": rows, "excluded": {}, "quarantined": {}, "applied": 0}
    if task.merged:
        counts["merged"] = task.merged
    listed = task.tables.all(
        sql("SELECT outcome, reason, count(*) FROM $links GROUP BY ALL ORDER BY ALL", links=parquet(task.out.links))
    )
    for outcome, reason, count in listed:
        if outcome == "apply":
            counts["applied"] = count
        else:
            counts[outcome][reason] = count
    counts["unchanged_rows_skipped"] = rows - sum(count for *_, count in listed)
    if counts["unchanged_rows_skipped"] < 0 or (not task.has_state and counts["unchanged_rows_skipped"]):
        raise FatalError(
            f"{rows} rows were read but {sum(count for *_, count in listed)} were linked; nothing was written.",
            remedy="This is a fault of Crosswalk: keep the files and report it.",
            code="accounting",
            goal=task.goal.name,
        )
    return counts
