"""The events that the rows of a goal hold, before they meet those of the store: the stage ``event_row``.

One row per row and event mapping that has an id: profile_no, ``ord`` (the order of rows, then of mappings), place,
event_id, date (epoch milliseconds), data (JSON), reason (why it is none), raw (what was wrong), and whether one of its
values was refused.
"""

from __future__ import annotations

from crosswalk.engine import functions
from crosswalk.engine.event_task import MOST_BYTES, Entry, EventTask
from crosswalk.engine.event_values import object_of
from crosswalk.engine.link_quarantine import MAX_RAW
from crosswalk.engine.template import Node, all_of, any_of, name, number, parquet, sql, text, texts, union_all
from crosswalk.engine.values import cleaned_cell

WITHOUT_ID = "event_without_id"


def stage_rows(task: EventTask) -> None:
    """Make the stage ``event_row`` of all rows that take effect.

    Its buckets are ranges of profile ids, so that the plan, bucket after bucket, is in the order of the store's key.
    """
    rows = union_all([_event_rows(task, entry) for entry in task.entries])
    if task.buckets.count == 1:
        task.buckets.stage("event_row", rows)
        return
    ranked = sql(
        "SELECT profile_no, row_number() OVER (ORDER BY profile_id) - 1 AS rank FROM $profiles",
        profiles=parquet(task.map.profiles),
    )
    task.tables.make("profile_rank", ranked)
    placed = sql("SELECT e.*, p.rank FROM ($rows) AS e JOIN profile_rank AS p USING (profile_no)", rows=rows)
    task.buckets.stage("event_row", placed, by="rank")
    task.tables.drop("profile_rank")


def read_rows(task: EventTask, entry: Entry, condition: Node | None = None) -> Node:
    """Rows of a mapping: row_id, profile_no, place, the clean cells, and the columns of its fields."""
    conditions = [task.map.good, sql("$id IS NOT NULL", id=_cell(task, entry.mapping.id))]
    if task.map.has_gate:
        conditions.append(sql("profile_no NOT IN (SELECT profile_no FROM blocked)"))
    if entry.mapping.when is not None:
        chosen = [item.strip(functions.BLANKS).lower() for item in entry.mapping.when.any_of]
        cell = _cell(task, entry.mapping.when.field)
        conditions.append(sql("coalesce(list_contains($chosen, lower($cell)), false)", chosen=texts(chosen), cell=cell))
    if condition is not None:
        conditions.append(condition)
    fields = list(dict.fromkeys(entry.mapping.used_fields()))
    source = task.map.linked_rows(all_of(conditions))
    query = task.frame.query(source, ["row_id", "profile_no", "place"], [], fields)
    for level in entry.levels:
        if level:
            query = sql("SELECT *, $columns FROM ($query)", columns=level, query=query)
    return query


def _cell(task: EventTask, field: str) -> Node:
    return cleaned_cell(task.frame.cells.cell(field), nested=False)


def _event_rows(task: EventTask, entry: Entry) -> Node:
    whole = entry.mapping.strategy == "replace"
    read = sql(
        "SELECT row_id, profile_no, place, $id AS event_id, $date AS date_cell, TRY_CAST($moment AS BIGINT) AS date, "
        "$refused AS refused, $data AS data FROM ($rows)",
        id=task.frame.cell_of(entry.mapping.id),
        date=task.frame.cell_of(entry.mapping.date),
        moment=name(f"t{entry.date.mapped.index}"),
        refused=any_of([member.is_refused for member in entry.members]),
        data=object_of(list(entry.members)),
        rows=read_rows(task, entry),
    )
    too_large = sql("strlen(data) > $most", most=number(MOST_BYTES)) if whole else sql("false")
    judged = sql(
        """
        SELECT *, CASE WHEN event_id = '' THEN $without_id WHEN length(event_id) > $longest THEN 'too_long'
                       WHEN coalesce(date_cell, '') = '' THEN 'event_without_date'
                       WHEN date IS NULL THEN 'invalid_datetime' WHEN refused AND $rejects THEN 'invalid_value'
                       WHEN $too_large THEN 'event_too_large' END AS reason
        FROM ($read)
        """,
        without_id=text(WITHOUT_ID),
        longest=number(functions.MAX_IDENTIFIER),
        rejects=sql("true") if task.map.rejects_rows else sql("false"),
        too_large=too_large,
        read=read,
    )
    return sql(
        """
        SELECT profile_no, row_id * $count + $index AS ord, place, event_id, date, data, refused, reason,
               left(CASE reason WHEN 'too_long' THEN event_id WHEN 'invalid_datetime' THEN date_cell
                    WHEN 'event_too_large' THEN data END, $most) AS raw
        FROM ($judged)
        """,
        count=number(len(task.entries)),
        index=number(entry.index),
        most=number(MAX_RAW),
        judged=judged,
    )
