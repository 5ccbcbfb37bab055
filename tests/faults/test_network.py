"""SFTP through a proxy that cuts, hangs, slows down or damages the connection, before a real OpenSSH server.

After each fault: no partial file under a final name, here or there; the error is one that says "try again" (or the
transfer was whole); and one plain retry ends as an undisturbed transfer would. Seeds are printed; give one back with
``CROSSWALK_SEED``.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crosswalk.connectors.base import ConnectionDetails
from crosswalk.core.errors import CrosswalkError, RetryableError
from crosswalk.hooks.credentials import resolve
from crosswalk.transport.sftp import SftpSession
from tests.simulators import openssh, tcp_proxy
from tests.simulators.tcp_proxy import Fault

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not openssh.is_available(), reason=openssh.MISSING),
]
SEED = int(os.environ.get("CROSSWALK_SEED") or random.randrange(2**32))
DATA = random.Random(17).randbytes(2_000_003)
OLD = b"what lay there before"
LIMIT_SECONDS = 1.0
# What a busy machine may add to a measured time: starting a session, switching between processes.
SLACK_SECONDS = 1.5


@dataclass
class Line:
    """A server behind a proxy, and what an undisturbed transfer is like on it."""

    server: openssh.OpenSsh
    proxy: tcp_proxy.TcpProxy
    login: dict[str, int]
    whole: dict[str, dict[str, int]]

    def cuts(self, way: str, direction: str, count: int = 20) -> list[int]:
        """Bytes after which to break: the edges of login and transfer, and places by chance between them."""
        last, begun = self.whole[way][direction], self.login[direction]
        edges = [0, 1, 21, begun, begun + 1, last - 1, last]
        chance = random.Random(f"{SEED}{way}{direction}")
        return edges + [chance.randrange(2, last) for _ in range(count - len(edges))]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("network")
    with openssh.running(folder / "ssh") as server, tcp_proxy.running("127.0.0.1", server.port) as proxy:
        (server.root / "a.csv").write_bytes(DATA)
        (folder / "up.csv").write_bytes(DATA)
        made = Line(server, proxy, {}, {})
        os.environ["AIRFLOW_CONN_LINE"] = connection(made)
        try:
            with SftpSession.open(resolve("line")) as session:
                session.stat(str(server.root))
            made.login = dict(proxy.passed)
            with SftpSession.open(resolve("line")) as session:
                session.download(f"{server.root}/a.csv", folder / "down.csv")
            made.whole["download"] = dict(proxy.passed)
            with SftpSession.open(resolve("line")) as session:
                session.upload(folder / "up.csv", f"{server.root}/b.csv")
            made.whole["upload"] = dict(proxy.passed)
        finally:
            del os.environ["AIRFLOW_CONN_LINE"]
        yield made


def connection(line: Line, **extra: object) -> str:
    timeouts = {"conn_timeout": 3, "inactivity_timeout": LIMIT_SECONDS}
    return line.server.connection_json(port=line.proxy.port, **{**timeouts, **extra})


@pytest.fixture
def details(line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectionDetails]:
    monkeypatch.setenv("AIRFLOW_CONN_LINE", connection(line))
    yield resolve("line")
    line.proxy.fault = Fault()


def attempt(details: ConnectionDetails, way: str, here: Path, there: str) -> tuple[CrosswalkError | None, int]:
    """One transfer; the error if it failed, and where it resumed."""
    try:
        with SftpSession.open(details) as session:
            if way == "download":
                return None, session.download(there, here).resumed_at
            session.upload(here, there)
            return None, 0
    except CrosswalkError as error:
        return error, 0


def trial(line: Line, details: ConnectionDetails, folder: Path, way: str, fault: Fault, *, old: bool) -> int:
    """Break one transfer, look at what is left, retry; returns where the retry resumed."""
    note = f"CROSSWALK_SEED={SEED} {way} {fault}"
    folder.mkdir()
    remote = line.server.root / folder.name
    remote.mkdir()
    here, there = (folder / "x.csv", line.server.root / "a.csv") if way == "download" else (None, None)
    if way == "upload":
        here, there = folder / "source.csv", remote / "x.csv"
        here.write_bytes(DATA)
        if old:
            there.write_bytes(OLD)
    line.proxy.fault = fault
    error, _ = attempt(details, way, here, str(there))
    line.proxy.fault = Fault()

    # What is damaged before anything is encrypted may look like another host key or another offer of algorithms.
    plain = fault.kind == "flip" and fault.after < line.login[fault.direction]
    assert error is None or isinstance(error, RetryableError) or plain, f"{note}: {error}"
    final = here if way == "download" else there
    if error is None:
        assert final.read_bytes() == DATA, f"{note}: reported whole, and is not"
    elif final.exists():
        assert final.read_bytes() in ((OLD,) if old else ()) or final.read_bytes() == DATA, f"{note}: half a file"
    visible = {path.name for path in (folder, remote)[way == "upload"].iterdir() if not path.name.endswith(".part")}
    assert visible <= {"x.csv"}, note

    again, resumed_at = attempt(details, way, here, str(there))
    assert again is None, f"{note}: the retry failed: {again}"
    assert hashlib.sha256(final.read_bytes()).digest() == hashlib.sha256(DATA).digest(), note
    if way == "download":
        assert [path.name for path in folder.iterdir()] == ["x.csv"], note
    return resumed_at


@pytest.mark.parametrize("way", ["download", "upload"])
@pytest.mark.parametrize("kind", ["reset", "close"])
def test_a_cut_at_any_byte_leaves_nothing_half_and_a_retry_completes(
    line: Line, details: ConnectionDetails, tmp_path: Path, way: str, kind: str
) -> None:
    direction = "down" if way == "download" else "up"
    resumed, fired = 0, line.proxy.fired
    cuts = line.cuts(way, direction, 20 if kind == "reset" else 9)
    for number, after in enumerate(cuts):
        fault = Fault(kind, after, direction)
        resumed += trial(line, details, tmp_path / f"{way}{kind}{number}", way, fault, old=number % 2 == 0) > 0

    assert line.proxy.fired - fired >= len(cuts) - 2, "the faults did not take effect"
    if way == "download":
        assert resumed >= (2 if kind == "reset" else 1), "no retry went on where the first try had stopped"


@pytest.mark.parametrize("way", ["download", "upload"])
def test_a_cut_of_the_other_direction_does_no_harm_either(
    line: Line, details: ConnectionDetails, tmp_path: Path, way: str
) -> None:
    direction = "up" if way == "download" else "down"
    for number, after in enumerate(line.cuts(way, direction, 8)):
        trial(line, details, tmp_path / f"{way}other{number}", way, Fault("reset", after, direction), old=False)


@pytest.mark.parametrize("way", ["download", "upload"])
def test_a_hang_ends_in_time_and_a_retry_completes(
    line: Line, details: ConnectionDetails, tmp_path: Path, way: str
) -> None:
    direction = "down" if way == "download" else "up"
    last, begun = line.whole[way][direction], line.login[direction]
    for number, after in enumerate([begun + 1, (begun + last) // 2, last - 1000]):
        fault, started = Fault("hang", after, direction), time.monotonic()
        line.proxy.fault = fault
        folder = tmp_path / f"timed{number}"
        folder.mkdir()
        (folder / "source.csv").write_bytes(DATA)
        here, there = (folder / "x.csv", f"{line.server.root}/a.csv")
        if way == "upload":
            here, there = folder / "source.csv", f"{line.server.root}/timed{way}{number}.csv"
        error, _ = attempt(details, way, here, there)
        took = time.monotonic() - started
        line.proxy.fault = Fault()

        assert error is not None, f"{fault}: the hang was not noticed"
        assert error.code == "timeout"
        assert took < 1.2 * LIMIT_SECONDS + SLACK_SECONDS, f"{fault}: ended after {took:.1f} s"
        assert not Path(there).exists() or way == "download"
        assert not (folder / "x.csv").exists()
        assert attempt(details, way, here, there)[0] is None
        assert (folder / "x.csv" if way == "download" else Path(there)).read_bytes() == DATA


def test_a_hang_while_logging_in_ends_in_time(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LINE", connection(line, conn_timeout=LIMIT_SECONDS))
    for after in (0, 1, line.login["down"] // 2):
        line.proxy.fault, started = Fault("hang", after, "down"), time.monotonic()
        with pytest.raises(RetryableError) as caught, SftpSession.open(resolve("line")):
            pass
        line.proxy.fault = Fault()

        assert caught.value.code == "timeout"
        assert time.monotonic() - started < 1.2 * LIMIT_SECONDS + SLACK_SECONDS


@pytest.mark.parametrize("way", ["download", "upload"])
def test_a_slow_line_is_not_a_hang(line: Line, details: ConnectionDetails, tmp_path: Path, way: str) -> None:
    direction = "down" if way == "download" else "up"
    rate = 20_000 if way == "download" else 200_000
    after = line.whole[way][direction] - int(rate * 2.5 * LIMIT_SECONDS)
    here, there = tmp_path / "x.csv", f"{line.server.root}/a.csv"
    if way == "upload":
        here.write_bytes(DATA)
        there = f"{line.server.root}/slow.csv"
    line.proxy.fault = Fault("limit", after, direction, rate)
    fired, started = line.proxy.fired, time.monotonic()

    error, _ = attempt(details, way, here, there)

    assert error is None
    assert line.proxy.fired > fired
    assert time.monotonic() - started > 1.5 * LIMIT_SECONDS, "the line was not slow enough to prove anything"
    assert here.read_bytes() == Path(there).read_bytes() == DATA


@pytest.mark.parametrize("way", ["download", "upload"])
def test_a_changed_byte_is_never_taken(line: Line, details: ConnectionDetails, tmp_path: Path, way: str) -> None:
    direction = "down" if way == "download" else "up"
    fired = line.proxy.fired
    cuts = [after for after in line.cuts(way, direction, 10) if after < line.whole[way][direction] - 1]
    for number, after in enumerate(cuts):
        trial(line, details, tmp_path / f"{way}flip{number}", way, Fault("flip", after, direction), old=True)

    assert line.proxy.fired > fired


def test_a_connection_that_is_cut_again_and_again_still_gets_there(
    line: Line, details: ConnectionDetails, tmp_path: Path
) -> None:
    line.proxy.fault = Fault("reset", line.login["down"] + len(DATA) // 3)
    here, tries = tmp_path / "x.csv", 0
    while not here.exists():
        tries += 1
        assert tries < 40, (
            "no progress is kept from try to try"
        )  # a reset may drop what a busy machine has not read yet
        attempt(details, "download", here, f"{line.server.root}/a.csv")

    assert tries > 2
    assert here.read_bytes() == DATA
