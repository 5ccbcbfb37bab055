"""A connector over a local folder: the same interface as the SFTP one, no network.

For tests of what happens after the files are found; the SFTP connector has its own tests against real servers.
"""

from __future__ import annotations

import fnmatch
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import re2

from crosswalk.config.connection import SourceFile
from crosswalk.connectors.base import Fetched, Look, RemoteFile, Right
from crosswalk.core.errors import ConfigError, SourceChangedError


class FolderConnector:
    """Reads ``/in/x.csv`` from ``<root>/in/x.csv``. Keeps a diary of what was asked of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.diary: list[tuple[str, str]] = []

    def __enter__(self) -> FolderConnector:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def _local(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def check(self, goals: object = (), *, try_writing: bool = True) -> list[Right]:
        return [Right("login", True, "local folder")]

    def list_files(self, source: SourceFile) -> list[RemoteFile]:
        folder, _, pattern = source.path.rpartition("/")
        if source.regex:
            folder, pattern = source.path.rstrip("/"), "*"
        found = []
        for path in sorted(self._local(folder).iterdir()) if self._local(folder).is_dir() else []:
            if path.name.endswith((".done", ".part")) or not path.is_file():
                continue
            if source.regex and not re2.fullmatch(source.regex, path.name):
                continue
            if fnmatch.fnmatchcase(path.name, pattern or "*"):
                found.append(self._file(f"{folder}/{path.name}"))
        return sorted(found, key=lambda file: (file.modified, file.name))

    def _file(self, path: str) -> RemoteFile:
        facts = self._local(path).stat()
        return RemoteFile(
            path=path, name=path.rpartition("/")[2], size=facts.st_size, modified=int(facts.st_mtime), is_regular=True
        )

    def stable_files(self, files: Sequence[RemoteFile], stable_seconds: float, wait: object) -> Look:
        return Look(list(files), [])

    def fetch(self, remote: RemoteFile, local: Path) -> Fetched:
        path = remote.path
        self.diary.append(("fetch", path))
        local.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(self._local(path), local)
        except FileNotFoundError:
            raise SourceChangedError("The file vanished while it was read.", file=path) from None
        now = self._file(path)
        if now.version != remote.version:
            raise SourceChangedError("The file is not the version that was listed.", file=path)
        return Fetched(local, now.size, hashlib.sha256(local.read_bytes()).hexdigest(), now.modified)

    def mark_done(self, file: RemoteFile | str) -> str:
        return self._move(file, None)

    def archive(self, file: RemoteFile | str, folder: str) -> str:
        self._local(folder).mkdir(parents=True, exist_ok=True)
        return self._move(file, folder)

    def list_folder(self, folder: str) -> list[RemoteFile]:
        local = self._local(folder)
        names = sorted(path.name for path in local.iterdir() if path.is_file()) if local.is_dir() else []
        return [self._file(f"{folder.rstrip('/')}/{name}") for name in names if not name.startswith(".")]

    def deliver(self, local: Path, path: str, *, replace: bool) -> None:
        self.diary.append(("deliver", path))
        target = self._local(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        shutil.copyfile(local, temporary)
        if target.exists() and not replace:
            raise ConfigError("The name is taken.", code="name_taken", file=path)
        temporary.rename(target)

    def has_delivered(self, path: str, size: int, sha256: str, work: Path) -> bool:
        self.diary.append(("has_delivered", path))
        target = self._local(path)
        target.with_name(f".{target.name}.part").unlink(missing_ok=True)
        return target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256

    def withdraw(self, path: str) -> None:
        self.diary.append(("withdraw", path))
        self._local(path).unlink(missing_ok=True)

    def _move(self, file: RemoteFile | str, folder: str | None) -> str:
        path = file if isinstance(file, str) else file.path
        target = f"{path}.done" if folder is None else f"{folder.rstrip('/')}/{path.rpartition('/')[2]}"
        if self._local(path).exists():
            if isinstance(file, RemoteFile) and self._file(path).version != file.version:
                raise SourceChangedError("A newer file has arrived.", file=path)
            self.diary.append(("move", path))
            self._local(path).rename(self._local(target))
        elif not self._local(target).exists():
            raise SourceChangedError("The file is gone.", file=path)
        return target
