"""What a step gets: the request, the configuration the run began with, the store, the staging folder.

``open_run`` is the only way in, for the operators and for the command line alike.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from crosswalk.config.connection import AnyImport, ExportProfiles, ImportGoal, ImportGroups, ImportProfiles
from crosswalk.config.loader import LoadedConnection, find_tenant_folder, load_connection, load_tenant
from crosswalk.core.errors import ConfigError
from crosswalk.core.staging import GoalFolder, RunFolder
from crosswalk.store import open_store

if TYPE_CHECKING:
    from crosswalk.config.connection import Connection, Goal
    from crosswalk.config.tenant import Tenant
    from crosswalk.connectors.base import ConnectionDetails, Connector
    from crosswalk.store.base import Store

MODES = ("plan", "apply")
AnyGoal = TypeVar("AnyGoal", ImportProfiles, ImportGroups, ExportProfiles)


def ignore_progress(message: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class RunRequest:
    """Which run of which connection; plain values only, so that any scheduler can carry it.

    Attributes:
        connection_file: absolute path of the YAML file.
        run_id: the run's id; steps of one run share it, a retry keeps it.
        mode: ``plan`` computes everything and writes nothing, ``apply`` writes.
        goals: names of the goals to run; empty for all.
        full: read all files and reconsider all rows, changed or not.
        since: only files modified at or after this ISO time; plans only.
        until: only files modified before this ISO time; plans only.
        limit: at most this many primary rows; plans only.
        replay: the run whose rejects are read again; only the files that hold them.
        trigger: scheduled, manual, asset or cli.
        run_url: where a person finds the run.
        approved_by: who agrees to plans that wait for a person; None: nobody yet.
        tenant_folder: folder of the tenant model; unset: ``CROSSWALK_TENANT`` or ``include/tenant``.
    """

    connection_file: str
    run_id: str
    mode: str = "apply"
    goals: tuple[str, ...] = ()
    full: bool = False
    since: str | None = None
    until: str | None = None
    limit: int | None = None
    replay: str | None = None
    trigger: str = "manual"
    run_url: str | None = None
    approved_by: str | None = None
    tenant_folder: str | None = None

    def check(self) -> None:
        """Refuse combinations that have no meaning.

        Raises:
            ConfigError: an unknown mode, or a filter together with ``apply``.
        """
        if self.mode not in MODES:
            raise ConfigError(f'Unknown mode "{self.mode}".', remedy="Use plan or apply.", code="unknown_mode")
        if self.mode == "apply" and (self.since or self.until or self.limit is not None):
            raise ConfigError(
                "since, until and limit leave rows out, so they serve plans only.",
                remedy="Run with mode plan, or without them.",
                code="filter_needs_plan",
            )
        if self.replay and (self.full or self.since or self.until or self.limit is not None):
            raise ConfigError(
                "A replay reads what a run set aside, nothing else.",
                remedy="Leave out full, since, until and limit.",
                code="replay_alone",
            )


@dataclass
class RunContext:
    """One open run; closed with the ``with`` block of ``open_run``."""

    request: RunRequest
    loaded: LoadedConnection
    tenant: Tenant
    folder: RunFolder
    resolve: Callable[[str], ConnectionDetails]
    progress: Callable[[str], None] = ignore_progress
    clock: Callable[[], float] = time.time
    _store: Store | None = field(default=None, repr=False)

    @property
    def connection(self) -> Connection:
        """The typed model of the connection."""
        return self.loaded.model

    @property
    def name(self) -> str:
        """The connection's name: its ``id``, else the file's name."""
        return self.loaded.name

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.request.run_id

    @property
    def writes(self) -> bool:
        """Whether this run may write to the store and to the source."""
        return self.request.mode == "apply"

    @property
    def store(self) -> Store:
        """The profile store, opened on first use."""
        if self._store is None:
            self._store = open_store(os.environ.get("CROSSWALK_STORE"))
            self._store.migrate()
        return self._store

    def goal(self, name: str | None) -> Goal:
        """The goal of that name; ConfigError with the known names otherwise."""
        try:
            return self.connection.goal(name or "")
        except KeyError:
            known = ", ".join(goal.name for goal in self.connection.goals)
            raise ConfigError(
                f'There is no goal "{name}".',
                remedy=f"Known goals: {known}.",
                connection=self.name,
                code="unknown_goal",
            ) from None

    def import_goal(self, name: str | None) -> AnyImport:
        """The import goal of that name, of profiles or of groups."""
        goal = self.goal(name)
        return goal if isinstance(goal, ImportGoal) else self._goal_of(name, ImportProfiles)

    def profile_import(self, name: str | None) -> ImportProfiles:
        """The goal of that name that imports profiles."""
        return self._goal_of(name, ImportProfiles)

    def group_import(self, name: str | None) -> ImportGroups:
        """The goal of that name that imports groups."""
        return self._goal_of(name, ImportGroups)

    def profile_export(self, name: str | None) -> ExportProfiles:
        """The goal of that name that exports profiles."""
        return self._goal_of(name, ExportProfiles)

    def _goal_of(self, name: str | None, kind: type[AnyGoal]) -> AnyGoal:
        goal = self.goal(name)
        if not isinstance(goal, kind):
            raise ConfigError(
                f'Goal "{goal.name}" is of kind {goal.kind_of_goal}, which has no such step.',
                remedy="Name a goal of the right kind.",
                connection=self.name,
                code="wrong_goal_kind",
            )
        return goal

    def wants(self, goal: Goal) -> bool:
        """Whether this run includes the goal: connection and goal are on, and the goal was asked for.

        Exports have nothing to replay.
        """
        if self.request.replay and not isinstance(goal, ImportGoal):
            return False
        asked = not self.request.goals or goal.name in self.request.goals
        return self.connection.enabled and goal.enabled and asked

    def goal_folder(self, goal: Goal) -> GoalFolder:
        """The staging folder of one goal of this run."""
        folder = self.folder.goal(goal.name)
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder

    def connector(self) -> Connector:
        """A new connector for this connection's kind; the caller opens and closes it."""
        from crosswalk.connectors import create

        return create(self.connection.kind, self.resolve(self.connection.conn_id))

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None


def staging_root() -> Path:
    """``CROSSWALK_STAGING``, else ``.crosswalk/staging`` below the current folder."""
    return Path(os.environ.get("CROSSWALK_STAGING") or ".crosswalk/staging").resolve()


@contextmanager
def open_run(
    request: RunRequest,
    *,
    resolve: Callable[[str], ConnectionDetails],
    progress: Callable[[str], None] = ignore_progress,
) -> Iterator[RunContext]:
    """Open a run with the configuration it began with.

    The first step that calls ``keep_configuration`` fixes it; an edit of the YAML file during the run has no effect on
    that run.

    Args:
        request: which run.
        resolve: finds host, login and secrets by connection id.
        progress: receives one line of text at a time during long work.
    """
    original = Path(request.connection_file)
    folder = RunFolder(staging_root(), original.stem, request.run_id)
    kept = folder.path / "config"
    tenant_folder = Path(request.tenant_folder) if request.tenant_folder else find_tenant_folder()
    if (kept / "whole").exists():
        loaded, tenant = load_connection(kept / original.name), load_tenant(kept / "tenant")
    else:
        loaded, tenant = load_connection(original), load_tenant(tenant_folder)
    context = RunContext(request, loaded, tenant.model, folder, resolve, progress)
    try:
        yield context
    finally:
        context.close()


def keep_configuration(context: RunContext) -> None:
    """Copy the connection and the tenant model into the run's folder, once."""
    kept = context.folder.path / "config"
    if (kept / "whole").exists():
        return
    original = Path(context.request.connection_file)
    source = Path(context.request.tenant_folder) if context.request.tenant_folder else find_tenant_folder()
    (kept / "tenant").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(original, kept / original.name)
    for path in sorted(source.glob("*.yaml")):
        shutil.copyfile(path, kept / "tenant" / path.name)
    (kept / "whole").touch()


def as_error(error: BaseException) -> dict[str, Any]:
    """An error as plain data for run results: code, message, place, exit code; no values."""
    code = getattr(error, "code", None) or "unexpected"
    text = str(error) if hasattr(error, "exit_code") else f"Unexpected {type(error).__name__}; see the task's log."
    place = {key: getattr(error, key, None) for key in ("file", "line")}
    return {"code": code, "message": text, **place, "exit_code": getattr(error, "exit_code", 1)}
