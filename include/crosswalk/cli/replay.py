"""Replay of rejects: reading again what a run set aside, after something was corrected."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from crosswalk.cli.connections import exit_code, opened, run_document, store, timings
from crosswalk.cli.show import Output
from crosswalk.core.errors import ConfigError
from crosswalk.core.staging import read_json
from crosswalk.steps.pipeline import run_all

if TYPE_CHECKING:
    from crosswalk.steps import RunContext


def replay(options: argparse.Namespace, output: Output) -> int:
    """Plan or write the replay of a run's rejects and show what became of them; returns the exit code."""
    with store() as opened_store:
        replayed = opened_store.run(options.run_id)
    if replayed is None:
        raise ConfigError(
            f'There is no run "{options.run_id}".', remedy="crosswalk runs lists them.", code="unknown_run"
        )
    options.connection = replayed["connection"]
    with opened(
        options,
        output,
        mode="apply" if options.apply else "plan",
        goals=tuple(options.goal or goals_with_rejects(replayed)),
        replay=options.run_id,
    ) as context:
        run_all(context)
        run = context.store.run(context.run_id) or {}
        outcome = context.store.replay_outcome(options.run_id, context.run_id, planned_files(context))
    document = {**run_document(run), "replays": options.run_id, "replayed": outcome}
    output.run_result(document, timings(run))
    if outcome:
        rows = [[line["goal"], line["reason"], line["replayed"], line["set_aside_again"]] for line in outcome]
        output.table("Replayed", ["goal", "reason", "rejects", "set aside again"], rows)
    if any(goal["state"] in ("planned", "held") for goal in document["goals"]):
        output.text(f"Nothing was written. To write exactly this plan: crosswalk apply {document['run_id']}")
    return exit_code(run)


def goals_with_rejects(run: dict[str, Any]) -> list[str]:
    """The goals that applied something with rejects.

    Raises:
        ConfigError: there are none; a run of no goals would be a run of all.
    """
    goals = [item["goal"] for item in run["goals"] if item["goal"] and item["state"] == "done_with_rejects"]
    if not goals or run["mode"] == "undo":
        raise ConfigError(
            f"Run {run['run_id']} (state {run['state']}) has no rejects to replay.",
            remedy="Rows that no run applied come again with the next run.",
            code="nothing_to_replay",
        )
    return goals


def planned_files(context: RunContext) -> dict[str, list[str]] | None:
    """The primary files that a plan of a replay read, by goal; None when it was written."""
    if context.writes:
        return None
    planned: dict[str, list[str]] = {}
    for goal in context.connection.goals:
        manifest = context.folder.goal(goal.name).plan / "plan.json"
        if manifest.exists():
            files = read_json(manifest)["files"]
            planned[goal.name] = [file["path"] for file in files if file["role"] == "primary"]
    return planned
