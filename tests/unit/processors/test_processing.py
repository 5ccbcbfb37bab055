"""Processors over rows: order, counts, lists, absent values, failures, contracts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crosswalk.core.errors import ConfigError
from crosswalk.engine import frame_chunks
from crosswalk.engine.processing import ProcessResult, process_rows
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.engine.session import open_session
from crosswalk.processors import PROCESSORS, FrameProcessor, try_processor
from crosswalk.processors.parse import build_step
from crosswalk.processors.trial import _table

Row = dict[str, Any]


class Custom(FrameProcessor):
    """A frame processor whose body a test gives."""

    def __init__(self, fields: list[str], body: Any, outputs: list[str] | None = None) -> None:
        super().__init__("custom", None)
        self.fields, self.body, self.made = fields, body, outputs

    @property
    def inputs(self) -> list[str]:
        return self.fields

    @property
    def outputs(self) -> list[str]:
        return self.fields if self.made is None else self.made

    def process(self, frame: Any) -> Any:
        return self.body(frame)


def built_in(step: dict[str, Any]) -> Any:
    processor, problems = build_step(step, PROCESSORS, {})
    assert not problems
    return processor


def run(folder: Path, rows: list[Row], *steps: Any) -> tuple[ProcessResult, list[Row], list[Row]]:
    """Process rows; returns the result, the rows with their keys, and the quarantine."""
    pq.write_table(_table(rows), folder / "rows.parquet")
    processors = [built_in(step) if isinstance(step, dict) else step for step in steps]
    with open_session(folder / "tmp", memory_mb=200, threads=2) as session:
        result = process_rows(
            session,
            rows=folder / "rows.parquet",
            processors=processors,
            out=folder / "out.parquet",
            quarantine=folder / "quarantine.parquet",
            now_ms=0,
            sources=["/in/a.csv"],
        )
    out = sorted(pq.read_table(folder / "out.parquet").to_pylist(), key=lambda row: row["row_id"])
    rejects = pq.read_table(folder / "quarantine.parquet")
    assert rejects.schema.equals(QUARANTINE_SCHEMA)
    assert result.rows_in == result.rows_out + sum(result.filtered.values()) + result.failed
    assert result.rows_out == len(out)
    assert not list(folder.glob("*.work"))
    return result, out, rejects.to_pylist()


def test_processors_run_in_their_order(tmp_path: Path) -> None:
    rows = [{"a.x": " B "}, {"a.x": "b"}]
    _, out, _ = run(
        tmp_path,
        rows,
        {"filter": {"field": "a.x", "keep": ["B"]}},
        {"case": {"field": "a.x", "style": "lower"}},
        {"trim": {"field": "a.x"}},
        {"concatenate": {"fields": ["a.x", "a.x"], "to": "twice", "separator": "-"}},
    )
    assert [(row["row_id"], row["a.x"], row["twice"]) for row in out] == [(1, "b", "b-b")]


def test_rows_keep_their_number_file_and_line(tmp_path: Path) -> None:
    _, out, _ = run(tmp_path, [{"a.x": "1"}, {"a.x": "2"}, {"a.x": "3"}], {"filter": {"field": "a.x", "drop": ["2"]}})
    assert [(row["row_id"], row["file_index"], row["line"]) for row in out] == [(1, 0, 2), (3, 0, 4)]


def test_each_filter_counts_what_it_took_itself(tmp_path: Path) -> None:
    rows = [{"a.x": str(number % 4), "a.y": str(number)} for number in range(12)]
    result, _, _ = run(
        tmp_path,
        rows,
        {"filter": {"field": "a.x", "drop": ["0"]}},
        {"deduplicate": {"fields": ["a.x"]}},
        {"case": {"field": "a.y", "style": "lower"}},
        {"first_n": {"rows": 2}},
    )
    assert result.filtered == {"filter": 3, "deduplicate": 6, "first_n": 1}
    assert result.rows_out == 2


def test_a_filter_that_takes_nothing_is_counted_with_nothing(tmp_path: Path) -> None:
    result, _, _ = run(tmp_path, [{"a.x": "1"}], {"filter": {"field": "a.x", "keep": ["1"]}})
    assert result.filtered == {"filter": 0}


def test_the_same_processor_twice_adds_up(tmp_path: Path) -> None:
    rows = [{"a.x": str(number)} for number in range(5)]
    steps = [{"filter": {"field": "a.x", "drop": [str(number)]}} for number in (0, 3)]
    result, _, _ = run(tmp_path, rows, *steps)
    assert result.filtered == {"filter": 2}


def test_first_rows_are_the_first_in_row_order_after_what_came_before(tmp_path: Path) -> None:
    rows = [{"a.x": str(number)} for number in range(9)]
    _, out, _ = run(tmp_path, rows, {"filter": {"field": "a.x", "drop": ["0", "2"]}}, {"first_n": {"rows": 3}})
    assert [row["a.x"] for row in out] == ["1", "3", "4"]


@pytest.mark.parametrize(
    "step",
    [
        {"trim": {"field": "n.x"}},
        {"case": {"field": "n.x", "style": "title"}},
        {"normalize_email": {"field": "n.x"}},
        {"replace": {"field": "n.x", "find": "a"}},
        {"hash": {"field": "n.x"}},
        {"phone": {"field": "n.x", "country": "BE"}},
        {"remove_nulls": {"field": "n.x"}},
        {"convert": {"field": "n.x", "values": {"a": "b"}}},
        {"date_format": {"field": "n.x", "from": "%Y"}},
        {"split": {"field": "n.x", "separator": "/", "to": ["p", "q"]}},
    ],
)
def test_a_list_is_changed_element_by_element_and_stays_aligned(step: dict[str, Any]) -> None:
    """Each element becomes what it would become alone; absent elements and absent lists stay absent."""
    values = ["a", "", "NULL", " b/c", "0470 12 34 56"]
    (row, absent) = try_processor(step, {"n.x": [values[0], None, *values[1:]]}, {"n.x": None})
    alone = try_processor(step, *({"n.x": value} for value in [values[0], None, *values[1:]]))
    for field in row:
        assert row[field] == [single[field] for single in alone]
        assert absent[field] is None
        assert alone[1][field] is None


SETTINGS: dict[str, dict[str, Any]] = {
    "case": {"style": "upper"},
    "convert": {"values": {"a": "b"}, "otherwise": "clear"},
    "date_format": {"from": "%Y"},
    "hash": {},
    "normalize_email": {},
    "phone": {"invalid": "clear"},
    "remove_nulls": {},
    "replace": {"find": "a"},
    "split": {"separator": ",", "to": ["p"]},
    "trim": {},
}
ROW_WISE = {"concatenate", "current_date", "deduplicate", "filter", "first_n", "fixed_value"}


@pytest.mark.parametrize("name", sorted(set(PROCESSORS.names) - ROW_WISE))
def test_absent_stays_absent_and_empty_stays_empty(name: str) -> None:
    absent, empty = try_processor({name: {"field": "a.x", **SETTINGS[name]}}, {"a.x": None}, {"a.x": ""})
    assert set(absent.values()) == {None}
    assert set(empty.values()) == {""}


def test_hostile_field_names_are_only_names(tmp_path: Path) -> None:
    field = 'a."; DROP TABLE x; --[é]\n$1'
    _, out, _ = run(
        tmp_path,
        [{field: " X "}, {field: "x"}],
        {"trim": {"field": field}},
        {"case": {"field": field, "style": "lower"}},
        {"deduplicate": {"fields": [field], "keep": "last"}},
        {"phone": {"field": field}},
    )
    assert [(row["row_id"], row[field]) for row in out] == [(2, "x")]


@pytest.mark.parametrize("text", ["'", "\\", "$1", "''; --", "é", "\n", "{x}", ":v"])
def test_settings_are_literals(text: str) -> None:
    assert try_processor({"replace": {"field": "a.x", "find": text, "with": text * 2}}, {"a.x": f"[{text}]"}) == [
        {"a.x": f"[{text * 2}]"}
    ]
    assert try_processor({"filter": {"field": "a.x", "keep": [f"k{text}k"]}}, {"a.x": f"k{text}k"}, {"a.x": "k"}) == [
        {"a.x": f"k{text}k"}
    ]
    same_case = {"field": "a.x", "find": f"A{text}", "with": text, "ignore_case": True}
    assert try_processor({"replace": same_case}, {"a.x": f"a{text}"}) == [{"a.x": text}]


def test_no_rows_are_no_trouble(tmp_path: Path) -> None:
    pq.write_table(_table([{"a.x": "1"}]).slice(0, 0), tmp_path / "rows.parquet")
    steps = [
        built_in({"phone": {"field": "a.x"}}),
        Custom(["a.x"], lambda frame: frame),
        built_in({"first_n": {"rows": 1}}),
    ]
    with open_session(tmp_path / "tmp", memory_mb=200, threads=1) as session:
        result = process_rows(
            session,
            rows=tmp_path / "rows.parquet",
            processors=steps,
            out=tmp_path / "out.parquet",
            quarantine=tmp_path / "q.parquet",
            now_ms=0,
        )
    assert (result.rows_in, result.rows_out, result.failed) == (0, 0, 0)
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["row_id", "file_index", "line", "a.x"]


# -- frames -----------------------------------------------------------------------------------------------------------


def test_a_frame_holds_the_inputs_and_the_row_ids(tmp_path: Path) -> None:
    seen: list[Any] = []

    def body(frame: Any) -> Any:
        seen.append((list(frame.columns), list(frame.index), frame.index.name, type(frame.dtypes.iloc[0]).__name__))
        return frame

    run(tmp_path, [{"a.x": "1", "a.y": "2"}, {"a.x": None, "a.y": ""}], Custom(["a.y"], body))
    assert seen == [(["a.y"], [1, 2], "row_id", "ArrowDtype")]


def test_a_row_that_a_frame_lacks_is_filtered(tmp_path: Path) -> None:
    rows = [{"a.x": str(number), "a.y": "same"} for number in range(6)]
    keep_even = Custom(["a.x"], lambda frame: frame[frame["a.x"].astype(int) % 2 == 0])
    result, out, rejects = run(tmp_path, rows, keep_even, {"first_n": {"rows": 2}})
    assert [row["a.x"] for row in out] == ["0", "2"]
    assert result.filtered == {"custom": 3, "first_n": 1}
    assert rejects == []


def test_rows_in_another_order_are_still_the_same_rows(tmp_path: Path) -> None:
    rows = [{"a.x": str(number), "a.y": f"y{number}"} for number in range(5)]
    turned = Custom(["a.x"], lambda frame: frame.iloc[::-1])
    _, out, _ = run(tmp_path, rows, turned)
    assert [(row["a.x"], row["a.y"]) for row in out] == [(row["a.x"], row["a.y"]) for row in rows]


def test_only_the_rows_on_which_it_raises_are_set_aside(tmp_path: Path) -> None:
    rows = [{"a.x": "oops" if number in (3, 77) else str(number)} for number in range(100)]

    def body(frame: Any) -> Any:
        frame["a.x"] = (frame["a.x"].astype(int) * 2).astype(str)
        return frame

    result, out, rejects = run(tmp_path, rows, Custom(["a.x"], body))
    assert result.failed == 2
    assert [row["a.x"] for row in out] == [str(number * 2) for number in range(100) if number not in (3, 77)]
    assert [(item["row_id"], item["file"], item["line"]) for item in rejects] == [
        (4, "/in/a.csv", 5),
        (78, "/in/a.csv", 79),
    ]
    assert {(item["stage"], item["scope"], item["reason"]) for item in rejects} == {
        ("process", "row", "processor_failed")
    }
    assert json.loads(rejects[0]["raw"]) == {"a.x": "oops"}


def test_the_message_of_a_failure_names_the_place_and_no_value(tmp_path: Path) -> None:
    def body(frame: Any) -> Any:
        raise ValueError(f"cannot take {frame['a.x'].iloc[0]}")

    _, _, rejects = run(tmp_path, [{"a.x": "jan@example.org"}], Custom(["a.x"], body))
    assert "ValueError" in rejects[0]["message"]
    assert "test_processing.py line" in rejects[0]["message"]
    assert "jan@" not in rejects[0]["message"]


def test_what_was_lost_before_a_frame_and_by_it_is_told_apart(tmp_path: Path) -> None:
    rows = [{"a.x": value} for value in ("drop", "fail", "leave", "stay")]

    def body(frame: Any) -> Any:
        if (frame["a.x"] == "fail").any():
            raise RuntimeError
        return frame[frame["a.x"] != "leave"]

    result, out, _ = run(tmp_path, rows, {"filter": {"field": "a.x", "drop": "drop"}}, Custom(["a.x"], body))
    assert (result.filtered, result.failed) == ({"filter": 1, "custom": 1}, 1)
    assert [row["a.x"] for row in out] == ["stay"]


def test_a_processor_that_fails_on_every_row_is_at_fault_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_chunks, "HOPELESS", 20)

    def body(frame: Any) -> Any:
        raise KeyError("a.z")

    with pytest.raises(ConfigError, match=r"KeyError.*each of the first 20"):
        run(tmp_path, [{"a.x": "1"}] * 30, Custom(["a.x"], body))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda frame: None, "NoneType instead of a frame"),
        (lambda frame: frame.drop(columns="a.x"), "without its output field a.x"),
        (lambda frame: frame.reset_index(drop=True).set_axis([7] * len(frame)), "twice"),
        (lambda frame: frame.set_axis(range(1000, 1000 + len(frame))), "was not given"),
    ],
)
def test_a_frame_that_breaks_the_contract_stops_the_goal(tmp_path: Path, body: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(tmp_path, [{"a.x": "1"}, {"a.x": "2"}], Custom(["a.x"], body))


def test_new_fields_of_a_frame_are_texts_and_numbers_become_text(tmp_path: Path) -> None:
    def body(frame: Any) -> Any:
        frame["length"] = frame["a.x"].str.len()
        return frame

    _, out, _ = run(tmp_path, [{"a.x": "abc"}, {"a.x": None}], Custom(["a.x"], body, ["length"]))
    assert [row["length"] for row in out] == ["3", None]


def test_lists_reach_a_frame_and_come_back(tmp_path: Path) -> None:
    def body(frame: Any) -> Any:
        frame["n.x"] = [None if items is None else [item.upper() for item in items] for items in frame["n.x"].tolist()]
        return frame

    _, out, _ = run(tmp_path, [{"n.x": ["a", "b"]}, {"n.x": []}], Custom(["n.x"], body))
    assert [row["n.x"] for row in out] == [["A", "B"], []]


def test_a_field_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.z"):
        run(tmp_path, [{"a.x": "1"}], Custom(["a.z"], lambda frame: frame))
