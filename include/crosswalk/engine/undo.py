"""Undo: what becomes of every profile that a run touched.

Most profiles were not touched since: their version is the one that the run left. They get the ``before`` of the run's
change log back, or go when the run created them, without a look at anything else. What is *involved* (touched since, by
several batches of the run, or with rows that a later run replaced) is decided property by property in
``undo_since.py``. A value of a unique identifier that another profile took meanwhile stays where it is; that makes its
profile involved too.
"""

from __future__ import annotations

from typing import Any

from crosswalk.config.tenant import CONSENTED, REFUSED
from crosswalk.engine.session import write_parquet
from crosswalk.engine.template import Node, parquet, render, sql, text, union_all
from crosswalk.engine.undo_logged import EVENT, PURCHASE, decide_logged
from crosswalk.engine.undo_merges import has_merges, keep_merges, revived, split_merges
from crosswalk.engine.undo_since import decide_involved, find_involved
from crosswalk.engine.undo_task import AMOUNT, ENTRIES, UndoTask, amount_of, log_entry, removal_log


def compute_undo(task: UndoTask) -> dict[int, dict[str, Any]]:
    """Leave the result in ``task.out``; returns counts by batch."""
    tables = task.tables
    for view, path in (
        ("amount", task.amounts),
        ("shared", task.shared),
        ("answer", task.answers),
    ):
        tables.view(view, sql("SELECT * FROM $file", file=parquet(path)))
    tables.make("held", "SELECT '' AS profile_id, '' AS property_id WHERE false")
    while True:
        split_merges(task)
        _take_in_sums(task)
        find_involved(task)
        decide_involved(task)
        _write_profiles(task)
        _write_identifiers(task)
        if not _hold_taken(task):
            break
    if has_merges(task):
        keep_merges(task)
    _write_answers(task)
    decide_logged(task)
    task.tables.make(
        "left_alone",
        "SELECT batch_no, profile_id, property_id, reason, NULL::VARCHAR AS raw FROM kept UNION ALL "
        "SELECT batch_no, profile_id, property_id, reason, raw FROM left_row",
    )
    return _counts(task)


def _take_in_sums(task: UndoTask) -> None:
    """``delta``: what the rows of the run have added, as far as no later run replaced them; ``logged``: what it wrote.

    Where both agree and nothing else happened, the value before is the answer.
    """
    pairs = "map_entries(from_json({}, '\"MAP(VARCHAR, VARCHAR)\"'))"
    added, taken = pairs.format("amounts"), pairs.format("before_amounts")
    task.tables.make(
        "delta",
        f"""
        SELECT profile_id, e.key AS property_id, sum(TRY_CAST(e.value AS {AMOUNT}) * sign)::{AMOUNT} AS amount FROM (
          SELECT profile_id, 1 AS sign, unnest({added}) AS e FROM amount WHERE amounts IS NOT NULL
          UNION ALL
          SELECT before_profile_id, -1, unnest({taken}) FROM amount WHERE before_amounts IS NOT NULL)
        GROUP BY ALL HAVING amount <> 0
        """,
    )
    task.tables.make(
        "logged",
        f"""
        SELECT profile_id, e.key AS property_id,
               sum({amount_of("e.value.after")} - {amount_of("e.value.before")})::{AMOUNT} AS amount
        FROM (SELECT profile_id, unnest(list_filter({ENTRIES}, LAMBDA e : e.value.sum)) AS e FROM undone
              WHERE contains(changes, '"sum":true'))
        GROUP BY ALL HAVING amount <> 0
        """,
    )


def _write_profiles(task: UndoTask) -> None:
    """``profiles.parquet``: PLANNED_UNDO_SCHEMA."""
    before, after = "coalesce(e.value.before::VARCHAR, 'null')", "coalesce(e.value.after::VARCHAR, 'null')"
    patch = f"concat('{{', array_to_string(list_transform(entries, LAMBDA e : {_member(before)}), ','), '}}')"
    entry = log_entry("e.key", after, before, "coalesce(e.value.sum, false)")
    changes = f"concat('{{', array_to_string(list_transform(entries, LAMBDA e : {entry}), ','), '}}')"
    simple = "FROM undone ANTI JOIN involved USING (profile_id) WHERE stored_version IS NOT NULL"
    query = f"""
        SELECT batch_no, profile_id, 'restored' AS action, stored_version AS version,
               json_merge_patch(properties, {patch})::VARCHAR AS properties, {changes} AS changes
        FROM (SELECT *, {ENTRIES} AS entries {simple} AND kind <> 'created')
        UNION ALL
        SELECT batch_no, profile_id, 'removed', stored_version, NULL, {removal_log("properties")}
        {simple} AND kind = 'created'
        UNION ALL
        SELECT batch_no, profile_id, action, version, properties, changes FROM settled
        """
    if has_merges(task):
        query += f" UNION ALL {revived(task)}"
    write_parquet(task.session, query, task.out / "profiles.parquet", quick=True)
    task.tables.view("planned", sql("SELECT * FROM $file", file=parquet(task.out / "profiles.parquet")))


def _member(value: str) -> str:
    return f"concat(to_json(e.key)::VARCHAR, ':', {value})"


def _lists(property_id: str) -> tuple[Node, Node]:
    """The values of a property before and after, from an entry of the change log."""
    sides = []
    for side in ("before", "after"):
        found = sql("json_extract(changes, $path)", path=text(f"/{property_id}/{side}"))
        sides.append(sql("coalesce(from_json($found, '[\"VARCHAR\"]'), []::VARCHAR[])", found=found))
    return sides[0], sides[1]


def _write_identifiers(task: UndoTask) -> None:
    """``identifiers.parquet``: PLANNED_IDENTIFIER_SCHEMA."""
    parts = [
        sql(
            "SELECT NULL::VARCHAR AS profile_id, NULL::VARCHAR AS property_id, NULL::VARCHAR AS value, "
            "NULL::VARCHAR AS action WHERE false"
        )
    ]
    for property_id in task.unique:
        before, after = _lists(property_id)
        lists = sql(
            "SELECT profile_id, $before AS old, $after AS new FROM planned WHERE contains(changes, $key)",
            before=before,
            after=after,
            key=text(f'"{property_id}":'),
        )
        for action, left, right in (("add", "new", "old"), ("remove", "old", "new")):
            parts.append(
                sql(
                    f"SELECT profile_id, $id, unnest(list_filter({left}, LAMBDA item : NOT list_contains({right}, item)"
                    f")), '{action}' FROM ($lists)",
                    id=text(property_id),
                    lists=lists,
                )
            )
    write_parquet(task.session, render(union_all(parts)), task.out / "identifiers.parquet", quick=True)


def _hold_taken(task: UndoTask) -> int:
    """Adds to ``held`` what another profile owns by now and keeps; returns how much that is."""
    found = parquet(task.out / "identifiers.parquet")
    task.tables.make("gain", sql("SELECT * FROM $found WHERE action = 'add'", found=found))
    wanted = task.tables.stream("SELECT DISTINCT property_id, value FROM gain")
    task.tables.take_in("owner", task.owners(wanted), "property_id, value, profile_id")
    lost = sql("SELECT property_id, value, profile_id FROM $found WHERE action = 'remove'", found=found)
    taken = sql(
        "SELECT DISTINCT g.profile_id, g.property_id FROM gain AS g JOIN owner AS o USING (property_id, value) "
        "ANTI JOIN ($lost) AS l ON l.property_id = o.property_id AND l.value = o.value "
        "AND l.profile_id = o.profile_id WHERE g.profile_id <> o.profile_id",
        lost=lost,
    )
    before = task.tables.count("held")
    return task.tables.make("held", sql("SELECT * FROM held UNION SELECT * FROM ($taken)", taken=taken)) - before


def _write_answers(task: UndoTask) -> None:
    """``consent.parquet``: the state that each answer goes back to; ``unknown`` when there was none."""
    (consented_before, consented_after), (refused_before, refused_after) = _lists(CONSENTED), _lists(REFUSED)
    query = sql(
        """
        SELECT batch_no, profile_id, objective, state, NULL::VARCHAR AS file, NULL::BIGINT AS line FROM (
          SELECT *, CASE WHEN list_contains(ra, objective) THEN 'refused'
                         WHEN list_contains(ca, objective) THEN 'granted' ELSE 'unknown' END AS state,
                 CASE WHEN list_contains(rb, objective) THEN 'refused'
                      WHEN list_contains(cb, objective) THEN 'granted' ELSE 'unknown' END AS old_state
          FROM (SELECT *, unnest(list_distinct(list_concat(list_concat(cb, ca), list_concat(rb, ra)))) AS objective
                FROM (SELECT batch_no, profile_id, $cb AS cb, $ca AS ca, $rb AS rb, $ra AS ra FROM planned
                      WHERE contains(changes, $consented) OR contains(changes, $refused))))
        WHERE state <> old_state ORDER BY profile_id, objective
        """,
        cb=consented_before,
        ca=consented_after,
        rb=refused_before,
        ra=refused_after,
        consented=text(f'"{CONSENTED}":'),
        refused=text(f'"{REFUSED}":'),
    )
    write_parquet(task.session, render(query), task.out / "consent.parquet")


def _counts(task: UndoTask) -> dict[int, dict[str, Any]]:
    counts: dict[int, dict[str, Any]] = {
        no: {
            "profiles_restored": 0,
            "profiles_removed": 0,
            "profiles_gone": 0,
            "answers_taken_back": 0,
            "events_restored": 0,
            "events_removed": 0,
            "purchases_taken_back": 0,
            "left_alone": {},
        }
        for no in task.numbers
    }
    for no, action, count in task.tables.all("SELECT batch_no, action, count(*) FROM planned GROUP BY ALL"):
        counts[no][f"profiles_{action}"] = count
    for no, count in task.tables.all("SELECT batch_no, count(*) FROM undone WHERE stored_version IS NULL GROUP BY ALL"):
        counts[no]["profiles_gone"] = count
    answers = sql("SELECT batch_no, count(*) FROM $file GROUP BY ALL", file=parquet(task.out / "consent.parquet"))
    for no, count in task.tables.all(answers):
        counts[no]["answers_taken_back"] = count
    for rows in task.logged:
        if rows.name in (EVENT, PURCHASE):
            planned = f"SELECT batch_no, action, count(*) FROM {rows.name}_plan GROUP BY ALL"
            for no, action, count in task.tables.all(planned):
                counts[no][f"events_{action}" if rows.name == EVENT else "purchases_taken_back"] += count
    left = "SELECT batch_no, property_id, count(*) FROM left_alone GROUP BY ALL ORDER BY ALL"
    for no, property_id, count in task.tables.all(left):
        counts[no]["left_alone"][property_id] = count
    return counts
