"""Hostile archives are refused while they are read, before they cost memory or disk."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import pytest
import zstandard

from crosswalk.config.connection import Format
from crosswalk.core.errors import RejectedError
from crosswalk.engine.archive import MAX_RATIO, RATIO_FROM, compression_of, unpack
from crosswalk.engine.decode import LocalFile, prepare
from crosswalk.engine.session import Session
from tests.unit.engine.reading import stage

GOOD = b"id,name\n" + b"".join(b"%d,name %d\n" % (i, i) for i in range(5_000))


def zipped(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


PACKED = {
    "x.csv.gz": gzip.compress(GOOD),
    "x.zip": zipped([("x.csv", GOOD)]),
    "x.csv.zst": zstandard.ZstdCompressor().compress(GOOD),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_file_gives_the_rows_of_the_plain_one(session: Session, tmp_path: Path, name: str) -> None:
    result = stage(session, tmp_path, PACKED[name], name=name)
    assert result.staged.rows == 5_000
    assert result.rows[-1] == ["4999", "name 4999"]
    assert result.staged.bytes == len(PACKED[name])


@pytest.mark.parametrize("name", PACKED)
def test_an_archive_cut_anywhere_is_refused_whole(session: Session, tmp_path: Path, name: str) -> None:
    data = PACKED[name]
    for share in (0.1, 0.5, 0.9, 0.999):
        with pytest.raises(RejectedError) as caught:
            stage(session, tmp_path, data[: int(len(data) * share)], name=name)
        assert caught.value.code.startswith(("archive_", "not_an_archive"))
        assert not list((tmp_path / "work").glob("*"))


@pytest.mark.parametrize("name", PACKED)
def test_an_archive_with_a_flipped_byte_never_loses_rows_silently(session: Session, tmp_path: Path, name: str) -> None:
    for at in range(40, len(PACKED[name]), len(PACKED[name]) // 15):
        data = bytearray(PACKED[name])
        data[at] ^= 0x55
        try:
            result = stage(session, tmp_path, bytes(data), name=name)
        except RejectedError:
            continue
        if "zst" not in name:  # a zstd frame of this kind has no check sum
            assert result.staged.rows == 5_000


def bomb(kind: str) -> bytes:
    size = RATIO_FROM * 3
    if kind == "x.zip":
        return zipped([("x.csv", b"0" * size)])
    if kind == "x.csv.gz":
        return gzip.compress(b"0" * size)
    return zstandard.ZstdCompressor().compress(b"0" * size)


@pytest.mark.parametrize("name", PACKED)
def test_a_bomb_is_refused_while_it_unpacks(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(bomb(name))
    total = 0
    chunks = unpack(path, name, compression_of(name, "auto"))
    with pytest.raises(RejectedError) as caught:  # noqa: PT012
        for chunk in chunks:
            total += len(chunk)
    assert caught.value.code == "archive_bomb"
    assert total <= RATIO_FROM + 2**26
    assert path.stat().st_size * MAX_RATIO < RATIO_FROM * 3


def test_the_ratio_can_be_raised_on_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSWALK_ARCHIVE_RATIO", "5000")
    path = tmp_path / "big.gz"
    path.write_bytes(bomb("x.csv.gz"))
    assert sum(map(len, unpack(path, "big.gz", "gzip"))) == RATIO_FROM * 3


def test_a_lying_size_is_refused(session: Session, tmp_path: Path) -> None:
    data = bytearray(PACKED["x.zip"])
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 100)
    with pytest.raises(RejectedError) as caught:
        stage(session, tmp_path, bytes(data), name="x.zip")
    assert caught.value.code == "archive_damaged"


def test_overlapping_entries_are_refused(session: Session, tmp_path: Path) -> None:
    data = bytearray(zipped([("a.csv", GOOD), (".hidden", b"y" * 50)], zipfile.ZIP_STORED))
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    struct.pack_into("<I", data, second + 42, 0)
    with pytest.raises(RejectedError) as caught:
        stage(session, tmp_path, bytes(data), name="x.zip")
    assert caught.value.code == "archive_entries"


def test_too_many_entries_and_no_entry_are_refused(session: Session, tmp_path: Path) -> None:
    for entries in ([(f".{i}", b"") for i in range(1_001)], []):
        with pytest.raises(RejectedError) as caught:
            stage(session, tmp_path, zipped(entries), name="x.zip")
        assert caught.value.code == "archive_entries"


def test_what_follows_a_gzip_member_is_a_member_or_padding(session: Session, tmp_path: Path) -> None:
    one = gzip.compress(b"a,b\n1,2\n")
    assert stage(session, tmp_path, one + b"\0" * 600, name="x.gz").rows == [["1", "2"]]
    with pytest.raises(RejectedError) as caught:
        stage(session, tmp_path, one + b"garbage", name="x.gz")
    assert caught.value.code == "archive_damaged"


def test_an_empty_archive_file_is_an_empty_file(session: Session, tmp_path: Path) -> None:
    assert stage(session, tmp_path, b"", name="x.csv.gz").staged.warnings[0].startswith("empty_file")
    assert stage(session, tmp_path, gzip.compress(b""), name="x.csv.gz").staged.rows == 0


def test_compression_can_be_said_against_the_name(session: Session, tmp_path: Path) -> None:
    assert stage(session, tmp_path, b"a,b\n1,2\n", name="x.gz", compression="none").staged.rows == 1
    assert stage(session, tmp_path, PACKED["x.csv.gz"], name="x.csv", compression="gzip").staged.rows == 5_000


def test_a_copy_is_made_only_of_what_is_packed_or_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfa\n1\n")
    plain = prepare(LocalFile(path, "x.csv"), Format(), tmp_path / "work")
    assert plain.path == path
    assert b"".join(plain.chunks()) == b"a\n1\n"
    copy = prepare(LocalFile(path, "x.csv"), Format(encoding="utf-8-sig"), tmp_path / "work")
    assert copy.path == path
    path.write_bytes(b"a\n\xe9\n")
    copy = prepare(LocalFile(path, "x.csv"), Format(encoding="latin-1"), tmp_path / "work")
    assert copy.path.read_bytes() == "a\né\n".encode()
    copy.remove()
    assert path.exists()
    assert not copy.path.exists()
