"""``init`` and ``map`` against a real SFTP server: from its files to a run, with nothing written by hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crosswalk.cli import main
from tests.simulators import sftp_server

pytestmark = pytest.mark.system

CUSTOMERS = "Export of the shop\n\nKlantnr;E-mail;Naam;Omzet;Sinds\n" + "".join(
    f"{number};p{number}@example.org;Zo\u00eb {number};1.{number:03},50;{number:02}/12/2025\n"
    for number in range(1, 29)
)
ORDERS = "order_id\tklantnr\tsku\n" + "".join(f"{n}\t{n % 28 + 1}\ts{n % 3}\n" for n in range(100, 160))
PRODUCTS = "sku,title\n" + "".join(f's{n},"Product, {n}"\n' for n in range(3))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sftp_server.SftpServer]:
    for name, value in (
        ("STORE", f"sqlite:///{tmp_path / 'store.db'}"),
        ("STAGING", str(tmp_path / "staging")),
        ("CONNECTIONS", str(tmp_path / "connections")),
        ("TENANT", str(tmp_path / "tenant")),
    ):
        monkeypatch.setenv(f"CROSSWALK_{name}", value)
    (tmp_path / "tenant").mkdir()
    (tmp_path / "connections").mkdir()
    with sftp_server.running(tmp_path / "root", tmp_path / "state") as running:
        monkeypatch.setenv("AIRFLOW_CONN_WEB_SFTP", running.connection_json())
        folder = running.root / "in"
        folder.mkdir()
        (folder / "klanten.csv").write_bytes(CUSTOMERS.encode("windows-1252"))
        (folder / "orders_20260101.tsv").write_bytes(ORDERS.encode("utf-16"))
        (folder / "products.csv.gz").write_bytes(gzip.compress(PRODUCTS.encode()))
        yield running


@pytest.fixture
def crosswalk(server: sftp_server.SftpServer, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_folder_of_messy_files_is_set_up_checked_planned_and_run(crosswalk: Callable[..., Any]) -> None:
    code, done = crosswalk("init", "web", "--path", "/in/", "--prefix", "shop_", "--write-properties")
    assert (code, done["properties_written"]) == (0, True)
    assert all("windows-1252" in line for line in done["uncertain"])
    code, findings = crosswalk("check", "web")
    assert (code, [item["message"] for item in findings if item["severity"] in {"error", "warning"}]) == (0, [])
    code, plan = crosswalk("plan", "web")
    assert (code, plan["goals"][0]["counts"]["created"]) == (0, 28)
    code, run = crosswalk("run", "web")
    assert (code, run["state"], run["goals"][0]["counts"]["invalid_values"]) == (0, "done", 0)
    _, profile = crosswalk("profile", "show", "e_mail=p7@example.org")
    held = profile["properties"]
    assert (held["shop_naam"], held["shop_omzet"]) == (["Zo\u00eb 7"], ["1007.5"])
    assert held["shop_title"][0].startswith("Product, ")


def test_a_file_of_one_kind_is_read_by_pattern_and_a_new_column_is_added(
    crosswalk: Callable[..., Any], server: sftp_server.SftpServer
) -> None:
    crosswalk("init", "web", "--path", "/in/klanten*.csv", "--write-properties")
    text = CUSTOMERS.replace("Sinds\n", "Sinds;Taal\n").replace("/12/2025\n", "/12/2025;nl\n")
    (server.root / "in" / "klanten.csv").write_bytes(text.encode("windows-1252"))
    code, added = crosswalk("map", "web", "--all", "--write-properties")
    assert (code, len(added["mappings"])) == (0, 1)
    assert "klanten.Taal" in added["mappings"][0]
    _, run = crosswalk("run", "web")
    assert run["state"] == "done"
    assert crosswalk("profile", "show", "e_mail=p7@example.org")[1]["properties"]["taal"] == ["nl"]


def test_a_wrong_path_and_an_untrusted_login_write_nothing(
    crosswalk: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: sftp_server.SftpServer
) -> None:
    assert main(["init", "web", "--path", "/nowhere/"]) == 2
    monkeypatch.setenv("AIRFLOW_CONN_WEB_SFTP", server.connection_json(host_key=None))
    monkeypatch.setenv("CROSSWALK_HOME", str(tmp_path / "home"))
    assert main(["init", "web", "--path", "/in/"]) == 2
    assert list((tmp_path / "connections").iterdir()) == []
