"""Moving one file: many requests under way at once, bytes handled in order, everything compared at the end."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import re
import secrets
import shutil
import stat
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from crosswalk.core.errors import ConfigError, RetryableError
from crosswalk.core.names import display
from crosswalk.transport import sftp_errors
from crosswalk.transport.background_hash import BackgroundSha256
from crosswalk.transport.details import ConnectionDetails
from crosswalk.transport.part_file import PartFile, disk_full, local_errors, version_of

_LARGEST_BLOCK = 255 * 1024
# What every server must be able to answer; used where it does not state its limits.
_SAFE_BLOCK = 32 * 1024
_UNSTATED = 16 * 1024
_BYTES_UNDER_WAY = 8 * 1024 * 1024
_OVERLAP = 64 * 1024
_SIGN_OF_LIFE_SECONDS = 0.2
_TOKEN_BYTES = 6


@dataclass(frozen=True)
class Downloaded:
    """A file that was fetched whole.

    Attributes:
        size: bytes.
        sha256: of its content, in hexadecimal.
        modified: its modification time on the source, whole epoch seconds.
        resumed_at: how many bytes an earlier try had already brought.
    """

    size: int
    sha256: str
    modified: int
    resumed_at: int = 0


def _block_size(stated: int) -> int:
    return _SAFE_BLOCK if stated <= _UNSTATED else min(stated, _LARGEST_BLOCK)


def _version(attrs: asyncssh.SFTPAttrs) -> tuple[int, int]:
    return int(attrs.size or 0), int(attrs.mtime or 0)


async def read_in_order(file: asyncssh.SFTPClientFile, start: int, end: int, block: int) -> AsyncIterator[bytes]:
    """The bytes from ``start`` to ``end``, with several requests ahead; stops early where the file does."""
    waiting: deque[tuple[int, asyncio.Task[bytes]]] = deque()
    ahead = max(2, _BYTES_UNDER_WAY // block)
    try:
        while start < end or waiting:
            while start < end and len(waiting) < ahead:
                size = min(block, end - start)
                waiting.append((size, asyncio.ensure_future(_read_block(file, start, size))))
                start += size
            size, task = waiting[0]
            data = await task
            waiting.popleft()
            yield data
            if len(data) < size:
                return
    finally:
        await _drop([task for _, task in waiting])


async def _read_block(file: asyncssh.SFTPClientFile, offset: int, size: int) -> bytes:
    """One block; servers may answer with less than asked, so the rest is asked for again."""
    data: bytes = await file.read(size, offset)
    while data and len(data) < size:
        more: bytes = await file.read(size - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


async def _drop(tasks: list[asyncio.Task]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)


def is_leftover(found: str, name: str) -> bool:
    """Whether a name is the temporary one of an upload of ``name``, which a cut left behind."""
    return re.fullmatch(rf"\.{re.escape(name[:100])}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.part", found) is not None


class Downloader:
    """Fetches one file; see ``SftpSession.download``."""

    def __init__(self, client: asyncssh.SFTPClient, details: ConnectionDetails, progressed: Callable[[], None]) -> None:
        self._client = client
        self._details = details
        self._progressed = progressed
        self._block = _block_size(client.limits.max_read_len)

    async def run(
        self, remote: str, local: Path, *, resume: bool, expected: tuple[int, int] | None = None
    ) -> Downloaded:
        """Fetch ``remote`` to ``local``."""
        async with self._client.open(remote, "rb", block_size=0) as file:
            before = await file.stat()
            if stat.S_ISDIR(before.permissions or 0):
                raise self._not_a_file(remote)
            version = _version(before)
            if expected and version != expected:
                raise sftp_errors.changed(self._details, remote, expected, version)
            part = await asyncio.to_thread(PartFile.open, local, version_of(remote, *version), resume=resume)
            try:
                resumed_at = await self._agree(file, part, version[0])
                self._check_space(part, version[0])
                await self._copy(file, part, version[0])
                await self._compare(file, part, remote, version)
                sha256 = await self._settle(part)
                part.publish()
            finally:
                part.close()
        return Downloaded(part.have, sha256, version[1], resumed_at)

    def _not_a_file(self, remote: str) -> ConfigError:
        return ConfigError(
            f"{sftp_errors.place(self._details)}: {display(remote)} is a folder, not a file.",
            remedy="End a path with / to mean every file in a folder.",
            code="not_a_file",
            file=display(remote),
        )

    async def _agree(self, file: asyncssh.SFTPClientFile, part: PartFile, size: int) -> int:
        """How much of an earlier try may stay: all of it where its first and last bytes still are the source's."""
        have = part.have
        for offset in {0, max(0, have - _OVERLAP)} if have else ():
            length = min(_OVERLAP, have - offset)
            if have > size or await _read_block(file, offset, length) != part.peek(offset, length):
                part.restart()
                return 0
        return have

    def _check_space(self, part: PartFile, size: int) -> None:
        missing = size - part.have
        with local_errors(part.final.parent):
            free = shutil.disk_usage(part.final.parent).free
        if missing > free:
            part.discard()
            raise disk_full(part.final.parent, missing)

    async def _copy(self, file: asyncssh.SFTPClientFile, part: PartFile, size: int) -> None:
        async for chunk in read_in_order(file, part.have, size, self._block):
            part.write(chunk)
            self._progressed()

    async def _settle(self, part: PartFile) -> str:
        """Bring the file to the disk and end its hash; nobody waits for the server meanwhile, so this is no hang."""
        work = asyncio.ensure_future(asyncio.to_thread(part.settle))
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=_SIGN_OF_LIFE_SECONDS)
                self._progressed()
            return work.result()
        finally:
            work.cancel()

    async def _compare(
        self, file: asyncssh.SFTPClientFile, part: PartFile, remote: str, version: tuple[int, int]
    ) -> None:
        """What was read must be the file that lies under the name now, unchanged."""
        handle = await file.stat()
        try:
            named = await self._client.stat(remote)
        except asyncssh.SFTPError as error:
            if not sftp_errors.is_missing(error):
                raise
            part.discard()
            raise sftp_errors.vanished(self._details, remote) from error
        for attrs in (handle, named):
            after = _version(attrs)
            if after != version:
                part.discard()
                raise sftp_errors.changed(self._details, remote, version, after)
        if part.have != version[0]:
            part.discard()
            raise sftp_errors.changed(self._details, remote, version, (part.have, version[1]))


class Uploader:
    """Sends one file; see ``SftpSession.upload``."""

    def __init__(self, client: asyncssh.SFTPClient, details: ConnectionDetails, progressed: Callable[[], None]) -> None:
        self._client = client
        self._details = details
        self._progressed = progressed
        self._block = _block_size(client.limits.max_write_len)

    async def run(self, local: Path, remote: str, *, read_back: bool, overwrite: bool) -> int:
        """Send ``local`` to ``remote``."""
        folder, name = posixpath.split(remote)
        temporary = posixpath.join(folder, f".{name[:100]}.{secrets.token_hex(_TOKEN_BYTES)}.part")
        try:
            size, sha256 = await self._send(local, temporary, read_back=read_back)
            await self._compare(temporary, size, sha256)
            await self._publish(temporary, remote, overwrite)
        except BaseException:
            # Best effort: after a cut nothing can be removed. A name with a dot and .part is never taken for a file.
            with suppress(asyncssh.Error, OSError, TimeoutError):
                async with asyncio.timeout(5):
                    await self._client.remove(temporary)
            raise
        return size

    async def _send(self, local: Path, temporary: str, *, read_back: bool) -> tuple[int, str | None]:
        size = 0
        waiting: deque[asyncio.Task[int]] = deque()
        ahead = max(2, _BYTES_UNDER_WAY // self._block)
        with local.open("rb") as source:
            sha256 = BackgroundSha256(source)
            try:
                async with self._client.open(temporary, "xb", block_size=0) as file:
                    while chunk := source.read(self._block):
                        if len(waiting) >= ahead:
                            await waiting.popleft()
                            self._progressed()
                        waiting.append(asyncio.ensure_future(file.write(chunk, size)))
                        size += len(chunk)
                        if read_back:
                            sha256.extend(size)
                    while waiting:
                        await waiting.popleft()
                        self._progressed()
                    with suppress(asyncssh.SFTPOpUnsupported):
                        await file.fsync()
                return size, await asyncio.to_thread(sha256.hexdigest) if read_back else None
            finally:
                await _drop(list(waiting))
                sha256.close()

    async def _compare(self, temporary: str, size: int, sha256: str | None) -> None:
        there = (await self._client.stat(temporary)).size
        if there != size:
            raise self._damaged(temporary, f"{there} bytes arrived of {size}")
        if sha256 is None:
            return
        back = hashlib.sha256()
        async with self._client.open(temporary, "rb", block_size=0) as file:
            async for chunk in read_in_order(file, 0, size, _block_size(self._client.limits.max_read_len)):
                back.update(chunk)
                self._progressed()
        if back.hexdigest() != sha256:
            raise self._damaged(temporary, "its content is not what was sent")

    def _damaged(self, path: str, what: str) -> RetryableError:
        return RetryableError(
            f"{sftp_errors.place(self._details)}: {display(path)} was not stored whole: {what}.",
            remedy="Look at the server's disk, then run again.",
            code="upload_damaged",
        )

    async def _publish(self, temporary: str, remote: str, overwrite: bool) -> None:
        if overwrite:
            try:
                await self._client.posix_rename(temporary, remote)
            except asyncssh.SFTPOpUnsupported:
                pass
            else:
                return
        if await self._client.lexists(remote):
            raise ConfigError(
                f"{sftp_errors.place(self._details)} already has {display(remote)}, and it is not replaced"
                f"{': the server cannot do that in one step' if overwrite else ''}.",
                remedy="Use a name that is new each time, for example with a time in it.",
                code="name_taken",
                file=display(remote),
            )
        await self._client.rename(temporary, remote)
