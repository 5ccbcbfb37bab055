"""The hash behind the work gives what a plain one gives, or nothing."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path

import pytest

from crosswalk.transport.background_hash import BackgroundSha256


@pytest.mark.parametrize("sizes", [[], [1], [70_000, 1, 0, 70_000, 5], [255 * 1024] * 40, [9_000_000, 1]])
def test_a_file_that_grows_by_any_steps_gets_the_digest_of_the_whole(tmp_path: Path, sizes: list[int]) -> None:
    chance, plain = random.Random(5), hashlib.sha256()
    with (tmp_path / "a").open("w+b", buffering=0) as file:
        digest = BackgroundSha256(file)
        for size in sizes:
            piece = chance.randbytes(size)
            file.write(piece)
            plain.update(piece)
            digest.extend(file.tell())

        assert digest.hexdigest() == plain.hexdigest()
        digest.close()


def test_only_the_bytes_that_were_named_belong_to_the_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcdef")
    with (tmp_path / "a").open("rb") as file:
        digest = BackgroundSha256(file)
        digest.extend(3)

        assert digest.hexdigest() == hashlib.sha256(b"abc").hexdigest()


def test_a_small_file_starts_no_thread(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1_000_000)
    before = threading.active_count()
    with (tmp_path / "a").open("rb") as file:
        digest = BackgroundSha256(file)
        digest.extend(1_000_000)

        assert digest.hexdigest() == hashlib.sha256(b"x" * 1_000_000).hexdigest()
        assert threading.active_count() == before


def test_a_digest_of_less_than_everything_is_never_given(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 5_000_000)
    with (tmp_path / "a").open("rb") as file:
        digest = BackgroundSha256(file)
        digest.close()
        digest.extend(1_000_000)

        with pytest.raises(RuntimeError, match="closed"):
            digest.hexdigest()


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_file_that_became_shorter_has_no_digest(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    with (tmp_path / "a").open("rb") as file:
        digest = BackgroundSha256(file)
        digest.extend(size + 1)

        with pytest.raises(OSError, match=f"ends after {size}"):
            digest.hexdigest()
        digest.close()
