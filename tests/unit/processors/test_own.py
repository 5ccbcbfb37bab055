"""A user's own processors: found, loaded, and told what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from crosswalk.config.connection import ImportProfiles
from crosswalk.core.errors import ConfigError
from crosswalk.processors import parse_processors, processor_names, try_processor

ROOT = Path(__file__).resolve().parents[3]

SHOUT = """
from crosswalk.processors import FrameProcessor

class Shout(FrameProcessor):
    def process(self, frame):
        for field in self.inputs:
            frame[field] = frame[field].str.upper()
        return frame
"""


def goal(*steps: dict[str, Any]) -> ImportProfiles:
    return ImportProfiles.model_validate(
        {
            "import_profiles": "people",
            "files": [{"name": "p", "path": "/in/p.csv"}],
            "identifiers": [{"field": "p.id", "property": "id"}],
            "processors": list(steps),
        }
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROSSWALK_PROCESSORS", str(tmp_path))
    return tmp_path


def test_a_file_in_the_folder_is_a_processor_of_its_name(folder: Path) -> None:
    (folder / "shout.py").write_text(SHOUT)
    (folder / "_shared.py").write_text("raise RuntimeError")
    assert "shout" in processor_names()
    assert "_shared" not in processor_names()
    assert try_processor({"shout": {"field": "p.name"}}, {"p.name": "an"}, {"p.name": None}) == [
        {"p.name": "AN"},
        {"p.name": None},
    ]


def test_listing_names_runs_no_code_of_the_user(folder: Path) -> None:
    (folder / "broken.py").write_text("raise RuntimeError('loaded')")
    assert "broken" in processor_names()
    parse_processors(goal({"trim": {"field": "p.id"}}))


def test_the_settings_of_an_own_processor_are_checked(folder: Path) -> None:
    (folder / "shout.py").write_text(SHOUT)
    with pytest.raises(ConfigError) as caught:
        parse_processors(goal({"shout": {"field": "p.name", "loud": True}}))
    assert "loud" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def broken(:\n    pass\n", "SyntaxError"),
        ("x = 1\nraise KeyError('why')\n", "line 2"),
        ("x = 1\n", "holds 0 classes"),
        (SHOUT + SHOUT.replace("class Shout", "class Twice"), "holds 2 classes"),
        ("import nowhere_to_be_found\n", "nowhere_to_be_found"),
    ],
)
def test_a_file_that_is_no_processor_is_named_with_its_fault(folder: Path, source: str, said: str) -> None:
    (folder / "mine.py").write_text(source)
    with pytest.raises(ConfigError) as caught:
        parse_processors(goal({"mine": {"field": "p.name"}}))
    assert "mine.py" in str(caught.value)
    assert said in str(caught.value)


def test_an_own_processor_cannot_take_the_name_of_a_built_in_one(folder: Path) -> None:
    (folder / "trim.py").write_text(SHOUT)
    with pytest.raises(ConfigError, match="built-in"):
        parse_processors(goal({"trim": {"field": "p.id"}}))


def test_an_unknown_name_is_answered_with_near_ones_of_both_kinds(folder: Path) -> None:
    (folder / "house_numbers.py").write_text(SHOUT)
    with pytest.raises(ConfigError) as caught:
        parse_processors(goal({"house_number": {"field": "p.id"}}, {"normalise_email": {"field": "p.id"}}))
    assert "did you mean house_numbers" in str(caught.value)
    assert "did you mean normalize_email" in str(caught.value)


def test_the_example_processor_takes_house_numbers_out_of_streets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSWALK_PROCESSORS", str(ROOT / "include" / "processors"))
    streets = ["Veldstraat 12", "Rue de la Loi 16 bte 3", "Kerkstraat, 7A", "Grote Markt", "", None, "Plein 1813 4"]
    rows = try_processor({"house_numbers": {"field": "p.street"}}, *({"p.street": street} for street in streets))
    assert [(row["street"], row["house_number"]) for row in rows] == [
        ("Veldstraat", "12"),
        ("Rue de la Loi", "16 bte 3"),
        ("Kerkstraat", "7A"),
        ("Grote Markt", ""),
        ("", ""),
        (None, None),
        ("Plein 1813", "4"),
    ]


def test_the_processor_of_the_documentation_works(folder: Path) -> None:
    page = (ROOT / "docs" / "processors.md").read_text(encoding="utf-8")
    source = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
    (folder / "initials.py").write_text(source)
    step = {"initials": {"field": "p.name", "to": "initials"}}
    rows = try_processor(step, {"p.name": "Jan Karel"}, {"p.name": ""}, {"p.name": None})
    assert [row["initials"] for row in rows] == ["J.K", "", None]
