"""After the commit: mark or move the imported files, then clean the staging folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crosswalk.core.errors import ConfigError, CrosswalkError, RetryableError, SourceChangedError
from crosswalk.core.staging import read_json
from crosswalk.steps.context import RunContext
from crosswalk.steps.join import remote_file
from crosswalk.steps.lease import holding
from crosswalk.steps.result import StepResult

if TYPE_CHECKING:
    from crosswalk.config.connection import AnyImport
    from crosswalk.connectors.base import Connector


def finish(context: RunContext, goal_name: str | None) -> StepResult:
    """Add ``.done`` or archive what was imported; rejected files stay as they are.

    A file that was replaced since it was read is left alone: the new version is imported by the next run.

    Raises:
        ConfigError: a file could not be renamed; the import itself is kept.
    """
    goal = context.import_goal(goal_name)
    folder = context.goal_folder(goal)
    manifest = folder.plan / "plan.json"
    if not manifest.exists() or not context.writes:
        return StepResult()
    plan = read_json(manifest)
    chosen = [file for file in plan["files"] if goal.mark_done == "all" or file["role"] == "primary"]
    done: list[str] = []
    if (goal.mark_done or goal.archive) and not plan.get("replays"):  # of a replay they were moved before
        with holding(context), context.connector() as connector:
            done = [file["path"] for file in chosen if _move(goal, connector, file)]
    folder.remove()
    return StepResult(summary={"files_marked_done": len(done)})


def _move(goal: AnyImport, connector: Connector, file: dict[str, Any]) -> bool:
    """Rename one file; False when a newer version lies there now, or it is gone."""
    try:
        if goal.archive:
            connector.archive(remote_file(file), goal.archive)
        else:
            connector.mark_done(remote_file(file))
    except SourceChangedError:
        return False
    except RetryableError:
        raise
    except CrosswalkError as error:
        raise ConfigError(
            f"The file was imported but could not be renamed: {error.message}",
            remedy="Give the login the right to rename there; the import is kept and the file is not read again.",
            file=file["path"],
            code="mark_done",
        ) from error
    return True
