"""How a file is written is found out, in files as people send them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from crosswalk.core.errors import RejectedError
from crosswalk.engine.decode import LocalFile
from crosswalk.engine.detect import Detected, detect_file
from crosswalk.engine.detect_values import Values, detect_values
from crosswalk.engine.session import Session


def look(session: Session, folder: Path, data: bytes | str, name: str = "in/file.csv") -> tuple[Detected, Values]:
    path = folder / "input.bin"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    detected = detect_file(session, LocalFile(path, name), folder / "look")
    return detected, detect_values(session, detected.sample)


def types(values: Values) -> dict[str, str]:
    return {column.name: column.type for column in values.columns}


@pytest.mark.parametrize(
    ("data", "name", "wanted"),
    [
        (b"id;total\n1;3,5\n2;4,25\n", "a.csv", {"separator": ";", "encoding": "utf-8", "compression": "none"}),
        ("e-mail\tnaam\nan@x.org\t\u00c4n\n".encode("utf-16"), "a.txt", {"separator": "\t", "encoding": "utf-16"}),
        ("e-mail\tnaam\nan@x.org\t\u00c4n\n".encode("utf-16-le"), "a.txt", {"separator": "\t", "encoding": "utf-16"}),
        ("id;naam\n1;Zo\u00eb\n".encode("windows-1252"), "a.csv", {"separator": ";", "encoding": "windows-1252"}),
        (b"\xef\xbb\xbfid,name\n1,An\n", "a.csv", {"separator": ",", "encoding": "utf-8"}),
        (gzip.compress(b"id|name\n1|An\n", mtime=0), "a.csv.gz", {"separator": "|", "compression": "gzip"}),
        (gzip.compress(b"id|name\n1|An\n", mtime=0), "a.csv", {"separator": "|", "compression": "gzip"}),
        (b"Report, by me\nof 2026\n\nid;name;city\n1;An;Gent\n", "a.csv", {"separator": ";", "skip_lines": 3}),
        (b'id,note\n1,"a; b\nsecond; line"\n2,"say ""x"""\n', "a.csv", {"separator": ",", "quote": '"'}),
        (b"id,note\n1,'a, b'\n2,'c, d'\n", "a.csv", {"separator": ",", "quote": "'"}),
        (b"id;name\n", "a.csv", {"separator": ";", "header_rows": 1}),
        (b"a;b\n1;2;3;4\n5\n6;7;8\n", "a.csv", {"separator": ";"}),
    ],
)
def test_every_setting_is_found(
    session: Session, tmp_path: Path, data: bytes, name: str, wanted: dict[str, Any]
) -> None:
    detected, _ = look(session, tmp_path, data, name)
    assert {key: detected.format.get(key) for key in wanted} == wanted


def test_of_two_separators_that_fit_the_one_with_more_columns_is_taken_with_a_doubt(
    session: Session, tmp_path: Path
) -> None:
    data = 'mail;total;at;opt, "in"\nan@x.org;1.234,50;a;ja\nbo@x.org;3,5;b;nee\n'
    detected, values = look(session, tmp_path, data)
    assert (detected.format["separator"], len(values.columns)) == (";", 4)
    assert "UNCERTAIN" in detected.doubts[0]


def test_quoted_line_ends_are_read_as_one_record(session: Session, tmp_path: Path) -> None:
    detected, _ = look(session, tmp_path, 'id,note\n1,"a\nb"\n2,c\n')
    assert (detected.sample.rows, detected.sample.quarantined) == (2, 0)


def test_a_file_without_header_gets_numbered_columns_and_a_doubt(session: Session, tmp_path: Path) -> None:
    detected, values = look(session, tmp_path, "1,An,an@x.org\n2,Bo,bo@x.org\n")
    assert detected.format["header"] == ["column_1", "column_2", "column_3"]
    assert detected.sample.rows == 2
    assert "looks like data" in detected.doubts[0]
    assert types(values)["column_3"] == "email"


def test_one_byte_encodings_are_a_doubt(session: Session, tmp_path: Path) -> None:
    detected, _ = look(session, tmp_path, "id;naam\n1;Zo\u00eb\n".encode("windows-1252"))
    assert "UNCERTAIN" in detected.doubts[0]


def test_a_damaged_archive_is_rejected(session: Session, tmp_path: Path) -> None:
    with pytest.raises(RejectedError):
        look(session, tmp_path, gzip.compress(b"id\n" * 1000, mtime=0)[:30], "a.csv.gz")


def test_a_file_that_is_no_table_is_rejected(session: Session, tmp_path: Path) -> None:
    noise = bytes(range(256)) * 2_000
    with pytest.raises(RejectedError) as caught:
        look(session, tmp_path, b"\x89PNG\r\n" + noise, "photo.png")
    assert caught.value.code == "no_table"


def test_one_row_proves_no_key(session: Session, tmp_path: Path) -> None:
    _, values = look(session, tmp_path, "id;name\n1;An\n")
    assert not any(column.is_unique for column in values.columns)


def test_duplicate_headers_and_empty_columns_are_named(session: Session, tmp_path: Path) -> None:
    detected, values = look(session, tmp_path, "a,a,,empty\n1,2,3,\n4,5,6,\n")
    assert [column.name for column in values.columns] == ["a", "a_2", "column_3", "empty"]
    assert values.columns[3].filled == 0
    assert len(detected.doubts) == 2


def test_types_follow_the_values(session: Session, tmp_path: Path) -> None:
    _, values = look(
        session,
        tmp_path,
        "mail;count;price;zip;at;name\nan@x.org;1;1.234,50;0123;2026-01-31;An\nbo@x.org;2;3,5;9000;2026-02-01;Bo\n",
    )
    assert list(types(values).values()) == ["email", "number", "decimal", "text", "datetime", "text"]
    assert (values.decimal, values.thousands) == (",", ".")


def test_a_few_wrong_values_do_not_change_the_type_and_are_counted(session: Session, tmp_path: Path) -> None:
    rows = "".join(f"p{number}@x.org;{number}\n" for number in range(40))
    _, values = look(session, tmp_path, f"mail;n\nnot-an-address;7\n{rows}")
    assert (values.columns[0].type, values.columns[0].misfits) == ("email", 1)


@pytest.mark.parametrize(
    ("dates", "pattern", "uncertain"),
    [
        (["31/12/2025", "01/02/2026"], "%d/%m/%Y", False),
        (["12/31/2025", "01/02/2026"], "%m/%d/%Y", False),
        (["01/02/2026", "03/04/2026"], "%d/%m/%Y", True),
        (["31.12.2025 23:59", "01.02.2026 10:00"], "%d.%m.%Y %H:%M", False),
        (["2025/12/31", "2026/02/01"], "%Y/%m/%d", False),
    ],
)
def test_the_order_of_day_and_month_is_found_or_said_to_be_open(
    session: Session, tmp_path: Path, dates: list[str], pattern: str, uncertain: bool
) -> None:
    _, values = look(session, tmp_path, "id;at\n" + "".join(f"{n};{date}\n" for n, date in enumerate(dates)))
    column = values.columns[1]
    assert (column.type, column.date, "UNCERTAIN" in column.doubt) == ("datetime", pattern, uncertain)


def test_a_lone_mark_before_three_digits_is_left_open(session: Session, tmp_path: Path) -> None:
    _, values = look(session, tmp_path, "id;n\n1;1.234\n2;5.678\n")
    assert (values.columns[1].type, "UNCERTAIN" in values.columns[1].doubt) == ("text", True)


def test_five_hundred_columns_are_looked_at(session: Session, tmp_path: Path) -> None:
    header = ";".join(f"c{number}" for number in range(500))
    rows = "".join(";".join(str(n * row) for n in range(500)) + "\n" for row in range(5))
    _, values = look(session, tmp_path, f"{header}\n{rows}")
    assert set(types(values).values()) == {"number"}
    assert len(values.columns) == 500


def test_only_the_beginning_of_a_large_file_is_read(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosswalk.engine.detect.SAMPLE_BYTES", 1_000)
    detected, _ = look(session, tmp_path, "id;name\n" + "".join(f"{n};An\n" for n in range(10_000)))
    assert not detected.is_whole
    assert 0 < detected.sample.rows < 200
    assert detected.sample.quarantined == 0
