"""Write the file of an export as it will be sent; a plan stops here, with its counts."""

from __future__ import annotations

from datetime import datetime

from crosswalk.config.connection import ExportProfiles
from crosswalk.config.export_names import ENDINGS, profile_file
from crosswalk.core.errors import FatalError
from crosswalk.core.staging import read_json, write_json
from crosswalk.engine.render import render_file
from crosswalk.engine.session import open_session
from crosswalk.steps.context import RunContext
from crosswalk.steps.result import StepResult
from crosswalk.steps.select import difference


def render(context: RunContext, goal_name: str | None) -> StepResult:
    """Leave the file and ``rendered.json`` in the goal's folder.

    Returns:
        ``planned`` when the run only plans, else None.

    Raises:
        FatalError: the file does not hold the profiles that were selected.
    """
    goal = context.profile_export(goal_name)
    folder = context.goal_folder(goal)
    counts = read_json(folder.selection)["counts"]
    if not folder.rendered.exists():
        write_file(context, goal)
    rendered = read_json(folder.rendered)
    summary = {**counts, **rendered["counts"]}
    if not context.writes:
        reason = f"This run only plans. {difference(counts)}"
        return StepResult(state="planned", reason=reason, summary=summary)
    return StepResult(summary=summary)


def write_file(context: RunContext, goal: ExportProfiles) -> None:
    """Render what is selected."""
    folder = context.goal_folder(goal)
    exported = read_json(folder.selection)["counts"]["exported"]
    name = profile_file(goal, begin_stamp(context))
    context.progress("writing the file")
    with open_session(folder.temporary) as session:
        result = render_file(
            session,
            folder.selected,
            [column.header for column in goal.columns],
            goal.format,
            folder.outgoing,
            name.removesuffix(ENDINGS[goal.format.compress]),
        )
    if result.rows != exported:
        raise FatalError(
            f"{exported} profiles were selected but the file holds {result.rows}; nothing was sent.",
            remedy="This is a fault of Crosswalk: please report it.",
            code="accounting",
        )
    counts = {"bytes": result.size, "replaced_characters": result.replaced}
    write_json(
        folder.rendered,
        {"name": name, "size": result.size, "sha256": result.sha256, "counts": counts},
    )


def begin_stamp(context: RunContext) -> str:
    """When the run began, as names of files carry it; the same for every try of the run."""
    started = (context.store.run(context.run_id) or {}).get("started_at")
    moment = datetime.fromisoformat(str(started))
    return f"{moment:%Y%m%d%H%M%S}"
