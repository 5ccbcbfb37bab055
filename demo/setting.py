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
    """

    place: Place
    environment: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

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


def make_key(path: Path) -> str:
    """Make an Ed25519 key pair, readable by its owner only; returns the public key."""
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519", comment="made by the Crosswalk demo")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:
        handle.write(key.export_private_key())
    public = key.export_public_key().decode().strip()
    path.with_suffix(".pub").write_text(public + "\n", encoding="utf-8")
    return public


def start_server(place: Place, name: str, *arguments: str) -> int:
    """Start one of the demo's servers and wait until it says that it listens; returns its port."""
    ready = place.path / f"{name}.port"
    ready.unlink(missing_ok=True)
    with (place.logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo.servers", name, *arguments, "--ready", str(ready)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    place.note(name, process.pid)
    limit = time.monotonic() + START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > limit:
            output = (place.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"The {name} server did not start:\n{output}")
        time.sleep(0.05)
    return int(ready.read_text(encoding="ascii"))


def start_servers(setting: Setting) -> None:
    """Start the SFTP server and the mail catcher, and write down how to reach them."""
    place, keys = setting.place, setting.place.path / "keys"
    keys.mkdir(exist_ok=True)
    keys.chmod(0o700)
    make_key(keys / "host")
    make_key(keys / LOGIN)
    setting.ports["sftp"] = start_server(
        place,
        "sftp",
        *("--port", str(free_port("sftp")), "--folder", str(place.path / "sftp"), "--login", LOGIN),
        *("--host-key", str(keys / "host"), "--public-key", str(keys / f"{LOGIN}.pub")),
    )
    setting.ports["smtp"] = start_server(
        place, "smtp", "--port", str(free_port("smtp")), "--folder", str(place.path / "mail")
    )
    setting.environment |= {
        "AIRFLOW_CONN_WEBSHOP_SFTP": json.dumps(
            {
                "conn_type": "sftp",
                "host": "127.0.0.1",
                "port": setting.ports["sftp"],
                "login": LOGIN,
                "extra": {"key_file": str(keys / LOGIN)},
            }
        ),
        "AIRFLOW_CONN_CROSSWALK_SMTP": json.dumps(
            {
                "conn_type": "smtp",
                "host": "127.0.0.1",
                "port": setting.ports["smtp"],
                "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "crosswalk@example.org"},
            }
        ),
    }


def trust_server(setting: Setting) -> str:
    """Trust the SFTP server as a person would: compare the fingerprint first; returns it."""
    import asyncssh

    made = asyncssh.read_public_key(setting.place.path / "keys" / "host.pub").get_fingerprint()
    shown = setting.crosswalk("trust", CONN_ID)["fingerprint"]
    if shown != made:
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
