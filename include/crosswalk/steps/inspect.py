"""Looking at a connection's files without a run: columns, first rows, dates, joined rows.

All of it goes through the reader and the join that a run uses, so what is shown is what is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosswalk.config.connection import AnyImport, ExportProfiles, ImportGoal, SourceFile
from crosswalk.connectors.base import local_name
from crosswalk.core.errors import ConfigError, CrosswalkError, Finding
from crosswalk.core.staging import GoalFolder, read_json
from crosswalk.engine.dialect import about_missing_column
from crosswalk.engine.preview import preview, preview_dates, preview_rejects
from crosswalk.engine.read import LocalFile, StagedFile, read_header, stage_file
from crosswalk.engine.session import Session, literal, open_session
from crosswalk.processors import needed_fields, parse_processors
from crosswalk.steps.context import RunContext, RunRequest, open_run
from crosswalk.steps.join import join
from crosswalk.steps.process import process
from crosswalk.steps.scan import scan

if TYPE_CHECKING:
    from crosswalk.config.loader import LoadedConnection
    from crosswalk.config.tenant import Tenant
    from crosswalk.connectors.base import ConnectionDetails, RemoteFile

DATE_SAMPLES = 10
SHOWN_REJECTS = 5


@dataclass(frozen=True)
class Preview:
    """The first rows of one file.

    Attributes:
        file: path on the source.
        columns: column names as mappings use them.
        rows: texts, one list per row.
        pii_columns: columns that are linked or mapped to personal properties; shown masked.
        dates: for each column mapped to a date-time: pattern, samples with what they are read as, how many of the
            checked values do not match.
        total: how many rows the file has.
        warnings: the reader's doubts about the file.
        rejects: the first records that could not be read: line, reason, message.
    """

    file: str
    columns: list[str]
    rows: list[list[str]]
    pii_columns: set[str]
    dates: list[dict[str, Any]]
    total: int
    warnings: list[str]
    rejects: list[dict[str, Any]]


def _chosen(context: RunContext, goal_name: str | None, file_name: str | None) -> tuple[AnyImport, SourceFile]:
    goal = goal_with_files(context, goal_name)
    blocks = {block.name: block for block in goal.files}
    block = blocks.get(file_name or goal.files[0].name)
    if block is None:
        raise ConfigError(
            f'Goal "{goal.name}" has no file "{file_name}".',
            remedy=f"It has: {', '.join(blocks)}.",
            code="unknown_file",
        )
    return goal, block


def goal_with_files(context: RunContext, name: str | None) -> AnyImport:
    """The import goal of that name; without a name the first one."""
    first = next((goal.name for goal in context.connection.goals if isinstance(goal, ImportGoal)), None)
    return context.import_goal(name or first or context.connection.goals[0].name)


def preview_file(context: RunContext, goal_name: str | None, file_name: str | None, rows: int) -> Preview:
    """Read the oldest file of a file block and show its first rows; nothing is kept.

    Raises:
        ConfigError: no such goal or file block, or no file matches.
    """
    goal, block = _chosen(context, goal_name, file_name)
    folder = context.goal_folder(goal)
    try:
        with context.connector() as connector:
            file = _first(connector.list_files(block), block)
            local = folder.files / local_name(file)
            connector.fetch(file, local)
        with open_session(folder.temporary) as session:
            staged = stage_file(
                session,
                LocalFile(local, file.path),
                goal.file_format(block.name),
                out=folder.path / "preview.parquet",
                quarantine=folder.path / "rejects.parquet",
                work=folder.path / "work",
            )
            columns, listed = preview(staged, rows)
            dates = _dates(context, session, goal, block, staged)
            rejects = preview_rejects(session, folder.path / "rejects.parquet", SHOWN_REJECTS)
    finally:
        folder.remove()
    personal = _pii_columns(context, goal, block)
    return Preview(file.path, columns, listed, personal, dates, staged.rows, staged.warnings, rejects)


def _first(files: list[RemoteFile], block: SourceFile) -> RemoteFile:
    if not files:
        raise ConfigError(
            f"No file matches {block.path}{' ' + block.regex if block.regex else ''}.",
            remedy="Put a file there or correct the path.",
            code="no_file",
        )
    return files[0]


def _pii_columns(context: RunContext, goal: AnyImport, block: SourceFile) -> set[str]:
    head, declared = f"{block.name}.", goal.definitions(context.tenant)
    targets = [(link.field, link.property) for link in goal.identifiers]
    targets += [(mapping.field, goal.target(mapping)) for mapping in goal.mappings.fields]
    return {
        field.removeprefix(head)
        for field, target in targets
        if field.startswith(head) and (target not in declared or declared[target].is_pii)
    }


def _dates(
    context: RunContext, session: Session, goal: AnyImport, block: SourceFile, staged: StagedFile
) -> list[dict[str, Any]]:
    found = []
    form = goal.file_format(block.name)
    for mapping in goal.mappings.fields:
        definition = goal.definitions(context.tenant).get(goal.target(mapping))
        column = mapping.field.removeprefix(f"{block.name}.")
        if definition is None or definition.type != "datetime" or column not in staged.columns:
            continue
        pattern, zone = mapping.date or form.date, mapping.timezone or form.timezone or context.connection.timezone
        shown = preview_dates(session, staged, column, pattern, zone, DATE_SAMPLES)
        found.append({"column": column, "pattern": pattern or "ISO 8601 or epoch", "timezone": zone, **shown})
    return found


def read_rows(context: RunContext, goal_name: str | None, target: Path) -> dict[str, Any]:
    """Write the joined and processed rows of a goal as CSV, and the rejects beside it (``.rejects.csv``).

    Returns:
        ``rows``, ``rejects``, ``to``, ``rejects_to``.
    """
    goal = goal_with_files(context, goal_name)
    folder = context.goal_folder(goal)
    rejects_to = target.with_name(f"{target.stem}.rejects.csv")
    try:
        result = scan(context, goal.name)
        if result.state is not None:
            raise ConfigError(f"There is nothing to read: {result.reason}.", code="no_file", goal=goal.name)
        join(context, goal.name)
        process(context, goal.name)
        with open_session(folder.temporary) as session:
            names = read_json(folder.sources)["sources"]
            rows = _export(session, _rows_query(session, folder, names), target)
            rejects = _export(session, _rejects_query(folder), rejects_to)
    finally:
        context.folder.remove()
    return {"rows": rows, "rejects": rejects, "to": str(target), "rejects_to": str(rejects_to)}


def _rows_query(session: Session, folder: GoalFolder, names: list[str]) -> str:
    table = f"read_parquet({literal(folder.current_rows)})"
    listed = ", ".join(literal(name) for name in names)
    session.execute(f"SELECT * FROM {table} LIMIT 0")
    lists = [name for name, kind, *_ in session.description or [] if str(kind).endswith("[]") or str(kind) == "list"]
    joined = "".join(f', array_to_string("{name}", \'|\') AS "{name}"' for name in lists if '"' not in name)
    replaced = f" REPLACE ({joined[2:]})" if joined else ""
    return (
        f"SELECT [{listed}][file_index + 1] AS source_file, line AS source_line, * EXCLUDE (row_id, file_index, line)"
        f"{replaced} FROM {table} ORDER BY row_id"
    )


def _rejects_query(folder: GoalFolder) -> str:
    parts = ", ".join(literal(part) for part in sorted(folder.quarantine.glob("*.parquet")))
    return (
        'SELECT file, line, field AS "column", reason, stage, scope, message, raw '
        f"FROM read_parquet([{parts}], union_by_name = true) ORDER BY file, line"
    )


def _export(session: Session, query: str, target: Path) -> int:
    session.execute(f"COPY ({query}) TO {literal(target)} (FORMAT csv, HEADER true)")
    row = session.fetchone()
    return int(row[0]) if row else 0


def look_at_folders(context: RunContext) -> list[dict[str, Any]]:
    """What lies in the folders that the export goals write to, in the shape of ``scan.look_at_files`` (row S-66)."""
    goals = [goal for goal in context.connection.goals if isinstance(goal, ExportProfiles) and goal.enabled]
    if not goals:
        return []
    with context.connector() as connector:
        return [
            {
                "goal": goal.name,
                "role": "destination",
                "path": file.path,
                "size": file.size,
                "time": datetime.fromtimestamp(file.modified, UTC).isoformat(timespec="seconds"),
                "look": "there",
            }
            for goal in goals
            for file in connector.list_folder(goal.directory.rstrip("/") or "/")
        ]


def check_online(
    loaded: LoadedConnection, tenant: Tenant, resolve: Callable[[str], ConnectionDetails]
) -> list[Finding]:
    """Contact the system: login, rights, files, and whether the files have the columns the goals name.

    Returns:
        Findings; ``connection_ok`` (info) says what was proven.
    """
    request = RunRequest(connection_file=str(loaded.path), run_id="check", mode="plan")
    findings: list[Finding] = []
    place = str(loaded.path)
    try:
        with open_run(request, resolve=resolve) as context:
            goals = [goal for goal in context.connection.goals if goal.enabled]
            with context.connector() as connector:
                rights = connector.check(goals)
                for right in rights:
                    severity, code = ("info", "right") if right.ok else ("error", "right_missing")
                    findings.append(Finding(severity, code, f"{right.name}: {right.message}", place))
                for goal in (goal for goal in goals if isinstance(goal, ImportGoal)):
                    findings += _check_columns(context, connector, goal, place)
            context.folder.remove()
    except CrosswalkError as error:
        findings.append(Finding("error", error.code, str(error), place))
    return findings


def _check_columns(context: RunContext, connector: Any, goal: AnyImport, place: str) -> list[Finding]:
    fields = needed_fields(goal, parse_processors(goal))
    folder = context.goal_folder(goal)
    findings: list[Finding] = []
    for block in goal.files:
        files = connector.list_files(block)
        if not files:
            severity = "warning" if block.name == goal.files[0].name else "error"
            findings.append(Finding(severity, "no_file", f"{goal.name}: no file matches {block.path} now.", place))
            continue
        local = folder.files / local_name(files[0])
        connector.fetch(files[0], local)
        form = goal.file_format(block.name)
        header = read_header(LocalFile(local, files[0].path), form, folder.path / "work")
        if not header:
            text = f"{goal.name}: {files[0].path} is empty, so its columns could not be checked."
            findings.append(Finding("warning", "empty_file", text, place))
            continue
        wanted = [field.removeprefix(f"{block.name}.") for field in fields if field.startswith(f"{block.name}.")]
        for column in [*wanted, *block.link]:
            if column not in header:
                text = f'{goal.name}: {files[0].path} has no column "{column}".'
                shown = about_missing_column(column, header, form.separator)
                findings.append(Finding("error", "unknown_column", f"{text} {shown}", place))
    return findings
