"""One Airflow for the whole session, with an SFTP server, a mail catcher and a store of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crosswalk.store import open_store
from tests.simulators import openssh, sftp_server, smtp_catcher
from tests.simulators.airflow_server import AirflowServer

ROOT = Path(__file__).resolve().parents[3]
# Planted where they must never come out: see test_secrets_and_personal_values.
PASSWORD = "planted-secret-pa55"
PERSON = "planted.person@example.org"
PROPERTIES = """\
properties:
  email: {name: E-mail address, type: email, identifier: unique}
  city: {type: text}
  revenue: {type: currency, currency: EUR}
"""
SEGMENTS = "segments:\n  ostend: {all: [{property: city, any_of: ostend}]}\n"
CONNECTION = """\
kind: sftp
title: Orders of {name}
owner: {{name: Marketing operations, email: ops@example.org}}
description: Orders of one shop
labels: [webshop]
conn_id: shop_sftp
timezone: Europe/Brussels
schedule: manual
notifications: {{emails: [ops@example.org]}}
goals:
  - import_profiles: orders
    files: [{{name: orders, path: /{name}/orders*.csv}}]
    format: {{separator: ";", decimal: ","}}
    row_key: [orders.order_id]
    mark_done: true
    stable_seconds: 0
    identifiers: [{{field: orders.email, property: email}}]
    create_profiles: true
    mappings:
      fields:
        - {{field: orders.city, property: city}}
        - {{field: orders.total, property: revenue, strategy: sum}}
"""


@dataclass
class Installation:
    """A running installation: Airflow, source, mails, store; and OpenSSH where this machine has it."""

    airflow: AirflowServer
    connections: Path
    source: Path
    mails: smtp_catcher.SmtpCatcher
    store_uri: str
    staging: Path
    openssh: openssh.OpenSsh | None

    def add(self, name: str, *changes: tuple[str, str], more: str = "") -> str:
        """Write a connection file and its source folder; returns the DAG id once Airflow knows it."""
        text = CONNECTION.format(name=name) + more
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.source / name).mkdir(exist_ok=True)
        (self.connections / f"{name}.yaml").write_text(text)
        self.airflow.parse_again("sftp__warm")
        self.airflow.wait_for_dag(f"sftp__{name}")
        return f"sftp__{name}"

    def wait_for_page(self, dag_id: str, text: str) -> None:
        """Have the files read again until the page of a DAG says something; Airflow rewrites it every few seconds."""

        def says() -> bool:
            self.airflow.parse_again(dag_id)
            return text in str(self.airflow.call("GET", f"/dags/{dag_id}/details")["doc_md"])

        self.airflow.wait_for(says, message=f"the page of {dag_id}", pause=1)

    def put(self, path: str, *rows: str, header: str = "order_id;email;city;total") -> Path:
        """Place a CSV file at the source."""
        file = self.source / path
        file.write_text("\n".join([header, *rows]) + "\n")
        return file

    def stored_run(self, name: str, run: dict[str, Any]) -> dict[str, Any]:
        """What the store knows of a run of Airflow."""
        store = open_store(self.store_uri)
        try:
            found = store.run(f"{name}__{run['dag_run_id']}")
        finally:
            store.close()
        assert found is not None
        return found

    def profile(self, email: str) -> dict[str, Any] | None:
        """A stored profile by its e-mail address."""
        store = open_store(self.store_uri)
        try:
            return store.find_profile("email", email)
        finally:
            store.close()

    def answer(self, dag_id: str, run_id: str, option: str) -> str:
        """Wait until *approve* asks, then choose; returns what it asked."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/orders.approve"

        def asked() -> bool:
            state = self.airflow.tasks(dag_id, run_id).get("orders.approve", {}).get("state")
            assert state not in ("success", "failed", "skipped"), state
            return bool(state == "awaiting_input")

        self.airflow.wait_for(asked, message=f"the question of {dag_id}")
        # An answer that comes before the scheduler has noticed that the task parked looks like a lost task: Airflow
        # tries again and asks again. No person is that quick.
        time.sleep(3)
        question = self.airflow.call("GET", f"{path}/-1/hitlDetails")
        self.airflow.call("PATCH", f"{path}/-1/hitlDetails", {"chosen_options": [option], "params_input": {}})
        return f"{question['subject']}\n{question['body']}"

    def states(self, dag_id: str, run: dict[str, Any]) -> dict[str, str]:
        """State of each task of a run."""
        return {task: item["state"] for task, item in self.airflow.tasks(dag_id, run["dag_run_id"]).items()}


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("installation")
    for name in ("source", "connections", "tenant", "dags"):
        (folder / name).mkdir()
    (folder / "tenant" / "properties.yaml").write_text(PROPERTIES)
    (folder / "tenant" / "segments.yaml").write_text(SEGMENTS)
    (folder / "connections" / "warm.yaml").write_text(CONNECTION.format(name="warm"))
    (folder / "source" / "warm").mkdir()
    (folder / "dags" / "connections.py").write_text((ROOT / "dags" / "connections.py").read_text())
    store = f"sqlite:///{folder}/store.db"
    with ExitStack() as stack:
        sftp = stack.enter_context(sftp_server.running(folder / "source", folder / "sftp", password=PASSWORD))
        mails = stack.enter_context(smtp_catcher.running())
        real = stack.enter_context(openssh.running(folder / "openssh")) if openssh.is_available() else None
        environment = {
            "CROSSWALK_STORE": store,
            "CROSSWALK_STAGING": str(folder / "staging"),
            "CROSSWALK_CONNECTIONS": str(folder / "connections"),
            "CROSSWALK_TENANT": str(folder / "tenant"),
            "CROSSWALK_HOME": str(folder / "trust"),
            "CROSSWALK_RETRY_SECONDS": "1",
            "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "5",
            "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "5",
            "AIRFLOW_CONN_SHOP_SFTP": sftp.connection_json(PASSWORD),
            "AIRFLOW_CONN_WRONG_SFTP": sftp.connection_json(f"{PASSWORD}-wrong"),
            "AIRFLOW_CONN_CROSSWALK_SMTP": mails.connection_json(),
        }
        if real is not None:
            environment["AIRFLOW_CONN_OPENSSH_SFTP"] = real.connection_json()
        airflow = stack.enter_context(
            AirflowServer(
                folder / "home",
                dags=folder / "dags",
                environment=environment,
                services=("api-server", "scheduler", "dag-processor"),
            )
        )
        airflow.wait_for_dag("sftp__warm")
        airflow.run_dag("sftp__warm")  # the first run of a new Airflow takes ten seconds longer
        yield Installation(airflow, folder / "connections", folder / "source", mails, store, folder / "staging", real)


def as_text(value: Any) -> str:
    """Anything as text, to search it."""
    return json.dumps(value, ensure_ascii=False, default=str)
