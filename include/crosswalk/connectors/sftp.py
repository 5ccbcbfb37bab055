"""The ``sftp`` kind: which files of a folder a goal means, and what happens to them afterwards."""

from __future__ import annotations

import posixpath
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from crosswalk.config.connection import ExportProfiles, Goal, ImportGoal, SourceFile
from crosswalk.config.file_selection import folder_of, is_handled, selector
from crosswalk.connectors.base import ConnectionDetails, Fetched, Look, RemoteFile, Right, local_name
from crosswalk.core.errors import ConfigError, CrosswalkError, RetryableError, SourceChangedError
from crosswalk.core.names import display
from crosswalk.transport import sftp_errors
from crosswalk.transport.sftp import SftpSession
from crosswalk.transport.sftp_transfer import is_leftover

DONE = ".done"
_MOST_NAMES = 10_000


class SftpConnector:
    """Files on an SFTP server.

    Example:
        >>> with SftpConnector(details) as connector:
        ...     for file in connector.list_files(SourceFile(name="orders", path="/in/orders_*.csv")):
        ...         connector.fetch(file, folder / local_name(file))
    """

    def __init__(self, details: ConnectionDetails) -> None:
        self.details = details
        self._stack: ExitStack | None = None
        self._session: SftpSession | None = None

    def open(self) -> Self:
        """Connect, check the host key, log in.

        Raises:
            ConfigError, AuthenticationError, RetryableError: as ``SftpSession.open``.
        """
        if self._session is None:
            with ExitStack() as stack:
                self._session = stack.enter_context(SftpSession.open(self.details))
                self._stack = stack.pop_all()
        return self

    def close(self) -> None:
        """Log out."""
        stack, self._stack, self._session = self._stack, None, None
        if stack is not None:
            stack.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def session(self) -> SftpSession:
        """The open session."""
        if self._session is None:
            self.open()
        if self._session is None:
            raise RetryableError("The SFTP session is not open.", code="connection_lost")
        return self._session

    # -- rights

    def check(self, goals: Sequence[Goal] = (), *, try_writing: bool = True) -> list[Right]:
        """Try the login, the listing of each folder, and writing where files are renamed or archived.

        Writing is tried with an empty file of our own, which is removed at once; plans leave that out.
        """
        try:
            key = self.open().session.host_key()
        except CrosswalkError as error:
            return [Right("login", False, str(error), error)]
        user = display(self.details.login)
        login = Right("login", True, f"{sftp_errors.place(self.details)} as {user}, host key {key}.")
        try:
            sources = [file for goal in goals if isinstance(goal, ImportGoal) for file in goal.files]
            read = sorted({folder_of(file) for file in sources})
            written = sorted({folder for goal in goals for folder in _written(goal)}) if try_writing else []
        except ConfigError as error:
            return [login, Right("paths", False, str(error), error)]
        return [
            login,
            *(_try("list", folder, self._try_list) for folder in read),
            *(_try("write", folder, self._try_write) for folder in written),
        ]

    def _try_list(self, folder: str) -> str:
        return f"{len(self.session.list(folder))} entries."

    def _try_write(self, folder: str) -> str:
        if not self.session.exists(folder) and (parent := posixpath.dirname(folder)):
            return f"It is made at first use. {self._try_write(parent)}"
        path = posixpath.join(folder, f".crosswalk-check.{secrets.token_hex(6)}.part")
        self.session.write_new(path)
        self.session.remove(path)
        return "A file can be made and removed."

    # -- files

    def list_files(self, source: SourceFile) -> list[RemoteFile]:
        """The regular files that a file block selects, oldest first.

        Handled files (``.done``), files under way (``.part``) and hidden ones (leading dot) are never selected, except
        a hidden one by a path or wildcard that begins with the dot itself.

        Raises:
            ConfigError: no such folder, no right to it, or a pattern that cannot be used.
        """
        folder = folder_of(source)
        selects = selector(source)
        if selects is None:
            found = self._one_file(source.path, folder)
        else:
            found = [file for file in self.session.list(folder) if file.is_regular and selects(file.name)]
        found = [file for file in found if not is_handled(file.name)]
        return sorted(found, key=lambda file: (file.modified, file.name))

    def _one_file(self, path: str, folder: str) -> list[RemoteFile]:
        try:
            file = self.session.stat(path)
        except ConfigError as error:
            if error.code != "no_such_path":
                raise
            self.session.stat(folder)  # a missing folder is a wrong setting, a missing file only not there yet
            return []
        if not file.is_regular:
            raise ConfigError(
                f"{sftp_errors.place(self.details)}: {display(path)} is not a file.",
                remedy="End a path with / to mean every file in a folder.",
                code="not_a_file",
                file=display(path),
            )
        return [file]

    def stable_files(
        self, files: Sequence[RemoteFile], stable_seconds: float, wait: Callable[[float], None] = time.sleep
    ) -> Look:
        """Wait, look again, and part the files that changed, grew or vanished from those that did not.

        With ``stable_seconds`` 0 every file counts as stable.
        """
        if not files or stable_seconds <= 0:
            return Look(list(files), [])
        wait(stable_seconds)
        look = Look([], [])
        for file in files:
            (look.stable if self._version_now(file.path) == file.version else look.moving).append(file)
        return look

    def _version_now(self, path: str) -> tuple[int, int] | None:
        try:
            return self.session.stat(path).version
        except ConfigError as error:
            if error.code != "no_such_path":
                raise
            return None

    def fetch(self, remote: RemoteFile, local: Path) -> Fetched:
        """Bring one file here, whole and as it was listed; a second call resumes what the first left.

        Raises:
            SourceChangedError: it vanished, or is not the version that was listed.
            RetryableError: the connection was lost, or the local disk is full.
            ConfigError: there is no right to read it.
        """
        try:
            got = self.session.download(remote.path, local, expected=remote.version)
        except ConfigError as error:
            if error.code != "no_such_path":
                raise
            raise sftp_errors.vanished(self.details, remote.path) from error
        return Fetched(local, got.size, got.sha256, got.modified)

    # -- afterwards

    def mark_done(self, file: RemoteFile | str) -> str:
        """Add ``.done``, or ``.done.1`` and so on where that is taken; returns the new path.

        Given the ``RemoteFile`` that was read, a newer file of that name is left alone, and a file that an earlier try
        already renamed is found again.

        Raises:
            SourceChangedError: the file is gone, or another version lies there now.
            ConfigError: there is no right to rename it.
        """
        path = file if isinstance(file, str) else file.path
        return self._move(file, f"{path}{DONE}")

    def archive(self, file: RemoteFile | str, folder: str) -> str:
        """Move a file into a folder, which is made when it is missing; a taken name gets ``.1`` and so on.

        Raises:
            SourceChangedError, ConfigError: as ``mark_done``.
        """
        path = file if isinstance(file, str) else file.path
        folder = folder.rstrip("/") or "/"
        if not self.session.exists(folder):
            self.session.mkdir(folder)
        return self._move(file, posixpath.join(folder, posixpath.basename(path)))

    def _move(self, file: RemoteFile | str, target: str) -> str:
        path = file if isinstance(file, str) else file.path
        now = self._version_now(path)
        if now is None or (isinstance(file, RemoteFile) and now != file.version):
            return self._moved_before(file, target, newer=now is not None)
        for name in _numbered(target):
            try:
                self.session.rename(path, name)
            except ConfigError as error:
                if error.code == "name_taken":
                    continue
                if error.code == "no_such_path":
                    return self._moved_before(file, target, newer=False)
                raise
            return name
        raise ConfigError(
            f"{sftp_errors.place(self.details)}: every name from {display(target)} on is taken.",
            remedy="Clear the handled files away.",
            code="name_taken",
        )

    def _moved_before(self, file: RemoteFile | str, target: str, *, newer: bool) -> str:
        """The name under which a retry finds what an earlier try had renamed."""
        path = file if isinstance(file, str) else file.path
        if isinstance(file, RemoteFile):
            for name in _numbered(target):
                version = self._version_now(name)
                if version is None:
                    break
                if version == file.version:
                    return name
        if newer:
            raise SourceChangedError(
                f"{sftp_errors.place(self.details)}: a newer {display(path)} has arrived since it was read.",
                remedy="It keeps its name and is read in the next run.",
                file=display(path),
            )
        raise sftp_errors.vanished(self.details, path)

    # -- delivering

    def list_folder(self, folder: str) -> list[RemoteFile]:
        """The regular files of a folder by name, but hidden ones and those under way.

        Raises:
            ConfigError: there is no right to list it.
        """
        return sorted(
            (file for file in self._entries(folder) if file.is_regular and not file.name.startswith(".")),
            key=lambda file: file.name,
        )

    def _entries(self, folder: str) -> list[RemoteFile]:
        try:
            return self.session.list(folder)
        except ConfigError as error:
            if error.code != "no_such_path":
                raise
            return []

    def deliver(self, local: Path, path: str, *, replace: bool) -> None:
        """Put a file there whole, under a temporary name first; the folders above it are made when missing.

        Raises:
            ConfigError: no right to write there, or the name is taken and not to be replaced.
            RetryableError: the connection was lost, or what arrived is not what was sent.
        """
        self._make_folder(posixpath.dirname(path))
        self.session.upload(local, path, overwrite=replace)

    def _make_folder(self, folder: str) -> None:
        if folder in ("", "/", ".") or self.session.exists(folder):
            return
        self._make_folder(posixpath.dirname(folder))
        self.session.mkdir(folder)

    def has_delivered(self, path: str, size: int, sha256: str, work: Path) -> bool:
        """Whether the file lies there with this size and content.

        Args:
            path: where it should be.
            size: bytes.
            sha256: of its content.
            work: a local folder to compare in.
        """
        folder, name = posixpath.split(path)
        found = None
        for entry in self._entries(folder):
            if is_leftover(entry.name, name):
                self.session.remove(entry.path)
            elif entry.name == name and entry.is_regular:
                found = entry
        if found is None or found.size != size:
            return False
        local = work / local_name(found)
        try:
            return self.fetch(found, local).sha256 == sha256
        finally:
            local.unlink(missing_ok=True)

    def withdraw(self, path: str) -> None:
        """Remove a file that was delivered; does nothing when it is gone.

        Raises:
            ConfigError: there is no right to remove it.
        """
        if self._version_now(path) is not None:
            self.session.remove(path)


def _numbered(target: str) -> list[str]:
    return [target, *(f"{target}.{n}" for n in range(1, _MOST_NAMES))]


def _written(goal: Goal) -> set[str]:
    if isinstance(goal, ExportProfiles):
        return {goal.directory.rstrip("/") or "/"}
    marked = goal.files if goal.mark_done == "all" else goal.files[:1] if goal.mark_done or goal.archive else []
    folders = {folder_of(file) for file in marked}
    return folders | ({goal.archive.rstrip("/") or "/"} if goal.archive else set())


def _try(what: str, folder: str, attempt: Callable[[str], str]) -> Right:
    name = f"{what} {display(folder)}"
    try:
        return Right(name, True, attempt(folder))
    except CrosswalkError as error:
        return Right(name, False, str(error), error)
