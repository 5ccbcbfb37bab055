"""A connector over a local folder: the same interface as the SFTP one, no network.

For tests of what happens after the files are found; the SFTP connector has its own tests against real servers.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
from pathlib import Path

import re2

from crosswalk.config.connection import SourceFile
from crosswalk.connectors.base import RemoteFile, Right
from crosswalk.core.errors import SourceChangedError
from crosswalk.transport.sftp import Downloaded


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

    def check(self, goals: object) -> list[Right]:
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

    def stat(self, path: str) -> RemoteFile | None:
        return self._file(path) if self._local(path).exists() else None

    def stable_files(self, files: list[RemoteFile], stable_seconds: float) -> list[RemoteFile]:
        return files

    def fetch(self, path: str, local: Path) -> Downloaded:
        self.diary.append(("fetch", path))
        local.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(self._local(path), local)
        except FileNotFoundError:
            raise SourceChangedError("The file vanished while it was read.", file=path) from None
        facts = self._local(path).stat()
        digest = hashlib.sha256(local.read_bytes()).hexdigest()
        return Downloaded(size=facts.st_size, sha256=digest, modified=int(facts.st_mtime))

    def mark_done(self, path: str) -> str:
        self.diary.append(("done", path))
        os.rename(self._local(path), self._local(f"{path}.done"))
        return f"{path}.done"

    def archive(self, path: str, folder: str) -> str:
        self.diary.append(("archive", path))
        target = f"{folder.rstrip('/')}/{path.rpartition('/')[2]}"
        self._local(folder).mkdir(parents=True, exist_ok=True)
        os.rename(self._local(path), self._local(target))
        return target
