"""The equation: every row that was read ends in exactly one bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crosswalk.core.errors import FatalError
from crosswalk.core.staging import GoalFolder, write_json
from crosswalk.steps.accounting import total_counts


def plan(**changes: Any) -> dict[str, Any]:
    return {
        "unchanged_rows_skipped": 2,
        "excluded": {"no_identifier": 1},
        "applied": 4,
        "created": 3,
        "updated": 1,
        "unchanged": 0,
        "rounded_values": 0,
        "overwritten_profiles": 1,
        "cleared_values": 0,
        "touched_existing": 1,
        **changes,
    }


def folder(tmp_path: Path) -> GoalFolder:
    made = GoalFolder(tmp_path)
    write_json(made.sources, {"counts": {"rows_read": 9, "primary_records_quarantined": 2, "files_read": 1}})
    write_json(tmp_path / "process.json", {"filtered": {"filter": 1}})
    return made


SET_ASIDE = [
    {"scope": "row", "reason": "too_few_columns", "primary": True, "count": 2},
    {"scope": "row", "reason": "ambiguous_match", "primary": True, "count": 1},
    {"scope": "row", "reason": "too_few_columns", "primary": False, "count": 5},
    {"scope": "value", "reason": "invalid_number", "primary": True, "count": 7},
]


def test_rows_values_and_linked_records_are_counted_apart(tmp_path: Path) -> None:
    counts = total_counts(folder(tmp_path), plan(), SET_ASIDE)
    assert counts["rows_read"] == 11
    assert counts["quarantined"] == {"too_few_columns": 2, "ambiguous_match": 1}
    assert counts["linked_quarantined"] == {"too_few_columns": 5}
    assert (counts["invalid_values"], counts["filtered"]) == (7, 1)


@pytest.mark.parametrize("applied", [3, 5])
def test_a_row_that_is_missing_or_counted_twice_stops_the_run(tmp_path: Path, applied: int) -> None:
    with pytest.raises(FatalError, match="nothing was written") as caught:
        total_counts(folder(tmp_path), plan(applied=applied), SET_ASIDE)
    assert caught.value.code == "accounting"
