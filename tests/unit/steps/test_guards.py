"""Guards hold a goal when a plan does more than a person allowed."""

from __future__ import annotations

import pytest

from crosswalk.config.connection import Guards
from crosswalk.steps.guards import tripped_guards

PLAN = {"overwritten_profiles": 6, "touched_existing": 10, "cleared_values": 3}


@pytest.mark.parametrize(
    ("guards", "expected"),
    [
        ({}, 0),
        ({"max_created": 5}, 0),
        ({"max_created": 4}, 1),
        ({"max_overwritten_share": 0.6}, 0),
        ({"max_overwritten_share": 0.5}, 1),
        ({"max_cleared": 3}, 0),
        ({"max_cleared": 2}, 1),
        ({"max_created": 0, "max_overwritten_share": 0, "max_cleared": 0}, 3),
    ],
)
def test_each_guard_trips_above_its_limit_and_not_at_it(guards: dict[str, float], expected: int) -> None:
    assert len(tripped_guards(Guards.model_validate(guards), {"created": 5}, PLAN)) == expected


def test_a_plan_that_touches_no_existing_profile_overwrites_nothing() -> None:
    guards = Guards(max_overwritten_share=0)
    assert tripped_guards(guards, {"created": 5}, {"overwritten_profiles": 0, "touched_existing": 0}) == []
