"""The row state after the import: what identifies each applied row, its content, its profile and what it added."""

from __future__ import annotations

import json

from crosswalk.engine.map_task import MapTask, previous_amount
from crosswalk.engine.targets import Target
from crosswalk.engine.template import Node, call, name, named, number, parquet, sql, text, union_all


def planned_row_state(task: MapTask) -> Node:
    """ROW_STATE_SCHEMA: the rows whose state changes; each row key once.

    Rows that row state knows as they are (same content, same profile, same amounts) are left out.
    """
    sums, history = task.sums, task.has_history
    keep = ["row_key", "row_hash", "known", "amounts", *(["special", "moved"] if history else [])]
    regular = sql("NOT special AND NOT moved" if history else "true")
    if sums:
        mappings = [mapping for target in sums for mapping in target.mappings]
        rows = task.frame.query(task.linked_rows(task.good, keep), [*task.base_columns, *keep], mappings)
        current = [
            named(
                _current(task, target, target.amount(), previous_amount(target) if history else None),
                f"now{target.index}",
            )
            for target in sums
        ]
        numbers = sql("SELECT *, $current FROM ($rows) WHERE $regular", current=current, rows=rows, regular=regular)
        query = _with_amounts(task, numbers, native=not history and not task.has_overflow)
        query = sql(
            "SELECT row_key, row_hash, profile_no, known, amounts AS amounts_before, amounts_now FROM ($query)",
            query=query,
        )
    else:
        query = sql(
            "SELECT row_key, row_hash, profile_no, known, amounts AS amounts_before, NULL::VARCHAR AS amounts_now "
            "FROM $links WHERE outcome = 'apply' AND $good AND $regular",
            links=parquet(task.links),
            good=task.good,
            regular=regular,
        )
    if task.has_known:
        query = sql(
            "SELECT * FROM ($query) WHERE NOT (known AND amounts_before IS NOT DISTINCT FROM amounts_now)", query=query
        )
    query = sql("SELECT row_key, row_hash, profile_no, amounts_now AS amounts FROM ($query)", query=query)
    if history:
        query = union_all([query, _special_keys(task)])
    if task.has_gate:
        query = sql("SELECT * FROM ($query) ANTI JOIN blocked USING (profile_no)", query=query)
    return sql(
        "SELECT s.row_key, s.row_hash, i.profile_id, s.amounts FROM ($query) AS s "
        "JOIN (SELECT profile_no, profile_id FROM $profiles) AS i USING (profile_no)",
        query=query,
        profiles=parquet(task.profiles),
    )


def _special_keys(task: MapTask) -> Node:
    """The keys of ``sums.py``."""
    if not task.sums:
        return sql("SELECT row_key, row_hash, profile_no, NULL::VARCHAR AS amounts FROM special_key")
    current = [
        named(_current(task, target, sql(f"now{target.index}"), sql(f"before{target.index}")), f"now{target.index}")
        for target in task.sums
    ]
    numbers = sql("SELECT row_key, row_hash, profile_no, $current FROM special_key", current=current)
    query = _with_amounts(task, numbers, native=False)
    return sql("SELECT row_key, row_hash, profile_no, amounts_now AS amounts FROM ($query)", query=query)


def _current(task: MapTask, target: Target, now: Node, before: Node | None) -> Node:
    """What a row has added from now on; where its sum was refused, what it had added before."""
    current = now if before is None else sql("coalesce($now, $before)", now=now, before=before)
    if not task.has_overflow:
        return current
    refused = sql("profile_no IN (SELECT profile_no FROM overflow WHERE target = $no)", no=number(target.index))
    kept = before if before is not None else sql("NULL")
    return sql("CASE WHEN $refused THEN $kept ELSE $current END", refused=refused, kept=kept, current=current)


def _with_amounts(task: MapTask, numbers: Node, *, native: bool) -> Node:
    """Adds ``amounts_now``: the numbers ``now`` as JSON by property, NULL when there are none.

    Args:
        task: the task.
        numbers: the rows.
        native: the numbers still have the type that they were read as.
    """
    members = []
    for target in task.sums:
        current = name(f"now{target.index}")
        precision = 18 if native and target.is_plain_sum else 38
        shown = target.mappings[0].reader.number_text(current, precision=precision)
        key = text(f'{json.dumps(target.property_id, ensure_ascii=False)}:"')
        members.append(
            sql(
                "CASE WHEN $current IS NOT NULL THEN concat($key, $shown, '\"') END",
                current=current,
                key=key,
                shown=shown,
            )
        )
    listed = members[0] if len(members) == 1 else call("nullif", call("concat_ws", text(","), *members), text(""))
    inner = sql("SELECT *, $listed AS listed FROM ($numbers)", listed=listed, numbers=numbers)
    return sql(
        "SELECT *, CASE WHEN listed IS NOT NULL THEN concat('{', listed, '}') END AS amounts_now FROM ($inner)",
        inner=inner,
    )
