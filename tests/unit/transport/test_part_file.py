"""Partial files: whole or absent, resumed only where that is safe, never written by two."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest

from crosswalk.core.errors import ConfigError, RetryableError
from crosswalk.transport import background_sync, part_file
from crosswalk.transport.part_file import PartFile, version_of

DATA = random.Random(3).randbytes(300_000)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_final_name_appears_only_at_the_end(tmp_path: Path) -> None:
    part = PartFile.open(tmp_path / "a.csv", "v1", resume=True)
    part.write(DATA)
    assert part.settle() == hashlib.sha256(DATA).hexdigest()
    assert names(tmp_path) == ["a.csv.v1.part"]

    part.publish()
    part.close()

    assert names(tmp_path) == ["a.csv"]
    assert (tmp_path / "a.csv").read_bytes() == DATA


def test_a_partial_file_of_the_same_version_is_resumed(tmp_path: Path) -> None:
    first = PartFile.open(tmp_path / "a.csv", "v1", resume=True)
    first.write(DATA[:100_000])
    first.close()

    second = PartFile.open(tmp_path / "a.csv", "v1", resume=True)
    assert second.have == 100_000
    assert second.peek(99_990, 20) == DATA[99_990:100_000]
    second.write(DATA[100_000:])
    assert second.settle() == hashlib.sha256(DATA).hexdigest()
    second.publish()
    second.close()

    assert (tmp_path / "a.csv").read_bytes() == DATA


@pytest.mark.parametrize(("version", "resume"), [("v2", True), ("v1", False)])
def test_another_version_begins_anew_and_leaves_nothing_behind(tmp_path: Path, version: str, resume: bool) -> None:
    first = PartFile.open(tmp_path / "a.csv", "v1", resume=True)
    first.write(b"old")
    first.close()

    second = PartFile.open(tmp_path / "a.csv", version, resume=resume)

    assert second.have == 0
    assert names(tmp_path) == [f"a.csv.{version}.part"]
    second.write(b"new")
    second.publish()
    assert (tmp_path / "a.csv").read_bytes() == b"new"


def test_partial_files_of_other_names_stay(tmp_path: Path) -> None:
    other = PartFile.open(tmp_path / "b.csv", "v1", resume=True)
    other.write(b"b")
    other.close()

    PartFile.open(tmp_path / "a.csv", "v1", resume=True).close()

    assert "b.csv.v1.part" in names(tmp_path)


def test_two_writers_of_one_name_never_share_a_partial_file(tmp_path: Path) -> None:
    first = PartFile.open(tmp_path / "a.csv", "v1", resume=True)
    first.write(b"first")
    second = PartFile.open(tmp_path / "a.csv", "v1", resume=True)
    second.write(b"second, longer")

    assert first.path != second.path
    first.publish()
    assert (tmp_path / "a.csv").read_bytes() == b"first"
    second.publish()
    assert (tmp_path / "a.csv").read_bytes() == b"second, longer"
    assert names(tmp_path) == ["a.csv"]


def test_a_long_name_still_fits_the_file_system(tmp_path: Path) -> None:
    part = PartFile.open(tmp_path / ("x" * 250), "v1", resume=True)
    part.write(b"x")
    part.publish()

    assert names(tmp_path) == ["x" * 250]


def test_partial_files_are_for_this_user_only(tmp_path: Path) -> None:
    part = PartFile.open(tmp_path / "a.csv", "v1", resume=True)

    assert part.path.stat().st_mode & 0o077 == 0
    part.close()


class _Full:
    """A file on a full disk."""

    def __init__(self, number: int) -> None:
        self.number = number

    def write(self, data: bytes) -> int:
        raise OSError(self.number, os.strerror(self.number))

    def close(self) -> None:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_with_its_space_and_nothing_is_left(tmp_path: Path, number: int) -> None:
    part = PartFile.open(tmp_path / "a.csv", "v1", resume=True)
    part._handle.close()
    part._handle = _Full(number)

    with pytest.raises(RetryableError) as caught:
        part.write(DATA)

    assert caught.value.code == "disk_full"
    assert str(tmp_path) in str(caught.value)
    assert "bytes are free" in str(caught.value)
    assert names(tmp_path) == []


def test_a_really_full_file_system_is_named() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("wb", buffering=0) as handle:
        part = PartFile(Path("/dev/shm/x"), Path("/dev/shm/crosswalk-absent.part"), handle)
        with pytest.raises(RetryableError) as caught:
            part.write(DATA)
    assert caught.value.code == "disk_full"


def lose(*_: object) -> None:
    """What the system says when bytes did not reach the disk; it says so once."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_bytes_that_the_disk_lost_at_the_end_are_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lose)
    part = PartFile.open(tmp_path / "a.csv", "v1", resume=True)
    part.write(DATA)

    with pytest.raises(RetryableError) as caught:
        part.settle()

    assert caught.value.code == "local_disk"
    part.close()
    assert names(tmp_path) == []


def test_bytes_that_the_disk_lost_midway_are_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_sync, "_EVERY", 100_000)
    monkeypatch.setattr(os, "fdatasync", lose)
    part = PartFile.open(tmp_path / "a.csv", "v1", resume=True)
    part.write(DATA)

    with pytest.raises(RetryableError):
        part.close()  # as after a cut: nobody asks for more

    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_setting_to_correct(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="cannot be written"):
        PartFile.open(tmp_path / "file" / "a.csv", "v1", resume=True)


def test_versions_differ_by_path_size_time_and_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    one = version_of("/in/a", 1, 2)

    assert version_of("/in/a", 1, 2) == one
    assert len({one, version_of("/in/b", 1, 2), version_of("/in/a", 2, 2), version_of("/in/a", 1, 3)}) == 4
    monkeypatch.setattr(part_file.Path, "read_text", lambda *_, **__: "another boot")
    assert version_of("/in/a", 1, 2) != one
