"""Write the files of an export as they will be sent; a plan stops here, with their counts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosswalk.config.export_names import ENDINGS, event_file, event_types_of, profile_file
from crosswalk.core.errors import FatalError
from crosswalk.core.staging import read_json, write_json
from crosswalk.engine.export_events import (
    EventTable,
    event_tables,
    period_bounds,
    stage_events,
    write_event_lines,
)
from crosswalk.engine.render import render_file
from crosswalk.engine.select import selected_ids
from crosswalk.engine.session import Session, open_session
from crosswalk.steps.context import RunContext
from crosswalk.steps.result import StepResult
from crosswalk.steps.select import PROFILES, difference, writes_empty

if TYPE_CHECKING:
    from crosswalk.config.connection import ExportProfiles
    from crosswalk.config.exports import ExportEvents

# Below this share of all profiles, their events are looked up one by one instead of reading all events.
FEW = 0.05


def render(context: RunContext, goal_name: str | None) -> StepResult:
    """Leave the files and ``rendered.json`` in the goal's folder.

    Returns:
        ``planned`` when the run only plans, else None.
    """
    goal = context.profile_export(goal_name)
    folder = context.goal_folder(goal)
    counts = read_json(folder.selection)["counts"]
    if not folder.rendered.exists():
        write_files(context, goal)
    rendered = read_json(folder.rendered)
    summary = {**counts, **rendered["counts"]}
    if not context.writes:
        reason = f"This run only plans. {difference(counts)}"
        return StepResult(state="planned", reason=reason, summary=summary)
    return StepResult(summary=summary)


def write_files(context: RunContext, goal: ExportProfiles) -> None:
    """Render the selected profiles and their events.

    Raises:
        FatalError: a file does not hold what was selected.
    """
    context.progress("writing the files")
    rendering = Rendering(context, goal)
    rendering.add_profiles()
    if goal.events is not None:
        rendering.add_events(goal.events)
    write_json(rendering.folder.rendered, {"files": rendering.files, "counts": rendering.counts()})


def begin_moment(context: RunContext) -> datetime:
    """When the run began; the same for every try of the run."""
    started = (context.store.run(context.run_id) or {}).get("started_at")
    return datetime.fromisoformat(str(started))


class Rendering:
    """Makes the files of a goal and keeps account of them.

    Attributes:
        folder: the goal's.
        files: name, place in the folder, rows, size and hash of each; that of the profiles first.
    """

    def __init__(self, context: RunContext, goal: ExportProfiles) -> None:
        self.folder = context.goal_folder(goal)
        self.files: list[dict[str, Any]] = []
        self._context, self._goal = context, goal
        self._begin = begin_moment(context)
        self._stamp = f"{self._begin:%Y%m%d%H%M%S}"
        self._events: dict[str, int] = {}
        self._replaced = 0

    def counts(self) -> dict[str, Any]:
        """What the files hold, as counters of the goal."""
        counts: dict[str, Any] = {
            "bytes": sum(file["size"] for file in self.files),
            "replaced_characters": self._replaced,
        }
        if self._goal.events is not None:
            counts["events_exported"] = self._events
            counts["rows_by_file"] = {file["name"]: file["rows"] for file in self.files}
        return counts

    def add_profiles(self) -> None:
        """The file whose text *select* wrote."""
        selection = read_json(self.folder.selection)
        _agree("profiles", selection["counts"]["exported"], selection["rows"])
        name = profile_file(self._goal, self._stamp)
        self._add(name, self.folder.lines / PROFILES, selection["rows"], selection["replaced"])

    def add_events(self, wanted: ExportEvents) -> None:
        """The files of the events of the exported profiles; none for a type without events, unless empty files go."""
        store, tenant = self._context.store, self._context.tenant
        profiles = read_json(self.folder.selection)["counts"]
        bounds = period_bounds(wanted.period, self._context.connection.timezone, int(self._begin.timestamp() * 1000))
        types = event_types_of(self._goal, tenant)
        with open_session(self.folder.temporary) as session:
            few = profiles["exported"] <= profiles["profiles"] * FEW
            ids = selected_ids(session, self.folder.selected) if few else None
            stored = store.stored_events(*bounds, ids)
            found = stage_events(session, stored, selected=self.folder.selected, types=types, out=self.folder.events)
            for event_type in types:
                if found.get(event_type) or writes_empty(self._goal):
                    for table in event_tables(event_type, tenant.event_types[event_type]):
                        self._add_table(session, table, found.get(event_type, 0))
        self._events = found

    def _add_table(self, session: Session, table: EventTable, events: int) -> None:
        lines, zone = self.folder.lines / str(len(self.files)), self._context.connection.timezone
        rows, replaced = write_event_lines(
            session, self.folder.events, table, self._goal.format, zone, lines, empty=not events
        )
        if table.nested is None:
            _agree("events", events, rows)
        self._add(event_file(self._goal, table.event_type, table.nested, self._stamp), lines, rows, replaced)

    def _add(self, name: str, lines: Path, rows: int, replaced: int) -> None:
        form = self._goal.format
        member = name.removesuffix(ENDINGS[form.compress])
        made = render_file(lines, form, self.folder.outgoing / lines.name, member)
        place = str(made.path.relative_to(self.folder.path))
        self.files.append({"name": name, "place": place, "rows": rows, "size": made.size, "sha256": made.sha256})
        self._replaced += replaced + made.lost


def _agree(what: str, selected: int, written: int) -> None:
    if selected != written:
        raise FatalError(
            f"{selected} {what} were selected but the file holds {written}; nothing was sent.",
            remedy="This is a fault of Crosswalk: please report it.",
            code="accounting",
        )
