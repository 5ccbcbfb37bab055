"""Sorting more rows than memory holds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crosswalk.store import ordering
from crosswalk.store.ordering import in_order, mostly_in_order


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces, leaves and ranges so small that a few thousand rows need many of each."""
    monkeypatch.setattr(ordering, "PIECE_BYTES", 4_000)
    monkeypatch.setattr(ordering, "LEAF_BYTES", 300)
    monkeypatch.setattr(ordering, "RANGE_LEAVES", 5)
    monkeypatch.setattr(ordering, "WRITE_ROWS", 40)


def batches(rows: list[dict[str, Any]], schema: pa.Schema, size: int = 37) -> Iterator[pa.RecordBatch]:
    """The rows in pieces, an empty one after each."""
    for start in range(0, len(rows), size):
        yield pa.RecordBatch.from_pylist(rows[start : start + size], schema=schema)
        yield pa.RecordBatch.from_pylist([], schema=schema)


PAIRS = pa.schema([("kind", pa.string()), ("key", pa.binary()), ("number", pa.int64()), ("text", pa.string())])


def pairs(seed: int, count: int) -> list[dict[str, Any]]:
    """Rows with keys of two columns, many of them repeated, in no order."""
    dice = random.Random(seed)
    return [
        {
            "kind": dice.choice(["", "a", "é", "\U0001f600", "b" * 50]),
            "key": dice.randbytes(dice.choice([0, 1, 2])),
            "number": number,
            "text": dice.choice([None, "", "x" * dice.randrange(200)]),
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 36, 37, 38, 200, 3_000])
@pytest.mark.parametrize("seed", [1, 2])
def test_rows_come_sorted_whole_and_equal_keys_stay_as_they_came(
    tiny: None, tmp_path: Path, seed: int, count: int
) -> None:
    rows = pairs(seed, count)
    found = list(in_order(batches(rows, PAIRS), "kind", "key", scratch=tmp_path))
    assert [row for batch in found for row in batch.to_pylist()] == sorted(
        rows, key=lambda row: (row["kind"].encode(), row["key"])
    )
    assert max((batch.num_rows for batch in found), default=0) <= 40


@pytest.mark.parametrize("backwards", [False, True])
def test_rows_that_come_in_order_or_against_it_are_merged_in_ranges(
    tiny: None, tmp_path: Path, backwards: bool
) -> None:
    schema = pa.schema([("key", pa.string())])
    rows = [{"key": f"{number:06d}"} for number in range(5_000)]
    given = rows[::-1] if backwards else rows
    found = list(in_order(batches(given, schema), "key", scratch=tmp_path))
    assert [row for batch in found for row in batch.to_pylist()] == rows
    assert len(found) > 100


def test_the_file_of_pieces_has_no_name_that_could_be_left_behind(tiny: None, tmp_path: Path) -> None:
    reader = in_order(batches(pairs(1, 3_000), PAIRS), "kind", "key", scratch=tmp_path)
    next(reader)
    assert list(tmp_path.iterdir()) == []


def test_only_what_exceeds_a_piece_goes_to_disk(tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(ordering, "_Piece", lambda *given: written.append(given))
    assert len(list(in_order(batches(pairs(1, 20), PAIRS), "kind", "key", scratch=tmp_path))) == 1
    assert written == []


@pytest.mark.parametrize("sorted_rows", [0, 1, 37, 38, 1_000, 3_000])
def test_rows_that_are_mostly_in_order_lose_none_and_only_what_follows_a_break_is_sorted(
    tiny: None, tmp_path: Path, sorted_rows: int
) -> None:
    def key(row: dict[str, Any]) -> tuple[bytes, bytes]:
        return row["kind"].encode(), row["key"]

    rows = sorted(pairs(3, 3_000), key=key)
    given = rows[:sorted_rows] + rows[sorted_rows:][::-1]
    found = [
        row
        for batch in mostly_in_order(batches(given, PAIRS), "kind", "key", scratch=tmp_path)
        for row in batch.to_pylist()
    ]
    kept = sorted_rows // 37 * 37  # whole batches before the break
    assert found[:kept] == given[:kept]
    assert found == given[:kept] + sorted(given[kept:], key=key)


def test_rows_in_order_are_passed_on_as_they_come_without_sorting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "_sorted", None)
    rows = sorted(pairs(4, 500), key=lambda row: (row["kind"].encode(), row["key"]))
    found = mostly_in_order(batches(rows, PAIRS), "kind", "key", scratch=tmp_path)
    assert [row for batch in found for row in batch.to_pylist()] == rows


def test_a_batch_that_starts_below_the_end_of_the_one_before_breaks_the_order(tmp_path: Path) -> None:
    schema = pa.schema([("key", pa.string())])
    rows = [{"key": key} for key in ("b", "c", "a", "b")]
    found = mostly_in_order(batches(rows, schema, size=2), "key", scratch=tmp_path)
    assert [batch.column("key").to_pylist() for batch in found] == [["b", "c"], ["a", "b"]]
