"""SHA-256 of a file while it is moved: another thread reads behind, in pieces large enough to leave the mover alone.

Reading again what has just passed is cheap, for the system still holds it in memory; handing over every block is not,
for each time the two threads wait for each other.
"""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

_PIECE = 2 * 1024 * 1024


class BackgroundSha256:
    """The hash of a file's first bytes; a file of less than one piece never sees the other thread.

    Example:
        >>> with Path("data.csv").open("rb") as file:
        ...     digest = BackgroundSha256(file)
        ...     digest.extend(3)
        ...     digest.hexdigest()[:8]
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._worker: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None
        self._end = 0
        self._asked = 0
        self._taken = 0
        self._closed = False

    def extend(self, end: int) -> None:
        """The file's bytes up to ``end`` are there and belong to the hash; never waits."""
        self._end = end
        if end - self._asked >= _PIECE:
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="sha256")
            self._asked = end
            self._last = self._worker.submit(self._take, end)

    def hexdigest(self) -> str:
        """The digest of everything so far; waits for the other thread.

        Raises:
            RuntimeError: ``close`` gave bytes up, so the digest would be of something else.
            OSError: the file cannot be read, or is shorter than was said.
        """
        if self._last is not None and not self._closed:
            self._last.result()
        self._take(self._end)
        if self._taken < self._end:
            raise RuntimeError("The hash was closed before all of its bytes were taken in.")
        return self._hash.hexdigest()

    def _take(self, end: int) -> None:
        while self._taken < end and not self._closed:
            piece = os.pread(self._file.fileno(), min(_PIECE, end - self._taken), self._taken)
            if not piece:
                raise OSError(errno.EIO, f"the file ends after {self._taken} of {end} bytes")
            self._hash.update(piece)
            self._taken += len(piece)

    def close(self) -> None:
        """End the thread, before the file is closed; what is not taken in yet is given up."""
        self._closed = True
        if self._worker is not None:
            self._worker.shutdown(cancel_futures=True)
