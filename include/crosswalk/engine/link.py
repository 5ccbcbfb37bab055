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
from crosswalk.engine.link_quarantine import write_quarantine
from crosswalk.engine.link_task import LinkTask, Lookup, identifier_values
from crosswalk.engine.row_keys import key_columns, place_column
from crosswalk.engine.session import Session, write_parquet
from crosswalk.engine.template import all_of, name, named, number, parquet, render, sql, texts, union_all


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

    Raises:
        RetryableError: a profile vanished between the two looks at the store.
        FatalError: the rows do not add up.
    """
    task = LinkTask(session, rows, sources, goal, tenant, batch_id, row_state, take_all, lookup, read_profiles, out)
    try:
        _stage_keys(task)
        _build_tuples(task, everything=not _find_changed(task))
        _find_owners(task)
        decide(task)
        _route_rows(task)
        _write_profiles(task)
        _write_links(task)
        write_quarantine(task)
        return LinkResult(_counts(task))
    finally:
        task.scratch.unlink(missing_ok=True)


def _stage_keys(task: LinkTask) -> None:
    """``keyed``: per row its place, key, hash and raw identifiers; repeated keys are told apart or marked."""
    keys = key_columns(task.goal, task.cells, task.sources)
    columns = [named(expression, column) for column, expression in {"place": place_column(), **keys}.items()]
    columns += [
        named(task.cells.cell(link.field), raw) for link, raw in zip(task.goal.identifiers, task.raw, strict=True)
    ]
    query = sql("SELECT row_id, $columns FROM $rows", columns=columns, rows=parquet(task.rows))
    write_parquet(task.session, render(query), task.scratch)
    raw = [name(column) for column in task.raw]
    row_hash = name("row_hash" if "row_hash" in keys else "row_key")
    task.tables.view(
        "staged_keys",
        sql(
            "SELECT row_id, place, row_key, by_content, $row_hash AS row_hash, $raw FROM $keys",
            row_hash=row_hash,
            raw=raw,
            keys=parquet(task.scratch),
        ),
    )
    task.tables.make(
        "repeated",
        sql(
            "SELECT row_key FROM staged_keys WHERE hash(row_key) IN (SELECT h FROM (SELECT hash(row_key) AS h FROM "
            "staged_keys) GROUP BY h HAVING count(*) > 1) GROUP BY row_key HAVING count(*) > 1"
        ),
    )
    if task.tables.count("repeated") == 0:
        query = sql("SELECT *, row_hash AS state_hash, false AS special FROM staged_keys")
    else:
        _tell_apart(task)
        query = sql(
            "SELECT k.* REPLACE (coalesce(a.row_key, k.row_key) AS row_key), "
            "coalesce(a.state_hash, k.row_hash) AS state_hash, coalesce(a.special, false) AS special "
            "FROM staged_keys AS k LEFT JOIN adjusted AS a USING (row_id)"
        )
    task.tables.view("keyed", query)


def _tell_apart(task: LinkTask) -> None:
    """``adjusted``: rows whose key occurs several times. By content: numbered. By name: compared by the hash of all."""
    task.tables.make(
        "adjusted",
        sql(
            """
            SELECT row_id, NOT by_content AS special,
                   CASE WHEN by_content AND occurrence > 1 THEN unhex(md5(concat(hex(row_key), '#', occurrence)))
                        ELSE row_key END AS row_key,
                   CASE WHEN by_content THEN row_hash ELSE all_hash END AS state_hash
            FROM (
                SELECT row_id, row_key, row_hash, by_content,
                       row_number() OVER (PARTITION BY row_key ORDER BY row_id) AS occurrence
                FROM staged_keys SEMI JOIN repeated USING (row_key)
            ) LEFT JOIN (
                SELECT row_key, unhex(md5(string_agg(hex(row_hash), '' ORDER BY row_id))) AS all_hash
                FROM staged_keys SEMI JOIN repeated USING (row_key) WHERE NOT by_content GROUP BY row_key
            ) USING (row_key)
            """
        ),
    )


def _find_changed(task: LinkTask) -> bool:
    """``changed``: rows that row state does not know as they are; False when every row is taken."""
    state = parquet(task.row_state)
    task.has_state = bool(task.tables.one(sql("SELECT count(*) FROM $state", state=state)))
    if task.take_all or not task.has_state:
        return False
    task.tables.make(
        "changed",
        sql(
            "SELECT k.row_id FROM keyed AS k ANTI JOIN $state AS s "
            "ON hash(k.row_key) = hash(s.row_key) AND hash(k.state_hash) = hash(s.row_hash)",
            state=state,
        ),
    )
    return True


def _build_tuples(task: LinkTask, *, everything: bool) -> None:
    """``tuples`` (distinct raw identifiers), ``tuple_reads`` (their values) and ``hot``: the tuples to decide about."""
    raw = [name(column) for column in task.raw]
    touched = sql("true") if everything else sql("bool_or(row_id IN (SELECT row_id FROM changed))")
    task.tables.make(
        "tuples",
        sql(
            "SELECT row_number() OVER () AS tuple_no, * FROM (SELECT $raw, min(row_id) AS first_row, "
            "arg_min(place, row_id) AS place, $touched AS touched FROM keyed GROUP BY $raw)",
            raw=raw,
            touched=touched,
        ),
    )
    found = identifier_values(task.readers, task.raw)
    columns = [named(values, f"values_{index}") for index, (values, _) in enumerate(found)]
    columns += [named(problem, f"problem_{index}") for index, (_, problem) in enumerate(found)]
    task.tables.make("tuple_reads", sql("SELECT tuple_no, $columns FROM tuples", columns=columns))
    parts = [
        sql(
            "SELECT tuple_no, $identifier AS identifier, $property AS property_no, unnest($values) AS value FROM "
            "tuple_reads",
            identifier=number(index),
            property=number(task.properties.index(link.property)),
            values=name(f"values_{index}"),
        )
        for index, link in enumerate(task.goal.identifiers)
    ]
    task.tables.make("tuple_values", union_all(parts))
    task.tables.make("hot", sql("SELECT tuple_no FROM tuples WHERE touched"))
    if not everything:
        _spread(task)


def _spread(task: LinkTask) -> None:
    """Bring along every tuple that shares a linking value with a hot one, to the fixed point."""
    known = task.tables.count("hot")
    while known:
        task.tables.make(
            "hot",
            sql(
                """
                SELECT tuple_no FROM hot UNION SELECT tuple_no FROM tuple_values SEMI JOIN (
                    SELECT DISTINCT property_no, value FROM tuple_values SEMI JOIN hot USING (tuple_no)
                ) AS shared USING (property_no, value)
                """
            ),
        )
        grown = task.tables.count("hot")
        if grown == known:
            return
        known = grown


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
            "SELECT tuple_no, identifier, value_no FROM tuple_values SEMI JOIN decided USING (tuple_no) "
            "JOIN link_value USING (property_no, value)"
        ),
    )
    wanted = task.tables.stream(
        sql("SELECT $names[property_no + 1] AS property_id, value FROM link_value", names=texts(task.properties))
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
            "ON matched.property_id = $names[property_no + 1] AND matched.value = link_value.value "
            "JOIN owner USING (profile_id)",
            names=texts(task.properties),
        ),
    )


def _route_rows(task: LinkTask) -> None:
    """``routed``: every row of a hot tuple with its decision; ``state_hit``.

    What row state has of the rows to apply.
    """
    same = [sql("$left IS NOT DISTINCT FROM $right", left=name(raw, "k"), right=name(raw, "t")) for raw in task.raw]
    task.tables.view(
        "routed",
        sql(
            "SELECT k.row_id, k.place, k.row_key, k.row_hash, k.state_hash, k.special, t.* EXCLUDE ($raw, place, "
            "first_row) "
            "FROM keyed AS k JOIN (SELECT * FROM tuples JOIN decision USING (tuple_no)) AS t ON $same",
            raw=[exp.to_identifier(raw) for raw in task.raw],
            same=all_of(same),
        ),
    )
    hits = sql(
        """
        SELECT r.row_id, s.amounts, s.profile_id AS old_profile_id,
               coalesce(o.profile_id = s.profile_id, false) AS stays,
               coalesce(o.profile_id = s.profile_id, false) AND r.state_hash = s.row_hash AS known
        FROM routed AS r JOIN $state AS s ON r.row_key = s.row_key LEFT JOIN owner AS o USING (owner_no)
        WHERE r.outcome = 'apply'
        """,
        state=parquet(task.row_state),
    )
    empty = sql(
        "SELECT NULL::BIGINT AS row_id, NULL::VARCHAR AS amounts, NULL::VARCHAR AS old_profile_id, false AS stays, "
        "false AS known WHERE false"
    )
    task.tables.make("state_hit", hits if task.has_state else empty)


def _write_profiles(task: LinkTask) -> None:
    """``profiles.parquet``: new profiles, then the stored ones as they are now, each with its number in this run."""
    created = int(task.tables.one("SELECT count(DISTINCT new_no) FROM decision"))
    wanted = sql(
        "SELECT profile_id FROM owner SEMI JOIN decision USING (owner_no) UNION "
        "SELECT old_profile_id FROM state_hit WHERE NOT stays AND amounts IS NOT NULL"
    )
    new = sql(
        "SELECT new_no AS profile_no, true AS is_new, $profile_id AS profile_id, 0::BIGINT AS version, "
        "NULL::VARCHAR AS properties, 2::BIGINT AS permission_level FROM (SELECT new_no, min(first_row) AS first_row "
        "FROM decision JOIN tuples USING (tuple_no) WHERE new_no IS NOT NULL GROUP BY new_no) ORDER BY new_no",
        profile_id=functions.uuid5(uuid5(NAMESPACE_URL, f"crosswalk:{task.batch_id}"), sql("first_row::VARCHAR")),
    )
    query = sql("SELECT * FROM ($new)", new=new)
    if task.tables.one(sql("SELECT count(*) FROM ($wanted)", wanted=wanted)):
        stored = task.read_profiles(task.tables.stream(wanted))
        task.session.register("stored_profiles", stored)
        query = sql(
            "SELECT * FROM ($new) UNION ALL SELECT row_number() OVER () + $before AS profile_no, false AS is_new, "
            "profile_id, "
            "version, properties, permission_level FROM stored_profiles",
            new=new,
            before=number(created - 1),
        )
    write_parquet(task.session, render(query), task.out.profiles)
    task.tables.make(
        "stored_number",
        sql("SELECT profile_id, profile_no FROM $profiles WHERE NOT is_new", profiles=parquet(task.out.profiles)),
    )
    lost = task.tables.one(
        "SELECT count(*) FROM owner SEMI JOIN decision USING (owner_no) ANTI JOIN stored_number USING (profile_id)"
    )
    if lost:
        raise RetryableError(
            f"{lost} profiles vanished from the store while rows were linked to them.",
            remedy="Run again; nothing was written.",
            code="store_moved",
            goal=task.goal.name,
        )


def _write_links(task: LinkTask) -> None:
    """``links.parquet`` and ``link_values.parquet`` (identifier values that their profile does not have yet)."""
    numbered = sql(
        "SELECT d.*, coalesce(d.new_no, s.profile_no) AS profile_no FROM decision AS d "
        "LEFT JOIN owner USING (owner_no) LEFT JOIN stored_number AS s USING (profile_id)"
    )
    task.tables.make(
        "numbered", sql("SELECT tuple_no, outcome, new_no, profile_no FROM ($numbered)", numbered=numbered)
    )
    links = sql(
        """
        SELECT r.row_id, r.outcome, r.reason, n.profile_no, r.row_key, r.row_hash, r.special, h.amounts,
               coalesce(h.known, false) AS known, h.row_id IS NOT NULL AND NOT h.stays AS moved,
               old.profile_no AS moved_from
        FROM routed AS r JOIN numbered AS n USING (tuple_no) LEFT JOIN state_hit AS h USING (row_id)
        LEFT JOIN stored_number AS old ON old.profile_id = h.old_profile_id AND NOT h.stays
        """
        if task.has_state
        else """
        SELECT r.row_id, r.outcome, r.reason, n.profile_no, r.row_key, r.row_hash, r.special, NULL::VARCHAR AS amounts,
               false AS known, false AS moved, NULL::BIGINT AS moved_from
        FROM routed AS r JOIN numbered AS n USING (tuple_no)
        """
    )
    write_parquet(task.session, render(links), task.out.links)
    values = sql(
        """
        SELECT n.profile_no, $names[property_no + 1] AS property_id, value, min(t.first_row) AS row_id,
               arg_min(t.place, t.first_row) AS place
        FROM edges JOIN numbered AS n USING (tuple_no) JOIN tuples AS t USING (tuple_no) JOIN link_value USING
               (value_no)
        LEFT JOIN value_owner USING (value_no)
        WHERE n.outcome = 'apply' AND (n.new_no IS NOT NULL OR ($stored AND owner_no IS NULL))
        GROUP BY n.profile_no, property_no, value
        """,
        names=texts(task.properties),
        stored=sql("true") if task.goal.store_identifiers and task.goal.match == "any" else sql("false"),
    )
    write_parquet(task.session, render(values), link_values_path(task.out))


def link_values_path(folder: GoalFolder) -> Path:
    """Where *link* leaves the identifier values that *map* must store.

    Profile_no, property_id, value, row_id, place.
    """
    return folder.path / "link_values.parquet"


def _counts(task: LinkTask) -> dict[str, Any]:
    """Rows by outcome; they must add up to the rows that came in."""
    rows = int(task.tables.one(sql("SELECT count(*) FROM $rows", rows=parquet(task.rows))))
    counts: dict[str, Any] = {"rows_read": rows, "excluded": {}, "quarantined": {}, "applied": 0}
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
