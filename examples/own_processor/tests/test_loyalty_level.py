"""Run with ``pytest examples/own_processor``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crosswalk.core.errors import ConfigError
from crosswalk.processors.testing import Outcome, run_processors

PROCESSORS = Path(__file__).resolve().parents[1] / "processors"


def levels(*points: str | None, **settings: Any) -> Outcome:
    step = {"loyalty_level": {"field": "members.points", "to": "level", **settings}}
    return run_processors(step, rows=[{"members.points": value} for value in points], folder=PROCESSORS)


def test_points_decide_the_level() -> None:
    outcome = levels("5", "100", "1000", None)
    assert [row["level"] for row in outcome.rows] == ["bronze", "silver", "gold", None]


def test_a_member_who_left_is_filtered_and_a_wrong_number_set_aside() -> None:
    outcome = levels("5", "", "many")
    assert outcome.kept == [0]
    assert outcome.filtered == {"loyalty_level": 1}
    assert [(reject.row, reject.reason) for reject in outcome.rejects] == [(2, "processor_failed")]


def test_the_limits_are_settings() -> None:
    assert levels("50", gold=50).rows[0]["level"] == "gold"
    with pytest.raises(ConfigError, match="platinum"):
        levels("50", platinum=5)
