"""Where the demonstration keeps its things, and which processes it started: everything lies in one folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
USUAL_PORTS = {"airflow": 8080, "sftp": 2222, "smtp": 2525}
STOP_SECONDS = 20


@dataclass(frozen=True)
class Place:
    """The folders of one demonstration (``.demo``) or of a person's own Airflow (``.airflow``)."""

    path: Path

    @property
    def airflow(self) -> Path:
        """Airflow's home."""
        return self.path / "airflow"

    @property
    def shop(self) -> Path:
        """What the SFTP server shows as ``/in``."""
        return self.path / "sftp" / "in"

    @property
    def outgoing(self) -> Path:
        """What the SFTP server shows as ``/out``: where exports arrive."""
        return self.path / "sftp" / "out"

    @property
    def pids(self) -> Path:
        """One file for each running process."""
        return self.path / "pids"

    @property
    def logs(self) -> Path:
        """Output of the processes."""
        return self.path / "logs"

    def prepare(self) -> None:
        """Make the folders, readable by their owner only."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        for folder in (self.pids, self.logs):
            folder.mkdir(exist_ok=True)

    def note(self, name: str, pid: int) -> None:
        """Remember a process, with the moment it began: a pid alone may belong to somebody else later."""
        self.pids.mkdir(parents=True, exist_ok=True)
        facts = {"pid": pid, "began": began(pid)}
        (self.pids / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")

    def running(self) -> dict[str, int]:
        """Name and pid of the processes that we started and that still run."""
        found = {}
        for path in sorted(self.pids.glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                if facts["began"] is not None and began(facts["pid"]) == facts["began"]:
                    found[path.stem] = int(facts["pid"])
        return found

    def stop(self) -> list[str]:
        """Stop what we started, and only that; returns the names."""
        stopped = self.running()
        for pid in stopped.values():
            _signal(pid, signal.SIGTERM)
        limit = time.monotonic() + STOP_SECONDS
        while self.running() and time.monotonic() < limit:
            time.sleep(0.1)
        for pid in self.running().values():
            _signal(pid, signal.SIGKILL)
        for path in self.pids.glob("*.json"):
            path.unlink(missing_ok=True)
        return sorted(stopped)


def _signal(pid: int, number: signal.Signals) -> None:
    """Signal a process and its own children, when it leads a group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def began(pid: int) -> str | None:
    """When a process began, as the system counts; None when there is none or it has ended."""
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        return _began_without_proc(pid)
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _began_without_proc(pid: int) -> str | None:
    """The same on systems without ``/proc``."""
    import subprocess

    answer = subprocess.run(["ps", "-o", "lstart=,stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    text = answer.stdout.strip()
    return None if not text or text.split()[-1].startswith("Z") else text.rsplit(" ", 1)[0]


def free_port(name: str) -> int:
    """The usual port of a service, or any free one when that is taken."""
    for wanted in (USUAL_PORTS[name], 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RuntimeError("no free port on the loopback address")
