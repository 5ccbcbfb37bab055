"""Undo of what is written beside profiles, row by row: events, purchases, and the descriptions of products.

The rule is that of properties: a row goes back to what it was before the run's first touch after the last foreign one.
Where another batch touched it last, it stays. A row that the run made goes. What is past its time does not come back.

- An event that comes back must have room: a profile keeps 250.
- Purchases of an event that stays, stay with it.
"""

from __future__ import annotations

from crosswalk.engine.event_task import MOST_EVENTS
from crosswalk.engine.session import write_parquet
from crosswalk.engine.template import parquet, sql
from crosswalk.engine.undo_task import LoggedRows, UndoTask

EVENT, PURCHASE = "event", "purchase"
_EVENT_KEY = "profile_id, type, event_id"


def decide_logged(task: UndoTask) -> None:
    """One Parquet for each table of ``task.logged``; ``left_row``: what stays, and why."""
    task.tables.make(
        "left_row",
        "SELECT 0::BIGINT AS batch_no, '' AS profile_id, '' AS property_id, '' AS reason, '' AS raw LIMIT 0",
    )
    for rows in task.logged:
        _decide(task, rows)
        if rows.name == EVENT:
            _leave_out_surplus(task)
            _note(task, f"SELECT batch_no, {_EVENT_KEY}, reason FROM event_kept", "event ")
        if rows.name == PURCHASE and EVENT in {other.name for other in task.logged}:
            task.tables.make(
                "purchase_plan",
                f"SELECT * FROM purchase_plan ANTI JOIN (SELECT {_EVENT_KEY} FROM event_kept WHERE reason <> 'no_room')"
                f" USING ({_EVENT_KEY})",
            )
            others = f"SELECT DISTINCT batch_no, {_EVENT_KEY}, reason FROM purchase_kept ANTI JOIN event_kept USING"
            _note(task, f"{others} ({_EVENT_KEY})", "purchases of ")
        write_parquet(task.session, f"SELECT * FROM {rows.name}_plan", task.out / f"{rows.name}.parquet", quick=True)


def _decide(task: UndoTask, rows: LoggedRows) -> None:
    """``<name>_plan``: what goes back or goes; ``<name>_kept``: what stays."""
    key, values = ", ".join(rows.key), ", ".join(rows.values)
    numbers, name = ", ".join(map(str, task.numbers)), rows.name
    for view, path in ((f"{name}_made", rows.made), (f"{name}_history", rows.history)):
        task.tables.view(view, sql("SELECT * FROM $file", file=parquet(path)))
    touches = " UNION ALL ".join(
        f"SELECT {key}, {column} AS touch FROM {name}_history" for column in ("batch_no", "written_by", "stored")
    )
    task.tables.make(
        f"{name}_span",
        f"""
        SELECT {key}, max(touch) FILTER (touch IN ({numbers})) AS batch_no,
               min(touch) FILTER (touch IN ({numbers}) AND touch > last_foreign) AS first
        FROM (SELECT *, coalesce(max(touch) FILTER (touch NOT IN ({numbers})) OVER (PARTITION BY {key}), 0)
                        AS last_foreign
              FROM ({touches}) WHERE touch >= {min(task.numbers)})
        GROUP BY {key}
        """,
    )
    stored = f"SELECT {key}, any_value(stored) AS stored, bool_or(batch_no IN ({numbers})) AS had_before"
    task.tables.make(f"{name}_state", f"{stored} FROM {name}_history GROUP BY {key}")
    before = f"SELECT {key}, batch_no AS first, written_by, {values}, true AS comes FROM {name}_history"
    task.tables.make(
        f"{name}_plan",
        f"""
        SELECT batch_no, 'removed' AS action, {key}, {", ".join(f"NULL AS {column}" for column in rows.values)},
               NULL::BIGINT AS written_by, batch_no AS stored
        FROM {name}_made ANTI JOIN {name}_span USING ({key})
        UNION ALL
        SELECT batch_no, CASE WHEN comes THEN 'restored' ELSE 'removed' END, {key}, {values}, written_by, stored
        FROM {name}_span JOIN {name}_state USING ({key})
        LEFT JOIN ({before} WHERE is_over = 0) USING ({key}, first)
        WHERE first IS NOT NULL AND (comes OR stored > 0)
        """,
    )
    task.tables.make(
        f"{name}_kept",
        f"SELECT batch_no, {key}, 'changed_since' AS reason FROM {name}_span JOIN {name}_state USING ({key}) "
        "WHERE first IS NULL AND (stored > 0 OR had_before)",
    )


def _leave_out_surplus(task: UndoTask) -> None:
    """Events that would come again, on profiles that have got others meanwhile, come back only while there is room."""
    coming = "SELECT * FROM event_plan WHERE action = 'restored' AND stored = 0"
    grown = task.tables.make(
        "undo_growth",
        f"""
        SELECT profile_id, added - gone AS added FROM (SELECT profile_id, count(*) AS added FROM ({coming}) GROUP BY 1)
        JOIN (SELECT profile_id, count(*) FILTER (action = 'removed') AS gone FROM event_plan GROUP BY 1)
        USING (profile_id)
        """,
    )
    if not grown:
        return
    heads = task.find_crowd(task.tables.stream("SELECT * FROM undo_growth ORDER BY profile_id"), MOST_EVENTS)
    task.tables.take_in("undo_head", heads, "profile_id, type, event_id, date, priority")
    task.tables.make(
        "undo_surplus",
        f"""
        SELECT {_EVENT_KEY} FROM (
          SELECT *, row_number() OVER (PARTITION BY profile_id ORDER BY priority DESC, date DESC, type, event_id)
                    AS rank
          FROM (SELECT profile_id, type, event_id, date, priority, false AS comes FROM undo_head
                ANTI JOIN event_plan USING ({_EVENT_KEY})
                UNION ALL
                SELECT profile_id, type, event_id, date, priority, stored = 0 FROM event_plan
                SEMI JOIN undo_head USING (profile_id) WHERE action = 'restored'))
        WHERE comes AND rank > {MOST_EVENTS}
        """,
    )
    task.tables.make(
        "event_kept",
        "SELECT * FROM event_kept UNION ALL "
        f"SELECT batch_no, {_EVENT_KEY}, 'no_room' FROM event_plan SEMI JOIN undo_surplus USING ({_EVENT_KEY})",
    )
    task.tables.make("event_plan", f"SELECT * FROM event_plan ANTI JOIN undo_surplus USING ({_EVENT_KEY})")


def _note(task: UndoTask, kept: str, word: str) -> None:
    """Add rows that stay to what is shown to people."""
    task.tables.session.execute(
        f"INSERT INTO left_row SELECT batch_no, profile_id, '{word}' || type, reason, event_id FROM ({kept})"
    ).fetchall()
