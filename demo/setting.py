"""Setting up and tearing down: keys, servers, Airflow, and the environment that a person's shell needs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulators.airflow_server import AirflowServer

from demo.place import ROOT, Place, free_port

LOGIN = "webshop"
CONN_ID = "webshop_sftp"
START_SECONDS = 30


@dataclass
class Setting:
    """Everything that runs, and how to reach it.

    Attributes:
        place: the folders.
        environment: variables for Airflow and for the command line.
        ports: of each service.
        fingerprint: of the SFTP server's host key, as it was made.
    """

    place: Place
    environment: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""

    def crosswalk(self, *arguments: str, check: bool = True) -> Any:
        """Run a command of ``crosswalk`` with ``--json``; returns the document."""
        command = [str(Path(sys.executable).parent / "crosswalk"), *arguments, "--json"]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False
        )
        try:
            document = json.loads(done.stdout)
        except ValueError:
            raise RuntimeError(f"crosswalk {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}") from None
        if check and done.returncode in (1, 2):
            raise RuntimeError(f"crosswalk {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return document

    def write_environment(self) -> Path:
        """Write the file that a person sources to use the command line; it names key files and holds no secret."""
        lines = ["# Written by the demo. Use it with: source .demo/env"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(self.environment.items())]
        path = self.place.path / "env"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path.chmod(0o600)
        return path


def own_settings(place: Place) -> dict[str, str]:
    """Store, staging and trust store below one folder."""
    return {
        "CROSSWALK_STORE": f"sqlite:///{place.path / 'store.db'}",
        "CROSSWALK_STAGING": str(place.path / "staging"),
        "CROSSWALK_HOME": str(place.path / "trust"),
    }


def start_server(place: Place, name: str, module: str, state: Path, *arguments: str) -> dict[str, Any]:
    """Start one of the simulators as a process of its own and wait until it listens; returns what it says of itself."""
    facts = state / "server.json"
    facts.unlink(missing_ok=True)
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    with (place.logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--port", str(free_port(name)), *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    place.note(name, process.pid)
    limit = time.monotonic() + START_SECONDS
    while not facts.exists():
        if process.poll() is not None or time.monotonic() > limit:
            output = (place.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"The {name} server did not start:\n{output}")
        time.sleep(0.05)
    return dict(json.loads(facts.read_text(encoding="utf-8")))


def start_servers(setting: Setting) -> None:
    """Start the SFTP server and the mail catcher, and write down how to reach them."""
    place = setting.place
    state, mail = place.path / "keys", place.path / "mail"
    options = ("--root", str(place.shop.parent), "--state", str(state), "--user", LOGIN)
    sftp = start_server(place, "sftp", "tests.simulators.sftp_server", state, *options)
    smtp = start_server(place, "smtp", "tests.simulators.smtp_catcher", mail, "--folder", str(mail))
    setting.ports |= {"sftp": sftp["port"], "smtp": smtp["port"]}
    setting.fingerprint = sftp["fingerprint"]
    server = {"conn_type": "sftp", "host": sftp["host"], "port": sftp["port"], "login": LOGIN}
    catcher = {"conn_type": "smtp", "host": smtp["host"], "port": smtp["port"]}
    plain = {"disable_ssl": True, "disable_tls": True, "from_email": "crosswalk@example.org"}
    setting.environment |= {
        "AIRFLOW_CONN_WEBSHOP_SFTP": json.dumps({**server, "extra": {"key_file": sftp["key_file"]}}),
        "AIRFLOW_CONN_CROSSWALK_SMTP": json.dumps({**catcher, "extra": plain}),
    }


def trust_server(setting: Setting) -> str:
    """Trust the SFTP server as a person would: compare the fingerprint first; returns it."""
    shown = setting.crosswalk("trust", CONN_ID)["fingerprint"]
    if shown != setting.fingerprint:
        made = setting.fingerprint
        raise RuntimeError(f"The SFTP server shows the key {shown}, but the demo made {made}. Nothing was trusted.")
    setting.crosswalk("trust", CONN_ID, "--yes")
    return str(shown)


def copy_demo(place: Place) -> dict[str, str]:
    """Copy the demo's connection and tenant model, so that whoever plays with them changes copies."""
    for name in ("connections", "tenant"):
        shutil.copytree(ROOT / "demo" / name, place.path / name, dirs_exist_ok=True)
    return {
        "CROSSWALK_CONNECTIONS": str(place.path / "connections"),
        "CROSSWALK_TENANT": str(place.path / "tenant"),
    }


def start_airflow(place: Place, environment: Mapping[str, str]) -> AirflowServer:
    """Start Airflow on loopback and remember its processes."""
    server = AirflowServer(place.airflow, port=free_port("airflow"), environment=environment)
    try:
        server.start()
    finally:
        for name, pid in server.pids().items():
            place.note(f"airflow-{name}", pid)
    return server
