"""The helper for tests of a user's own processors finds what a run would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosswalk.core.errors import ConfigError
from crosswalk.processors.testing import Reject, run_processors

HEAD = "from crosswalk.processors import FrameProcessor\n\nclass Mine(FrameProcessor):\n    def process(self, frame):\n"
STEP = {"mine": {"field": "p.name", "to": "made"}}


def written(folder: Path, body: str) -> Path:
    (folder / "mine.py").write_text(HEAD + "".join(f"        {line}\n" for line in body.splitlines()))
    return folder


def test_rows_come_back_with_what_was_made(tmp_path: Path) -> None:
    folder = written(tmp_path, "frame['made'] = frame['p.name'].str.upper()\nreturn frame")
    outcome = run_processors(
        {"trim": {"field": "p.name"}}, STEP, rows=[{"p.name": " an "}, {"p.name": None}], folder=folder
    )
    assert outcome.rows == [{"p.name": "an", "made": "AN"}, {"p.name": None, "made": None}]
    assert (outcome.kept, outcome.rejects, outcome.filtered) == ([0, 1], [], {"mine": 0} if outcome.filtered else {})


def test_a_row_on_which_it_raises_is_a_reject_without_its_text(tmp_path: Path) -> None:
    folder = written(tmp_path, "frame['made'] = frame['p.name'].map(lambda value: str(int(value)))\nreturn frame")
    outcome = run_processors(STEP, rows=[{"p.name": "1"}, {"p.name": "secret"}, {"p.name": "3"}], folder=folder)
    (reject,) = outcome.rejects
    assert isinstance(reject, Reject)
    assert (reject.row, reject.reason, outcome.kept) == (1, "processor_failed", [0, 2])
    assert "secret" not in reject.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return frame", "processor_contract"),
        ("frame['made'] = frame['p.name'].iloc[0]\nreturn frame", "row_dependent"),
        ("frame['made'] = [str(n) for n in range(len(frame))]\nreturn frame", "row_dependent"),
        ("frame['made'] = frame['p.name']\nreturn frame.drop_duplicates('made')", "row_dependent"),
    ],
)
def test_what_breaks_the_contract_is_refused(tmp_path: Path, body: str, code: str) -> None:
    rows = [{"p.name": name} for name in ("an", "bo", "an")]
    with pytest.raises(ConfigError) as caught:
        run_processors(STEP, rows=rows, folder=written(tmp_path, body))
    assert caught.value.code == code


def test_settings_and_nested_fields_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no processor"):
        run_processors({"nothing": {}}, rows=[], folder=tmp_path)
    with pytest.raises(ConfigError) as caught:
        run_processors({"filter": {"field": "p.name", "keep": ["a"]}}, rows=[{"p.name": ["a", "b"]}])
    assert caught.value.code == "nested_field"
