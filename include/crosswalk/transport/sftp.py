"""SFTP with a synchronous face: checked host keys, verified downloads, uploads that nobody sees half.

Every call ends: connecting within ``conn_timeout`` seconds, anything else when no byte has moved for
``inactivity_timeout`` seconds. A slow transfer is not a hang: any byte counts, not only whole blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import posixpath
import socket
import stat
import struct
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from crosswalk.core.errors import ConfigError, CrosswalkError, RetryableError
from crosswalk.core.names import display
from crosswalk.transport import sftp_errors
from crosswalk.transport.details import ConnectionDetails, RemoteFile
from crosswalk.transport.host_keys import HostKey, HostKeyPolicy, trust_host_key
from crosswalk.transport.loop_thread import LoopThread
from crosswalk.transport.sftp_login import (
    CONNECT_TIMEOUT_SECONDS,
    HostKeyClient,
    certificate_only,
    fetch_host_key,
    login_options,
)
from crosswalk.transport.sftp_transfer import Downloaded, Downloader, Uploader

__all__ = ["Downloaded", "SftpSession", "fetch_host_key", "trust_host_key"]

INACTIVITY_TIMEOUT_SECONDS = 60.0

logger = logging.getLogger(__name__)
T = TypeVar("T")
Files = list[RemoteFile]


class SftpSession:
    """One login on one server; use ``open``.

    Example:
        >>> with SftpSession.open(details) as session:
        ...     for file in session.list("/in"):
        ...         session.download(file.path, Path("/tmp") / file.name)
    """

    def __init__(self, details: ConnectionDetails, loop: LoopThread) -> None:
        self.details = details
        self._loop = loop
        self._limit = details.seconds("inactivity_timeout", INACTIVITY_TIMEOUT_SECONDS)
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._touched = 0.0
        self._moved = (0, 0)

    @classmethod
    @contextmanager
    def open(cls, details: ConnectionDetails) -> Iterator[SftpSession]:
        """Connect, check the host key and log in; closed at the end of the ``with`` block.

        Raises:
            ConfigError: host or login are missing, or the key is not usable.
            AuthenticationError: the host key is not trusted, or the login was refused.
            RetryableError: the server cannot be reached.
        """
        options, policy, method = login_options(details)
        with LoopThread(f"sftp-{details.conn_id}") as loop:
            session = cls(details, loop)
            try:
                loop.run(session._connect(options, policy, method))
                yield session
            finally:
                loop.run(session._close())

    async def _connect(self, options: dict[str, Any], policy: HostKeyPolicy, method: str) -> None:
        client = HostKeyClient(policy)
        try:
            async with asyncio.timeout(self.details.seconds("conn_timeout", CONNECT_TIMEOUT_SECONDS)):
                self._connection = await asyncssh.connect(**options, client_factory=lambda: client)
                self._sftp = await self._connection.start_sftp_client(
                    path_encoding=self.details.text("path_encoding") or "utf-8", path_errors="surrogateescape"
                )
        except asyncssh.HostKeyNotVerifiable as error:
            if client.shown is None:
                raise certificate_only(policy) from error
            raise policy.refusal(client.shown) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise sftp_errors.connect_error(error, self.details, method) from error

    async def _close(self) -> None:
        self._sftp = None
        if self._connection is None:
            return
        self._connection.close()
        try:
            async with asyncio.timeout(2):
                await self._connection.wait_closed()
        except (TimeoutError, asyncssh.Error, OSError):
            self._connection.abort()

    @property
    def _client(self) -> asyncssh.SFTPClient:
        if self._sftp is None:
            raise _not_open()
        return self._sftp

    def host_key(self) -> HostKey:
        """The key that the server showed and that was found trusted."""
        key = self._connection.get_server_host_key() if self._connection else None
        if key is None:
            raise _not_open()
        return HostKey.of(key)

    # -- one call at a time, watched

    def _run(self, work: Coroutine[Any, Any, T], doing: str, path: str) -> T:
        """Run one piece of work; any failure of the library comes out as an error of ours."""
        if self._sftp is None:
            work.close()
            raise _not_open()
        try:
            return self._loop.run(self._watch(work, doing, path))
        except CrosswalkError:
            raise
        except UnicodeError:
            raise ConfigError(
                f"{sftp_errors.place(self.details)}: {display(path)} cannot be written in the server's name encoding.",
                remedy='Set the extra "path_encoding", for example to latin-1.',
                code="path_encoding",
            ) from None
        except (asyncssh.Error, OSError) as error:
            raise sftp_errors.request_error(error, self.details, doing, path) from error

    async def _watch(self, work: Coroutine[Any, Any, T], doing: str, path: str) -> T:
        clock = asyncio.get_running_loop().time
        task = asyncio.ensure_future(work)
        self._touched = clock()
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=min(self._limit / 20, 1.0))
                if self._has_moved():
                    self._touched = clock()
                elif not task.done() and clock() - self._touched > self._limit:
                    if self._connection:
                        self._connection.abort()
                    raise sftp_errors.hang_error(self.details, doing, path, self._limit)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=1)
            if task.done() and not task.cancelled():
                task.exception()

    def _has_moved(self) -> bool:
        moved = _bytes_moved(self._connection.get_extra_info("socket") if self._connection else None)
        before, self._moved = self._moved, moved
        return moved != before

    def _progressed(self) -> None:
        """A block is through; the only sign of life where the system does not count bytes."""
        self._touched = asyncio.get_running_loop().time()

    # -- requests

    def list(self, folder: str) -> Files:
        """Every entry of a folder but ``.`` and ``..``, in no order; links are looked through.

        Raises:
            ConfigError: there is no such folder, or no right to it.
        """
        return self._run(self._list(folder), "listing", folder)

    async def _list(self, folder: str) -> Files:
        found: Files = []
        async for entry in self._client.scandir(folder):
            self._progressed()
            name = str(entry.filename)
            if name in (".", ".."):
                continue
            if "/" in name or "\0" in name:
                logger.warning("A name in %s that no file can have was left out: %s", display(folder), display(name))
                continue
            path = name if folder in ("", ".") else posixpath.join(folder, name)
            attrs = entry.attrs
            if attrs.permissions is None or stat.S_ISLNK(attrs.permissions) or attrs.size is None:
                try:
                    attrs = await self._client.stat(path)
                except asyncssh.SFTPError as error:
                    logger.warning("Left out %s: %s", display(path), type(error).__name__)
                    continue
            found.append(_remote_file(path, attrs))
        return found

    def stat(self, path: str) -> RemoteFile:
        """One file, link or folder as it is now.

        Raises:
            ConfigError: there is no such path (code ``no_such_path``), or no right to it.
        """
        return _remote_file(path, self._run(self._client.stat(path), "looking at", path))

    def exists(self, path: str) -> bool:
        """Whether something of that name is there."""
        try:
            self._run(self._client.lstat(path), "looking at", path)
        except ConfigError as error:
            if error.code == "no_such_path":
                return False
            raise
        return True

    def download(
        self, remote_path: str, local_path: Path, *, resume: bool = True, expected: tuple[int, int] | None = None
    ) -> Downloaded:
        """Fetch a file whole, or not at all.

        Written to a partial file beside ``local_path``, compared with the source in size and time before and after,
        flushed, then renamed. With ``resume`` a partial file of the same version is continued.

        Args:
            remote_path: what to fetch.
            local_path: its final local name.
            resume: continue what an earlier try left.
            expected: size and modification time that the file must still have.

        Raises:
            SourceChangedError: the file changed, shrank or vanished meanwhile.
            RetryableError: the connection was lost (a later call resumes), or the local disk is full.
            ConfigError: there is no such path at the first look, or no right to it.
        """
        downloader = Downloader(self._client, self.details, self._progressed)
        work = downloader.run(remote_path, local_path, resume=resume, expected=expected)
        return self._run(work, "downloading", remote_path)

    def upload(self, local_path: Path, remote_path: str, *, read_back: bool = False, overwrite: bool = True) -> int:
        """Send a file so that its name appears only when it is whole; returns its size.

        Written under a temporary name in the same folder, flushed where the server can, compared in size, then
        renamed. A server that cannot replace a file in one step is not asked to overwrite.

        Args:
            local_path: what to send.
            remote_path: its final name.
            read_back: read everything again and compare its SHA-256.
            overwrite: replace a file of that name; otherwise it is an error.

        Raises:
            ConfigError: no such folder, no right to it, or the name is taken.
            RetryableError: the connection was lost, or what arrived is not what was sent.
        """
        work = Uploader(self._client, self.details, self._progressed).run(
            local_path, remote_path, read_back=read_back, overwrite=overwrite
        )
        return self._run(work, "uploading", remote_path)

    def rename(self, old: str, new: str) -> None:
        """Rename a file; never onto an existing one.

        Raises:
            ConfigError: the new name is taken (code ``name_taken``), the file is missing, or there is no right to it.
        """
        if self.exists(new):
            raise name_taken(self.details, new)
        try:
            self._run(self._client.rename(old, new), "renaming", old)
        except RetryableError as error:
            # OpenSSH says no more than "failure" when another was faster in taking the name.
            if error.code == "sftp_failure" and self.exists(new):
                raise name_taken(self.details, new) from error
            raise

    def mkdir(self, folder: str) -> None:
        """Make one folder below an existing one."""
        self._run(self._client.mkdir(folder), "making", folder)

    def remove(self, path: str) -> None:
        """Delete one file."""
        self._run(self._client.remove(path), "removing", path)

    def write_new(self, path: str, content: bytes = b"") -> None:
        """Make a small new file; an existing one is never touched."""
        self._run(self._write_new(path, content), "creating", path)

    async def _write_new(self, path: str, content: bytes) -> None:
        async with self._client.open(path, "xb") as file:
            if content:
                await file.write(content)


def name_taken(details: ConnectionDetails, path: str) -> ConfigError:
    """The error for a remote name that exists where a new one is needed."""
    return ConfigError(
        f"{sftp_errors.place(details)} already has {display(path)}, and it is not replaced.",
        remedy="Choose another name, or have the file moved away.",
        code="name_taken",
        file=display(path),
    )


def _remote_file(path: str, attrs: asyncssh.SFTPAttrs) -> RemoteFile:
    regular = attrs.permissions is None or stat.S_IFMT(attrs.permissions) in (0, stat.S_IFREG)
    name = posixpath.basename(path.rstrip("/"))
    return RemoteFile(path, name, int(attrs.size or 0), int(attrs.mtime or 0), regular)


def _not_open() -> RetryableError:
    return RetryableError("The SFTP session is not open.", code="connection_lost")


def _bytes_moved(sock: socket.socket | None) -> tuple[int, int]:
    """Bytes that the other side confirmed, and that arrived, as Linux counts them; zeros elsewhere."""
    if sock is None or not sys.platform.startswith("linux"):
        return 0, 0
    with contextlib.suppress(OSError, struct.error):
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
        acked, received = struct.unpack_from("=QQ", info, 120)
        return acked, received
    return 0, 0
