"""Finding connections and opening runs for the commands."""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crosswalk.cli.show import Output
from crosswalk.config.loader import (
    LoadedConnection,
    LoadedTenant,
    find_connections_folder,
    find_tenant_folder,
    load_connection,
    load_connections,
    load_tenant,
)
from crosswalk.core.errors import ConfigError
from crosswalk.hooks.credentials import resolve
from crosswalk.steps import EXIT_CODES
from crosswalk.steps.context import RunContext, RunRequest, open_run
from crosswalk.store import open_store
from crosswalk.store.base import Store


def row_count(text: str) -> int:
    """The value of a ``--limit``: the stores do not agree what a negative one means."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"not a number of rows: {text!r}")
    return int(text)


def add_connection_argument(command: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """``CONNECTION``: a name below the connections folder, or a path to a YAML file."""
    command.add_argument(
        "connection",
        metavar="CONNECTION",
        nargs="?" if optional else None,
        help="name of the connection, or the path of its YAML file",
    )


def connection_file(name: str) -> Path:
    """The YAML file of a connection; ConfigError with the known names otherwise."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.exists():
            return path.resolve()
        raise ConfigError(f"There is no file {name}.", code="unknown_connection")
    folder = find_connections_folder()
    known = []
    for item in load_connections(folder):
        if name in (item.name, Path(item.path).stem):
            return Path(item.path).resolve()
        known.append(item.name)
    listed = ", ".join(sorted(known)) or "none"
    raise ConfigError(
        f'There is no connection "{name}" in {folder}.',
        remedy=f"Known connections: {listed}. Set CROSSWALK_CONNECTIONS to use another folder.",
        code="unknown_connection",
    )


def load(name: str) -> tuple[LoadedConnection, LoadedTenant]:
    """A connection and the tenant model."""
    return load_connection(connection_file(name)), load_tenant(find_tenant_folder())


def new_run_id() -> str:
    """An id for a run from the command line: when, and something unique."""
    return f"cli-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"


@contextmanager
def store() -> Iterator[Store]:
    """The profile store, migrated."""
    opened = open_store(os.environ.get("CROSSWALK_STORE"))
    try:
        opened.migrate()
        yield opened
    finally:
        opened.close()


@contextmanager
def opened(options: argparse.Namespace, output: Output, **changes: Any) -> Iterator[RunContext]:
    """A run context for the command's connection."""
    request = RunRequest(
        connection_file=str(connection_file(options.connection)),
        **{"run_id": new_run_id(), "trigger": "cli", **changes},
    )
    with open_run(request, resolve=resolve, progress=output.progress) as context:
        yield context


def run_document(run: dict[str, Any], mode: str | None = None) -> dict[str, Any]:
    """A stored run in the shape that ``run --json`` promises."""
    goals = []
    for item in run.get("goals", []):
        if not item["goal"]:
            continue
        result = item.get("result") or {}
        goal = {
            "goal": item["goal"],
            "state": item["state"],
            "counts": result.get("counts", {}),
            "warnings": result.get("warnings", []),
        }
        for key in ("reason", "error", "undone_by", "approved_by"):
            if result.get(key):
                goal[key] = result[key]
        goals.append(goal)
    return {
        "run_id": run["run_id"],
        "connection": run["connection"],
        "mode": mode or run["mode"],
        "state": run["state"],
        "started_at": run.get("started_at"),
        "finished_at": run.get("finished_at"),
        "goals": goals,
    }


def timings(run: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Seconds by goal and step."""
    return {item["goal"]: (item.get("result") or {}).get("timings", {}) for item in run.get("goals", [])}


def exit_code(run: dict[str, Any]) -> int:
    """The exit code of a stored run: that of its state; a wrong configuration, login or use is 2 rather than 1."""
    errors = {item["goal"]: item["result"]["error"] for item in run["goals"] if (item["result"] or {}).get("error")}
    if run["state"] != "failed":
        return EXIT_CODES.get(run["state"], 1)
    if "" in errors:  # no goal began
        return int(errors[""].get("exit_code", 1))
    return 2 if errors and all(error["code"] in ("bad_period", "unknown_run") for error in errors.values()) else 1
