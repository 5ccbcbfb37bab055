"""Every encoding reads the same text; what it does not know is found and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosswalk.core.errors import RejectedError
from crosswalk.engine.decode import show_invalid
from crosswalk.engine.session import Session
from tests.unit.engine.reading import stage

ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "latin-1",
    "windows-1252",
    "cp850",
    "mac-roman",
]


@pytest.mark.parametrize("encoding", [*ENCODINGS, "shift_jis", "gb18030", "koi8-r", "cp037"])
def test_the_same_text_reads_the_same_in_every_encoding(session: Session, tmp_path: Path, encoding: str) -> None:
    words = {"shift_jis": "東京", "gb18030": "東京", "koi8-r": "Привет"}.get(encoding, "Zoë")
    text = "id;word\n" + f"1;{words}\n" * 20_000
    result = stage(session, tmp_path, text.encode(encoding), encoding=encoding, separator=";")
    assert result.rows == [["1", words]] * 20_000


@pytest.mark.parametrize("declared", ["utf-16", "utf-32"])
@pytest.mark.parametrize("order", ["le", "be"])
def test_wide_text_without_a_mark_is_read_in_either_byte_order(
    session: Session, tmp_path: Path, declared: str, order: str
) -> None:
    data = "id,word\n1,é東\n".encode(f"{declared}-{order}")
    assert stage(session, tmp_path, data, encoding=declared).rows == [["1", "é東"]]


@pytest.mark.parametrize(
    ("declared", "data", "raw"),
    [
        ("utf-8", b"a,b\n1,\xe9\n2,x\n", "1,\\xe9"),
        ("windows-1252", b"a,b\n1,\x81\xe9\n2,x\n", "1,\\x81é"),
        ("ascii", b"a,b\n1,\xc3\xa9\n2,x\n", "1,\\xc3\\xa9"),
        ("shift_jis", b"a,b\n1,\x82\n2,x\n", "1,\\x82"),
    ],
)
def test_bytes_that_an_encoding_does_not_know_cost_their_row_and_are_shown(
    session: Session, tmp_path: Path, declared: str, data: bytes, raw: str
) -> None:
    result = stage(session, tmp_path, data, encoding=declared)
    assert result.rows == [["2", "x"]]
    assert [(r["line"], r["reason"], r["raw"]) for r in result.rejects] == [(2, "invalid_encoding", raw)]


def test_half_a_character_at_the_end_of_wide_text_costs_its_row(session: Session, tmp_path: Path) -> None:
    data = "a,b\n1,2\n3,4".encode("utf-16-le") + b"\x41"
    result = stage(session, tmp_path, data, encoding="utf-16-le")
    assert result.rows == [["1", "2"]]
    assert result.bad == [(3, "invalid_encoding")]


@pytest.mark.parametrize(
    ("declared", "data", "likely"),
    [
        ("utf-8", "id,b\n1,é\n".encode("utf-16"), "utf-16"),
        ("utf-8", "id,b\n1,é\n".encode("utf-16-be"), "utf-16"),
        ("utf-8", "id,b\n1,é\n".encode("utf-32"), "utf-32"),
        ("windows-1252", b"\xef\xbb\xbfid,b\n1,2\n", "utf-8"),
        ("utf-16", "id,b\n1,é\n".encode(), "utf-8"),
        ("utf-8", b"id,b\n" + b"1,\xe9\x80\n" * 20, "windows-1252"),
        ("utf-8", b"id,b\n" + b"1,\xe9\x81\n" * 20, "latin-1"),
    ],
)
def test_a_file_in_plainly_another_encoding_is_refused_with_the_likely_one(
    session: Session, tmp_path: Path, declared: str, data: bytes, likely: str
) -> None:
    with pytest.raises(RejectedError) as caught:
        stage(session, tmp_path, data, encoding=declared)
    assert caught.value.code == "encoding"
    assert f"encoding: {likely}`" in caught.value.remedy
    assert caught.value.line is not None


def test_utf8_read_as_a_one_byte_encoding_is_taken_but_doubted(session: Session, tmp_path: Path) -> None:
    result = stage(session, tmp_path, "a,b\n1,é\n".encode(), encoding="latin-1")
    assert result.rows == [["1", "Ã©"]]
    assert result.staged.warnings[0].startswith("encoding_doubtful")
    assert stage(session, tmp_path, b"a,b\n1,\xe9\n", encoding="latin-1").staged.warnings == []


def test_a_few_wrong_rows_do_not_refuse_a_long_file(session: Session, tmp_path: Path) -> None:
    data = b"a,b\n" + b"1,x\n" * 600 + b"2,\xe9\n" * 400 + b"3,\xe9\n" * 5_000
    result = stage(session, tmp_path, data)
    assert (result.staged.rows, result.staged.quarantined) == (600, 5_400)


def test_shown_text_never_holds_a_lone_surrogate() -> None:
    assert show_invalid("a\udce9\udcff", "utf-8") == "a\\xe9\\xff"
