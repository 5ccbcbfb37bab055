"""What profiles that become one look like: the document by each property's merge strategy, identifiers, consent.

Values of one profile only are kept. Where several have values, the strategy decides; ties go to the living profile,
then to the one created later. Consent is united, and a refusal wins. The permission level is the lowest of all, the
legislation that of the living profile unless it is ``NONE``, the creation date the earliest.
"""

from __future__ import annotations

from pathlib import Path

from crosswalk.config.tenant import CONSENTED, REFUSED, Property
from crosswalk.engine import functions
from crosswalk.engine.link_task import LinkTask
from crosswalk.engine.session import write_parquet
from crosswalk.engine.template import Node, name, number, parquet, render, sql, text, union_all
from crosswalk.engine.undo_task import removal_log

AMOUNT = "DECIMAL(38, 4)"
LARGEST_NUMBER = 2_147_483_647


def write_merges(task: LinkTask) -> None:
    """The merges of ``merge_member``: PLANNED_MERGE_SCHEMA, their identifiers and their answers as Parquet."""
    tables = task.tables
    tables.make(
        "merge_party",
        """
        SELECT g.owner_no, g.living_no, o.profile_id, l.profile_id AS living_id, m.* EXCLUDE (profile_id),
               row_number() OVER (PARTITION BY g.living_no ORDER BY m.created_at DESC, o.profile_id DESC) AS place
        FROM merge_member AS g JOIN owner AS o USING (owner_no) JOIN merging AS m USING (profile_id)
        JOIN owner AS l ON l.owner_no = g.living_no
        """,
    )
    _combine(task)
    _write_profiles(task)
    _write_identifiers(task)
    _write_answers(task)
    tables.make(
        "merged_profile",
        sql("SELECT * FROM $merges WHERE profile_id = living_id", merges=parquet(task.out.merges)),
    )
    _move_row_state(task)


def _combine(task: LinkTask) -> None:
    """``merge_value`` (living_no, key, before, after): the values of each property of the living profiles."""
    tables = task.tables
    tables.make(
        "merge_entry",
        """
        SELECT owner_no, living_no, place, modified_at, e.key AS key, from_json(e.value, '["VARCHAR"]') AS items
        FROM (SELECT owner_no, living_no, place, modified_at,
                     unnest(map_entries(from_json(properties, '"MAP(VARCHAR, JSON)"'))) AS e FROM merge_party)
        WHERE len(from_json(e.value, '["VARCHAR"]')) > 0
        """,
    )
    found = [str(row[0]) for row in tables.all("SELECT DISTINCT key FROM merge_entry ORDER BY key")]
    grouped: dict[tuple[str, int, bool], list[str]] = {}
    for key in found:
        grouped.setdefault(_way(task.tenant.properties.get(key)), []).append(key)
    parts = [_combined(way, keys) for way, keys in grouped.items()] or [
        sql("SELECT 0::INTEGER AS living_no, '' AS key, []::VARCHAR[] AS after WHERE false")
    ]
    tables.make(
        "merge_value",
        sql(
            "SELECT a.living_no, a.key, b.items AS before, a.after FROM ($parts) AS a LEFT JOIN merge_entry AS b "
            "ON b.owner_no = a.living_no AND b.key = a.key",
            parts=union_all(parts),
        ),
    )
    tables.make(
        "merge_value",
        sql(
            """
            SELECT v.* REPLACE (CASE WHEN key = $consented THEN list_filter(after, LAMBDA item :
                                     NOT list_contains(coalesce(r.items, []::VARCHAR[]), item)) ELSE after END AS after)
            FROM merge_value AS v LEFT JOIN (SELECT living_no, after AS items FROM merge_value WHERE key = $refused)
            AS r USING (living_no)
            """,
            consented=text(CONSENTED),
            refused=text(REFUSED),
        ),
    )


def _way(declared: Property | None) -> tuple[str, int, bool]:
    """How values of a property come together: strategy, decimals of its numbers, and whether those are all shown.

    Properties of one way are combined by one query. -1 decimals: whole numbers, -2: text, -3: times.
    """
    if declared is None:
        return "both", -2, False
    strategy = declared.merge_strategy
    if strategy not in ("sum", "highest", "lowest"):
        return strategy, -2, False
    if declared.type == "number":
        return strategy, -1, False
    if declared.type in ("decimal", "currency"):
        return strategy, declared.stored_decimals, declared.type == "currency"
    return strategy, -3 if declared.type == "datetime" else -2, False


def _combined(way: tuple[str, int, bool], keys: list[str]) -> Node:
    """The values after, of the properties that come together in one way."""
    strategy, decimals, fixed = way
    entries = sql("SELECT * FROM merge_entry WHERE key IN ($keys)", keys=[text(key) for key in keys])
    if strategy in ("latest", "oldest", "keep"):
        order = {"latest": "modified_at DESC, place", "oldest": "modified_at, place", "keep": "place"}[strategy]
        return sql(
            f"SELECT living_no, key, first(items ORDER BY {order}) AS after FROM ($entries) GROUP BY ALL",
            entries=entries,
        )
    values = sql(
        "SELECT living_no, key, owner_no, place * 65536 + generate_subscripts(items, 1) AS ord, "
        "unnest(items) AS item FROM ($entries)",
        entries=entries,
    )
    if strategy == "both":
        return sql(
            "SELECT living_no, key, list(item ORDER BY ord)[1:$most] AS after FROM (SELECT living_no, key, item, "
            "min(ord) AS ord FROM ($values) GROUP BY ALL) GROUP BY ALL",
            values=values,
            most=number(functions.MAX_VALUES),
        )
    if strategy == "sum":
        shown = functions.number_text(name("total"), max(decimals, 0), fixed=fixed, precision=38)
        allowed = sql(f"abs(total) <= {LARGEST_NUMBER}") if decimals == -1 else sql("total IS NOT NULL")
        return sql(
            f"""
            SELECT living_no, key, CASE WHEN owners = 1 THEN own WHEN $allowed THEN [$shown]
                                        ELSE coalesce(kept, own[1:1]) END AS after FROM (
                SELECT living_no, key, count(DISTINCT owner_no) AS owners,
                       sum(TRY_CAST(item AS {AMOUNT}))::{AMOUNT} AS total,
                       list(item ORDER BY ord) AS own, list(item ORDER BY ord) FILTER (WHERE ord < 131072) AS kept
                FROM ($values) GROUP BY ALL)
            """,
            allowed=allowed,
            shown=shown,
            values=values,
        )
    compared = "item" if decimals == -2 else f"TRY_CAST(item AS {AMOUNT})"
    direction = "DESC" if strategy == "highest" else "ASC"
    return sql(
        f"""
        SELECT living_no, key, CASE WHEN owners > 1 THEN [best] ELSE own END AS after FROM (
            SELECT living_no, key, count(DISTINCT owner_no) AS owners, list(item ORDER BY ord) AS own,
                   first(item ORDER BY {compared} {direction} NULLS LAST, ord) AS best
            FROM ($values) GROUP BY ALL)
        """,
        values=values,
    )


def _write_profiles(task: LinkTask) -> None:
    """``merges.parquet``."""
    key = "to_json(key)::VARCHAR"
    entry = (
        f"concat({key}, ':{{\"before\":', coalesce(to_json(before)::VARCHAR, 'null'), ',\"after\":', value, "
        '\',"file":null,"line":null}\')'
    )
    changed = f"""
        SELECT living_no, concat('{{', string_agg(concat({key}, ':', value), ',' ORDER BY key), '}}') AS patch,
               concat('{{', string_agg({entry}, ',' ORDER BY key), '}}') AS changes
        FROM (SELECT *, CASE WHEN len(after) > 0 THEN to_json(after)::VARCHAR ELSE 'null' END AS value FROM merge_value
              WHERE after IS DISTINCT FROM coalesce(before, []::VARCHAR[])) GROUP BY living_no
        """
    lowest = "min(permission_level) OVER same"
    zone = (
        "CASE WHEN legislation <> 'NONE' THEN legislation ELSE coalesce(first_value(nullif(legislation, 'NONE') "
        "IGNORE NULLS) OVER (PARTITION BY living_no ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED "
        "FOLLOWING), 'NONE') END"
    )
    query = f"""
        SELECT profile_id, living_id, version,
               CASE WHEN NOT lives OR c.patch IS NULL THEN properties
                    ELSE json_merge_patch(properties, c.patch)::VARCHAR END AS properties,
               CASE WHEN lives THEN coalesce(c.changes, '{{}}') ELSE {removal_log("properties")} END AS changes,
               lowest AS permission_level, zone AS legislation, earliest AS created_at,
               permission_level AS old_permission_level, legislation AS old_legislation, p.created_at AS old_created_at
        FROM (SELECT *, owner_no = living_no AS lives, {lowest} AS lowest, {zone} AS zone,
                     min(created_at) OVER same AS earliest
              FROM merge_party WINDOW same AS (PARTITION BY living_no)) AS p
        LEFT JOIN ({changed}) AS c ON c.living_no = p.owner_no ORDER BY profile_id
        """
    write_parquet(task.session, query, task.out.merges, quick=True)


def _write_identifiers(task: LinkTask) -> None:
    """``merge_identifiers.parquet``: what the replaced profiles lose, and what the living ones gain and lose."""
    unique = sorted(key for key, item in task.tenant.properties.items() if item.identifier == "unique")
    listed = [text(item) for item in unique]
    query = sql(
        """
        SELECT profile_id, key AS property_id, value, action FROM (
            SELECT owner_no, key, unnest(items) AS value, 'remove' AS action FROM merge_entry
            WHERE owner_no <> living_no AND key IN ($unique)
            UNION ALL
            SELECT living_no, key, unnest(list_filter(coalesce(before, []::VARCHAR[]),
                   LAMBDA item : NOT list_contains(after, item))), 'remove' FROM merge_value WHERE key IN ($unique)
            UNION ALL
            SELECT living_no, key, unnest(list_filter(after,
                   LAMBDA item : NOT list_contains(coalesce(before, []::VARCHAR[]), item))), 'add'
            FROM merge_value WHERE key IN ($unique)) JOIN owner USING (owner_no)
        """,
        unique=listed,
    )
    write_parquet(task.session, render(query), task.out.merge_identifiers, quick=True)


def _write_answers(task: LinkTask) -> None:
    """``merge_consent.parquet``: the answers that the living profiles get from the others."""
    parts = [
        sql(
            "SELECT living_no AS owner_no, $state AS state, unnest(list_filter(after, LAMBDA item : "
            "NOT list_contains(coalesce(before, []::VARCHAR[]), item))) AS objective FROM merge_value WHERE key = $key",
            state=text(state),
            key=text(key),
        )
        for key, state in ((CONSENTED, "granted"), (REFUSED, "refused"))
    ]
    query = sql(
        "SELECT profile_id, objective, state, NULL::VARCHAR AS file, NULL::BIGINT AS line FROM ($parts) "
        "JOIN owner USING (owner_no) ORDER BY profile_id, objective",
        parts=union_all(parts),
    )
    write_parquet(task.session, render(query), task.out.merge_consent, quick=True)


def _move_row_state(task: LinkTask) -> None:
    """The rows of replaced profiles belong to the living one from here on."""
    if not task.has_state:
        return
    kept: Path = task.row_state.with_suffix(".moving")
    query = sql(
        "SELECT s.* REPLACE (coalesce(m.living_id, s.profile_id) AS profile_id) FROM $state AS s "
        "LEFT JOIN (SELECT profile_id, living_id FROM merge_party) AS m ON m.profile_id = s.profile_id",
        state=parquet(task.row_state),
    )
    write_parquet(task.session, render(query), kept, quick=True)
    kept.replace(task.row_state)
