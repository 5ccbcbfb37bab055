"""Fetch the selected files, read them and join them into one table of rows."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosswalk.connectors.base import RemoteFile, local_name
from crosswalk.core.errors import ConfigError, RejectedError, SourceChangedError
from crosswalk.core.staging import GoalFolder, read_json, write_json
from crosswalk.engine.join import Source, join_files
from crosswalk.engine.join_plan import used_columns
from crosswalk.engine.read import LocalFile, StagedFile, stage_file
from crosswalk.engine.session import Session, literal, open_session, write_parquet
from crosswalk.processors import needed_fields, parse_processors
from crosswalk.steps.context import RunContext
from crosswalk.steps.result import StepResult

if TYPE_CHECKING:
    from crosswalk.config.connection import AnyImport
    from crosswalk.connectors.base import Connector


@dataclass(frozen=True)
class Fetched:
    """A source file in the staging folder, with the fingerprint of what was read."""

    look: dict[str, Any]
    local: Path
    size: int
    modified: int
    sha256: str


def join(context: RunContext, goal_name: str | None) -> StepResult:
    """Leave ``rows.parquet``, ``sources.json`` and the read and join quarantine in the goal's folder.

    Raises:
        RetryableError: the line was cut, a file changed while it was read, or the disk is full.
        RejectedError: a linked file, or every primary file, cannot be read as a whole.
        ConfigError: a column that the goal needs is not in the files, or a join would explode.
    """
    goal = context.import_goal(goal_name)
    folder = context.goal_folder(goal)
    if folder.sources.exists() and folder.rows.exists():
        return StepResult(summary=read_json(folder.sources)["counts"])
    decision = read_json(folder.scan)
    fetched = _fetch(context, goal, folder, decision["selected"])
    with open_session(folder.temporary) as session:
        fields = needed_fields(goal, parse_processors(goal))
        sources, rejected, warnings = _read(context, session, goal, folder, fetched, used_columns(goal, fields))
        guards = context.connection.guards_of(goal)
        context.progress("joining")
        result = join_files(
            session,
            goal=goal,
            sources=[source for source, _ in sources],
            fields=fields,
            out=folder.rows,
            quarantine=folder.quarantine / "join.parquet",
            max_rows_per_match=guards.max_rows_per_match,
        )
        rows = _limit(session, folder, context.request.limit) if context.request.limit is not None else result.rows
    primary = [staged for source, staged in sources if source.block.name == goal.files[0].name]
    empty = _empty_source(goal, guards.empty_source, rows=sum(staged.rows for staged in primary))
    counts = {
        "rows_read": rows,
        "files_read": len(sources),
        "files_rejected": len(rejected),
        "files_skipped": decision["files_skipped"],
        "bytes": sum(item.size for item in fetched),
        "primary_records_quarantined": sum(staged.quarantined for staged in primary),
        **result.counts,
    }
    write_json(
        folder.sources,
        {
            "batch_id": batch_id(context.name, goal.name, fetched, decision),
            "sources": [source.name for source, _ in sources],
            "files": [
                {
                    "path": item.look["path"],
                    "role": item.look["role"],
                    "size": item.size,
                    "modified": item.modified,
                    "sha256": item.sha256,
                    "seen_at": item.look["seen_at"],
                    "rejected": rejected.get(item.look["path"]),
                }
                for item in fetched
            ],
            "counts": counts,
            "warnings": [*decision.get("warnings", []), *warnings, *empty, *result.warnings],
        },
    )
    return StepResult(summary=counts)


def batch_id(connection: str, goal: str, fetched: list[Fetched], decision: dict[str, Any]) -> str:
    """The batch's id: the same input in the same state of the goal gives the same id, whatever retries happen.

    The goal's state version is part of it, so that a file that returns to earlier content is a new batch.
    """
    parts = [connection, goal, decision["config_hash"], str(decision["goal_state"]["state_version"])]
    parts += [f"{item.look['role']}:{item.look['path']}:{item.sha256}" for item in fetched]
    parts.append(str(decision["take_all"]))
    parts += [f"replay:{decision['replays']}"] if decision.get("replays") else []
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def _fetch(context: RunContext, goal: AnyImport, folder: GoalFolder, looks: list[dict[str, Any]]) -> list[Fetched]:
    fetched = []
    with context.connector() as connector:
        for position, look in enumerate(looks, start=1):
            context.progress(f"fetching file {position} of {len(looks)}")
            remote = remote_file(look)
            local = folder.files / local_name(remote)
            known = local.with_name(f"{local.name}.json")
            if known.exists() and local.exists():
                facts = read_json(known)
            else:
                facts = _fetch_one(connector, goal, look, remote, local)
                write_json(known, facts)
            fetched.append(Fetched(look, local, facts["size"], facts["modified"], facts["sha256"]))
    return fetched


def _fetch_one(
    connector: Connector, goal: AnyImport, look: dict[str, Any], remote: RemoteFile, local: Path
) -> dict[str, Any]:
    """Fetch the version that *scan* saw; where a newer one has come since, look once more and take that one."""
    try:
        item = connector.fetch(remote, local)
    except SourceChangedError:
        block = next(block for block in goal.files if block.name == look["block"])
        newer = [file for file in connector.list_files(block) if file.path == remote.path]
        stable = connector.stable_files(newer, goal.stable_seconds, time.sleep).stable
        if not stable:
            raise
        item = connector.fetch(stable[0], local)
    return {"size": item.size, "modified": int(item.modified), "sha256": item.sha256}


def remote_file(facts: dict[str, Any]) -> RemoteFile:
    """The file on the source that a look or a ledger entry speaks of."""
    return RemoteFile(facts["path"], facts["path"].rpartition("/")[2], facts["size"], int(facts["modified"]))


def _read(
    context: RunContext,
    session: Session,
    goal: AnyImport,
    folder: GoalFolder,
    fetched: list[Fetched],
    columns: dict[str, set[str]],
) -> tuple[list[tuple[Source, StagedFile]], dict[str, str], list[str]]:
    """Stage every file; a primary file that cannot be read as a whole is rejected alone."""
    blocks = {block.name: block for block in goal.files}
    order = {block.name: position for position, block in enumerate(goal.files)}
    sources: list[tuple[Source, StagedFile]] = []
    rejected: dict[str, str] = {}
    warnings: list[str] = []
    failure: RejectedError | None = None
    for item in sorted(fetched, key=lambda f: (order[f.look["block"]], f.look["modified"], f.look["path"])):
        name, block = item.look["path"], blocks[item.look["block"]]
        context.progress(f"reading {name}")
        number = len(sources)
        try:
            staged = stage_file(
                session,
                LocalFile(item.local, name),
                goal.file_format(block.name),
                out=folder.path / "staged" / f"{number}.parquet",
                quarantine=folder.quarantine / f"read_{number}.parquet",
                work=folder.path / "work",
                columns=columns[block.name],
            )
        except RejectedError as error:
            error.file = error.file or name
            if item.look["role"] != "primary":
                raise
            rejected[name] = str(error.at(connection=context.name, goal=goal.name))
            failure = error
            continue
        warnings += [f"{name}: {warning}" for warning in staged.warnings]
        sources.append((Source(block, number, name, staged.path, staged.columns, staged.header), staged))
    if failure is not None and not any(source.block.name == goal.files[0].name for source, _ in sources):
        raise failure
    return sources, rejected, [*warnings, *(f"File rejected. {text}" for text in rejected.values())]


def _empty_source(goal: AnyImport, policy: str, *, rows: int) -> list[str]:
    """What an empty or header-only primary source means for this goal."""
    if rows or policy == "ok":
        return []
    text = f"The primary file(s) {goal.files[0].path} hold no rows."
    if policy == "fail":
        raise ConfigError(
            text, remedy="Check the export, or set guards.empty_source to warn or ok.", code="empty_source"
        )
    return [text]


def _limit(session: Session, folder: GoalFolder, limit: int) -> int:
    query = f"SELECT * FROM read_parquet({literal(folder.rows)}) WHERE row_id <= {int(limit)}"
    return write_parquet(session, query, folder.rows)
