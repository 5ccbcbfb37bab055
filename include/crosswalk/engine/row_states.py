"""The row state after the import: what identifies each applied row, its content, its profile and what it added."""

from __future__ import annotations

import json

from crosswalk.engine.map_task import MapTask, previous_amount
from crosswalk.engine.template import Node, call, name, parquet, sql, text


def planned_row_state(task: MapTask) -> Node:
    """ROW_STATE_SCHEMA: the rows whose state changes; each row key once.

    Rows that row state knows as they are (same content, same profile, same amounts) are left out.
    """
    sums, history = task.sums, task.has_history
    ids = sql("SELECT profile_no, profile_id FROM $profiles", profiles=parquet(task.profiles))
    keep = ["row_key", "row_hash", "known", "amounts", *(["special", "moved"] if history else [])]
    if sums:
        mappings = [mapping for target in sums for mapping in target.mappings]
        rows = task.frame.query(task.linked_rows(task.good, keep), [*task.base_columns, *keep], mappings)
        current = _amounts(task, [(target.amount(), previous_amount(target)) for target in sums])
    else:
        rows = sql(
            "SELECT row_id, profile_no, $keep FROM $links WHERE outcome = 'apply' AND $good",
            keep=[name(column) for column in keep],
            links=parquet(task.links),
            good=task.good,
        )
        current = sql("NULL::VARCHAR")
    regular = sql(
        "SELECT row_key, row_hash, profile_no, amounts, known, $current AS amounts_now FROM ($rows) WHERE $regular",
        current=current,
        rows=rows,
        regular=sql("NOT special AND NOT moved" if history else "true"),
    )
    query = sql(
        "SELECT row_key, row_hash, profile_no, amounts_now AS amounts FROM ($regular) "
        "WHERE NOT (known AND amounts IS NOT DISTINCT FROM amounts_now)",
        regular=regular,
    )
    if history:
        pairs = [(sql(f"now{target.index}"), sql(f"before{target.index}")) for target in sums]
        query = sql(
            "SELECT * FROM ($query) UNION ALL SELECT row_key, row_hash, profile_no, $amounts AS amounts FROM "
            "special_key",
            query=query,
            amounts=_amounts(task, pairs) if pairs else sql("NULL::VARCHAR"),
        )
    return sql(
        "SELECT s.row_key, s.row_hash, i.profile_id, s.amounts FROM ($query) AS s ANTI JOIN blocked USING (profile_no) "
        "JOIN ($ids) AS i USING (profile_no)",
        query=query,
        ids=ids,
    )


def _amounts(task: MapTask, pairs: list[tuple[Node, Node]]) -> Node:
    """The amounts as JSON by property; a refused sum added nothing, so its rows keep what they had."""
    members = []
    for target, (now, before) in zip(task.sums, pairs, strict=True):
        current = sql("coalesce($now, $before)", now=now, before=before)
        if task.has_overflow:
            refused = sql(
                "profile_no IN (SELECT profile_no FROM overflow WHERE target = $no)", no=sql(str(target.index))
            )
            current = sql(
                "CASE WHEN $refused THEN $before ELSE $current END", refused=refused, before=before, current=current
            )
        shown = target.mappings[0].reader.number_text(current, precision=38)
        key = json.dumps(target.property_id, ensure_ascii=False)
        members.append(sql("concat($key, $shown, '\"')", key=text(f'{key}:"'), shown=shown))
        members[-1] = sql("CASE WHEN $current IS NOT NULL THEN $member END", current=current, member=members[-1])
    joined = call("concat_ws", text(","), *members)
    return sql("CASE WHEN $joined <> '' THEN concat('{', $joined, '}') END", joined=joined)
