"""Finds what looks like a secret written into a YAML file, so that it can be refused without being repeated.

A connection names its Airflow connection in ``conn_id``; passwords, keys and tokens live there. The file is shown in
the DAG's documentation and kept in version control, so a literal is refused wherever it stands, in comments too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from crosswalk.config.strict_yaml import Document, Path_
from crosswalk.core.names import display

CODE = "secret_in_yaml"
_REMEDY = "Put it in the Airflow connection that conn_id names, and take it out of the file."
# The name of a key, without blanks and marks, in lower case.
_SECRET_KEY = re.compile(
    r"passw(?:or)?d|passwd|passphrase|passcode|pwd|secret(?!ar)|token(?!iz|is)|credential|private_?key|api_?key|"
    r"access_?key|ssh_?key|signing_?key|encryption_?key|bearer|authorization|wachtwoord|passwort|kennwort|"
    r"motdepasse|contrasena"
)
# Keys that name a column, a property or a connection rather than hold the secret itself.
_REFERENCE_KEY = re.compile(r"(?:_|^)(?:field|fields|column|columns|property|properties|conn_id|objective)$")
_SECRET_VALUE = re.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY|PuTTY-User-Key-File",
            r"://[^/\s?#\"'<>@:]*:[^/\s?#\"'<>]+@",
            r"(?i:\b(?:password|passwd|pwd|passphrase|(?:client|consumer)_?secret|secret|token|api_?key)=[^\s&;,])",
            r"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{20,}|\bxox[abprs]-[\w-]{10,}",
            r"\beyJ[\w-]{8,}\.[\w-]{8,}\.",
            r"(?i:\bbearer\s+(?=\S*\d)[A-Za-z0-9+/_.~-]{16,}|\bauthorization:\s*basic\s+\S{8,})",
        )
    )
)
# One of these is in every text that the pattern finds; looking for them first is many times faster.
_MARKS: tuple[str, ...] = (
    *("private key", "putty-user", "://", "=", "bearer", "authorization", "eyj", "akia", "xox"),
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat"),
)
_COMMENT = re.compile(
    r"^[^\"'\n]*?#\s*(?:-\s*)?[\"']?(?P<key>[A-Za-z][\w. -]{0,40}?)[\"']?\s*[:=]\s*(?P<value>\S+)\s*$"
)


@lru_cache(maxsize=4096)
def is_secret_key(key: str) -> bool:
    """Whether a key's name says that its value is a secret."""
    plain = unicodedata.normalize("NFKC", key)
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain).casefold()
    plain = re.sub(r"[\s.-]+", "_", "".join(c for c in plain if unicodedata.category(c) != "Cf"))
    return not _REFERENCE_KEY.search(plain) and bool(_SECRET_KEY.search(plain.replace("_", "")))


def is_secret_value(value: str) -> bool:
    """Whether a text is a secret by its own form: a private key, a login inside a URL, a known kind of token."""
    low = value.lower()
    return any(mark in low for mark in _MARKS) and _SECRET_VALUE.search(value) is not None


def refuse_secrets(document: Document, *, keys_are_names: bool = False) -> None:
    """Add a finding for every literal that looks like a secret.

    Args:
        document: what was parsed.
        keys_are_names: the keys are names of the user's own (properties of the tenant model), so a whole block below
            such a key is no secret, only a plain value is.
    """
    lines: dict[int, str] = {}
    if document.data is not None:
        for path, key in _literals(document.data, keys_are_names):
            lines.setdefault(document.line(*path), f"The value of `{display(key, 60)}` looks like a secret.")
    suspect = is_secret_value(document.text)
    for number, text in enumerate(document.text.split("\n"), start=1):
        if (suspect and is_secret_value(text)) or _is_secret_comment(text):
            lines.setdefault(number, "This line looks like it holds a secret.")
    for line, message in sorted(lines.items()):
        document.add(CODE, f"{message} {_REMEDY}", line)


def _is_secret_comment(text: str) -> bool:
    match = _COMMENT.match(text) if "#" in text else None
    return match is not None and is_secret_key(match["key"]) and match["value"] not in ("null", "~")


def _literals(data: Any, keys_are_names: bool) -> Iterator[tuple[Path_, str]]:
    """Path and key of every literal that is a secret by its key or its form."""
    files = {name for name in _file_names(data) if isinstance(name, str)}
    pending: list[tuple[Path_, Any, str | None]] = [((), data, None)]
    while pending:
        path, node, secret_key = pending.pop()
        if isinstance(node, dict):
            for key, value in node.items():
                inherited = None if keys_are_names and isinstance(value, dict) else secret_key
                own = key if is_secret_key(key) and not _is_link(path, value, files) else inherited
                if keys_are_names and isinstance(value, dict):
                    own = None
                pending.append(((*path, key), value, own))
        elif isinstance(node, list):
            pending.extend(((*path, index), value, secret_key) for index, value in enumerate(node))
        elif node and secret_key is not None:
            yield path, secret_key
        elif node and is_secret_value(node):
            yield path, next((str(part) for part in reversed(path) if isinstance(part, str)), "")


def _file_names(data: Any) -> Iterator[Any]:
    goals = data.get("goals") if isinstance(data, dict) else None
    for goal in goals if isinstance(goals, list) else ():
        files = goal.get("files") if isinstance(goal, dict) else None
        yield from (
            (file.get("name") for file in files or () if isinstance(file, dict)) if isinstance(files, list) else ()
        )


def _is_link(path: Path_, value: Any, files: set[str]) -> bool:
    """Whether an entry links a column that happens to be called like a secret to a column of a known file."""
    inside = len(path) > 1 and path[-1] == "link" and path[0] == "goals"
    return inside and isinstance(value, str) and value.partition(".")[0] in files
