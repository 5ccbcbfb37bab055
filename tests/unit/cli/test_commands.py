"""Commands from their arguments to their exit code, over a folder instead of a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from crosswalk.cli.main import main
from crosswalk.core.errors import ConfigError
from crosswalk.transport.details import ConnectionDetails
from crosswalk.transport.host_keys import HostKey, HostKeyPolicy
from tests.acceptance.shop import Shop
from tests.simulators.folder_connector import FolderConnector

PLAIN = """
    row_key: [people.email]
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
    mappings: {fields: [{field: people.city, property: city}]}
"""
THREE = "email,city\nann@example.org,Gent\nbo@example.org,Aalst\nnot-an-address,Ronse\n"
MINE, OTHER = (HostKey.of(asyncssh.generate_private_key("ssh-ed25519")) for _ in range(2))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose connection the command line finds by name."""
    made = Shop(tmp_path, f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("CROSSWALK_STORE", made.store_uri)
    monkeypatch.setenv("CROSSWALK_STAGING", str(tmp_path / "staging"))
    monkeypatch.setenv("CROSSWALK_TENANT", str(tmp_path / "tenant"))
    monkeypatch.setenv("CROSSWALK_CONNECTIONS", str(tmp_path / "connections"))
    monkeypatch.setenv("CROSSWALK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("crosswalk.connectors.create", lambda kind, details: FolderConnector(made.source))
    monkeypatch.setattr("crosswalk.cli.connections.resolve", Shop.resolve)
    monkeypatch.setattr("crosswalk.cli.look.resolve", Shop.resolve)
    made.connection(PLAIN)
    return made


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Exit code and JSON document of a command."""
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


# -- plan and apply ---------------------------------------------------------------------------------------------------


def test_a_plan_is_applied_once_and_its_result_no_longer_says_that_it_only_plans(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.put("people.csv", THREE)
    _, plan = document(capsys, "plan", "shop")
    assert plan["goals"][0]["reason"] == "This run only plans."
    code, applied = document(capsys, "apply", plan["run_id"])
    assert (code, applied["state"], applied["goals"][0]["counts"]["created"]) == (3, "done_with_rejects", 2)
    assert "reason" not in applied["goals"][0]
    assert main(["apply", plan["run_id"]]) == 2
    assert "keeps no plan" in capsys.readouterr().err


def test_a_plan_whose_content_another_run_wrote_counts_nothing_again(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.put("people.csv", THREE)
    _, plan = document(capsys, "plan", "shop")
    _, run = document(capsys, "run", "shop")
    shop.put("people.csv", THREE.replace("Gent", "Brugge"))
    document(capsys, "run", "shop")
    code, applied = document(capsys, "apply", plan["run_id"])
    goal = applied["goals"][0]
    assert (code, applied["state"], goal["counts"]) == (0, "nothing_new", {})
    assert run["run_id"] in goal["reason"]
    assert shop.values("ann@example.org") == {"email": ["ann@example.org"], "city": ["Brugge"]}


# -- exit codes -------------------------------------------------------------------------------------------------------


def test_a_run_without_its_airflow_connection_ends_as_wrong_configuration(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(conn_id: str) -> ConnectionDetails:
        raise ConfigError(f'There is no Airflow connection "{conn_id}".', code="no_connection")

    def create(kind: str, details: ConnectionDetails) -> FolderConnector:
        raise AssertionError("nothing may be opened")

    monkeypatch.setattr("crosswalk.cli.connections.resolve", resolve)
    monkeypatch.setattr("crosswalk.connectors.create", create)
    code, run = document(capsys, "run", "shop")
    assert (code, run["state"], run["goals"][0]["error"]["code"]) == (2, "failed", "no_connection")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["run", "shop", "--goal", "nobody"], 2, "unknown_goal"),
        (["plan", "shop", "--since", "yesterday"], 2, "bad_period"),
    ],
)
def test_wrong_use_of_a_run_ends_with_2(
    shop: Shop, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, error: str
) -> None:
    shop.put("people.csv", THREE)
    found, run = document(capsys, *arguments)
    errors = [goal["error"]["code"] for goal in run["goals"]] or [run["error"]["code"]]
    assert (found, errors) == (code, [error])


def test_a_file_that_cannot_be_read_ends_with_1(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.put("people.csv", "name\nAnn\n")
    code, run = document(capsys, "run", "shop")
    assert (code, run["goals"][0]["error"]["code"]) == (1, "missing_column")


# -- what people read -------------------------------------------------------------------------------------------------


def test_a_run_shows_why_values_were_set_aside_and_where_to_look(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.put("people.csv", THREE)
    assert main(["run", "shop"]) == 3
    shown = capsys.readouterr().out
    assert "Goal people: done_with_rejects\n" in shown
    assert "invalid value: invalid_email" in shown
    run_id = shop.store().runs()[0]["run_id"]
    assert f"crosswalk rejects {run_id}" in shown
    assert main(["rejects", run_id]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1 rejects of run")
    assert "what it says" in shown
    assert main(["rejects", run_id, "--limit", "1"]) == 0
    assert capsys.readouterr().out.startswith("The first 1 rejects of run")


def test_a_goal_without_counts_shows_no_empty_table(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "shop"]) == 0
    shown = capsys.readouterr().out
    assert "Goal people: nothing_new\n" in shown
    assert "number" not in shown
    assert "rejects" not in shown


# -- looking before ---------------------------------------------------------------------------------------------------


def test_a_preview_shows_which_records_could_not_be_read(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.put("people.csv", 'email,city,city\nann@example.org,Gent,\nbo@example.org,"Aalst\ncy@example.org,Ronse,\n')
    code, shown = document(capsys, "preview", "shop", "--unmasked")
    assert (code, shown["total"], shown["columns"]) == (0, 2, ["email", "city", "city_2"])
    assert [(item["line"], item["reason"]) for item in shown["rejects"]] == [(3, "unclosed_quote")]
    assert [text.partition(":")[0] for text in shown["warnings"]] == ["duplicate_header", "rows_quarantined"]
    assert main(["preview", "shop"]) == 0
    text = capsys.readouterr().out
    assert "line 3, unclosed_quote: A quoted cell that opens here is not closed." in text
    assert "bo@example.org" not in text


def test_a_preview_says_which_columns_it_masks_and_only_those(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.put("people.csv", THREE)
    assert main(["preview", "shop"]) == 0
    shown = capsys.readouterr().out
    assert "ann@example.org" not in shown
    assert "Masked, because they are linked or mapped to personal properties: email." in shown
    shop.put("people.csv", THREE.replace(",", "\t"))
    assert main(["preview", "shop"]) == 0
    shown = capsys.readouterr().out
    assert 'separator_doubtful: The header is one column that holds "tab"' in shown
    assert "asked" not in shown


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (THREE.replace(",", ";"), 'Its header is one column that holds ";": set `separator` in the format.'),
        (THREE.replace(",", "|"), 'Its header is one column that holds "|"'),
        (THREE.replace("email", "E-mail"), 'Did you mean "E-mail"? Its columns: E-mail, city.'),
    ],
)
def test_a_missing_column_comes_with_the_likely_mistake(
    shop: Shop, capsys: pytest.CaptureFixture[str], command: str, text: str, said: str
) -> None:
    shop.put("people.csv", text)
    assert main([command, "shop"]) in (1, 2)
    assert said in capsys.readouterr().out


def test_checking_an_empty_file_is_a_doubt_and_no_error(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.put("people.csv", "")
    code, findings = document(capsys, "check", "shop")
    assert (code, [(item["severity"], item["code"]) for item in findings if item["severity"] != "info"]) == (
        0,
        [("warning", "empty_file")],
    )


# -- trust ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> ConnectionDetails:
    """A server that shows the key MINE; the connection's extras can be changed."""
    details = ConnectionDetails("shop_sftp", host="sftp.example.org", port=22, login="u", extra={})
    monkeypatch.setattr("crosswalk.cli.setup.resolve", lambda conn_id: details)
    monkeypatch.setattr("crosswalk.transport.sftp.fetch_host_key", lambda given: MINE)
    return details


def test_nobody_there_to_answer_means_no(
    server: ConnectionDetails, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_the_end(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", at_the_end)
    assert main(["trust", "shop_sftp"]) == 1
    assert "Nothing was stored." in capsys.readouterr().out
    assert not HostKeyPolicy.of(server).trusted


def test_a_key_that_is_trusted_already_is_not_asked_about(
    server: ConnectionDetails, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["trust", "shop_sftp", "--yes"]) == 0
    monkeypatch.setattr("builtins.input", lambda question: pytest.fail("asked again"))
    assert main(["trust", "shop_sftp"]) == 0
    assert "trusted already" in capsys.readouterr().out


def test_a_changed_key_is_shown_beside_the_old_one(
    server: ConnectionDetails, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["trust", "shop_sftp", "--yes"]) == 0
    monkeypatch.setattr("crosswalk.transport.sftp.fetch_host_key", lambda given: OTHER)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["trust", "shop_sftp"]) == 1
    shown = capsys.readouterr().out
    assert MINE.fingerprint in shown.rpartition("another key than the trusted one")[2]
    assert HostKeyPolicy.of(server).accepts(MINE)


def test_a_key_that_the_connection_pins_elsewhere_is_not_stored_in_vain(
    server: ConnectionDetails, capsys: pytest.CaptureFixture[str]
) -> None:
    server.extra["host_key"] = OTHER.text
    assert main(["trust", "shop_sftp", "--yes"]) == 2
    captured = capsys.readouterr()
    assert "Stored" not in captured.out
    assert 'extra "host_key"' in captured.err


@pytest.mark.parametrize(
    "words",
    [["runs", "--limit", "-5"], ["rejects", "r", "--limit", "x"], ["undo", "\udcff"], ["trace", "email=\udcff"]],
)
def test_arguments_that_mean_nothing_are_wrong_use(shop: Shop, words: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(words)
    assert refused.value.code == 2
