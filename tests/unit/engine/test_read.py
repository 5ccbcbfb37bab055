"""Every file of ``tests/fixtures/hostile`` gives what ``expected.json`` says, on both ways through the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crosswalk.config.connection import Format
from crosswalk.core.errors import ConfigError, FatalError, RejectedError
from crosswalk.engine import read as reader
from crosswalk.engine.read import LocalFile, read_header
from crosswalk.engine.session import Session, open_session
from crosswalk.engine.splitter import Buckets
from tests.unit.engine.reading import stage

HOSTILE = Path(__file__).parents[2] / "fixtures" / "hostile"
EXPECTED: dict[str, dict[str, Any]] = json.loads((HOSTILE / "expected.json").read_text(encoding="utf-8"))
LOOSE_ENDS = {"expected.json", ".gitattributes"}


def test_every_hostile_file_has_an_expectation() -> None:
    assert {path.name for path in HOSTILE.iterdir()} - LOOSE_ENDS == set(EXPECTED)


@pytest.mark.parametrize("engine", [True, False], ids=["engine", "splitter"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_hostile_file_gives_exactly_what_is_expected(
    session: Session, tmp_path: Path, name: str, engine: bool
) -> None:
    expected = EXPECTED[name]
    form = expected.get("format", {})
    if "rejected" in expected:
        with pytest.raises(RejectedError) as caught:
            stage(session, tmp_path, HOSTILE / name, name=f"/in/{name}", engine=engine, **form)
        assert caught.value.code == expected["rejected"]
        assert caught.value.file == f"/in/{name}"
        assert caught.value.remedy
        assert not (tmp_path / "rows.parquet").exists()
        return
    result = stage(session, tmp_path, HOSTILE / name, name=name, engine=engine, **form)
    assert result.rows == expected["rows"]
    assert result.lines == expected.get("lines", [])
    assert result.bad == [tuple(bad) for bad in expected.get("quarantined", [])]
    assert sorted({w.split(":")[0] for w in result.staged.warnings}) == sorted(expected.get("warnings", []))
    if "columns" in expected:
        assert result.staged.columns == expected["columns"]
    assert read_header(LocalFile(HOSTILE / name, name), Format(**form), tmp_path) == result.staged.header
    assert not list((tmp_path / "work").glob("*"))


def test_a_plain_file_goes_through_the_engine(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: object) -> None:
        raise AssertionError("the splitter was used")

    monkeypatch.setattr(reader._Job, "_by_splitter", never)
    data = b'a;b\n1;"x;""y"""\n2;\n3;""\n"";"z "\n'
    assert stage(session, tmp_path, data, separator=";").rows == [["1", 'x;"y"'], ["2", ""], ["3", ""], ["", "z "]]
    crlf = data.replace(b"\n", b"\r\n")
    assert len(stage(session, tmp_path, crlf, separator=";").rows) == 4
    assert stage(session, tmp_path, b"a,b\n1,2", null_text=["2"]).rows == [["1", ""]]


def test_only_the_wanted_columns_are_written_and_all_are_checked(session: Session, tmp_path: Path) -> None:
    data = b"a,caf\xc3\xa9,c\n1,2,3\n4,5,6\n"
    for engine in (True, False):
        result = stage(session, tmp_path, data, columns=["c", "cafe\u0301", "zzz"], engine=engine)
        assert result.staged.columns == ["café", "c"]
        assert result.staged.header == ["a", "café", "c"]
        assert result.rows == [["2", "3"], ["5", "6"]]
    result = stage(session, tmp_path, b"a,b,c\n1,2,3,\n4,5\n7,8,9\n", columns=["a"])
    assert result.rows == [["7"]]
    assert result.bad == [(2, "too_many_columns"), (3, "too_few_columns")]


def test_our_numbers_give_way_to_columns_of_the_same_name(session: Session, tmp_path: Path) -> None:
    staged = stage(session, tmp_path, b"Line,b\n1,2\n").staged
    assert (staged.record_column, staged.line_column) == ("record", "line_1")
    staged = stage(session, tmp_path, b"line,line_1\n1,2\n", columns=["line_1"]).staged
    assert staged.line_column == "line"


def test_a_reject_keeps_raw_text_line_and_reason(session: Session, tmp_path: Path) -> None:
    result = stage(session, tmp_path, b"a,b\n1\n2,\xe9\n3,\x00\n4,5\n")
    assert [r["raw"] for r in result.rejects] == ["1", "2,\\xe9", "3,\\x00"]
    assert {(r["file"], r["stage"], r["scope"], r["field"]) for r in result.rejects} == {
        ("in/file.csv", "read", "row", None)
    }
    assert result.rejects[0]["message"] == "1 cells where the header has 2."
    assert result.records == [4]


def test_a_quoted_cell_over_one_mebibyte_costs_only_the_line_where_it_opened(session: Session, tmp_path: Path) -> None:
    data = b'a,b\n1,"open\n' + b"2,good\n" * 200_000 + b'3,"closed"\n'
    result = stage(session, tmp_path, data)
    assert result.bad == [(2, "unclosed_quote")]
    assert result.staged.rows == 200_001
    assert result.lines[-1] == 200_003


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_an_overlong_cell_is_set_aside_and_the_file_goes_on(session: Session, tmp_path: Path, quote: bytes) -> None:
    for size in (1_100_000, 10_000_000):
        data = b"a,b\n1,2\n3," + quote + b"x" * size + quote + b"\n4,5\n"
        result = stage(session, tmp_path, data)
        assert result.rows == [["1", "2"], ["4", "5"]]
        assert result.bad == [(3, "field_too_long")]
        assert len(result.rejects[0]["raw"]) <= 64 * 1024


def test_a_cell_of_nearly_one_mebibyte_is_taken(session: Session, tmp_path: Path) -> None:
    for engine in (True, False):
        result = stage(session, tmp_path, b"a,b\n3," + b"x" * 1_000_000 + b"\n4,5\n", engine=engine)
        assert [len(row[1]) for row in result.rows] == [1_000_000, 1]


def test_a_million_columns_are_refused_and_ten_thousand_are_not(session: Session, tmp_path: Path) -> None:
    with pytest.raises(RejectedError) as caught:
        stage(session, tmp_path, b",".join(b"%d" % i for i in range(200_000)) + b"\n")
    assert caught.value.code == "too_many_columns"
    assert caught.value.line == 1
    names = b",".join(b"c%d" % i for i in range(10_000))
    result = stage(session, tmp_path, names + b"\n" + names.replace(b"c", b"") + b"\n" + b"," * 999_999 + b"\n")
    assert result.rows[0][-1] == "9999"
    assert result.bad == [(3, "too_many_columns")]


def test_a_name_or_header_without_end_is_refused(session: Session, tmp_path: Path) -> None:
    for data in (b"x" * 5_000 + b",b\n1,2\n", b"x," * 1_500_000 + b"\n", b'a,"' + b"xxxxxxxxx\n" * 120_000):
        with pytest.raises(RejectedError) as caught:
            stage(session, tmp_path, data)
        assert caught.value.code in ("header_too_long", "header")


def test_a_difference_in_the_count_of_lines_stops_everything(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Buckets, "total", property(lambda self: self.rows))
    with pytest.raises(FatalError) as caught:
        stage(session, tmp_path, b"a,b\n1,2\n")
    assert caught.value.code == "accounting"
    assert not (tmp_path / "rows.parquet").exists()


def test_an_engine_that_does_not_keep_the_order_is_not_used(tmp_path: Path) -> None:
    data = b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(130_000))
    with open_session(tmp_path / "engine", ordered=False) as unordered:
        result = stage(unordered, tmp_path, data)
    assert [int(row[0]) for row in result.rows] == list(range(130_000))
    assert result.lines[-1] == 130_001


def test_an_engine_that_loses_a_row_is_not_believed(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reader.write_parquet
    monkeypatch.setattr(
        reader, "write_parquet", lambda s, query, path, **options: real(s, f"SELECT * FROM ({query}) OFFSET 1", path)
    )
    assert stage(session, tmp_path, b"a,b\n1,2\n3,4\n").rows == [["1", "2"], ["3", "4"]]


def test_settings_that_cannot_work_are_configuration_errors(session: Session, tmp_path: Path) -> None:
    for form in ({"encoding": "klingon"}, {"encoding": "rot13"}, {"separator": "\n"}):
        with pytest.raises(ConfigError):
            stage(session, tmp_path, b"a,b\n1,2\n", **form)


def test_honest_texts_over_several_lines_are_taken(session: Session, tmp_path: Path) -> None:
    notes = ["Dear all\nhello, world\nbye", "a, b\nc", "1\n\n2\n", '"quoted"\nand, more, commas, here\nend']
    for engine in (True, False):
        data = "id,note\n" + "".join('{},"{}"\n'.format(i, n.replace('"', '""')) for i, n in enumerate(notes))
        result = stage(session, tmp_path, data.encode(), engine=engine)
        assert [row[1] for row in result.rows] == notes
