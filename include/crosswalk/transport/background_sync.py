"""Bringing a file to the disk while it grows, so that its end has little left to wait for."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

_EVERY = 64 * 1024 * 1024


class BackgroundSync:
    """Syncs a growing file in another thread, every 64 MiB and one round at a time; smaller ones only at the end.

    The system tells of bytes that it could not write once, to whoever asks first: every error found here must be taken
    from ``extend``, ``finish`` or ``close``, and the file must not be used after it.

    Example:
        >>> with Path("data.csv").open("wb", buffering=0) as file:
        ...     sync = BackgroundSync(file)
        ...     sync.extend(file.write(b"abc"))
        ...     sync.finish()
        ...     sync.close()
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._worker: ThreadPoolExecutor | None = None
        self._round: Future[None] | None = None
        self._asked = 0

    def extend(self, end: int) -> None:
        """The file has ``end`` bytes; never waits, and leaves out a round while the disk is behind.

        Raises:
            OSError: an earlier round failed.
        """
        if end - self._asked < _EVERY or (self._round is not None and not self._round.done()):
            return
        self._collect()
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._asked = end
        self._round = self._worker.submit(os.fdatasync, self._file.fileno())

    def finish(self) -> None:
        """Bring everything to the disk; waits.

        Raises:
            OSError: this or an earlier round failed.
        """
        self._collect()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """End the thread, before the file is closed.

        Raises:
            OSError: the last round failed.
        """
        try:
            self._collect()
        finally:
            if self._worker is not None:
                self._worker.shutdown()

    def _collect(self) -> None:
        """Wait for the round under way and take its error, which is told only once."""
        last, self._round = self._round, None
        if last is not None:
            last.result()
