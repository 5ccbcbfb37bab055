"""The hash beside the work gives what a plain one gives, or nothing."""

from __future__ import annotations

import hashlib
import random

import pytest

from crosswalk.transport.background_hash import BackgroundSha256


@pytest.mark.parametrize("sizes", [[], [1], [70_000, 1, 0, 70_000, 5], [255 * 1024] * 200])
def test_pieces_of_any_size_give_the_digest_of_the_whole(sizes: list[int]) -> None:
    chance, digest, plain = random.Random(5), BackgroundSha256(), hashlib.sha256()
    for size in sizes:
        piece = chance.randbytes(size)
        digest.update(piece)
        plain.update(piece)

    assert digest.hexdigest() == plain.hexdigest()
    digest.close()


def test_a_digest_of_less_than_everything_is_never_given() -> None:
    digest = BackgroundSha256()
    digest.update(b"x" * 2_000_000)
    digest.update(b"y" * 2_000_000)
    digest.close()

    with pytest.raises(RuntimeError, match="closed"):
        digest.hexdigest()
