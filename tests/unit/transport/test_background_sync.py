"""Syncing beside the work: often enough, one round at a time, and no error is lost."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from crosswalk.transport import background_sync
from crosswalk.transport.background_sync import BackgroundSync

ROUND = 1000


class Disk:
    """Stands for the disk: counts rounds, holds them up, or loses bytes.

    Attributes:
        rounds: threads that asked for a round, in order.
        fails: whether the bytes of the next rounds are lost.
        free: set while the disk answers.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rounds: list[str] = []
        self.fails = False
        self.free = threading.Event()
        self.free.set()
        monkeypatch.setattr(background_sync, "_EVERY", ROUND)
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, file: int) -> None:
        self.rounds.append(threading.current_thread().name)
        assert self.free.wait(10)
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_round_begins_with_every_further_piece_in_another_thread(tmp_path: Path, disk: Disk) -> None:
    with (tmp_path / "a").open("wb", buffering=0) as file:
        sync = BackgroundSync(file)
        for end in (ROUND - 1, ROUND, 2 * ROUND - 1):
            sync.extend(end)
        sync.finish()
        assert len(disk.rounds) == 1
        sync.extend(2 * ROUND)
        sync.close()

    assert len(disk.rounds) == 2
    assert threading.current_thread().name not in disk.rounds


def test_a_slow_disk_is_not_asked_twice_and_holds_nobody_up(tmp_path: Path, disk: Disk) -> None:
    disk.free.clear()
    with (tmp_path / "a").open("wb", buffering=0) as file:
        sync = BackgroundSync(file)
        for number in range(1, 6):
            sync.extend(number * ROUND)
        disk.free.set()
        sync.close()

    assert len(disk.rounds) == 1


@pytest.mark.parametrize("asked_by", ["extend", "finish", "close"])
def test_an_error_of_the_other_thread_is_told_by_what_comes_next(tmp_path: Path, disk: Disk, asked_by: str) -> None:
    disk.fails = True
    with (tmp_path / "a").open("wb", buffering=0) as file:
        sync = BackgroundSync(file)
        sync.extend(ROUND)
        assert sync._round is not None
        sync._round.exception(timeout=10)

        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            {"extend": lambda: sync.extend(2 * ROUND), "finish": sync.finish, "close": sync.close}[asked_by]()
        sync.close()
