"""The crash harness: kill a run at a chosen call of a chosen seam, then run again and compare.

A *seam* is a call after which the outside world may differ: a file made durable, a statement sent to the store, a
file listed, fetched or renamed on the source, a step begun. The harness wraps these calls in a forked child; the
product holds no hooks for it. In counting mode the child writes the name of every seam call it passes; in killing mode
it ends itself with SIGKILL right before the n-th one. The parent forks after the imports, so a trial costs a run, not
a start.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adbc_driver_manager.dbapi

from crosswalk.steps.context import open_run
from crosswalk.steps.pipeline import run_all
from tests.acceptance.shop import Shop
from tests.simulators.folder_connector import FolderConnector

STEP_PARTS = {
    "crosswalk.steps.join": ("stage_file", "join_files"),
    "crosswalk.steps.process": ("process_rows",),
    "crosswalk.steps.link": ("link_rows", "write_parquet"),
    "crosswalk.steps.map": ("compute_plan", "write_parquet"),
    "crosswalk.steps.select": ("select_profiles",),
    "crosswalk.steps.render": ("render_file", "stage_events", "write_event_lines"),
}


@dataclass
class Seams:
    """Counts seam calls, and kills the process right before call number ``kill_at`` (1-based; 0: never)."""

    kill_at: int = 0
    log: Path | None = None
    passed: int = 0

    def touch(self, name: str) -> None:
        self.passed += 1
        if self.log is not None:
            with self.log.open("a") as handle:
                handle.write(f"{name}\n")
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.touch(name)
            result = call(*arguments, **named)
            self.touch(f"{name} done")
            return result

        return wrapped

    def install(self, connector: FolderConnector) -> None:
        """Wrap every seam of this process."""
        import importlib

        for module, names in STEP_PARTS.items():
            loaded = importlib.import_module(module)
            for name in names:
                setattr(loaded, name, self.around(f"{module.rpartition('.')[2]}.{name}", getattr(loaded, name)))
        offered = ("check", "list_files", "stable_files", "fetch", "mark_done")
        for name in (*offered, "list_folder", "deliver", "has_delivered", "withdraw"):
            setattr(connector, name, self.around(f"source.{name}", getattr(connector, name)))
        Path.replace = self.around("file.replace", Path.replace)  # type: ignore[method-assign]
        Path.rename = self.around("file.rename", Path.rename)  # type: ignore[method-assign]
        os.fsync = self.around("file.fsync", os.fsync)
        self._install_store()

    def _install_store(self) -> None:
        cursor, connection = adbc_driver_manager.dbapi.Cursor, adbc_driver_manager.dbapi.Connection
        execute, many, ingest, commit = cursor.execute, cursor.executemany, cursor.adbc_ingest, connection.commit
        seams = self

        def execute_seam(self: Any, operation: Any, parameters: Any = None, **named: Any) -> Any:
            words = str(operation).lower().split()
            if words and words[0] in ("begin", "insert", "update", "delete", "commit", "rollback"):
                seams.touch(f"store.{' '.join(words[:3])}")
            result = execute(self, operation, parameters, **named)
            if words and words[0] == "commit":
                seams.touch("store.commit done")
            return result

        def many_seam(self: Any, operation: Any, seq_of_parameters: Any) -> Any:
            seams.touch(f"store.rows {' '.join(str(operation).lower().split()[:3])}")
            return many(self, operation, seq_of_parameters)

        def ingest_seam(self: Any, table_name: str, *arguments: Any, **named: Any) -> Any:
            seams.touch(f"store.ingest {table_name}")
            return ingest(self, table_name, *arguments, **named)

        def commit_seam(self: Any) -> Any:
            seams.touch("store.commit")
            result = commit(self)
            seams.touch("store.commit done")
            return result

        cursor.execute = execute_seam  # type: ignore[method-assign]
        cursor.executemany = many_seam  # type: ignore[method-assign]
        cursor.adbc_ingest = ingest_seam  # type: ignore[method-assign]
        connection.commit = commit_seam  # type: ignore[method-assign]


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a fork; returns the negative signal number, or the exit code (99: an exception, printed)."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must never return into the test
            traceback.print_exc()
            os._exit(99)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def run_once(shop: Shop, run_id: str, seams: Seams | None = None, replay: str | None = None) -> int:
    """One run of the shop's connection in a child, through all steps; ``seams`` may kill it."""

    def work() -> None:
        import crosswalk.connectors

        connector = FolderConnector(shop.source)
        crosswalk.connectors.create = lambda kind, details: connector  # type: ignore[assignment]
        if seams is not None:
            seams.install(connector)
        with open_run(shop.request(run_id=run_id, replay=replay), resolve=shop.resolve) as context:
            run_all(context)

    return in_child(work)
