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

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from crosswalk.airflow_settings import Folders, one_machine, prepare_home

PROJECT = Path(__file__).resolve().parents[2]
SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
_LOG_SERVERS = ("scheduler", "triggerer")
_ENDED = ("success", "failed")
# Python starts 3 s slower per process without compiled bytecode; a user's own settings must not leak in.
_NOT_INHERITED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class AirflowServer:
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
        self.url = f"http://127.0.0.1:{self.port}"
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
        self._token: str | None = None

    # -- life ----------------------------------------------------------------------------------------------------------
    def start(self, timeout: float = 180) -> AirflowServer:
        """Make the database, start the services, wait until the API answers a log-in."""
        self.password = prepare_home(self.home)["admin"]
        try:
            self._airflow("db", "migrate", timeout=timeout)
            for service in self.services:
                self._start_service(service)
            self._wait_for_login(time.monotonic() + timeout)
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

    def _wait_for_login(self, deadline: float) -> None:
        while True:
            self.check_alive()
            try:
                self.token()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Airflow did not answer:\n{self.output('api-server')}") from None
            time.sleep(0.3)

    def check_alive(self) -> None:
        """Raise with its last output when a service has died."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"airflow {name} ended with {process.returncode}:\n{self.output(name)}")

    # -- the API -------------------------------------------------------------------------------------------------------
    def token(self) -> str:
        """A token of the administrator; asked for once."""
        if self._token is None:
            body = {"username": "admin", "password": self.password}
            self._token = self._send("POST", "/auth/token", body, token=None)["access_token"]
        return self._token

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call ``/api/v2``; returns the parsed answer.

        Raises:
            ApiError: the API refused; with its status and text.
        """
        return self._send(method, f"/api/v2{path}", body, token=self.token())

    def _send(self, method: str, path: str, body: Any, token: str | None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}{path}", data=data, headers=headers, method=method)
        try:
            with urlopen(request, timeout=60) as answer:
                text = answer.read().decode()
        except HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")) from None
        except URLError as error:
            raise ConnectionError(str(error.reason)) from None
        return json.loads(text) if text else None

    # -- DAGs and runs -------------------------------------------------------------------------------------------------
    def dag_ids(self) -> set[str]:
        """Ids of the DAGs that are there now."""
        return {dag["dag_id"] for dag in self.call("GET", "/dags?limit=1000&exclude_stale=true")["dags"]}

    def wait_for(self, what: Callable[[], Any], *, timeout: float = 90, message: str = "") -> Any:
        """Ask until the answer is true; returns it."""
        deadline = time.monotonic() + timeout
        while True:
            self.check_alive()
            try:
                if answer := what():
                    return answer
            except ApiError as error:
                if error.status not in (404, 409):
                    raise
            if time.monotonic() > deadline:
                detail = "\n".join(f"--- {name}\n{self.output(name)}" for name in self.processes)
                raise TimeoutError(f"{message or 'Airflow'} took more than {timeout:.0f} s\n{detail}")
            time.sleep(0.1)

    def wait_for_dag(self, dag_id: str, timeout: float = 90) -> dict[str, Any]:
        """Wait until the DAG processor has seen a DAG."""
        return self.wait_for(lambda: self.call("GET", f"/dags/{quote(dag_id)}"), timeout=timeout, message=dag_id)

    def parse_again(self, dag_id: str) -> None:
        """Ask the DAG processor to read the file of a DAG again, at once."""
        token = self.call("GET", f"/dags/{quote(dag_id)}/details")["file_token"]
        self.call("PUT", f"/parseDagFile/{token}")

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run; returns its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id:
            body["dag_run_id"] = run_id
        return str(self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 180) -> dict[str, Any]:
        """Wait until a run has ended; returns it."""
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"

        def ended() -> dict[str, Any] | None:
            run = self.call("GET", path)
            return run if run["state"] in _ENDED else None

        return self.wait_for(ended, timeout=timeout, message=f"run {run_id} of {dag_id}")

    def run_dag(self, dag_id: str, conf: Mapping[str, Any] | None = None, timeout: float = 180) -> dict[str, Any]:
        """Trigger a run and wait for its end."""
        return self.wait_for_run(dag_id, self.trigger(dag_id, conf), timeout)

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """The task instances of a run by task id."""
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances?limit=1000"
        return {item["task_id"]: item for item in self.call("GET", path)["task_instances"]}

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """The log of a task as text, one event per line."""
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        content = self.call("GET", f"{path}?full_content=true")["content"]
        return "\n".join(item if isinstance(item, str) else json.dumps(item) for item in content)


class ApiError(Exception):
    """The API refused a call."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"{status}: {text[:2000]}")


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
