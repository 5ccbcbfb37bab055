"""Every shipped example runs as it is, against a real SFTP server, and leaves what its ``expected.json`` says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crosswalk.cli import main
from tests.simulators import sftp_server

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/connection.yaml"))
Command = Callable[..., Any]

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sftp_server.SftpServer]:
    folder = tmp_path_factory.mktemp("sftp")
    with sftp_server.running(folder / "root", folder / "state") as running:
        yield running


@pytest.fixture
def run_example(
    server: sftp_server.SftpServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[Path], Command]:
    """Lays an example out on the server; returns a function that runs commands of ``crosswalk`` on it."""

    def lay_out(example: Path) -> Command:
        inside = server.root / "in"
        for folder in (inside, server.root / "out"):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(example / "files", inside)
        monkeypatch.setenv("AIRFLOW_CONN_EXAMPLE_SFTP", server.connection_json())
        monkeypatch.setenv("CROSSWALK_STORE", f"sqlite:///{tmp_path / 'store.db'}")
        monkeypatch.setenv("CROSSWALK_STAGING", str(tmp_path / "staging"))
        monkeypatch.setenv("CROSSWALK_CONNECTIONS", str(example))
        monkeypatch.setenv("CROSSWALK_TENANT", str(example / "tenant"))
        monkeypatch.setenv("CROSSWALK_PROCESSORS", str(example / "processors"))
        return command

    def command(*arguments: str) -> Any:
        capsys.readouterr()
        code = main([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return lay_out


def missing_from(expected: dict[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
    """What is expected and not so, with what is there instead."""
    return {key: counts.get(key) for key, value in expected.items() if counts.get(key) != value}


def delivered(root: Path, pattern: str) -> list[str]:
    """The lines of the one file of that name in ``/out``, sorted, without the profile ids in the first column."""
    (path,) = (root / "out").glob(pattern)
    header, *lines = [line.partition(";")[2] for line in path.read_text(encoding="utf-8").splitlines()]
    return [header, *sorted(lines)]


def compare_events(crosswalk: Command, expected: dict[str, Any]) -> None:
    """The events of some profiles, the fields of some events, and the order of the products."""
    data: dict[str, Any] = {}
    for identifier, listed in expected.get("events", {}).items():
        _, profile = crosswalk("profile", "show", identifier)
        held = profile["events"]
        assert [[item["type"], item["event_id"], item["date"]] for item in held] == listed, identifier
        data |= {f"{item['type']} {item['event_id']}": item["data"] for item in held}
    wanted = expected.get("event_data", {})
    assert {key: data.get(key) for key in wanted} == wanted
    for by, listed in expected.get("products", {}).items():
        _, products = crosswalk("products", "--by", by)
        assert [item["product_id"] for item in products] == listed, by


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_does_what_it_says(
    example: Path, run_example: Callable[[Path], Command], server: sftp_server.SftpServer
) -> None:
    crosswalk = run_example(example)
    expected = json.loads((example / "expected.json").read_text(encoding="utf-8"))
    code, findings = crosswalk("check", "connection")
    assert (code, [f["message"] for f in findings if f["severity"] in {"error", "warning"}]) == (0, [])

    _, run = crosswalk("run", "connection")
    assert run["state"] == expected["state"], run
    counts = {goal["goal"]: goal["counts"] for goal in run["goals"]}
    assert {name: missing_from(wanted, counts[name]) for name, wanted in expected["goals"].items()} == {
        name: {} for name in expected["goals"]
    }
    for identifier, properties in expected["profiles"].items():
        _, profile = crosswalk("profile", "show", identifier)
        held = profile["properties"]
        assert {name: held.get(name) for name in properties} == properties, identifier
    for identifier in expected.get("nobody", []):
        code, _ = crosswalk("profile", "show", identifier)
        assert code == 1, f"{identifier} should not exist"
    for pattern, lines in expected.get("files", {}).items():
        assert delivered(server.root, pattern) == lines
    compare_events(crosswalk, expected)

    _, again = crosswalk("run", "connection")
    assert again["state"] == "nothing_new", again
    for pattern, lines in expected.get("files", {}).items():
        assert delivered(server.root, pattern) == lines
