"""What a person is shown is what a run reads."""

from __future__ import annotations

from pathlib import Path

from crosswalk.engine.preview import preview, preview_dates
from crosswalk.engine.session import Session, open_session
from tests.unit.engine.reading import stage

DATES = b"id,when\n1,31-12-2024 23:59\n2,\n3,2024-12-31\n4,31-02-2024 10:00\n5,31-12-2024 23:59\n6,01-07-2024 12:00\n"


def test_the_preview_shows_the_first_rows_of_the_run(session: Session, tmp_path: Path) -> None:
    data = "id;naam\n" + "".join(f'{i};"x;{i}"\n' for i in range(50))
    for engine in (True, False):
        result = stage(session, tmp_path, data.encode(), separator=";", engine=engine)
        assert preview(result.staged, 7) == (["id", "naam"], result.rows[:7])


def test_a_file_without_columns_has_an_empty_preview(session: Session, tmp_path: Path) -> None:
    assert preview(stage(session, tmp_path, b"").staged) == ([], [])


def test_a_file_with_as_many_columns_as_are_allowed_is_shown(tmp_path: Path) -> None:
    names = ",".join(f"c{n}" for n in range(10_000))
    with open_session(tmp_path / "tmp", memory_mb=256, threads=1) as session:
        staged = stage(session, tmp_path, f"{names}\n{'x,' * 9_999}y\n".encode()).staged
    columns, rows = preview(staged)
    assert (len(columns), rows) == (10_000, [["x"] * 9_999 + ["y"]])


def test_columns_named_like_our_numbers_are_shown_too(session: Session, tmp_path: Path) -> None:
    staged = stage(session, tmp_path, b"record,line\n7,8\n").staged
    assert preview(staged) == (["record", "line"], [["7", "8"]])


def test_date_values_that_do_not_match_are_counted_and_shown_first(session: Session, tmp_path: Path) -> None:
    staged = stage(session, tmp_path, DATES).staged
    shown = preview_dates(session, staged, "when", "%d-%m-%Y %H:%M", "Europe/Brussels", samples=3)
    assert {key: shown[key] for key in ("checked", "matching", "not_matching", "empty")} == {
        "checked": 5,
        "matching": 3,
        "not_matching": 2,
        "empty": 1,
    }
    assert [sample["text"] for sample in shown["samples"]] == ["2024-12-31", "31-02-2024 10:00", "31-12-2024 23:59"]
    assert shown["samples"][0]["parsed"] is None
    assert shown["samples"][2] == {"text": "31-12-2024 23:59", "parsed": "2024-12-31T22:59:00.000Z", "rows": 2}


def test_the_zone_decides_the_instant(session: Session, tmp_path: Path) -> None:
    staged = stage(session, tmp_path, b"when\n01-07-2024 12:00\n").staged
    for zone, hour in (("UTC", "12"), ("Europe/Brussels", "10"), ("America/New_York", "16")):
        shown = preview_dates(session, staged, "when", "%d-%m-%Y %H:%M", zone)
        assert shown["samples"][0]["parsed"] == f"2024-07-01T{hour}:00:00.000Z"
