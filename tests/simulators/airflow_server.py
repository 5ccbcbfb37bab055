"""A real Airflow on loopback: database, API server, scheduler, DAG processor and (when asked) triggerer as processes.

Used by the end-to-end tests and by the demo. ``airflow standalone`` is not used, because its log servers listen on all
interfaces and because it finds its children by the bare name ``airflow`` on the path.

Example:
    >>> with AirflowServer(home, project) as airflow:          # doctest: +SKIP
    ...     run = airflow.run_dag("sftp__webshop", {"mode": "plan"})
    ...     run["state"]
    'success'
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from crosswalk.airflow_settings import Folders, one_machine, prepare_home
from tests.simulators.airflow_api import AirflowApi

PROJECT = Path(__file__).resolve().parents[2]
SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
_LOG_SERVERS = ("scheduler", "triggerer")
# Python starts 3 s slower per process without compiled bytecode; a user's own settings must not leak in.
_NOT_INHERITED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class AirflowServer(AirflowApi):
    """Start, drive and stop an Airflow installation of its own.

    Args:
        home: Airflow's home; made when missing.
        project: where ``dags`` and ``plugins`` lie; unset: this repository.
        dags: DAG folder when it is not the project's.
        plugins: plugins folder when it is not the project's.
        port: of the web interface; unset: a free one.
        environment: settings and ``CROSSWALK_*`` variables on top.
        services: which services to run.
        database: SQLAlchemy URL of Airflow's own database; unset: SQLite in the home.
    """

    def __init__(
        self,
        home: Path,
        project: Path | None = None,
        *,
        dags: Path | None = None,
        plugins: Path | None = None,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        services: tuple[str, ...] = SERVICES,
        database: str | None = None,
    ) -> None:
        self.home = home.resolve()
        self.project = (project or PROJECT).resolve()
        self.port = port or free_port()
        super().__init__(f"http://127.0.0.1:{self.port}")
        self.services = services
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        folders = Folders(self.home, self.project, dags, plugins)
        inherited = {
            key: value
            for key, value in os.environ.items()
            if key not in _NOT_INHERITED and not key.startswith(("AIRFLOW__", "AIRFLOW_HOME"))
        }
        self.environment = {
            **inherited,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            **one_machine(folders, port=self.port, database=database),
            **(environment or {}),
        }

    # -- life ----------------------------------------------------------------------------------------------------------
    def start(self, timeout: float = 300) -> AirflowServer:
        """Make the database, start the services, wait until the API answers a log-in."""
        self.password = prepare_home(self.home)["admin"]
        try:
            self._airflow("db", "migrate", timeout=timeout)
            for service in self.services:
                self._start_service(service)
            self.wait_for_login(timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def __enter__(self) -> AirflowServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, timeout: float = 20) -> None:
        """Stop the services by their pids: politely first, then for good."""
        stop_processes({name: process.pid for name, process in self.processes.items()}, timeout, self.processes)
        self.processes.clear()

    def pids(self) -> dict[str, int]:
        """Process id of each service, for a caller that lets them run on."""
        return {name: process.pid for name, process in self.processes.items()}

    def output(self, service: str, lines: int = 40) -> str:
        """The last lines a service printed."""
        path = self._log(service)
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def _log(self, service: str) -> Path:
        return self.home / f"{service}.log"

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]

    def _airflow(self, *arguments: str, timeout: float) -> None:
        with self._log(arguments[0]).open("ab") as log:
            done = subprocess.run(
                self._command(*arguments),
                env=self.environment,
                cwd=self.project,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"airflow {' '.join(arguments)} failed:\n{self.output(arguments[0])}")

    def _start_service(self, service: str) -> None:
        options = ["--skip-serve-logs"] if service in _LOG_SERVERS else []
        with self._log(service).open("ab") as log:
            self.processes[service] = subprocess.Popen(
                self._command(service, *options),
                env=self.environment,
                cwd=self.project,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, so that its children can be stopped with it
            )

    def detail(self) -> str:
        """The last lines of every service."""
        return "\n".join(f"--- {name}\n{self.output(name)}" for name in self.processes)

    def check_alive(self) -> None:
        """Raise with its last output when a service has died."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"airflow {name} ended with {process.returncode}:\n{self.output(name)}")


def stop_processes(
    pids: Mapping[str, int], timeout: float = 20, children: Mapping[str, subprocess.Popen[bytes]] | None = None
) -> None:
    """Stop process groups by their leaders' ids: SIGTERM, and SIGKILL for what is left after ``timeout``.

    Args:
        pids: name and process id of each; each leads a group of its own.
        timeout: seconds to wait.
        children: those that this process started itself and must collect.
    """
    left = [pid for pid in pids.values() if _signal(pid, signal.SIGTERM)]
    deadline = time.monotonic() + timeout
    while left and time.monotonic() < deadline:
        for process in (children or {}).values():
            process.poll()
        left = [pid for pid in left if _signal(pid, 0)]
        time.sleep(0.1)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    for process in (children or {}).values():
        process.wait(timeout=10)


def _signal(pid: int, number: int) -> bool:
    """Send a signal to a process group; False when it is gone."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
