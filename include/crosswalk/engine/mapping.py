"""Map: the plan: the final document of every touched profile, its identifiers, its answers, and the row state.

Order of work: values of unique identifiers that others own (``claims.py``); the first pass over the rows; who may be
processed (``consent.py``); the second pass; sums of repeated or moved rows (``sums.py``); the documents, bucket by
bucket (``documents.py``); row state; quarantine; timeline events (``events.py``); the counts, which must add up.

=================== ====== ==========================================================================================
reason              scope  when
=================== ====== ==========================================================================================
``invalid_email``.. value  a value that does not fit its type (see ``functions.py``); the row's with ``reject_row``
unknown_answer      value  a consent cell that is neither a granted nor a refused answer
identifier_taken    value  a unique identifier that another profile owns
sum_out_of_range    value  a sum that leaves the range of its type; nothing is added
too_many_values     value  more than 1,000 values of one property; the last ones are dropped
no_consent          -      (excluded) the profile consented to none of the objectives, or is on permission level 0
=================== ====== ==========================================================================================
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crosswalk.config.connection import Connection, ImportProfiles
from crosswalk.config.tenant import Tenant
from crosswalk.core.errors import FatalError
from crosswalk.core.staging import GoalFolder
from crosswalk.engine import documents
from crosswalk.engine.bucket_file import BucketFile
from crosswalk.engine.claims import find_taken
from crosswalk.engine.event_task import StoredEvents
from crosswalk.engine.events import EventPlan, plan_events
from crosswalk.engine.map_quarantine import noted_problems, refused_sums, rejected_rows, write_quarantine
from crosswalk.engine.map_task import Lookup, MapTask, find_bad, find_blocked, first_pass, second_pass, value_pass
from crosswalk.engine.row_states import planned_row_state
from crosswalk.engine.session import Session, write_parquet
from crosswalk.engine.sums import special_sums
from crosswalk.engine.template import parquet, render, sql

PARTS = {
    "profiles": documents.planned_profiles,
    "identifiers": documents.planned_identifiers,
    "consent": documents.planned_consent,
}


@dataclass(frozen=True)
class PlanResult:
    """What *map* decided.

    Attributes:
        counts: the counters of rows (those of *link* included) and of profiles, and the figures for guards.
        warnings: sentences for people.
    """

    counts: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def compute_plan(
    session: Session,
    *,
    rows: Path,
    sources: Sequence[str],
    links: Path,
    profiles: Path,
    goal: ImportProfiles,
    connection: Connection,
    tenant: Tenant,
    now_ms: int,
    folder: GoalFolder,
    lookup: Lookup,
    events: StoredEvents | None = None,
    buckets: int | None = None,
    filtered: int = 0,
) -> PlanResult:
    """Compute the plan into ``folder.plan`` and set aside what does not fit.

    Args:
        session: the engine.
        rows: the staged rows that *link* read.
        sources: source paths by ``file_index``.
        links: what *link* decided.
        profiles: the touched profiles.
        goal: the goal.
        connection: its connection: objectives and time zone.
        tenant: the tenant model.
        now_ms: the clock: events that have expired are not stored.
        folder: where to leave the plan.
        lookup: owners of identifier values (MATCH_SCHEMA in, MATCHED_SCHEMA out).
        events: what the store knows of events; None: nothing.
        buckets: how many; None: as many as the memory asks for. The result does not depend on it.
        filtered: rows that processors left out, passed on to the counts.

    Raises:
        FatalError: the rows do not add up (code ``accounting``).
    """
    task = MapTask(
        session, rows, sources, links, profiles, goal, connection, tenant, folder, lookup, wanted_buckets=buckets
    )
    try:
        if task.rejects_rows:
            find_bad(task)
        task.tables.make("linking", documents.linking_values(task))
        find_taken(task)
        first_pass(task)
        find_blocked(task)
        second_pass(task)
        special_sums(task)
        _stage_lists(task)
        figures = _write_documents(task)
        write_parquet(session, render(planned_row_state(task)), folder.plan / "row_state.parquet", quick=True)
        write_quarantine(task)
        planned = plan_events(task, events or StoredEvents(), now_ms) if goal.events else EventPlan()
        return PlanResult({**_counts(task, figures, filtered), **planned.counts}, planned.warnings)
    finally:
        shutil.rmtree(folder.path / "map_stages", ignore_errors=True)


def _stage_lists(task: MapTask) -> None:
    """``added``: the values of ``add``, each with its first row."""
    added = [target for target in task.frame.targets if target.strategy == "add"]
    if added:
        task.buckets.stage("added", value_pass(task, added))


def _write_documents(task: MapTask) -> dict[str, int]:
    """The plan's profiles, identifiers and consent; returns the figures summed over the buckets."""
    figures: dict[str, int] = {}
    task.tables.make("noted", sql("SELECT NULL::BIGINT AS place, '' AS property_id, '' AS reason WHERE false"))
    task.tables.make("overflow", sql("SELECT NULL::BIGINT AS profile_no, 0 AS target WHERE false"))
    build, parts = (
        render(documents.bucket_documents(task)),
        {part: render(query(task)) for part, query in PARTS.items()},
    )
    notes = f"INSERT INTO noted {render(noted_problems(task))}", f"INSERT INTO overflow {render(refused_sums(task))}"
    counting = render(documents.bucket_counts(task))
    with ExitStack() as stack:
        writers = {
            part: stack.enter_context(BucketFile(task.tables, task.folder.plan / f"{part}.parquet")) for part in PARTS
        }
        for bucket in range(task.buckets.count):
            documents.look_at(task, bucket)
            task.tables.make("doc", build)
            for part, query in parts.items():
                writers[part].append(query)
            for note in notes:
                task.session.execute(note).fetchall()
            counted = task.session.execute(counting)
            names = [column[0] for column in counted.description or []]
            for key, value in zip(names, counted.fetchall()[0], strict=True):
                figures[key] = figures.get(key, 0) + int(value)
        task.tables.drop("doc")
    task.has_overflow = task.tables.count("overflow") > 0
    return figures


def _counts(task: MapTask, figures: dict[str, int], filtered: int) -> dict[str, Any]:
    """All counters; every row that *link* saw is in exactly one bucket."""
    total = int(task.tables.one(sql("SELECT count(*) FROM $rows", rows=parquet(task.rows))))
    excluded: dict[str, int] = {}
    quarantined: dict[str, int] = {}
    linked = 0
    for outcome, reason, count in task.tables.all(
        sql("SELECT outcome, reason, count(*) FROM $links GROUP BY ALL ORDER BY ALL", links=parquet(task.links))
    ):
        linked += count
        if outcome != "apply":
            (excluded if outcome == "excluded" else quarantined)[reason] = count
    per_profile = task.buckets.whole("per_profile")
    reached, rounded = task.tables.all(
        sql(
            "SELECT coalesce(sum(row_count), 0), coalesce(sum(rounded), 0) FROM ($per_profile)", per_profile=per_profile
        )
    )[0]
    blocked = int(task.tables.one("SELECT coalesce(sum(row_count), 0) FROM blocked"))
    if blocked:
        excluded["no_consent"] = blocked
    for reason, count in rejected_rows(task).items():
        quarantined[reason] = quarantined.get(reason, 0) + count
    counts: dict[str, Any] = {
        "rows_read": total + filtered,
        "filtered": filtered,
        "unchanged_rows_skipped": total - linked,
        "excluded": excluded,
        "quarantined": quarantined,
        "applied": int(reached) - blocked,
        **figures,
        "rounded_values": int(rounded),
        "invalid_values": _invalid_values(task),
    }
    _check(task, counts)
    return counts


def _invalid_values(task: MapTask) -> int:
    files = sorted(task.folder.quarantine.glob("*.parquet"))
    mine = [file for file in files if file.name in ("link.parquet", "map.parquet")]
    return (
        int(task.tables.one(sql("SELECT count(*) FROM $files WHERE scope = 'value'", files=parquet(mine))))
        if mine
        else 0
    )


def _check(task: MapTask, counts: dict[str, Any]) -> None:
    right = counts["filtered"] + counts["unchanged_rows_skipped"] + sum(counts["excluded"].values())
    right += sum(counts["quarantined"].values()) + counts["applied"]
    touched = counts["touched_existing"] + counts["created"]
    if right != counts["rows_read"] or (counts["applied"] > 0) != (touched > 0):
        raise FatalError(
            f"{counts['rows_read']} rows were read but {right} are accounted for; nothing was written.",
            remedy="This is a fault of Crosswalk: keep the files and report it.",
            code="accounting",
            goal=task.goal.name,
        )
