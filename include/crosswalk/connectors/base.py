"""What every connection kind offers to the steps, and the types they speak in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from crosswalk.config.connection import Goal, SourceFile
from crosswalk.core.errors import CrosswalkError
from crosswalk.core.names import safe_file_name
from crosswalk.transport.details import ConnectionDetails, RemoteFile

__all__ = ["ConnectionDetails", "Connector", "Fetched", "Look", "RemoteFile", "Right", "local_name"]


@dataclass(frozen=True)
class Right:
    """One thing a connection must be able to do, tried out.

    Attributes:
        name: what was tried: ``login``, ``list /in``, ``write /in``.
        ok: whether it went well.
        message: what was seen, or why it failed and what to do.
        error: the error behind a failure, for callers that raise it.
    """

    name: str
    ok: bool
    message: str
    error: CrosswalkError | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Fetched:
    """A source file that lies here, whole.

    Attributes:
        path: where.
        size: bytes.
        sha256: of its content as it lies on the source, in hexadecimal.
        modified: modification time on the source, whole epoch seconds.
    """

    path: Path
    size: int
    sha256: str
    modified: int


@dataclass(frozen=True)
class Look:
    """What two looks at the same files gave.

    Attributes:
        stable: files that did not change between the looks; in their order.
        moving: files that changed or vanished; the next run sees them again.
    """

    stable: list[RemoteFile]
    moving: list[RemoteFile]


@runtime_checkable
class Connector(Protocol):
    """One connection to a source; open it with ``with``.

    Example:
        >>> with create("sftp", details) as connector:
        ...     files = connector.list_files(goal.files[0])
    """

    details: ConnectionDetails

    def open(self) -> Self:
        """Connect and log in; does nothing when that has been done."""

    def close(self) -> None:
        """Log out; does nothing when that has been done."""

    def __enter__(self) -> Self:
        """Same as ``open``."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Same as ``close``."""

    def check(self, goals: Sequence[Goal] = (), *, try_writing: bool = True) -> list[Right]:
        """Try login and the rights that the goals need; failures are answers, not errors."""

    def list_files(self, source: SourceFile) -> list[RemoteFile]:
        """The files that a file block selects, oldest first (modification time, then name)."""

    def stable_files(self, files: Sequence[RemoteFile], stable_seconds: float, wait: Callable[[float], None]) -> Look:
        """Look a second time after ``stable_seconds`` and part what moved from what did not."""

    def fetch(self, remote: RemoteFile, local: Path) -> Fetched:
        """Bring one file here, whole and as it was listed."""

    def mark_done(self, file: RemoteFile | str) -> str:
        """Add ``.done`` to a file's name; returns the new path."""

    def archive(self, file: RemoteFile | str, folder: str) -> str:
        """Move a file into a folder of the source; returns the new path."""

    def list_folder(self, folder: str) -> list[RemoteFile]:
        """The files of a folder by name, but those under way; none when there is no such folder."""

    def deliver(self, local: Path, path: str, *, replace: bool) -> None:
        """Put a file there so that nobody sees it before it is whole; its folder is made when it is missing."""

    def has_delivered(self, path: str, size: int, sha256: str, work: Path) -> bool:
        """Whether that very file lies there; what a delivery that was cut off left beside it is removed."""

    def withdraw(self, path: str) -> None:
        """Remove a file that ``has_delivered`` has just found; does nothing when it is gone."""


def local_name(remote: RemoteFile) -> str:
    """A local file name for a remote file: cannot leave its folder, is unique by the whole path, keeps the ending."""
    return safe_file_name(remote.path)
