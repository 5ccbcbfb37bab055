"""The staging folder of a run: where each step leaves what the next one needs.

``<staging>/<connection>/<run>/`` holds ``config.json`` (the configuration this run began with) and one folder per goal.
Everything in it may vanish at any moment without loss: the store is the only truth. A file appears under its final name
only when it is whole (written beside, flushed, renamed), so a step that is retried either finds it or makes it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def safe_name(text: str) -> str:
    """A folder name for any text: readable, short and unique (run ids hold ``:`` and ``+``)."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:80].strip("_") or "x"
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@contextmanager
def durable(path: Path) -> Iterator[Path]:
    """Write a file so that it is whole or absent: yields a temporary path, then flushes and renames it.

    Example:
        >>> with durable(Path("rows.parquet")) as temporary:
        ...     temporary.write_bytes(b"...")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON durably."""
    with durable(path) as temporary:
        temporary.write_text(json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


class RunFolder:
    """Paths of one run; see the module for the layout."""

    def __init__(self, staging: Path, connection: str, run_id: str) -> None:
        self.path = staging / safe_name(connection) / safe_name(run_id)

    @property
    def config(self) -> Path:
        """The configuration (connection and tenant model) this run began with."""
        return self.path / "config.json"

    def goal(self, goal: str) -> GoalFolder:
        """The folder of one goal."""
        return GoalFolder(self.path / safe_name(goal))

    def remove(self) -> None:
        """Delete everything of this run."""
        shutil.rmtree(self.path, ignore_errors=True)


class GoalFolder:
    """Paths of one goal of one run.

    Attributes:
        path: the folder.
        scan: JSON: what *scan* decided, file by file.
        files: folder of downloaded source files.
        sources: JSON: the files as read: fingerprint, rows, header, warnings.
        rows: Parquet of joined rows: row_id, file_index, line, then one column per used ``file.field`` (NULL = the
            linked row is absent, '' = the cell is empty; lists for nested files).
        links: Parquet of *link*: row_id, outcome, reason, profile_id, is_new, row_key, row_hash, amounts.
        replayed: Parquet of the places of what a replay takes again: file, line.
        profiles: Parquet of the touched stored profiles as *link* read them: profile_id, version, properties,
            permission_level.
        merges: Parquet of the profiles that merge rules make one; absent when there are none. Their identifiers and
            answers stand beside it.
        plan: folder of *map*: profiles, identifiers, row_state, consent, quarantine Parquet and ``plan.json``.
        quarantine: folder of one Parquet per step with what that step set aside.
        selection: JSON: what *select* decided for an export: counts and how far the change log was read.
        approval: JSON: who agreed to which plan, where a person was asked.
        selected: Parquet of the exported profiles.
        lines: folder of the exported files' texts: number 0 is that of the profiles, then those of their events.
        events: Parquet of the events of the exported profiles.
        rendered: JSON: name, size and hash of each exported file, and where it lies.
        outgoing: folder of the files that are encoded or packed before they are sent.
        temporary: scratch space for the engine's spilling.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scan = path / "scan.json"
        self.files = path / "files"
        self.sources = path / "sources.json"
        self.rows = path / "rows.parquet"
        self.processed = path / "processed.parquet"
        self.links = path / "links.parquet"
        self.link_result = path / "link.json"
        self.row_state = path / "row_state.parquet"
        self.replayed = path / "replayed.parquet"
        self.merges = path / "merges.parquet"
        self.merge_identifiers = path / "merge_identifiers.parquet"
        self.merge_consent = path / "merge_consent.parquet"
        self.profiles = path / "profiles.parquet"
        self.plan = path / "plan"
        self.quarantine = path / "quarantine"
        self.selection = path / "selection.json"
        self.selected = path / "selected.parquet"
        self.approval = path / "approval.json"
        self.lines = path / "lines"
        self.events = path / "events.parquet"
        self.rendered = path / "rendered.json"
        self.outgoing = path / "outgoing"
        self.temporary = path / "tmp"

    @property
    def current_rows(self) -> Path:
        """The rows after processors when there are any, else the joined rows."""
        return self.processed if self.processed.exists() else self.rows

    def remove(self) -> None:
        """Delete everything of this goal."""
        shutil.rmtree(self.path, ignore_errors=True)
