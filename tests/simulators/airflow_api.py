"""A client of Airflow's REST API, for the tests and the demo."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

_ENDED = ("success", "failed")
# Limits for a machine that does much else; nobody waits longer than it takes.
WAIT_SECONDS = 180.0
RUN_SECONDS = 300.0


class ApiError(Exception):
    """The API refused a call."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(f"{status}: {text[:2000]}")


class AirflowApi:
    """Log in, look at DAGs, start runs, wait for them, read their tasks and logs.

    Args:
        url: of the web interface.
        password: of the user ``admin``.
    """

    def __init__(self, url: str, password: str = "") -> None:
        self.url = url
        self.password = password
        self._token: str | None = None

    def check_alive(self) -> None:
        """Raise when waiting makes no sense any more; for subclasses that know the processes."""

    def detail(self) -> str:
        """What helps to understand a wait that took too long."""
        return ""

    def wait_for_login(self, timeout: float) -> None:
        """Wait until a log-in is answered."""
        deadline = time.monotonic() + timeout
        while True:
            self.check_alive()
            try:
                self.token()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Airflow did not answer:\n{self.detail()}") from None
            time.sleep(0.3)

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

    def wait_for(
        self, what: Callable[[], Any], *, timeout: float = WAIT_SECONDS, message: str = "", pause: float = 0.1
    ) -> Any:
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
                raise TimeoutError(f"{message or 'Airflow'} took more than {timeout:.0f} s\n{self.detail()}")
            time.sleep(pause)

    def wait_for_dag(self, dag_id: str, timeout: float = WAIT_SECONDS) -> dict[str, Any]:
        """Wait until the DAG processor has seen a DAG."""
        return self.wait_for(lambda: self.call("GET", f"/dags/{quote(dag_id)}"), timeout=timeout, message=dag_id)

    def parse_again(self, dag_id: str) -> None:
        """Ask the DAG processor to read the file of a DAG again, at once."""
        token = self.call("GET", f"/dags/{quote(dag_id)}/details")["file_token"]
        try:
            self.call("PUT", f"/parseDagFile/{token}")
        except ApiError as error:
            if error.status != 409:  # it was asked already
                raise

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run; returns its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf or {})}
        if run_id:
            body["dag_run_id"] = run_id
        return str(self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = RUN_SECONDS) -> dict[str, Any]:
        """Wait until a run has ended; returns it."""
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"

        def ended() -> dict[str, Any] | None:
            run = self.call("GET", path)
            return run if run["state"] in _ENDED else None

        return self.wait_for(ended, timeout=timeout, message=f"run {run_id} of {dag_id}")

    def run_dag(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, timeout: float = RUN_SECONDS
    ) -> dict[str, Any]:
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

    def xcoms(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Everything the tasks of a run handed on."""
        found = []
        for task_id in self.tasks(dag_id, run_id):
            path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task_id)}/xcomEntries"
            for entry in self.call("GET", path)["xcom_entries"]:
                found.append(self.call("GET", f"{path}/{quote(entry['key'])}?deserialize=false"))
        return found
