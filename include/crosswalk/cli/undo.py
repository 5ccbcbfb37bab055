"""The command that takes a run back: undo."""

from __future__ import annotations

import argparse
from typing import Any

from crosswalk.cli.connections import run_document, store, timings
from crosswalk.cli.show import Output
from crosswalk.steps import EXIT_CODES


def add_commands(commands: Any) -> None:
    """Register undo."""
    text = "take a run back, planned first: shows what it would do; --apply does it"
    command = commands.add_parser("undo", help=text, description=text)
    command.add_argument("run_id", metavar="RUN")
    command.add_argument("--goal", action="append", default=[], help="only this goal; may be given several times")
    command.add_argument("--apply", action="store_true", help="write; a plan that was shown before is written as it is")
    command.set_defaults(run=_undo)


def _undo(options: argparse.Namespace, output: Output) -> int:
    return undo(options.run_id, tuple(options.goal), output, write=options.apply)


def undo(run_id: str, goals: tuple[str, ...], output: Output, *, write: bool) -> int:
    """Plan or write the undo of a run and show it; returns the exit code."""
    from crosswalk.steps.undo import apply_undo, open_undo, plan_undo

    with open_undo(run_id, goals=goals, progress=output.progress) as context:
        result = apply_undo(context) if write else plan_undo(context)
        undo_id, connection = context.run_id, context.name
    with store() as opened_store:
        run = opened_store.run(undo_id)
    state = result.state or "done"
    if run is None or state == "nothing_new":
        run = {"run_id": undo_id, "connection": connection, "mode": "undo", "state": state}
    document = {
        **run_document(run),
        "undoes": run_id,
        "left_alone": result.summary.get("left_alone", []),
        "warnings": result.summary.get("warnings", []),
    }
    output.run_result(document, timings(run))
    if state == "nothing_new":
        output.text(f"  {result.reason}")
    for warning in result.summary.get("warnings", []):
        output.text(f"  {warning}")
    rows = [
        [line["property"], line["reason"], line["profiles"], ", ".join(line["examples"])]
        for line in document["left_alone"]
    ]
    if rows:
        output.table("Left alone", ["property", "reason", "profiles", "the first of them"], rows)
    if state == "planned":
        chosen = "".join(f" --goal {goal}" for goal in goals)
        output.text(f"Nothing was written. To write exactly this: crosswalk undo {run_id}{chosen} --apply")
    return EXIT_CODES[state]
