"""Which files a run reads, and the reason it gives."""

from __future__ import annotations

from typing import Any

import pytest

from crosswalk.config.connection import ImportProfiles
from crosswalk.connectors.base import RemoteFile
from crosswalk.core.errors import ConfigError
from crosswalk.steps.scan import _look, decide
from crosswalk.store.base import FileRecord, GoalState

GOAL = ImportProfiles.model_validate(
    {
        "import_profiles": "orders",
        "files": [
            {"name": "orders", "path": "/in/orders_*.csv"},
            {"name": "people", "path": "/in/people.csv", "link": {"id": "orders.person"}},
        ],
        "identifiers": [{"field": "people.email", "property": "email"}],
    }
)


def look(path: str, state: str, block: str = "orders") -> dict[str, Any]:
    return {"path": path, "block": block, "role": "primary" if block == "orders" else block, "look": state}


def decided(looks: list[dict[str, Any]], *, known: str | None = "same", full: bool = False) -> dict[str, Any]:
    state = GoalState(1, 3, known, None, None)
    return decide(GOAL, looks, state, "same", full=full)


def paths(decision: dict[str, Any]) -> list[str]:
    return [item["path"] for item in decision["selected"]]


def test_only_new_and_changed_primary_files_are_read_with_all_linked_files() -> None:
    looks = [look("a", "unchanged"), look("b", "changed"), look("c", "new"), look("p", "unchanged", "people")]
    decision = decided(looks)
    assert paths(decision) == ["b", "c", "p"]
    assert (decision["reason"], decision["take_all"]) == ("new or changed files", False)
    assert decision["files_skipped"] == 1


def test_a_changed_linked_file_reads_every_primary_file_that_is_there() -> None:
    decision = decided([look("a", "unchanged"), look("p", "changed", "people")])
    assert paths(decision) == ["a", "p"]
    assert (decision["reason"], decision["take_all"]) == ("a linked file changed", False)


def test_a_changed_configuration_reads_all_files_and_all_rows() -> None:
    decision = decided([look("a", "unchanged"), look("p", "unchanged", "people")], known="other")
    assert paths(decision) == ["a", "p"]
    assert (decision["reason"], decision["take_all"]) == ("the configuration changed", True)


def test_a_full_run_reads_all_files_and_all_rows() -> None:
    decision = decided([look("a", "unchanged"), look("p", "unchanged", "people")], full=True)
    assert (paths(decision), decision["take_all"]) == (["a", "p"], True)


def test_unchanged_files_are_left_alone_with_the_reason() -> None:
    decision = decided([look("a", "unchanged"), look("p", "unchanged", "people")])
    assert paths(decision) == []
    assert decision["reason"] == "all files are unchanged since they were imported"


def test_no_file_at_all_names_the_pattern() -> None:
    assert decided([look("p", "new", "people")])["reason"] == "no file matches /in/orders_*.csv"


def test_a_file_that_still_grows_waits() -> None:
    decision = decided([look("a", "unstable"), look("p", "unchanged", "people")])
    assert paths(decision) == []
    assert "still being written" in decision["reason"]


def test_a_linked_file_that_still_grows_holds_the_goal_back() -> None:
    decision = decided([look("a", "new"), look("p", "unstable", "people")])
    assert paths(decision) == []
    assert decision["reason"] == "linked file p is still being written"


def test_a_missing_linked_file_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match=r"people \(/in/people.csv\)") as caught:
        decided([look("a", "new")])
    assert caught.value.code == "linked_file_missing"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, "new"),
        (FileRecord("f", 9, 1000, "x", 2000.0), "changed"),
        (FileRecord("f", 10, 1000, "x", 2000.0), "unchanged"),
        (FileRecord("f", 10, 999, "x", 2000.0), "unsure"),
        (FileRecord("f", 10, 1000, "x", 1001.0), "unsure"),
    ],
)
def test_size_and_time_settle_a_file_unless_its_time_moved_or_was_too_fresh(
    known: FileRecord | None, expected: str
) -> None:
    file = RemoteFile("f", "f", 10, 1000)
    assert _look(file, known, {"f"}) == expected


def test_a_file_outside_the_stable_ones_is_unstable_whatever_the_ledger_says() -> None:
    file = RemoteFile("f", "f", 10, 1000)
    assert _look(file, FileRecord("f", 10, 1000, "x", 2000.0), set()) == "unstable"


@pytest.mark.parametrize("change", ["nothing", "configuration", "linked file"])
def test_a_file_whose_import_was_undone_comes_again_only_on_a_full_run(change: str) -> None:
    linked = look("p", "changed" if change == "linked file" else "unchanged", "people")
    looks = [look("a", "undone"), look("b", "unchanged"), linked]
    known = "other" if change == "configuration" else "same"
    assert "a" not in paths(decided(looks, known=known))
    assert paths(decided(looks, known=known, full=True)) == ["a", "b", "p"]


def test_the_reason_for_reading_nothing_says_what_was_undone() -> None:
    decision = decided([look("a", "undone"), look("p", "unchanged", "people")])
    assert decision["reason"].endswith("the import of 1 of them was undone, a full run takes them again")
