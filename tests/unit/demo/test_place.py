"""The demo stops what it started, and nothing else."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.place import USUAL_PORTS, Place, began, free_port

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "demo")
    place.prepare()
    yield place
    place.stop()


def test_a_process_that_was_noted_is_stopped_with_its_children(place: Place) -> None:
    start = f"p = subprocess.Popen({SLEEPER!r})"
    code = f"import subprocess, time; {start}; print(p.pid, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    place.note("service", parent.pid)
    assert place.running() == {"service": parent.pid}
    assert place.stop() == ["service"]
    parent.wait(timeout=10)
    limit = time.monotonic() + 10
    while began(child) is not None and time.monotonic() < limit:
        time.sleep(0.05)
    assert began(child) is None
    assert place.running() == {}


def test_a_pid_that_belongs_to_somebody_else_by_now_is_left_alone(place: Place) -> None:
    other = subprocess.Popen(SLEEPER)
    try:
        place.note("service", other.pid)
        file = place.pids / "service.json"
        file.write_text(json.dumps({"pid": other.pid, "began": "long ago"}), encoding="utf-8")
        assert place.stop() == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_stopping_twice_is_no_error(place: Place) -> None:
    assert place.stop() == []
    assert place.stop() == []


def test_the_folder_is_closed_to_others(place: Place) -> None:
    assert place.path.stat().st_mode & 0o077 == 0


def test_another_port_is_taken_when_the_usual_one_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setitem(USUAL_PORTS, "sftp", taken.getsockname()[1])
        assert free_port("sftp") not in {0, taken.getsockname()[1]}
