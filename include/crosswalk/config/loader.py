"""Reads connection files and the tenant model; every problem at once, each with its file and line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crosswalk.config.connection import (
    GOAL_KINDS,
    Connection,
    FieldMapping,
    Format,
    ImportGoal,
    ImportGroups,
    slug,
)
from crosswalk.config.fingerprint import goal_fingerprint
from crosswalk.config.messages import add_problems
from crosswalk.config.secret_scan import refuse_secrets
from crosswalk.config.strict_yaml import MAX_FINDINGS, Document, Path_, read_yaml
from crosswalk.config.tenant import Tenant
from crosswalk.core.errors import ConfigError, Finding
from crosswalk.core.names import display

__all__ = [
    "BrokenConnection",
    "LoadedConnection",
    "LoadedTenant",
    "find_connections_folder",
    "find_tenant_folder",
    "goal_fingerprint",
    "load_connection",
    "load_connections",
    "load_tenant",
]

SUBJECTS = ("properties", "objectives", "group_types", "event_types", "segments", "merge_rules")


@dataclass(frozen=True, eq=False)
class LoadedConnection:
    """A connection file that was read without errors.

    Attributes:
        model: the typed content.
        name: the ``id``, else the slug of the file's name; state in the store hangs on it.
        path: the file.
        text: its text, for display; holds no literal secret.
        lines: line of every node by its path, such as ``("goals", 0, "files")``.
        fingerprint: SHA-256 of the file.
    """

    model: Connection
    name: str
    path: Path
    text: str = field(repr=False)
    lines: Mapping[Path_, int] = field(repr=False)
    fingerprint: str

    @property
    def dag_id(self) -> str:
        """``<kind>__<name>``."""
        return f"{self.model.kind}__{self.name}"

    def line(self, *path: str | int) -> int:
        """Line of a node, or of the nearest node around it."""
        return nearest_line(self.lines, path)

    @cached_property
    def written_properties(self) -> dict[str, list[str]]:
        """Names of the goals that write each property, by ``written_as``."""
        found: dict[str, list[str]] = {}
        for goal in self.model.goals:
            if isinstance(goal, ImportGoal):
                for target in dict.fromkeys(written_as(goal, mapping) for mapping in goal.mappings.fields):
                    found.setdefault(target, []).append(goal.name)
        return found


def written_as(goal: ImportGoal, mapping: FieldMapping) -> str:
    """What a mapping writes: the property's id, for groups behind that of their type, as in ``home/home_city``."""
    return f"{goal.group_type}/{goal.target(mapping)}" if isinstance(goal, ImportGroups) else goal.target(mapping)


@dataclass(frozen=True)
class BrokenConnection:
    """A connection file with errors. Its text is not kept: it may hold what must not be shown.

    Attributes:
        path: the file.
        name: what the connection would be called, as far as that could be read; unique within the folder.
        kind: its kind, as far as that could be read.
        error: all problems, in ``error.findings``.
    """

    path: Path
    name: str
    kind: str | None
    error: ConfigError

    @property
    def dag_id(self) -> str:
        """The id the connection's DAG would have, so that a broken file takes the place of its DAG."""
        return f"{self.kind or 'broken'}__{self.name}"

    @property
    def findings(self) -> list[Finding]:
        """All problems of the file, with their lines."""
        return self.error.findings


@dataclass(frozen=True)
class LoadedTenant:
    """The tenant model as read from its folder.

    Attributes:
        model: the typed content.
        folder: where it was read.
        files: path of the file of each subject that has one.
        lines: line of every node, by a path that begins with the subject.
        fingerprint: SHA-256 of all files.
    """

    model: Tenant
    folder: Path
    files: Mapping[str, Path] = field(repr=False, hash=False, compare=False)
    lines: Mapping[Path_, int] = field(repr=False, hash=False, compare=False)
    fingerprint: str = ""

    def place(self, *path: str | int) -> tuple[str, int]:
        """File and line of a node such as ``("properties", "email")``."""
        subject = str(path[0])
        file = self.files.get(subject, self.folder / f"{subject}.yaml")
        return str(file), nearest_line(self.lines, path)


def nearest_line(lines: Mapping[Path_, int], path: Path_) -> int:
    """Line of a node, or of the nearest node around it that exists."""
    for length in range(len(path), -1, -1):
        line = lines.get(path[:length])
        if line is not None:
            return line
    return 1


def find_connections_folder() -> Path:
    """``CROSSWALK_CONNECTIONS``, else ``dags/connections`` below the current folder."""
    return Path(os.environ.get("CROSSWALK_CONNECTIONS") or "dags/connections").absolute()


def find_tenant_folder() -> Path:
    """``CROSSWALK_TENANT``, else ``include/tenant`` below the current folder."""
    return Path(os.environ.get("CROSSWALK_TENANT") or "include/tenant").absolute()


def load_connection(path: str | Path) -> LoadedConnection:
    """Read one connection file.

    Raises:
        ConfigError: the file is wrong; ``findings`` lists every problem with file and line.
    """
    path = Path(path)
    document = read_yaml(path)
    model = _validate_connection(document)
    if model is None or document.findings:
        raise _as_error(document.findings, "The connection file", slug(path.stem))
    name = model.id or slug(path.stem)
    return LoadedConnection(model, name, path, document.text, document.lines, _hash(document.text))


def load_connections(folder: str | Path) -> list[LoadedConnection | BrokenConnection]:
    """Read every connection file of a folder (``*.yaml`` and ``*.yml``), in the order of their names; never raises.

    One broken file hides nothing. Of two files with the same name the first in order stands, the other is broken.
    """
    folder = Path(folder)
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and not p.name.startswith("."))
    except OSError as error:
        shown = display(folder, 1000)
        text = f"The folder of the connections cannot be read: {error.strerror}. Set CROSSWALK_CONNECTIONS to it."
        finding = Finding("error", "unreadable_folder", text, shown, 1)
        return [BrokenConnection(folder, slug(folder.name), None, _as_error([finding], "The folder", None))]
    taken: dict[str, Path] = {}
    found: list[LoadedConnection | BrokenConnection] = []
    for path in paths:
        item = _load_or_break(path)
        first = taken.get(item.name.casefold())
        if first is not None:
            item = _as_duplicate(item, first)
        taken[item.name.casefold()] = path
        found.append(item)
    return found


def _load_or_break(path: Path) -> LoadedConnection | BrokenConnection:
    try:
        return load_connection(path)
    except ConfigError as error:
        kind, name = _peek(path)
        return BrokenConnection(path, name or slug(path.stem), kind, error)


def _peek(path: Path) -> tuple[str | None, str | None]:
    """Kind and id of a broken file, where they can be read and are plain."""
    try:
        data = read_yaml(path).data
    except ConfigError:
        return None, None
    values = [data.get(key) if isinstance(data, dict) else None for key in ("kind", "id")]
    kind, name = (value if isinstance(value, str) and slug(value) == value else None for value in values)
    return kind, name


def _as_duplicate(item: LoadedConnection | BrokenConnection, first: Path) -> BrokenConnection:
    name = f"{item.name[:80]}-{_hash(item.path.name)[:8]}"
    if isinstance(item, BrokenConnection):
        return BrokenConnection(item.path, name, item.kind, item.error)
    finding = Finding(
        "error",
        "duplicate_connection",
        f"The name `{item.name}` is already taken by {display(first.name)}; rename the file or give it another `id`.",
        str(item.path),
        item.line("id"),
    )
    error = _as_error([finding], "The connection file", item.name)
    return BrokenConnection(item.path, name, item.model.kind, error)


def load_tenant(folder: str | Path) -> LoadedTenant:
    """Read the tenant model: one file a subject, each optional.

    Raises:
        ConfigError: the folder is not there or a file in it is wrong; ``findings`` lists every problem.
    """
    folder = Path(folder)
    shown = display(folder, 1000)
    try:
        names = sorted(p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and not p.name.startswith("."))
    except OSError as error:
        raise ConfigError(
            f"The folder of the tenant model, {shown}, cannot be read: {error.strerror}.",
            remedy="Set CROSSWALK_TENANT to it.",
            code="unreadable_folder",
        ) from error
    findings = [_unknown_subject(folder / name) for name in names if name not in {f"{s}.yaml" for s in SUBJECTS}]
    data: dict[str, Any] = {}
    lines: dict[Path_, int] = {}
    files: dict[str, Path] = {}
    digest = hashlib.sha256()
    for subject in (subject for subject in SUBJECTS if f"{subject}.yaml" in names):
        files[subject] = folder / f"{subject}.yaml"
        document = read_yaml(files[subject])
        data.update(_validate_subject(document, subject))
        lines.update(document.lines)
        findings += document.findings
        digest.update(f"{subject}\0{document.text}\0".encode())
    if findings:
        raise _as_error(findings, "The tenant model", None)
    return LoadedTenant(Tenant.model_validate(data), folder, files, lines, digest.hexdigest())


def _unknown_subject(path: Path) -> Finding:
    known = ", ".join(f"{subject}.yaml" for subject in SUBJECTS)
    return Finding("error", "unknown_subject", f"Not a file of the tenant model; they are {known}.", str(path), 1)


def _validate_subject(document: Document, subject: str) -> dict[str, Any]:
    refuse_secrets(document, keys_are_names=True)
    data = document.data
    if document.fatal or data is None:
        return {}
    if not isinstance(data, dict) or list(data) != [subject]:
        message = f"The file must hold one block, `{subject}:`, and nothing beside it."
        document.add("unknown_key", message, document.line())
        return {}
    if data[subject] is None:
        return {}
    try:
        Tenant.model_validate(data)
    except ValidationError as error:
        add_problems(document, error, Tenant)
    return data


def _validate_connection(document: Document) -> Connection | None:
    """The model, or None; problems are added to the document's findings."""
    refuse_secrets(document)
    if document.fatal:
        return None
    if not isinstance(document.data, dict):
        what = "is empty" if document.data is None else "holds no keys"
        document.add("empty_file", f"The file {what}; a connection begins with `kind:` and `title:`.", 1)
        return None
    unusable = _check_goal_kinds(document)
    _check_file_formats(document)
    try:
        return Connection.model_validate(document.data)
    except ValidationError as error:
        # What the model says about a goal of a kind it does not know would only confuse.
        add_problems(document, error, Connection, keep=lambda loc: loc[:1] != ("goals",) or loc[1:2] not in unusable)
    return None


def _check_goal_kinds(document: Document) -> set[Path_]:
    """Refuse goals of no kind and of several; returns their indexes."""
    goals = document.data.get("goals")
    unusable: set[Path_] = set()
    for index, goal in enumerate(goals if isinstance(goals, list) else []):
        kinds = [key for key in GOAL_KINDS if isinstance(goal, dict) and key in goal]
        if len(kinds) == 1:
            continue
        unusable.add((index,))
        where = f"`goals[{index + 1}]`"
        if kinds:
            message = f"{where}: one goal is of one kind, not {' and '.join(kinds)}."
        else:
            known = ", ".join(GOAL_KINDS)
            message = f"{where}: the goal's kind and name are missing, as in `import_profiles: orders`. Kinds: {known}."
        document.add("goal_kind", message, document.line("goals", index, *kinds[1:2]))
    return unusable


def _check_file_formats(document: Document) -> None:
    """Check each file's own format, which replaces single settings of its goal's, as the whole that results."""
    goals = document.data.get("goals")
    for number, goal in enumerate(goals if isinstance(goals, list) else []):
        common = goal.get("format") if isinstance(goal, dict) else None
        files = goal.get("files") if isinstance(goal, dict) else None
        common = common if isinstance(common, dict) else {}
        for index, file in enumerate(files if isinstance(files, list) else []):
            own = file.get("format") if isinstance(file, dict) else None
            if not isinstance(own, dict):
                continue
            try:
                Format.model_validate({**{k: v for k, v in common.items() if k not in own}, **own})
            except ValidationError as error:
                base = ("goals", number, "files", index, "format")
                add_problems(document, error, Format, base, keep=partial(_is_own, own))


def _is_own(own: dict[str, Any], loc: Path_) -> bool:
    """Whether a problem lies in a file's own settings; those of its goal are reported there."""
    return not loc or loc[0] in own


def _as_error(findings: list[Finding], subject: str, connection: str | None) -> ConfigError:
    found = sorted(set(findings), key=lambda finding: (finding.file or "", finding.line or 0, finding.message))
    errors = sum(1 for finding in found if finding.severity == "error")
    more = f" The first {MAX_FINDINGS} are listed." if len(found) > MAX_FINDINGS else ""
    place = next((finding for finding in found if finding.severity == "error"), found[0])
    return ConfigError(
        f"{subject} has {errors} error{'s' if errors != 1 else ''}.{more}",
        findings=found[:MAX_FINDINGS],
        connection=connection,
        code=place.code if errors == 1 else "configuration",
        file=place.file,
        line=place.line,
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
