"""Run the goal's processors over the joined rows; only for goals that have some."""

from __future__ import annotations

from crosswalk.core.staging import read_json, write_json
from crosswalk.engine.processing import process_rows
from crosswalk.engine.session import open_session
from crosswalk.processors import parse_processors
from crosswalk.steps.context import RunContext
from crosswalk.steps.result import StepResult


def process(context: RunContext, goal_name: str | None) -> StepResult:
    """Leave ``processed.parquet`` and ``process.json`` in the goal's folder."""
    goal = context.import_goal(goal_name)
    folder = context.goal_folder(goal)
    done = folder.path / "process.json"
    if not goal.processors:
        return StepResult()
    if done.exists() and folder.processed.exists():
        return StepResult(summary=read_json(done))
    context.progress("processing")
    with open_session(folder.temporary) as session:
        result = process_rows(
            session,
            rows=folder.rows,
            processors=parse_processors(goal),
            out=folder.processed,
            quarantine=folder.quarantine / "process.parquet",
            now_ms=int(context.clock() * 1000),
            sources=read_json(folder.sources)["sources"],
        )
    summary = {
        "rows_in": result.rows_in,
        "rows_out": result.rows_out,
        "filtered": result.filtered,
        "failed": result.failed,
    }
    write_json(done, summary)
    return StepResult(summary=summary)
