"""A download that is not whole yet: written beside its final name, which it gets only when everything has been checked.

The name of the partial file holds the version it belongs to (remote path, size, time, and this machine's boot, after
which unsynced bytes may be lost). Another version, or a partial file that another process is writing, is never resumed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from crosswalk.core.errors import ConfigError, CrosswalkError, RetryableError
from crosswalk.transport.background_hash import BackgroundSha256
from crosswalk.transport.background_sync import BackgroundSync

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LONGEST_STEM = 160


def version_of(path: str, size: int, modified: int) -> str:
    """A short name for one version of a remote file, as seen by this machine since its last start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        boot = ""
    text = f"{path}\0{size}\0{modified}\0{boot}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class PartFile:
    """The partial file behind one final name; use ``open``, ``publish`` when it is whole, and ``close`` in any case.

    Attributes:
        path: the partial file.
        have: bytes that are in it, from the start and without gaps.
    """

    def __init__(self, final: Path, path: Path, handle: BinaryIO) -> None:
        self.final = final
        self.path = path
        self.have = 0
        self._handle = handle
        self._sha256 = BackgroundSha256(handle)
        self._sync = BackgroundSync(handle)

    @classmethod
    def open(cls, final: Path, version: str, *, resume: bool) -> PartFile:
        """Open the partial file of this version, with what it has when ``resume``; others of this name are removed.

        Raises:
            RetryableError: the local disk is full.
            ConfigError: the folder cannot be written.
        """
        with local_errors(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
            stem = final.name[:_LONGEST_STEM]
            path = final.with_name(f"{stem}.{version}.part")
            handle = _lock(path)
            if handle is None:
                path = final.with_name(f"{stem}.{version}-{secrets.token_hex(4)}.part")
                handle = path.open("x+b", buffering=0)
                fcntl.flock(handle, fcntl.LOCK_EX)
            part = cls(final, path, handle)
            _remove_others(final.parent, stem, path)
            if resume:
                part.have = handle.seek(0, os.SEEK_END)
                part._sha256.extend(part.have)
            else:
                part.restart()
            return part

    def restart(self) -> None:
        """Forget what is in the file."""
        self._handle.seek(0)
        self._handle.truncate()
        self.have = 0
        self._sha256.close()
        self._sha256 = BackgroundSha256(self._handle)

    def peek(self, offset: int, size: int) -> bytes:
        """Bytes that are already in the file."""
        return os.pread(self._handle.fileno(), size, offset)

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            RetryableError: the disk is full; the partial file is removed, so as not to hold the last of the space.
        """
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[self._handle.write(rest) :]
        except OSError as error:
            if error.errno in _FULL:
                self.discard()
            raise local_error(error, self.final.parent) from error
        self.have += len(chunk)
        self._sha256.extend(self.have)
        with self._trusted():
            self._sync.extend(self.have)

    def settle(self) -> str:
        """Bring everything to the disk; returns the SHA-256 of what is in the file, in hexadecimal."""
        with self._trusted():
            self._sync.finish()
            return self._sha256.hexdigest()

    @contextmanager
    def _trusted(self) -> Iterator[None]:
        """After bytes were lost on their way to the disk, the partial file must not be continued: it is removed."""
        try:
            yield
        except OSError as error:
            self.discard()
            raise local_error(error, self.final.parent) from error

    def publish(self) -> None:
        """Give the file its final name; from here on it counts as whole."""
        with local_errors(self.final.parent):
            self.path.replace(self.final)
            folder = os.open(self.final.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def close(self) -> None:
        """Let go of the file; one that was not published stays for a later try."""
        self._sha256.close()
        with self._trusted():
            self._sync.close()
        with local_errors(self.final.parent):
            self._handle.close()

    def discard(self) -> None:
        """Remove the partial file."""
        self._sha256.close()
        with suppress(OSError):
            self._sync.close()
        self.path.unlink(missing_ok=True)
        try:
            self._handle.close()
        except OSError as error:
            if error.errno not in _FULL:
                raise


def _lock(path: Path) -> BinaryIO | None:
    """Open and lock a partial file; None while another process has it."""
    while True:
        handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between open and lock its writer may have published or removed it; then it is no longer this name's.
            if path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                return handle
        except BlockingIOError:
            handle.close()
            return None
        except FileNotFoundError:
            pass
        handle.close()


def _remove_others(folder: Path, stem: str, keep: Path) -> None:
    for other in folder.iterdir():
        if other != keep and other.name.startswith(f"{stem}.") and other.name.endswith(".part"):
            with other.open("rb") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                other.unlink(missing_ok=True)


@contextmanager
def local_errors(folder: Path) -> Iterator[None]:
    """Give errors of the local disk a name and a place."""
    try:
        yield
    except OSError as error:
        raise local_error(error, folder) from error


def local_error(error: OSError, folder: Path) -> CrosswalkError:
    """The error of ours for one of the local file system."""
    if error.errno in _FULL:
        return disk_full(folder)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return ConfigError(
            f"The local folder {folder} cannot be written: {error.strerror}.",
            remedy="Give this user the right to write it, or set CROSSWALK_STAGING to another folder.",
            code="local_folder",
        )
    return RetryableError(f"The local folder {folder} failed: {error.strerror or error}.", code="local_disk")


def disk_full(folder: Path, needed: int | None = None) -> RetryableError:
    """The error for a full local disk, with the folder and what is free in it."""
    try:
        free = f"{shutil.disk_usage(folder).free:,} bytes are free"
    except OSError:
        free = "its free space is unknown"
    wanted = f", {needed:,} are needed" if needed is not None else ""
    return RetryableError(
        f"The disk of the local folder {folder} is full: {free}{wanted}.",
        remedy="Make room, or set CROSSWALK_STAGING to a larger disk, then run again.",
        code="disk_full",
    )
