"""SHA-256 beside the work: on machines without special instructions it takes as long as the transfer itself."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

_AT_ONCE = 64 * 1024
_MOST_WAITING = 64


class BackgroundSha256:
    """A hash that another thread computes, in the order of the updates; at most 64 pieces wait.

    Example:
        >>> digest = BackgroundSha256()
        >>> digest.update(b"abc")
        >>> digest.hexdigest()[:8]
        'ba7816bf'
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._worker: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()
        self._given_up = False

    def update(self, data: bytes) -> None:
        """Take further bytes; waits when the other thread is far behind."""
        if self._worker is None:
            if len(data) < _AT_ONCE:
                self._hash.update(data)
                return
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._worker.submit(self._hash.update, data))

    def hexdigest(self) -> str:
        """The digest of everything so far.

        Raises:
            RuntimeError: ``close`` gave bytes up, so the digest would be of something else.
        """
        if self._given_up:
            raise RuntimeError("The hash was closed before all of its bytes were taken in.")
        while self._waiting:
            self._waiting.popleft().result()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread; what waits is given up."""
        if self._worker is not None:
            self._given_up = bool(self._waiting)
            self._worker.shutdown(wait=False, cancel_futures=True)
            self._worker = None
            self._waiting.clear()
