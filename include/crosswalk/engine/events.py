"""Timeline events in the plan: what the rows say, met with what the store has, one bucket of profiles at a time.

An event is known by its profile, type and id. Within an import the last row of an event wins (``replace``) or changes
what the rows before it said (``event_updates.py``). Then the event is *created*, *updated*, or *unchanged*; one whose
time is over is not stored. A profile keeps 250 events: beyond that the oldest of low priority go first, then the
oldest of high priority (``event_limits.py``). What of it was bought goes to the product store (``purchases.py``).

Each row that holds an event is counted once: rows with an event = created + updated + unchanged + repeated (another
row of the same event decided) + not_found (``update_only``) + expired + dropped + rejected + without_id.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from crosswalk.core.errors import FatalError
from crosswalk.engine.bucket_file import BucketFile
from crosswalk.engine.event_limits import drop_surplus
from crosswalk.engine.event_quarantine import write_quarantine
from crosswalk.engine.event_rows import WITHOUT_ID, stage_rows
from crosswalk.engine.event_task import LARGE_BYTES, MOST_BYTES, MOST_EVENTS, EventTask, StoredEvents
from crosswalk.engine.event_updates import make_patched
from crosswalk.engine.map_task import MapTask
from crosswalk.engine.purchases import Purchases
from crosswalk.engine.row_keys import place_file, place_line
from crosswalk.engine.template import Node, name, number, parquet, render, sql, texts

OUTCOMES = ("created", "updated", "unchanged")


@dataclass(frozen=True)
class EventPlan:
    """What was decided about events.

    Attributes:
        counts: ``events_...``; empty when the goal has none.
        warnings: sentences for people.
    """

    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def plan_events(work: MapTask, stored: StoredEvents, now_ms: int) -> EventPlan:
    """Write ``events.parquet``, ``purchases.parquet`` and ``products.parquet`` of the plan, and the quarantine.

    Args:
        work: the goal's mapping, after it has decided which rows take effect.
        stored: what the store knows.
        now_ms: the clock.

    Raises:
        FatalError: the events do not add up (code ``accounting``).
    """
    task = EventTask(work, stored, now_ms)
    try:
        stage_rows(task)
        task.tables.make("oversized", sql("SELECT NULL::BIGINT AS ord, NULL::BIGINT AS place, '' AS data LIMIT 0"))
        with ExitStack() as stack:
            events = stack.enter_context(BucketFile(task.tables, work.folder.plan / "events.parquet"))
            purchases = stack.enter_context(Purchases(task))
            for bucket in range(task.buckets.count):
                task.tables.view("at_event", task.buckets.part("event_row", bucket))
                _settle(task)
                drop_surplus(task)
                events.append(render(_planned_events(work.sources)))
                purchases.append()
                _count(task)
        write_quarantine(task)
        counts = _totals(task)
        large = counts.pop("large")
        warnings = [f"{large} events are larger than {LARGE_BYTES:,} bytes."] if large else []
        if counts["events_dropped"]:
            warnings.append(
                f"{counts['events_dropped']} events were dropped, because a profile keeps at most {MOST_EVENTS}."
            )
        return EventPlan(counts, warnings)
    finally:
        shutil.rmtree(task.buckets.folder / "event_row", ignore_errors=True)


def _settle(task: EventTask) -> None:
    """``settled``: each event of the bucket with its outcome and, where it is stored, the batch that wrote it."""
    task.tables.view(
        "good_event",
        sql(
            "SELECT profile_no, $type_no AS type_no, ord, place, event_id, date, data FROM at_event "
            "WHERE reason IS NULL",
            type_no=task.type_no,
        ),
    )
    _find_stored(task)
    patched = sql("type_no IN ($types)", types=[number(no) for no in task.patched_types or [-1]])
    chosen = sql(
        "SELECT g.* FROM good_event AS g SEMI JOIN (SELECT max(ord) AS ord FROM good_event WHERE NOT $patched "
        "GROUP BY profile_no, type_no, event_id) AS w USING (ord)",
        patched=patched,
    )
    if task.patched_types:
        make_patched(task, patched)
        chosen = sql("SELECT * FROM ($chosen) UNION ALL SELECT * FROM patched_event", chosen=chosen)
    known = sql(
        """
        SELECT c.*, p.profile_id, s.batch_no, s.date AS old_date, s.data AS old_data
        FROM ($chosen) AS c JOIN (SELECT profile_no, profile_id FROM $profiles) AS p USING (profile_no)
        LEFT JOIN stored_event AS s USING (profile_no, type_no, event_id)
        """,
        chosen=chosen,
        profiles=parquet(task.map.profiles),
    )
    dated = sql(
        "SELECT *, $type AS type, $priority AS priority, $expires_at AS expires_at FROM ($known)",
        type=task.type_name,
        priority=task.priority,
        expires_at=task.expires_at,
        known=known,
    )
    task.tables.make(
        "settled",
        sql(
            """
            SELECT * EXCLUDE (old_date, old_data), CASE WHEN strlen(data) > $most THEN 'rejected'
                   WHEN expires_at <= $now THEN 'expired' WHEN batch_no IS NULL THEN 'created'
                   WHEN date = old_date AND $same THEN 'unchanged' ELSE 'updated' END AS outcome
            FROM ($dated)
            """,
            most=number(MOST_BYTES),
            now=number(task.now_ms),
            same=_same_data(task),
            dated=dated,
        ),
    )
    task.tables.session.execute(
        "INSERT INTO oversized SELECT ord, place, data FROM settled WHERE outcome = 'rejected'"
    ).fetchall()


def _find_stored(task: EventTask) -> None:
    """``stored_event``: what the store has of the bucket's events, with the numbers of profile and type."""
    columns = "profile_id, type, event_id, date, batch_no, data"
    if task.stored.find is None or not task.has_stored_profiles:
        task.tables.make(
            "stored_event",
            sql(
                "SELECT NULL::BIGINT AS profile_no, NULL::INTEGER AS type_no, NULL::VARCHAR AS event_id, "
                "NULL::BIGINT AS date, NULL::BIGINT AS batch_no, NULL::VARCHAR AS data LIMIT 0"
            ),
        )
        return
    keys = sql(
        "SELECT DISTINCT p.profile_id, $type AS type, event_id FROM good_event JOIN "
        "(SELECT profile_no, profile_id FROM $profiles WHERE NOT is_new) AS p USING (profile_no)",
        type=task.type_name,
        profiles=parquet(task.map.profiles),
    )
    task.tables.take_in("found_event", task.stored.find(task.tables.stream(keys)), columns)
    task.tables.make(
        "stored_event",
        sql(
            "SELECT p.profile_no, (list_position($types, f.type) - 1)::INTEGER AS type_no, f.event_id, f.date, "
            "f.batch_no, f.data FROM found_event AS f JOIN (SELECT profile_no, profile_id FROM $profiles) AS p "
            "USING (profile_id)",
            types=texts(task.types),
            profiles=parquet(task.map.profiles),
        ),
    )


def _same_data(task: EventTask) -> Node:
    """Whether the fields are the same; events written under an older definition may have them in another order."""
    names = sorted({key for declared in task.declared for key in declared.fields})
    paths = texts([f"/{key}" for key in names])
    return sql(
        "(data = old_data OR (len(json_keys(data)) = len(json_keys(old_data)) "
        "AND json_extract(data, $paths) = json_extract(old_data, $paths)))",
        paths=paths,
    )


def _planned_events(sources: Sequence[str]) -> Node:
    """PLANNED_EVENT_SCHEMA: what changes in the bucket."""
    return sql(
        """
        SELECT profile_id, type, event_id, date, priority, coalesce(batch_no, 0) AS batch_no, data, expires_at,
               $file AS file, $line AS line, outcome
        FROM (
            SELECT profile_id, type, event_id, date, priority, batch_no, data, expires_at, place, outcome
            FROM settled ANTI JOIN surplus USING (profile_id, type, event_id)
            WHERE outcome IN ('created', 'updated')
            UNION ALL
            SELECT profile_id, type, event_id, date, priority, batch_no, NULL, NULL, NULL, 'removed'
            FROM settled WHERE outcome = 'expired' AND batch_no IS NOT NULL
            UNION ALL
            SELECT profile_id, type, event_id, date, priority, batch_no, NULL, NULL, NULL, 'removed'
            FROM surplus WHERE batch_no IS NOT NULL
        ) ORDER BY profile_id, type, event_id
        """,
        file=place_file(name("place"), sources),
        line=place_line(name("place")),
    )


def _count(task: EventTask) -> None:
    """Add the figures of the bucket."""
    figures = dict(
        task.tables.all(
            sql(
                """
                SELECT CASE WHEN s.event_id IS NOT NULL AND outcome = 'created' THEN 'not_kept' ELSE outcome END,
                       count(*)
                FROM settled LEFT JOIN surplus AS s USING (profile_id, type, event_id) GROUP BY 1
                """
            )
        )
    )
    figures |= dict(task.tables.all("SELECT coalesce(reason, 'good'), count(*) FROM at_event GROUP BY 1"))
    figures["large"] = task.tables.one(
        sql(
            "SELECT count(*) FROM settled WHERE strlen(data) > $large AND outcome IN ('created', 'updated')",
            large=number(LARGE_BYTES),
        )
    )
    figures["dropped"] = task.tables.count("surplus")
    figures["not_found"] = (
        task.tables.one("SELECT coalesce(sum(row_count), 0) FROM unfound_event") if (task.patched_types) else 0
    )
    figures["settled"] = task.tables.count("settled")
    for key, value in figures.items():
        task.counts[key] = task.counts.get(key, 0) + int(value)


def _totals(task: EventTask) -> dict[str, int]:
    """The counters of all buckets; each row with an event is in exactly one."""
    found = task.counts
    rejects = task.tables.one(
        sql(
            "SELECT count(*) FROM $file WHERE scope = 'event'",
            file=parquet(task.map.folder.quarantine / "events.parquet"),
        )
    )
    counts = {f"events_{outcome}": found.get(outcome, 0) for outcome in OUTCOMES}
    counts |= {
        "events_repeated": found.get("good", 0) - found["settled"] - found["not_found"],
        "events_not_found": found["not_found"],
        "events_expired": found.get("expired", 0),
        "events_dropped": found["dropped"],
        "events_without_id": found.get(WITHOUT_ID, 0),
        "large": found["large"],
    }
    rows = int(task.tables.one(sql("SELECT count(*) FROM ($whole)", whole=task.buckets.whole("event_row"))))
    listed = ("created", "updated", "unchanged", "repeated", "not_found", "expired", "without_id")
    right = sum(counts[f"events_{key}"] for key in listed) + found.get("not_kept", 0) + int(rejects)
    if right != rows:
        raise FatalError(
            f"{rows} rows hold events but {right} are accounted for; nothing was written.",
            remedy="This is a fault of Crosswalk: keep the files and report it.",
            code="accounting",
            goal=task.map.goal.name,
        )
    return counts
