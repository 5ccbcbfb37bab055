"""Undo a run: planned first, then written in one transaction, by a run of its own.

The run's id is made of the undone run's, so that a second call finds the plan that a person saw, and a call after a
kill goes on where the first one stopped. A plan that was shown is written as it is or not at all (``stale``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from crosswalk.config.loader import find_tenant_folder, load_tenant
from crosswalk.core.errors import ConfigError, CrosswalkError, FatalError, LeaseTakenError, RetryableError
from crosswalk.core.staging import RunFolder, read_json, write_json
from crosswalk.engine.session import BATCH_ROWS, Session, literal, open_session, write_parquet
from crosswalk.engine.undo import compute_undo
from crosswalk.engine.undo_task import LoggedRows, UndoTask
from crosswalk.steps import as_known_error
from crosswalk.steps.context import as_error, ignore_progress, staging_root
from crosswalk.steps.lease import holding
from crosswalk.steps.report import remove_old_runs
from crosswalk.steps.result import StepResult
from crosswalk.store import open_store
from crosswalk.store.base import Applied, Lease, Moved, Store
from crosswalk.store.logged import LOGGED, LoggedTable
from crosswalk.store.undo_base import AppliedBatch, Undo

REVISIONS = 3
REASONS = {
    "changed_since": "Another run changed it since.",
    "answered_since": "A later answer came for an objective; that one stays.",
    "no_room": "The profile has 250 later or more important events by now.",
    "identifier_taken": "Another profile has the value by now.",
    "merged_since": "It is part of another profile, which changed since; both stay one.",
    "identifier_in_use": "Others know the profile by it; the run that made the profile is undone all the same.",
}


@dataclass
class UndoContext:
    """One open undo; closed with the ``with`` block of ``open_undo``."""

    undone: dict[str, Any]
    goals: tuple[str, ...]
    store: Store
    tenant_folder: Path
    progress: Callable[[str], None] = ignore_progress

    @property
    def name(self) -> str:
        """The connection."""
        return str(self.undone["connection"])

    @property
    def run_id(self) -> str:
        """The undo's own id: always the same for the same run and goals."""
        return "-".join(["undo", self.undone["run_id"], *self.goals])

    @property
    def folder(self) -> Path:
        """Its staging folder."""
        return RunFolder(staging_root(), self.name, self.run_id).path

    @property
    def manifest(self) -> Path:
        """The plan: there when all of it is."""
        return self.folder / "plan.json"


@contextmanager
def open_undo(
    run_id: str,
    *,
    goals: tuple[str, ...] = (),
    tenant_folder: str | None = None,
    progress: Callable[[str], None] = ignore_progress,
) -> Iterator[UndoContext]:
    """Open the undo of a run.

    Args:
        run_id: the run to undo.
        goals: only these goals of it; empty for all.
        tenant_folder: folder of the tenant model; unset: ``CROSSWALK_TENANT`` or ``include/tenant``.
        progress: receives one line of text at a time during long work.

    Raises:
        ConfigError: there is no such run, or it is an undo itself.
    """
    store = open_store(os.environ.get("CROSSWALK_STORE"))
    try:
        store.migrate()
        run = store.run(run_id)
        if run is None:
            raise ConfigError(f'There is no run "{run_id}".', remedy="crosswalk runs lists them.", code="unknown_run")
        if run["mode"] == "undo":
            raise ConfigError(
                f"Run {run_id} is an undo; it cannot be undone.",
                remedy="Run the connection with --full: rows that were taken back come again.",
                code="undo_of_undo",
            )
        known = {item["goal"] for item in run["goals"]}
        if not set(goals) <= known:
            raise ConfigError(
                f"Run {run_id} has no goal {', '.join(sorted(set(goals) - known))}.",
                remedy=f"Its goals: {', '.join(sorted(known - {''}))}.",
                code="unknown_goal",
            )
        folder = Path(tenant_folder) if tenant_folder else find_tenant_folder()
        yield UndoContext(run, tuple(sorted(set(goals))), store, folder, progress)
    finally:
        store.close()


def plan_undo(context: UndoContext) -> StepResult:
    """Compute and keep what an undo would do; nothing is written to profiles."""
    return _recorded(context, lambda: _plan_to_show(context))


def apply_undo(context: UndoContext) -> StepResult:
    """Write the plan that was shown; without one, plan and write."""
    return _recorded(context, lambda: _apply(context))


def _plan_to_show(context: UndoContext) -> StepResult:
    batches = _batches(context)
    if not batches:
        return _nothing(context)
    _compute(context, batches, shown=True)
    remove_old_runs(context.folder.parent)
    return StepResult(state="planned", summary=_left_alone(context))


def _apply(context: UndoContext) -> StepResult:
    batches = _batches(context)
    if not batches:
        return _nothing(context)
    shown = context.manifest.exists() and bool(read_json(context.manifest)["shown"])
    with holding(context) as lease:
        for _ in range(REVISIONS + 1):
            if not context.manifest.exists():
                _compute(context, _batches(context), shown=False)
            context.progress("writing to the store")
            outcome = _commit(context, lease)
            if isinstance(outcome, Applied):
                return _settled(context)
            context.manifest.unlink()
            if shown:
                moved = ", ".join(f"{count} by {kind}" for kind, count in outcome.reasons.items())
                return StepResult(state="stale", reason=f"The store changed since this undo was planned ({moved}).")
    raise RetryableError(
        f"Other runs kept changing the same profiles; {REVISIONS} revisions of the undo were overtaken.",
        remedy="Run it again; nothing was written.",
        code="store_moved",
    )


def _batches(context: UndoContext) -> list[AppliedBatch]:
    """What there is to undo.

    Raises:
        FatalError: the change log of a batch was purged.
    """
    wanted = [
        batch
        for batch in context.store.applied_batches(context.undone["run_id"])
        if batch.undone_by is None
        and batch.collection == "profile"
        and (not context.goals or batch.goal in context.goals)
    ]
    if any(not batch.is_logged for batch in wanted):
        raise FatalError(
            f"The change log of run {context.undone['run_id']} is no longer kept; it cannot be undone.",
            remedy="Import corrected files instead.",
            connection=context.name,
            code="log_purged",
        )
    return wanted


def _nothing(context: UndoContext) -> StepResult:
    applied = context.store.applied_batches(context.undone["run_id"])
    undone = sorted({batch.undone_by for batch in applied if batch.undone_by})
    reason = f"It was undone by {', '.join(undone)}." if undone else "The run wrote nothing that can be taken back."
    return StepResult(state="nothing_new", reason=" ".join([reason, *_sent(context)]))


def _sent(context: UndoContext) -> list[str]:
    """What to say about the exports and the group imports of the run."""
    sent = context.store.sent_files(context.undone["run_id"])
    said = [f"It sent {sent} file(s): what was sent cannot be taken back. Remove them at the destination."] * (sent > 0)
    batches = context.store.applied_batches(context.undone["run_id"])
    groups = sorted({batch.goal for batch in batches if batch.collection == "group"})
    if groups:
        said.append(f"It imported groups ({', '.join(groups)}): they stay as they are. Import corrected files instead.")
    return said


def _settled(context: UndoContext) -> StepResult:
    left = _left_alone(context)
    return StepResult(state="done_with_rejects" if left["left_alone"] else "done", summary=left)


def _left_alone(context: UndoContext) -> dict[str, Any]:
    """What stays as it is: by property and reason how many profiles, with the ids of some."""
    return {"left_alone": read_json(context.manifest)["left_alone"], "warnings": _sent(context)}


def _compute(context: UndoContext, batches: list[AppliedBatch], *, shown: bool) -> None:
    """Leave the plan in the staging folder."""
    folder, store = context.folder, context.store
    numbers = [batch.batch_no for batch in batches]
    folder.mkdir(parents=True, exist_ok=True)
    context.manifest.unlink(missing_ok=True)
    tenant = load_tenant(context.tenant_folder).model
    context.progress("reading the change log")
    with open_session(folder / "tmp", ordered=False) as session:
        task = UndoTask(
            session,
            tenant,
            numbers,
            changes=_stage(session, store.undone_changes(numbers), folder / "changes.parquet"),
            amounts=_stage(session, store.added_amounts(numbers), folder / "amounts.parquet"),
            shared=_stage(session, store.shared_profiles(numbers), folder / "shared.parquet"),
            answers=_stage(session, store.answers(numbers), folder / "answers.parquet"),
            merged=_stage(session, store.merged_profiles(numbers), folder / "merged.parquet"),
            read_profiles=store.read_profiles,
            read_later=lambda ids: store.later_changes(numbers, ids),
            owners=store.match_identifiers,
            out=folder / "plan",
            logged=tuple(_stage_rows(context, session, table, numbers) for table in LOGGED),
            find_crowd=store.find_crowd,
        )
        context.progress("computing the undo")
        counts = compute_undo(task)
        _set_aside(session, task, batches)
        examples = session.execute(
            "SELECT property_id, reason, count(DISTINCT profile_id), "
            "list(DISTINCT profile_id ORDER BY profile_id)[1:10] FROM left_alone GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    rows = store.written_rows(numbers)
    by_goal: dict[str, dict[str, Any]] = {}
    for batch in batches:
        found = {**counts[batch.batch_no], "rows_taken_back": rows.get(batch.batch_no, 0)}
        by_goal[batch.goal] = _added_up(by_goal.get(batch.goal, {}), found)
    keys = ("property", "reason", "profiles", "examples")
    write_json(
        context.manifest,
        {
            "run_id": context.run_id,
            "undone_run_id": context.undone["run_id"],
            "shown": shown,
            "batches": [asdict(batch) for batch in batches],
            "counts": by_goal,
            "left_alone": [dict(zip(keys, row, strict=True)) for row in examples],
        },
    )


def _added_up(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The counts of the batches of one goal: its merges have one of their own."""
    total = {**first}
    for key, found in second.items():
        total[key] = _added_up(first.get(key, {}), found) if isinstance(found, dict) else first.get(key, 0) + found
    return total


def _stage(session: Session, rows: pa.RecordBatchReader, path: Path) -> Path:
    session.register("incoming", rows)
    try:
        write_parquet(session, "SELECT * FROM incoming", path, quick=True)
    finally:
        session.unregister("incoming")
    return path


def _stage_rows(context: UndoContext, session: Session, table: LoggedTable, numbers: list[int]) -> LoggedRows:
    made, history = (context.folder / f"{table.name}_{part}.parquet" for part in ("made", "history"))
    return LoggedRows(
        table.name,
        tuple(table.key),
        tuple(table.values),
        _stage(session, context.store.made_rows(table, numbers), made),
        _stage(session, context.store.row_history(table, numbers), history),
    )


def _set_aside(session: Session, task: UndoTask, batches: list[AppliedBatch]) -> None:
    """What is left alone, as rows of quarantine, so that ``rejects`` lists it."""
    reasons = ", ".join(f"({literal(reason)}, {literal(text)})" for reason, text in REASONS.items())
    goals = ", ".join(f"({batch.batch_no}, {literal(batch.goal)})" for batch in batches)
    write_parquet(
        session,
        "SELECT g.goal, NULL::BIGINT AS row_id, NULL::VARCHAR AS file, NULL::BIGINT AS line, k.property_id AS field, "
        "'undo' AS stage, 'value' AS scope, k.reason, concat('Profile ', k.profile_id, ': ', r.message) AS message, "
        f"k.raw FROM left_alone AS k JOIN (VALUES {reasons}) AS r(reason, message) USING (reason) "
        f"JOIN (VALUES {goals}) AS g(batch_no, goal) USING (batch_no) ORDER BY k.profile_id, k.property_id",
        task.out / "quarantine.parquet",
    )


def _commit(context: UndoContext, lease: Lease) -> Applied | Moved:
    plan, folder = read_json(context.manifest), context.folder / "plan"
    with open_session(context.folder / "tmp", threads=1) as session:  # a group of rows per thread may be large

        def reader(part: str) -> Callable[[], pa.RecordBatchReader]:
            query = f"SELECT * FROM read_parquet({literal(folder / f'{part}.parquet')})"
            return lambda: session.cursor().sql(query).to_arrow_reader(BATCH_ROWS)

        return context.store.undo(
            Undo(
                run_id=context.run_id,
                undone_run_id=context.undone["run_id"],
                connection=context.name,
                lease=lease,
                batches=[AppliedBatch(**batch) for batch in plan["batches"]],
                counts=plan["counts"],
                profiles=reader("profiles"),
                identifiers=reader("identifiers"),
                consent=reader("consent"),
                quarantine=reader("quarantine"),
                logged={table.name: reader(table.name) for table in LOGGED},
                scratch=context.folder,
            )
        )


def _recorded(context: UndoContext, work: Callable[[], StepResult]) -> StepResult:
    """Do the work and keep its outcome as a run, unless there was nothing to do."""
    if not _batches(context):
        return _after_kill(context) or _nothing(context)
    started = time.monotonic()
    context.store.begin_run(context.run_id, context.name, "undo", "cli", context.undone["config_hash"] or "")
    try:
        result = work()
    except Exception as error:
        if not _batches(context):  # the same undo, called twice at once: the other call wrote it and cleaned up
            return _after_kill(context) or _nothing(context)
        known = error if isinstance(error, CrosswalkError) else as_known_error(error, "undo")
        state = "busy" if isinstance(known, LeaseTakenError) else "failed"
        _finish(context, state, started, {"error": as_error(known.at(connection=context.name))})
        if known is error:
            raise
        raise known from error
    _finish(context, result.state or "done", started, {"reason": result.reason} if result.reason else {})
    return result


def _after_kill(context: UndoContext) -> StepResult | None:
    """Settle the run of an undo that committed and was killed before it could say so."""
    run = context.store.run(context.run_id)
    if run is None or run["state"] != "running":
        return None
    left = [item["result"]["counts"]["left_alone"] for item in run["goals"] if item["goal"]]
    state = "done_with_rejects" if any(left) else "done"
    _finish(context, state, time.monotonic(), {})
    return StepResult(state=state)


def _finish(context: UndoContext, state: str, started: float, found: dict[str, Any]) -> None:
    """Settle the undo's run; the plan stays for as long as it may be applied."""
    store = context.store
    counts = read_json(context.manifest)["counts"] if context.manifest.exists() else {}
    if not counts:
        run = store.run(context.run_id) or {"goals": []}
        counts = {item["goal"]: item["result"].get("counts", {}) for item in run["goals"] if item["goal"]}
    timings = {"undo": round(time.monotonic() - started, 3)}
    for goal, numbers in (counts or {"": {}}).items():
        own = "done" if state == "done_with_rejects" and not numbers.get("left_alone") else state
        result = {"counts": numbers, "warnings": [], "timings": timings, "undoes": context.undone["run_id"], **found}
        store.save_goal_run(context.run_id, goal, own, result)
    store.release_lease(context.name, context.run_id)  # first: a run that is still running is settled by the next call
    store.finish_run(context.run_id, state, found.get("error", {}).get("message"))
    if state in ("done", "done_with_rejects"):
        RunFolder(staging_root(), context.name, context.run_id).remove()
