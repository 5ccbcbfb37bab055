"""``docker-compose.yaml`` without Docker: its commands with its settings, as plain processes on a real PostgreSQL.

What the container network does is put in by hand: host names and ports become loopback ones, folders become temporary
ones. Everything else is taken from the file.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from crosswalk.airflow_settings import SHARED
from tests.simulators import postgres, sftp_server
from tests.simulators.airflow_api import AirflowApi
from tests.simulators.airflow_server import free_port, stop_processes
from tests.system.airflow.conftest import CONNECTION, PROPERTIES

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")
SECRETS = (
    "POSTGRES_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "CROSSWALK_DB_PASSWORD",
    "AIRFLOW_SECRET_KEY",
    "AIRFLOW_JWT_SECRET",
)


def example_environment() -> dict[str, str]:
    """``.env.example`` with a value for each secret, as its comments tell to."""
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    values = dict(line.split("=", 1) for line in lines)
    values |= {name: secrets.token_urlsafe(24) for name in SECRETS}
    values["AIRFLOW_FERNET_KEY"] = urlsafe_b64encode(os.urandom(32)).decode()
    return values


def filled_in(text: str, values: dict[str, str]) -> str:
    """Compose's own substitution: ``${NAME:-default}``, ``${NAME:?message}``, ``$$``."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if values.get(name):
            return values[name]
        if kind == ":-":
            return rest
        raise KeyError(f"{name} is not set: {rest}")

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, text).replace("$$", "$")


@dataclass
class Placed:
    """Where the containers' world lies on this machine."""

    changes: dict[str, str]
    values: dict[str, str]

    def text(self, text: str) -> str:
        """A text of the compose file as it holds here."""
        text = filled_in(text, self.values)
        for old, new in self.changes.items():
            text = text.replace(old, new)
        return text

    def environment(self, service: str, port: int) -> dict[str, str]:
        """The environment of a service; of this process it gets only the path to the programs."""
        given = {key: self.text(str(value)) for key, value in COMPOSE["services"][service]["environment"].items()}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
        return {**kept, "PATH": path, "AIRFLOW__API__HOST": "127.0.0.1", **given, "AIRFLOW__API__PORT": str(port)}


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[postgres.PostgresServer]:
    """A server of our own, since the script makes roles with fixed names."""
    if not postgres.server_folders() or not shutil.which("psql", path=programs()):
        pytest.skip("needs a PostgreSQL server with psql (Debian, Ubuntu: apt-get install postgresql)")
    with postgres.running_server() as server:
        yield server


def programs() -> str:
    """Where PostgreSQL's programs may lie, as a search path."""
    return os.pathsep.join([*map(str, postgres.server_folders()), os.environ["PATH"]])


def create_databases(server: postgres.PostgresServer, values: dict[str, str]) -> None:
    """Run the script that the PostgreSQL image runs at its first start."""
    # The image's superuser is "postgres"; the simulator's has the name of one of the databases' owners.
    server.execute(f"CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '{values['POSTGRES_PASSWORD']}'")
    environment = {
        **os.environ,
        "PATH": programs(),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGPASSWORD": values["POSTGRES_PASSWORD"],
    }
    rename = ["psql", "-U", "postgres", "-d", "postgres", "-qc", "ALTER ROLE crosswalk RENAME TO first_superuser"]
    subprocess.run(rename, env=environment, check=True)
    given = COMPOSE["services"]["postgres"]["environment"]
    environment |= {key: filled_in(value, values) for key, value in given.items()}
    subprocess.run(["sh", str(ROOT / "docker" / "create-databases.sh")], env=environment, check=True)


def test_the_compose_file_repeats_every_shared_setting() -> None:
    for service in (*SERVICES, "airflow-init"):
        given = COMPOSE["services"][service]["environment"]
        assert {key: str(given.get(key)) for key in SHARED} == SHARED


def test_no_secret_has_a_default_and_every_variable_is_in_the_example() -> None:
    text = (ROOT / "docker-compose.yaml").read_text()
    used = {name: kind for name, kind, _ in re.findall(r"\$\{(\w+)(:-|:\?)([^}]*)\}", text)}
    example = (ROOT / ".env.example").read_text()
    listed = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    assert set(used) - set(listed) == {"CROSSWALK_VERSION"}
    for name in (*SECRETS, "AIRFLOW_FERNET_KEY"):
        assert used[name] == ":?"
        assert listed[name] == ""
    with pytest.raises(KeyError, match="AIRFLOW_DB_PASSWORD"):
        filled_in(COMPOSE["services"]["scheduler"]["environment"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"], {})


def test_only_the_web_interface_is_published_and_on_loopback_only() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"api-server": ["127.0.0.1:${CROSSWALK_PORT:-8080}:8080"]}


def test_every_file_that_the_compose_file_and_the_image_name_is_there() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists(), source
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name


def test_the_services_run_a_connection_into_postgresql(database: postgres.PostgresServer, tmp_path: Path) -> None:
    values = example_environment()
    create_databases(database, values)
    api, health = free_port(), free_port()
    place = _place(tmp_path, values, {"@postgres:5432": f"@127.0.0.1:{database.port}"}, api, health)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:
        sftp = stack.enter_context(sftp_server.running(tmp_path / "source", tmp_path / "keys"))
        extra = {"AIRFLOW_CONN_SHOP_SFTP": sftp.connection_json(), "CROSSWALK_ALLOW_UNSAFE_STORE": "1"}
        stack.callback(lambda: stop_processes({n: p.pid for n, p in processes.items()}, 20, processes))

        init = COMPOSE["services"]["airflow-init"]
        _run([place.text(part) for part in init["command"]], place.environment("airflow-init", api), tmp_path)
        for service in SERVICES:
            command = COMPOSE["services"][service]["command"]
            with (tmp_path / f"{service}.log").open("ab") as log:
                processes[service] = subprocess.Popen(
                    command,
                    env={**place.environment(service, api), **extra},
                    cwd=tmp_path,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        password = json.loads((tmp_path / "home" / "passwords.json").read_text())["admin"]
        airflow = Watched(f"http://127.0.0.1:{api}", password, processes, tmp_path)
        airflow.wait_for_login(300)
        airflow.wait_for_dag("sftp__shop")
        run = airflow.run_dag("sftp__shop")
        assert run["state"] == "success", {
            name: task["state"] for name, task in airflow.tasks("sftp__shop", run["dag_run_id"]).items()
        }
        _check_store(database, values)
        _check_health(place, api)
        assert password not in "".join((tmp_path / f"{name}.log").read_text() for name in SERVICES)


def _place(folder: Path, values: dict[str, str], changes: dict[str, str], api: int, health: int) -> Placed:
    """Lay the containers' folders out below a temporary one."""
    project = folder / "project"
    (project / "dags" / "connections").mkdir(parents=True)
    (project / "plugins").mkdir()
    shutil.copy(ROOT / "dags" / "connections.py", project / "dags")
    text = CONNECTION.format(name="shop").replace("notifications: {emails: [ops@example.org]}\n", "")
    (project / "dags" / "connections" / "shop.yaml").write_text(text)
    (project / "include" / "tenant").mkdir(parents=True)
    (project / "include" / "tenant" / "properties.yaml").write_text(PROPERTIES)
    (folder / "source" / "shop").mkdir(parents=True)
    (folder / "source" / "shop" / "orders.csv").write_text(
        "order_id;email;city;total\n1;ann@example.org;Gent;10,50\n2;bob@example.org;Brugge;2\n"
    )
    here = {
        "http://api-server:8080": f"http://127.0.0.1:{api}",
        "127.0.0.1:8080": f"127.0.0.1:{api}",
        "8974": str(health),
        "/opt/airflow": str(folder / "home"),
        "/opt/crosswalk": str(project),
        "/var/lib/crosswalk": str(folder),
    }
    return Placed({**changes, **here}, values)


class Watched(AirflowApi):
    """The API of services whose processes are known."""

    def __init__(self, url: str, password: str, processes: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
        super().__init__(url, password)
        self.processes = processes
        self.logs = logs

    def check_alive(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}\n{self.detail()}")

    def detail(self) -> str:
        return "\n".join(f"--- {name}\n{(self.logs / f'{name}.log').read_text()[-3000:]}" for name in self.processes)


def _run(command: list[str], environment: dict[str, str], folder: Path, timeout: float = 300) -> None:
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-3000:]}"


def _check_store(database: postgres.PostgresServer, values: dict[str, str]) -> None:
    """The profiles are in the store's own database, and the two owners cannot look into each other's."""
    from crosswalk.store import open_store

    address = f"127.0.0.1:{database.port}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CROSSWALK_ALLOW_UNSAFE_STORE", "1")
        store = open_store(f"postgresql://crosswalk:{values['CROSSWALK_DB_PASSWORD']}@{address}/crosswalk")
        try:
            found: dict[str, Any] | None = store.find_profile("email", "ann@example.org")
            assert found is not None
            assert found["properties"]["revenue"] == ["10.50"]
        finally:
            store.close()
    psql = shutil.which("psql", path=programs())
    assert psql
    foreign = f"postgresql://airflow:{values['AIRFLOW_DB_PASSWORD']}@{address}/crosswalk"
    refused = subprocess.run([psql, foreign, "-c", "SELECT 1"], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "permission denied" in refused.stderr


def _check_health(place: Placed, api: int) -> None:
    """The health checks of the web interface and the scheduler, as the file has them."""
    deadline = time.monotonic() + 180
    for service in ("api-server", "scheduler"):
        kind, *command = COMPOSE["services"][service]["healthcheck"]["test"]
        assert kind == "CMD"
        command = [place.text(part) for part in command]
        while True:
            done = subprocess.run(
                command, env=place.environment(service, api), capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.5)
