"""What the planning of events sets aside: events that cannot be stored, and values that do not fit their field.

=================== ====== ==========================================================================================
reason              scope  when
=================== ====== ==========================================================================================
event_without_date  event  the row has an id but no date
invalid_datetime    event  the date does not fit the format
too_long            event  the id is longer than 500 characters
event_too_large     event  the event takes more than 4,096 bytes
``invalid_number``. value  a value that does not fit its field; with ``reject_row`` its event's (scope ``event``)
=================== ====== ==========================================================================================

The row itself takes effect on its profile all the same.
"""

from __future__ import annotations

from crosswalk.engine.event_rows import WITHOUT_ID, read_rows
from crosswalk.engine.event_task import Entry, EventTask
from crosswalk.engine.link_quarantine import MAX_RAW
from crosswalk.engine.map_quarantine import refused_values_of, set_aside
from crosswalk.engine.session import write_parquet
from crosswalk.engine.template import Node, name, number, render, sql, text, union_all

EVENT = "event"


def write_quarantine(task: EventTask) -> None:
    """``quarantine/events.parquet``; ``oversized`` holds events that became too large by being changed."""
    whole = task.buckets.whole("event_row")
    fields: list[Node] = [text(entry.mapping.date) for entry in task.entries]
    ids: list[Node] = [text(entry.mapping.id) for entry in task.entries]
    rejected = sql(
        "SELECT $row_id AS row_id, place, reason, raw, CASE reason WHEN 'too_long' THEN $id WHEN 'event_too_large' "
        "THEN NULL ELSE $date END AS field FROM ($whole) WHERE reason NOT IN ($without_id, 'invalid_value')",
        row_id=task.row_id,
        id=task.by_entry(ids),
        date=task.by_entry(fields),
        whole=whole,
        without_id=text(WITHOUT_ID),
    )
    oversized = sql(
        "SELECT $row_id AS row_id, place, 'event_too_large' AS reason, left(data, $most) AS raw, NULL AS field "
        "FROM oversized",
        row_id=task.row_id,
        most=number(MAX_RAW),
    )
    both = union_all([rejected, oversized])
    parts = [set_aside(task.map, both, field=name("field"), reason=name("reason"), raw=name("raw"), scope=text(EVENT))]
    task.tables.make(
        "refused_event",
        sql(
            "SELECT $row_id AS row_id, $entry AS entry FROM ($whole) WHERE refused AND "
            "(reason IS NULL OR reason = 'invalid_value')",
            row_id=task.row_id,
            entry=task.entry_no,
            whole=whole,
        ),
    )
    if task.tables.count("refused_event"):
        parts += [_refused_values(task, entry) for entry in task.entries if entry.cells]
    write_parquet(task.map.session, render(union_all(parts)), task.map.folder.quarantine / "events.parquet")


def _refused_values(task: EventTask, entry: Entry) -> Node:
    """Every value of a mapping that does not fit; with ``reject_row`` the first one of a row stands for its event."""
    chosen = sql("row_id IN (SELECT row_id FROM refused_event WHERE entry = $no)", no=number(entry.index))
    listed = sql(
        "WITH bad AS ($rows) SELECT * FROM ($parts)",
        rows=read_rows(task, entry, chosen),
        parts=union_all([refused_values_of(cell.mapped, cell.is_refused) for cell in entry.cells]),
    )
    scope: Node = text("value")
    if task.map.rejects_rows:
        listed = sql(
            "SELECT *, row_number() OVER (PARTITION BY row_id ORDER BY position, raw) = 1 AS is_first FROM ($listed)",
            listed=listed,
        )
        scope = sql("CASE WHEN is_first THEN $event ELSE 'value' END", event=text(EVENT))
    raw = sql("left(raw, $most)", most=number(MAX_RAW))
    return set_aside(task.map, listed, field=name("field"), reason=name("reason"), raw=raw, scope=scope)
