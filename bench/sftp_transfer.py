"""SFTP on loopback: our download and upload against the ``sftp`` command, with the same cipher, before a real ``sshd``.

``python -m bench.sftp_transfer [--megabytes 500] [--rounds 3] [--folder bench-data]``

The ways take turns, so that a busy moment of the machine hits all alike; medians are shown. CPU is the client's with
its children; the server's work is the same for all. Ours also computes the SHA-256 (of downloads always, of uploads for
``read_back``) and brings the file to the disk; ``sftp -f`` brings it to the disk too, plain ``sftp`` does neither.
Wall seconds run from connecting to the end; ours leave out the start of Python, CPU seconds do not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.simulators import openssh

CIPHER = "aes128-gcm@openssh.com"
BARS = {"download": 0.8, "upload": 0.6}
OURS = """
import sys
import time
from pathlib import Path
from crosswalk.hooks.credentials import resolve
from crosswalk.transport.sftp import SftpSession
direction, remote, local = sys.argv[1:]
started = time.monotonic()
with SftpSession.open(resolve("bench")) as session:
    if direction == "download":
        session.download(remote, Path(local), resume=False)
    else:
        session.upload(Path(local), remote)
print(time.monotonic() - started)
"""


@dataclass(frozen=True)
class Turn:
    """One transfer: wall and CPU seconds of the client."""

    wall: float
    cpu: float


def run(command: list[str], env: dict[str, str], batch: str | None = None) -> Turn:
    """Run a client as a child process; raises CalledProcessError when it fails.

    Without ``batch`` it is ours, which prints its own seconds.
    """
    started = time.monotonic()
    child = subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(batch or "")
    child.stdin.close()
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, said)
    wall = time.monotonic() - started if batch else float(said.split()[-1])
    return Turn(wall, usage.ru_utime + usage.ru_stime)


def sftp_command(server: openssh.OpenSsh) -> list[str]:
    """The ``sftp`` command for this server, reading its orders from standard input."""
    known = server.folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    settings = ("StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "IdentitiesOnly=yes", f"Ciphers={CIPHER}")
    options = [part for setting in settings for part in ("-o", setting)]
    command = ["sftp", "-q", "-F", "none", "-b", "-", "-P", str(server.port), "-i", str(server.key)]
    return [*command, *options, f"{server.user}@127.0.0.1"]


def transfer(server: openssh.OpenSsh, folder: Path, rounds: int) -> dict[str, dict[str, list[Turn]]]:
    """Let the ways take turns in both directions."""
    env = {**os.environ, "AIRFLOW_CONN_BENCH": server.connection_json()}
    source, remote, target = folder / "data.bin", server.root / "data.bin", folder / "got.bin"
    os.link(source, remote)
    turns: dict[str, dict[str, list[Turn]]] = {direction: {} for direction in BARS}
    for _ in range(rounds):
        for direction, by_way in turns.items():
            here, there = (target, remote) if direction == "download" else (source, server.root / "put.bin")
            verb = f"get {{}} {there} {here}" if direction == "download" else f"put {{}} {here} {there}"
            for way, flag in (("sftp", ""), ("sftp -f", "-f")):
                (here if direction == "download" else there).unlink(missing_ok=True)
                by_way.setdefault(way, []).append(run(sftp_command(server), env, verb.format(flag) + "\n"))
            (here if direction == "download" else there).unlink(missing_ok=True)
            command = [sys.executable, "-c", OURS, direction, str(there), str(here)]
            by_way.setdefault("crosswalk", []).append(run(command, env))
    return turns


def show(turns: dict[str, dict[str, list[Turn]]], megabytes: int) -> bool:
    """Print the table; whether both bars are met."""
    met = True
    print(f"{megabytes} MB over loopback, {CIPHER}, {os.cpu_count()} processors; medians\n")
    print(f"{'':22}{'MB/s':>8}{'of sftp':>9}{'wall s':>8}{'CPU s':>8}")
    for direction, by_way in turns.items():
        base = statistics.median(turn.wall for turn in by_way["sftp"])
        for way, taken in by_way.items():
            wall, cpu = (statistics.median(getattr(turn, name) for turn in taken) for name in ("wall", "cpu"))
            ratio = base / wall
            print(f"{direction + ' ' + way:22}{megabytes / wall:8.0f}{ratio:9.2f}{wall:8.2f}{cpu:8.2f}")
            met = met and (way != "crosswalk" or ratio >= BARS[direction])
        print(f"{'  at least':22}{'':8}{BARS[direction]:9.2f}")
    return met


def main() -> int:
    """Measure and print; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("bench-data"))
    options = parser.parse_args()
    if not openssh.is_available():
        print(f"Not measured: {openssh.MISSING}.")
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder.resolve()) as name:
        folder = Path(name)
        with (folder / "data.bin").open("wb") as data:
            for _ in range(options.megabytes):
                data.write(os.urandom(1_000_000))
        with openssh.running(folder / "ssh") as server:
            met = show(transfer(server, folder, options.rounds), options.megabytes)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
