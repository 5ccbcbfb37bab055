"""Exports against a real SFTP server: what the commands say, and how a file gets there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crosswalk.cli import main
from crosswalk.connectors.base import ConnectionDetails
from crosswalk.connectors.sftp import SftpConnector
from crosswalk.core.errors import ConfigError
from crosswalk.hooks.credentials import resolve
from tests.simulators import sftp_server

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "newsletter_export"

pytestmark = pytest.mark.system


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sftp_server.SftpServer]:
    with sftp_server.running(tmp_path / "root", tmp_path / "state") as running:
        monkeypatch.setenv("AIRFLOW_CONN_EXAMPLE_SFTP", running.connection_json())
        yield running


@pytest.fixture
def connector(server: sftp_server.SftpServer) -> Iterator[SftpConnector]:
    details: ConnectionDetails = resolve("example_sftp")
    with SftpConnector(details) as opened:
        yield opened


@pytest.fixture
def command(
    server: sftp_server.SftpServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Any]:
    shutil.copytree(EXAMPLE / "files", server.root / "in")
    for name, value in (
        ("STORE", f"sqlite:///{tmp_path / 'store.db'}"),
        ("STAGING", str(tmp_path / "staging")),
        ("CONNECTIONS", str(EXAMPLE)),
        ("TENANT", str(EXAMPLE / "tenant")),
    ):
        monkeypatch.setenv(f"CROSSWALK_{name}", value)

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_the_commands_show_what_an_export_does(command: Callable[..., Any]) -> None:
    code, findings = command("check", "connection")
    rights = [item["message"] for item in findings if item["code"] == "right"]
    assert (code, any(text.startswith("write /out") for text in rights)) == (0, True)
    _, status = command("status", "connection")
    assert [(item["arrows"], item["out"]) for item in status] == [("<->", "new")]

    command("run", "connection", "--goal", "subscribers")
    code, plan = command("plan", "connection", "--goal", "mailing_list")
    (goal,) = [item for item in plan["goals"] if item["goal"] == "mailing_list"]
    assert (code, goal["state"], goal["counts"]["available"], goal["counts"]["exported"]) == (0, "planned", 2, 2)
    code, refused = command("apply", plan["run_id"])
    assert (code, refused["error"]["code"]) == (2, "no_plan")
    assert "exports are sent by crosswalk run" in refused["error"]["message"]

    _, run = command("run", "connection")
    (goal,) = [item for item in run["goals"] if item["goal"] == "mailing_list"]
    assert (goal["state"], goal["counts"]["files_written"]) == ("done", 1)
    _, looks = command("scan", "connection")
    (there,) = [look for look in looks if look["role"] == "destination"]
    assert (there["goal"], there["look"], there["size"]) == ("mailing_list", "there", goal["counts"]["bytes"])
    _, (status,) = command("status", "connection")
    assert (status["out"], status["unique_profiles"]) == ("ok", {"in": 2, "out": 2})
    _, shown = command("runs", run["run_id"])
    assert [item["counts"].get("exported") for item in shown["goals"]] == [None, 2]


def test_a_file_arrives_whole_in_a_folder_that_is_made_and_is_replaced_only_when_asked(
    connector: SftpConnector, server: sftp_server.SftpServer, tmp_path: Path
) -> None:
    local = tmp_path / "local.csv"
    local.write_text("first")
    assert connector.list_folder("/out/deep") == []
    connector.deliver(local, "/out/deep/a.csv", replace=False)
    local.write_text("second")
    with pytest.raises(ConfigError) as caught:
        connector.deliver(local, "/out/deep/a.csv", replace=False)
    assert caught.value.code == "name_taken"
    assert (server.root / "out/deep/a.csv").read_text() == "first"
    connector.deliver(local, "/out/deep/a.csv", replace=True)
    assert (server.root / "out/deep/a.csv").read_text() == "second"
    assert [file.name for file in connector.list_folder("/out/deep")] == ["a.csv"]
    assert [path.name for path in (server.root / "out/deep").iterdir()] == ["a.csv"]


def test_only_the_very_file_counts_as_delivered_and_leftovers_of_it_go(
    connector: SftpConnector, server: sftp_server.SftpServer, tmp_path: Path
) -> None:
    folder = server.root / "out"
    folder.mkdir()
    (folder / "a.csv").write_text("content")
    names = [".a.csv.0123456789ab.part", ".a.csv.part", ".b.csv.0123456789ab.part"]
    for name in names:
        (folder / name).write_text("half")
    sha256 = hashlib.sha256(b"content").hexdigest()
    assert connector.has_delivered("/out/a.csv", 7, sha256, tmp_path)
    assert not connector.has_delivered("/out/a.csv", 7, hashlib.sha256(b"another").hexdigest(), tmp_path)
    assert not connector.has_delivered("/out/a.csv", 8, sha256, tmp_path)
    assert not connector.has_delivered("/out/c.csv", 7, sha256, tmp_path)
    assert not connector.has_delivered("/nowhere/a.csv", 7, sha256, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names[1:], "a.csv"])


def test_what_was_delivered_can_be_withdrawn_and_what_is_gone_is_no_error(
    connector: SftpConnector, server: sftp_server.SftpServer
) -> None:
    (server.root / "out").mkdir()
    (server.root / "out" / "a.csv").write_text("content")
    connector.withdraw("/out/a.csv")
    connector.withdraw("/out/a.csv")
    assert list((server.root / "out").iterdir()) == []
