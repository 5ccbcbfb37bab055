"""Reads samples of files for a person who makes a connection file: which files there are, and how each is written.

A folder may hold hundreds of deliveries of the same file, so files whose names differ in digits only count as one, and
the newest is read.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crosswalk.config.connection import SourceFile
from crosswalk.connectors.base import Connector, RemoteFile, local_name
from crosswalk.core.errors import ConfigError, RejectedError
from crosswalk.core.names import display, fold, is_hidden
from crosswalk.engine.decode import LocalFile
from crosswalk.engine.detect import Detected, detect_file
from crosswalk.engine.detect_values import Column, Values, detect_values
from crosswalk.engine.session import Session

MOST_FILES = 20


@dataclass(frozen=True)
class Place:
    """What a file block will select, and the newest file of it.

    Attributes:
        selects: ``path``, and ``regex`` where the name varies.
        newest: path on the server of the file whose content is looked at.
        files: how many files it selects now.
    """

    selects: dict[str, str]
    newest: str
    files: int = 1


@dataclass(frozen=True)
class Sample:
    """One file block as it is proposed.

    Attributes:
        name: how mappings name it.
        place: what it selects.
        detected: how it is written.
        values: what its columns hold.
    """

    name: str
    place: Place
    detected: Detected
    values: Values

    @property
    def columns(self) -> list[Column]:
        """The columns, in the order of the file."""
        return self.values.columns

    @property
    def rows(self) -> str:
        """How much was read, in words."""
        rows = f"{self.detected.sample.rows:,}"
        return f"all {rows} rows" if self.detected.is_whole else f"the first {rows} rows"

    @property
    def format(self) -> dict[str, Any]:
        """The settings of ``Format``; dates only where all columns agree."""
        found = dict(self.detected.format, decimal=self.values.decimal)
        if self.values.thousands:
            found["thousands"] = self.values.thousands
        patterns = {column.date for column in self.columns if column.type == "datetime"}
        if len(patterns) == 1 and (pattern := patterns.pop()):
            found["date"] = pattern
        return found


@dataclass
class Samples:
    """All samples, and what was left out, as sentences."""

    files: list[Sample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def sample_server(session: Session, connector: Connector, source: SourceFile, folder: Path, **known: Any) -> Samples:
    """Samples of what a path, a pattern or a folder (ending in ``/``) on the server means.

    Args:
        session: the engine.
        connector: open.
        source: path and pattern; its name is not used.
        folder: for the samples; the caller removes it.
        known: what a person knows already, see ``detect_file``.

    Raises:
        ConfigError: no file is there, or too many different ones.
        RejectedError: none of them can be read.
    """
    samples = Samples()
    files = [file for file in connector.list_files(source) if _can_be_written(file, samples)]
    if not files:
        raise ConfigError(
            f"No file matches {display(source.path)}.",
            remedy="Put a file there, correct the path, or read a file of this machine with --sample.",
            code="no_file",
        )
    places = _places(files, source)
    if len(places) > MOST_FILES:
        raise ConfigError(
            f"{display(source.path)} holds {len(places)} different files; {MOST_FILES} are read at most.",
            remedy="Name the files with a pattern: --path '/in/orders_*.csv'.",
            code="too_many_files",
        )
    for place, newest in places:
        local = folder / "files" / local_name(newest)
        local.parent.mkdir(parents=True, exist_ok=True)
        connector.fetch(newest, local)
        _add(session, samples, place, local, folder, known)
    return _at_least_one(samples)


def sample_local(session: Session, files: Sequence[LocalFile], folder: Path, **known: Any) -> Samples:
    """Samples of files on this machine; their names are the paths that they will have on the server."""
    samples = Samples()
    for file in files:
        _add(session, samples, Place({"path": file.name}, file.name), file.path, folder, known)
    return _at_least_one(samples)


def _can_be_written(file: RemoteFile, samples: Samples) -> bool:
    """Whether a connection file can name the file so that a person sees which one it is."""
    if not any(is_hidden(character) for character in file.name):
        return True
    samples.notes.append(f"{display(file.path)} was left out: its name holds characters that cannot be seen.")
    return False


def _places(files: list[RemoteFile], source: SourceFile) -> list[tuple[Place, RemoteFile]]:
    """File blocks with their newest file: one for a path or a pattern; for a folder one per name, digits aside."""
    if not source.path.endswith("/") or source.regex:
        selects = {"path": source.path} | ({"regex": source.regex} if source.regex else {})
        return [(Place(selects, files[-1].path, len(files)), files[-1])]
    alike: dict[str, list[RemoteFile]] = {}
    for file in files:
        alike.setdefault(re.sub(r"[0-9]+", "[0-9]+", re.escape(file.name)), []).append(file)
    return [
        (Place(_selects(shape, group, source.path), group[-1].path, len(group)), group[-1])
        for shape, group in alike.items()
    ]


def _selects(shape: str, group: list[RemoteFile], folder: str) -> dict[str, str]:
    if len(group) > 1 or re.search(r"[*?\[\]]", group[0].name):
        return {"path": folder, "regex": shape if len(group) > 1 else re.escape(group[0].name)}
    return {"path": posixpath.join(folder, group[0].name)}


def _add(session: Session, samples: Samples, place: Place, local: Path, folder: Path, known: dict[str, Any]) -> None:
    taken = {sample.name for sample in samples.files}
    try:
        detected = detect_file(
            session, LocalFile(local, place.newest), folder / f"sample-{len(taken)}-{len(samples.notes)}", **known
        )
    except RejectedError as error:
        samples.notes.append(f"{display(place.newest)} was left out: {error}")
        return
    name = _block_name(place, taken)
    samples.files.append(Sample(name, place, detected, detect_values(session, detected.sample)))


def _at_least_one(samples: Samples) -> Samples:
    samples.files = [sample for sample in samples.files if sample.columns] or samples.files[:1]
    if not samples.files or not samples.files[0].columns:
        why = " ".join(samples.notes) or "It holds no data."
        raise ConfigError(
            f"No file could be read: {why}", remedy="Try another file with --path or --sample.", code="no_sample"
        )
    return samples


def _block_name(place: Place, taken: set[str]) -> str:
    """A short name for a file block: the file's name without digits, endings and wildcards."""
    written = place.selects["path"] if "regex" not in place.selects else place.newest
    stem = posixpath.basename(written).split(".")[0]
    wanted = fold(re.sub(r"[0-9*?]+", "", stem)) or "file"
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name
