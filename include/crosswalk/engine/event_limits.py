"""How many events a profile keeps: beyond 250, the oldest of low priority go first, then the oldest of high priority.

Expired events are not counted; the store deletes them with each batch.
"""

from __future__ import annotations

from crosswalk.engine.event_task import MOST_EVENTS, EventTask
from crosswalk.engine.template import number, parquet, sql

_NO_HEADS = (
    "SELECT NULL::VARCHAR AS profile_id, NULL::VARCHAR AS type, NULL::VARCHAR AS event_id, NULL::BIGINT AS date, "
    "NULL::BIGINT AS priority, NULL::BIGINT AS batch_no LIMIT 0"
)


def drop_surplus(task: EventTask) -> None:
    """``surplus``: events of the bucket's profiles that have no room, stored or not, with the batch that wrote them."""
    _find_heads(task)
    task.tables.make(
        "surplus",
        sql(
            """
            SELECT profile_id, type, event_id, date, priority, batch_no
            FROM (
                SELECT *, row_number() OVER (PARTITION BY profile_id ORDER BY priority DESC, date DESC, type,
                       event_id) AS rank
                FROM (
                    SELECT profile_id, type, event_id, date, priority, batch_no
                    FROM settled SEMI JOIN crowded USING (profile_id)
                    WHERE outcome IN ('created', 'updated', 'unchanged')
                    UNION ALL
                    SELECT * FROM stored_head ANTI JOIN settled USING (profile_id, type, event_id)
                )
            ) WHERE rank > $most
            """,
            most=number(MOST_EVENTS),
        ),
    )


def _find_heads(task: EventTask) -> None:
    """``stored_head``: the stored events of the profiles that would have too many; ``crowded``: all such profiles."""
    growth = sql(
        "SELECT profile_id, count(*) AS added FROM settled WHERE outcome = 'created' GROUP BY profile_id "
        "ORDER BY profile_id"
    )
    task.tables.make("growth", growth)
    if task.stored.find_crowd is not None and task.has_stored_profiles:
        asked = sql(
            "SELECT profile_id, added FROM growth SEMI JOIN (SELECT profile_id FROM $profiles WHERE NOT is_new) AS p "
            "USING (profile_id)",
            profiles=parquet(task.map.profiles),
        )
        found = task.stored.find_crowd(task.tables.stream(asked), MOST_EVENTS)
        task.tables.take_in("stored_head", found, "profile_id, type, event_id, date, priority, batch_no")
    else:
        task.tables.make("stored_head", _NO_HEADS)
    task.tables.make(
        "crowded",
        sql(
            "SELECT profile_id FROM growth WHERE added > $most UNION SELECT profile_id FROM stored_head",
            most=number(MOST_EVENTS),
        ),
    )
