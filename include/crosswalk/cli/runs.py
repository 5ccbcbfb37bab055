"""Commands that run connections and show what runs did."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path
from typing import Any

from crosswalk.cli.connections import (
    add_connection_argument,
    connection_file,
    exit_code,
    opened,
    row_count,
    run_document,
    store,
    timings,
)
from crosswalk.cli.replay import replay
from crosswalk.cli.show import Output
from crosswalk.core.errors import ConfigError
from crosswalk.core.staging import RunFolder, read_json
from crosswalk.steps import STEPS, record_outcome
from crosswalk.steps.context import staging_root
from crosswalk.steps.pipeline import run_all


def add_commands(commands: Any) -> None:
    """Register run, plan, apply, runs, rejects."""
    for name, text in (
        ("run", "run a connection now: read, link, map and write"),
        ("plan", "compute everything a run would do and write nothing; the plan is kept for apply"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        add_connection_argument(command)
        command.add_argument("--goal", action="append", default=[], help="only this goal; may be given several times")
        command.add_argument("--full", action="store_true", help="read all files and rows again, changed or not")
        command.add_argument("--run-id", help=argparse.SUPPRESS)
        if name == "run":
            command.add_argument("--yes", action="store_true", help="agree to plans that wait for a person")
        else:
            command.add_argument("--since", help="only files modified at or after this date")
            command.add_argument("--until", help="only files modified before this date")
            command.add_argument("--limit", type=row_count, help="only the first N rows")
        command.set_defaults(run=_run, mode="apply" if name == "run" else "plan", since=None, until=None, limit=None)
    command = commands.add_parser("apply", help="write a kept plan to the store exactly as it was shown")
    command.add_argument("run_id", metavar="RUN")
    command.set_defaults(run=_apply)
    command = commands.add_parser("runs", help="list runs, or show one")
    command.add_argument("name", metavar="CONNECTION|RUN", nargs="?")
    command.add_argument("--limit", type=row_count, default=20)
    command.set_defaults(run=_runs)
    command = commands.add_parser("rejects", help="what a run set aside, with file, line, column and reason")
    command.add_argument("run_id", metavar="RUN")
    command.add_argument("--limit", type=row_count, help="at most this many")
    command.add_argument("--show-raw", action="store_true", help="show the raw text too (it may hold personal values)")
    command.add_argument("--replay", action="store_true", help="read again what was set aside, planned first")
    command.add_argument("--apply", action="store_true", help="with --replay: write")
    command.add_argument("--goal", action="append", default=[], help="with --replay: only this goal")
    command.set_defaults(run=_rejects)


def _run(options: argparse.Namespace, output: Output) -> int:
    changes: dict[str, Any] = {"run_id": options.run_id} if options.run_id else {}
    with opened(
        options,
        output,
        mode=options.mode,
        goals=tuple(options.goal),
        full=options.full,
        since=options.since,
        until=options.until,
        limit=options.limit,
        approved_by=_me() if getattr(options, "yes", False) else None,
        **changes,
    ) as context:
        run_all(context)
        run = context.store.run(context.run_id) or {}
    document = run_document(run, options.mode)
    if not document["goals"] and run.get("state") == "failed":
        document["error"] = next((item["result"].get("error") for item in run.get("goals", []) if item["result"]), None)
    output.run_result(document, timings(run))
    waiting = [goal["goal"] for goal in document["goals"] if _keeps_plan(goal)]
    if waiting:
        ended = any(goal["state"] not in ("planned", "held", "skipped") for goal in document["goals"])
        of_these = f" of {', '.join(waiting)}" if ended else ""
        output.text(f"Nothing{of_these} was written. To write exactly this plan: crosswalk apply {document['run_id']}")
    return exit_code(run)


def _me() -> str:
    """Who sits at the command line."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return "the command line"


def _keeps_plan(goal: dict[str, Any]) -> bool:
    """Whether ``apply`` can write the plan. An export is not kept: consent counts at the moment of sending."""
    return goal["state"] in ("planned", "held") and "exported" not in goal["counts"]


def _apply(options: argparse.Namespace, output: Output) -> int:
    with store() as opened_store:
        run = opened_store.run(options.run_id)
    if run is None:
        raise ConfigError(
            f'There is no run "{options.run_id}".', remedy="crosswalk runs lists them.", code="unknown_run"
        )
    if run["mode"] == "undo":
        raise ConfigError(
            f"Run {options.run_id} is an undo.", remedy="Write it with crosswalk undo RUN --apply.", code="no_plan"
        )
    folder = RunFolder(staging_root(), run["connection"], options.run_id)
    waiting = [
        goal["goal"]
        for goal in run_document(run)["goals"]
        if _keeps_plan(goal) or (run["state"] in ("planned", "held") and _manifest(folder, goal["goal"]).exists())
    ]  # the latter: an earlier try was refused (busy), failed or was killed before it had told the run's end
    if not waiting:
        raise ConfigError(
            f"Run {options.run_id} keeps no plan (state {run['state']}).",
            remedy="Make one with crosswalk plan; exports are sent by crosswalk run.",
            code="no_plan",
        )
    options.connection = run["connection"]
    with opened(options, output, run_id=options.run_id, mode="apply", goals=tuple(waiting)) as context:
        for goal in waiting:
            _refuse_partial(_manifest(folder, goal), options.run_id)
        for goal in waiting:
            _apply_goal(context, goal)
        STEPS["report"](context, None)
        run = context.store.run(options.run_id) or {}
    output.run_result(run_document(run, "apply"), timings(run))
    return exit_code(run)


def _manifest(folder: RunFolder, goal: str) -> Path:
    return folder.goal(goal).plan / "plan.json"


def _refuse_partial(manifest: Path, run_id: str) -> None:
    if not manifest.exists():
        raise ConfigError(
            f"The plan of run {run_id} is no longer in the staging folder.", remedy="Plan again.", code="no_plan"
        )
    if read_json(manifest)["partial"]:
        raise ConfigError(
            f"The plan of run {run_id} was made with --since, --until or --limit and leaves rows out.",
            remedy="Plan without them, then apply that plan.",
            code="partial_plan",
        )


def _apply_goal(context: Any, goal: str) -> None:
    from crosswalk.steps.apply import apply_kept

    result = record_outcome(context, "apply", goal, apply_kept)
    if result.state is None:
        STEPS["finish"](context, goal)


def _runs(options: argparse.Namespace, output: Output) -> int:
    with store() as opened_store:
        one = opened_store.run(options.name) if options.name else None
        if one is not None:
            document = run_document(one)
            output.run_result(document, timings(one))
            return 0
        listed = opened_store.runs(options.name, options.limit)
    documents = [run_document(run) for run in listed]
    if options.name and not documents:
        connection_file(options.name)  # an unknown name is an error, a connection without runs is not
    if output.as_json:
        output.json(documents)
        return 0
    columns = ["run", "connection", "mode", "state", "started", "rows read", "created", "updated", "set aside"]
    columns.append("exported")
    output.table("", columns, [_run_line(document) for document in documents])
    return 0


def _run_line(document: dict[str, Any]) -> list[Any]:
    def total(key: str) -> int:
        return sum(goal["counts"].get(key) or 0 for goal in document["goals"])

    rows = sum(sum((goal["counts"].get("quarantined") or {}).values()) for goal in document["goals"])
    started = str(document["started_at"] or "")[:19]
    head = [document["run_id"], document["connection"], document["mode"], document["state"], started]
    counts = [total("rows_read"), total("created"), total("updated"), rows + total("invalid_values")]
    return [*head, *counts, total("exported")]


def _rejects(options: argparse.Namespace, output: Output) -> int:
    if options.replay:
        return replay(options, output)
    with store() as opened_store:
        if opened_store.run(options.run_id) is None:
            raise ConfigError(
                f'There is no run "{options.run_id}".', remedy="crosswalk runs lists them.", code="unknown_run"
            )
        rows = opened_store.quarantine(options.run_id, options.limit)
    listed = [
        {
            "goal": row.get("goal"),
            "file": row["file"],
            "line": row["line"],
            "column": row["field"],
            "reason": row["reason"],
            "stage": row["stage"],
            "scope": row["scope"],
            "message": row["message"],
            "raw": row["raw"],
            "replayed_by": row["replayed_by"],
        }
        for row in rows
    ]
    if output.as_json:
        output.json(listed)
        return 0
    more = ["raw"] * options.show_raw + ["replayed_by"] * any(row["replayed_by"] for row in listed)
    columns = ["file", "line", "column", "reason", "stage", "what it says", *(key.replace("_", " ") for key in more)]
    keys = ["file", "line", "column", "reason", "stage", "message", *more]
    first = "The first " if options.limit is not None and len(listed) == options.limit else ""
    heading = f"{first}{len(listed):,} rejects of run {options.run_id}"
    output.table(heading, columns, [[row[key] for key in keys] for row in listed])
    return 0
