from __future__ import annotations

import json
from pathlib import Path

import pytest

from crosswalk.cli.main import main

FIXTURE = Path(__file__).parents[2] / "fixtures" / "tenant"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tenant model of the fixtures, in use."""
    for path in FIXTURE.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setenv("CROSSWALK_TENANT", str(tmp_path))
    return tmp_path


def test_a_sound_model_says_what_it_holds(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "check"]) == 0
    told = capsys.readouterr().out
    assert "unique identifiers: customer_id, email\n" in told
    assert "group types: household\n" in told
    assert "segments: newsletter_readers, buyers, others\n" in told
    assert "email_clicked, visit\n" in told


def test_every_problem_of_every_file_is_told_with_its_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (model / "segments.yaml").open("a") as file:
        file.write("  lost: {any: [{segment: nowhere}]}\n")
    with (model / "group_types.yaml").open("a") as file:
        file.write("      city: {}\n")
    assert main(["model", "check", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    errors = [item for item in document["findings"] if item["severity"] == "error"]
    assert [(Path(item["file"]).name, item["line"], item["code"]) for item in errors] == [
        ("group_types.yaml", 8, "group_property_prefix"),
        ("segments.yaml", 15, "unknown_segment"),
    ]
    assert document["merge_rules"] == 2
