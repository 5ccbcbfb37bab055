"""Row X-02: the catalogue of connection kinds, its search, and ``--all``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crosswalk.cli.main import main
from crosswalk.connectors import KINDS
from crosswalk.connectors.catalogue import CATALOGUE


def kinds(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["kinds", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_kind_that_can_run_is_listed_and_no_other_unless_all_are_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert {item["kind"] for item in kinds(capsys)} == set(KINDS.names)
    listed = kinds(capsys, "--all")
    assert [item["kind"] for item in listed] == [entry.name for entry in CATALOGUE]
    assert {item["kind"] for item in listed if item["available"]} == set(KINDS.names)


@pytest.mark.parametrize(("term", "found"), [("SFTP", ["sftp"]), ("csv files", ["sftp"]), ("nothing", [])])
def test_a_term_is_looked_for_in_names_and_descriptions(
    capsys: pytest.CaptureFixture[str], term: str, found: list[str]
) -> None:
    assert [item["kind"] for item in kinds(capsys, *term.split())] == found


def test_a_hidden_kind_is_found_with_all_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = CATALOGUE[0]
    hidden = type(entry)("elsewhere", "Elsewhere", "A system of a later release.")
    monkeypatch.setattr("crosswalk.connectors.catalogue.CATALOGUE", (entry, hidden))
    assert kinds(capsys, "elsewhere") == []
    assert kinds(capsys, "elsewhere", "--all")[0]["available"] is False
    assert main(["kinds", "elsewhere"]) == 0
    assert "--all" in capsys.readouterr().out
