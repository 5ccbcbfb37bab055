"""Sums of rows whose key does not simply say "more than before": it occurs twice, or its row moved to another profile.

A row key adds one amount to one profile. Its current amount is the last valid one among its rows, else what it had
added before; its current profile is that of its last row. What it added before is taken back from where it went.
"""

from __future__ import annotations

from crosswalk.engine.map_task import MapTask, previous_amount
from crosswalk.engine.template import Node, name, named, sql


def special_sums(task: MapTask) -> None:
    """``special_key`` (one row per such key, for row state) and the stage ``extra``: per profile ``x``, ``xp``."""
    sums = task.sums
    if not task.has_history:
        return
    keep = ["row_key", "row_hash", "special", "moved", "moved_from", "amounts"]
    rows = task.frame.query(
        sql(
            "SELECT * FROM ($rows) ANTI JOIN blocked USING (profile_no)",
            rows=task.linked_rows(sql("(special OR moved) AND $good", good=task.good), keep),
        ),
        [*task.base_columns, *keep],
        [mapping for target in sums for mapping in target.mappings],
    )
    now = [named(target.amount(), f"now{target.index}") for target in sums]
    before = [named(previous_amount(target), f"before{target.index}") for target in sums]
    task.tables.make(
        "special_row",
        sql(
            "SELECT $columns FROM ($rows)",
            rows=rows,
            columns=[*map(name, ("row_id", "profile_no", "place", *keep)), *now, *before],
        ),
    )
    amounts = []
    for target in sums:
        no = target.index
        amounts += [
            sql(f"arg_max(now{no}, row_id) FILTER (WHERE now{no} IS NOT NULL) AS now{no}"),
            sql(f"any_value(before{no}) AS before{no}"),
        ]
    task.tables.make(
        "special_key",
        sql(
            """
            SELECT row_key, arg_max(profile_no, row_id) AS profile_no, max(row_id) AS row_id, arg_max(place,
                   row_id) AS place,
                   CASE WHEN count(*) > 1 THEN unhex(md5(string_agg(hex(row_hash), '' ORDER BY row_id)))
                        ELSE any_value(row_hash) END AS row_hash,
                   coalesce(max(moved_from), max(profile_no) FILTER (WHERE NOT moved AND amounts IS NOT NULL)) AS
                          old_profile_no,
                   $amounts
            FROM special_row GROUP BY row_key
            """
            if amounts
            else """
            SELECT row_key, arg_max(profile_no, row_id) AS profile_no, max(row_id) AS row_id,
                   CASE WHEN count(*) > 1 THEN unhex(md5(string_agg(hex(row_hash), '' ORDER BY row_id)))
                        ELSE any_value(row_hash) END AS row_hash
            FROM special_row GROUP BY row_key
            """,
            **({"amounts": amounts} if amounts else {}),
        ),
    )
    if sums:
        _stage_extra(task)


def _stage_extra(task: MapTask) -> None:
    added, taken = [], []
    for target in task.sums:
        no = target.index
        current = f"coalesce(now{no}, before{no})"
        stays = "old_profile_no IS NOT DISTINCT FROM profile_no"
        added.append(
            sql(
                f"CASE WHEN NOT {stays} THEN {current} WHEN {current} IS DISTINCT FROM before{no} "
                f"THEN {current} - coalesce(before{no}, 0) END AS x{no}"
            )
        )
        taken.append(sql(f"-before{no} AS x{no}"))
    moved = sql(
        "SELECT old_profile_no AS profile_no, row_id, place, $taken FROM special_key "
        "WHERE old_profile_no IS NOT NULL AND old_profile_no <> profile_no "
        "AND old_profile_no NOT IN (SELECT profile_no FROM blocked)",
        taken=taken,
    )
    both = sql(
        "SELECT profile_no, row_id, place, $added FROM special_key UNION ALL FROM ($moved)", added=added, moved=moved
    )
    totals: list[Node] = []
    for target in task.sums:
        no = target.index
        totals += [
            sql(f"sum(x{no}) AS x{no}"),
            sql(f"arg_max(place, row_id) FILTER (WHERE x{no} IS NOT NULL) AS xp{no}"),
        ]
    task.buckets.stage(
        "extra", sql("SELECT profile_no, $totals FROM ($both) GROUP BY profile_no", totals=totals, both=both)
    )
    task.has_extra = True
