"""Run a command as a child and account for it: CPU seconds first, then wall seconds and peak memory."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Cost:
    """What one child process cost (its own children included in ``cpu``)."""

    cpu: float
    wall: float
    memory_mb: float
    output: str


def measure(*command: str, env: dict[str, str] | None = None) -> Cost:
    """Run a Python script or module with this interpreter; raises CalledProcessError when it fails."""
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    assert child.stdout is not None
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command, output)
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss / 1024, output.strip())


def measure_forked(work: Callable[[], str]) -> Cost:
    """Run work in a forked child of this process; its text is the output. Raises ChildProcessError when it fails."""
    started = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, f"{work()}\n{peak_mb():.0f}".encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must end here, whatever happened
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        output, _, peak = pipe.read().rpartition("\n")
    _, status, usage = os.wait4(child, 0)
    if status:
        raise ChildProcessError(f"a forked child ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - started, float(peak), output)


def peak_mb() -> float:
    """Peak memory of this process, with the pages that it shares with its parent."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(title: str, costs: dict[str, Cost], against: str) -> None:
    """Print a table of costs with their ratio to one of them."""
    base = costs[against]
    print(f"\n{title}")
    print(f"{'':24}{'CPU s':>9}{'ratio':>8}{'wall s':>9}{'peak MB':>9}")
    for name, cost in costs.items():
        print(f"{name:24}{cost.cpu:9.1f}{cost.cpu / base.cpu:8.2f}{cost.wall:9.1f}{cost.memory_mb:9.0f}")


def machine() -> str:
    """One line about machine and versions."""
    names = ("duckdb", "pyarrow", "pandas", "adbc-driver-sqlite", "adbc-driver-postgresql", "apache-airflow")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}, {versions}"
