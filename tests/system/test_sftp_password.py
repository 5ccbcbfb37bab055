"""Password logins, against the server of the demo (OpenSSH takes only passwords of the machine's own users)."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from crosswalk.core.errors import AuthenticationError, ConfigError, RetryableError
from crosswalk.hooks.credentials import resolve
from crosswalk.transport.sftp import SftpSession
from tests.simulators import sftp_server

pytestmark = pytest.mark.system
PASSWORD = "Zeer-Geheim_9481 ü"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sftp_server.SftpServer]:
    folder = tmp_path_factory.mktemp("sftp")
    with sftp_server.running(folder / "data", folder / "state", password=PASSWORD) as running:
        (running.root / "in").mkdir()
        (running.root / "in" / "a.csv").write_bytes(b"a,b\n1,2\n")
        yield running


def open_with(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", text)
    return SftpSession.open(resolve("shop"))


def test_the_right_password_lets_in(server: sftp_server.SftpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_with(monkeypatch, server.connection_json(PASSWORD, auth_method="password")) as session:
        assert [file.path for file in session.list("/in")] == ["/in/a.csv"]
    assert server.diary.logins[-1] == ("shop", "password")


def test_a_wrong_password_is_named_and_not_shown(
    server: sftp_server.SftpServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = f"{PASSWORD}x"

    with pytest.raises(AuthenticationError) as caught, open_with(monkeypatch, server.connection_json(wrong)):
        pass

    assert caught.value.code == "login_refused"
    assert "password" in str(caught.value)
    assert '"shop"' in str(caught.value)
    chain, error = "", caught.value
    while error is not None:
        chain += repr(error) + str(error)
        error = error.__cause__ or error.__context__
    assert "Geheim" not in chain
    assert "Geheim" not in caplog.text


def test_a_password_is_not_sent_to_a_server_that_is_not_trusted(
    server: sftp_server.SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    before = len(server.diary.logins), len(server.diary.refused)

    with (
        pytest.raises(AuthenticationError),
        open_with(monkeypatch, server.connection_json(PASSWORD, host_key=stranger)),
    ):
        pass

    assert (len(server.diary.logins), len(server.diary.refused)) == before


def test_with_a_key_and_a_password_the_key_is_used(
    server: sftp_server.SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = server.connection_json(PASSWORD, key_file=str(server.user_key))

    with open_with(monkeypatch, text):
        pass
    assert server.diary.logins[-1] == ("shop", "public_key")
    with open_with(
        monkeypatch, server.connection_json(PASSWORD, key_file=str(server.user_key), auth_method="password")
    ):
        pass
    assert server.diary.logins[-1] == ("shop", "password")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"host": ""}, "host is missing"),
        ({"login": None}, "login is missing"),
        ({"password": ""}, "password, private_key or key_file is missing"),
        ({"extra": {"auth_method": "public_key"}}, "private_key (or key_file) is missing"),
        ({"password": None, "extra": {"auth_method": "password"}}, "password is missing"),
        ({"extra": {"auth_method": "kerberos"}}, "Use password or public_key"),
        ({"extra": {"auth_method": "Password"}}, "Use password or public_key"),
    ],
)
def test_a_missing_or_wrong_field_is_named(
    server: sftp_server.SftpServer, monkeypatch: pytest.MonkeyPatch, change: dict, names: str
) -> None:
    text = json.dumps({**json.loads(server.connection_json(PASSWORD)), **change})

    with pytest.raises(ConfigError) as caught, open_with(monkeypatch, text):
        pass

    assert names in str(caught.value)
    assert '"shop"' in str(caught.value)


@pytest.mark.parametrize("port", [None, 0, ""])
def test_an_empty_port_is_22(server: sftp_server.SftpServer, monkeypatch: pytest.MonkeyPatch, port: object) -> None:
    asked = []

    async def connect(host: str, port: int, **_: object) -> None:
        asked.append((host, port))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(asyncssh, "connect", connect)
    text = json.dumps({**json.loads(server.connection_json(PASSWORD)), "port": port})

    with pytest.raises(RetryableError) as caught, open_with(monkeypatch, text):
        pass

    assert asked == [("127.0.0.1", 22)]
    assert "127.0.0.1:22" in str(caught.value)


def test_a_closed_port_and_an_unknown_name_are_tried_again_later(
    server: sftp_server.SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        text = json.dumps({**json.loads(server.connection_json(PASSWORD)), "port": port})
        with pytest.raises(RetryableError, match="cannot be reached"), open_with(monkeypatch, text):
            pass
    text = json.dumps({**json.loads(server.connection_json(PASSWORD)), "host": "no-such-host.invalid"})
    with pytest.raises(RetryableError) as caught, open_with(monkeypatch, text):
        pass
    assert caught.value.code == "unknown_host"


def test_a_server_that_is_no_ssh_server_is_named_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fields = {"host": "127.0.0.1", "port": port, "login": "u", "password": "p", "extra": {"conn_timeout": 0.5}}
        started = time.monotonic()
        with pytest.raises(RetryableError) as caught, open_with(monkeypatch, json.dumps(fields)):
            pass
    assert caught.value.code == "timeout"
    assert time.monotonic() - started < 0.6 + 1  # 1.2 times the limit, and room for a busy machine


def test_the_server_runs_as_a_program_and_keeps_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "tests.simulators.sftp_server", "--root", str(tmp_path / "data")]
    command += ["--state", str(tmp_path / "state")]
    seen = []
    for _ in range(2):
        (tmp_path / "state" / "server.json").unlink(missing_ok=True)
        child = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        try:
            limit = time.monotonic() + 30
            while not (tmp_path / "state" / "server.json").exists():
                assert child.poll() is None
                assert time.monotonic() < limit
                time.sleep(0.02)
            facts = json.loads((tmp_path / "state" / "server.json").read_text())
            extra = {"key_file": facts["key_file"], "host_key": facts["host_key"]}
            fields = {"host": facts["host"], "port": facts["port"], "login": facts["user"], "extra": extra}
            with open_with(monkeypatch, json.dumps(fields)) as session:
                assert session.list("/") == []
            seen.append((facts["host_key"], facts["fingerprint"]))
            assert Path(facts["key_file"]).stat().st_mode & 0o077 == 0
        finally:
            child.terminate()
            child.wait(timeout=10)
    assert seen[0] == seen[1]
