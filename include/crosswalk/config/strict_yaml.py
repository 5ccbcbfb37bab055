"""Reads YAML strictly: plain scalars stay text, nothing is guessed, every node keeps its line.

Refused, each with its line: anchors and aliases, tags, merge keys, keys given twice, keys that are no text, directives,
several documents, control characters, more than 24 levels, more than 1 MiB. Only an empty scalar, ``null`` and ``~``
become None, so ``country: NO``, ``1.10`` and ``12:30:00`` stay what they look like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from crosswalk.core.errors import ConfigError, Finding
from crosswalk.core.names import display

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 24
MAX_FINDINGS = 200
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NULLS = frozenset({"", "~", "null"})

Path_ = tuple[str | int, ...]


@dataclass
class Document:
    """The content of one YAML file.

    Attributes:
        file: the path, as findings show it.
        text: the file's text.
        data: dicts with text keys, lists, text and None.
        lines: 1-based line of every node, by its path of keys and indexes; for an entry of a mapping that of its key.
        findings: what is wrong with the YAML itself; ``data`` leaves the refused parts out.
        fatal: nothing usable could be read.
    """

    file: str
    text: str = ""
    data: Any = None
    lines: dict[Path_, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    fatal: bool = False

    def line(self, *path: str | int) -> int:
        """Line of a node, or of the nearest node around it that exists."""
        for length in range(len(path), -1, -1):
            known = self.lines.get(path[:length])
            if known is not None:
                return known
        return 1

    def add(self, code: str, message: str, line: int | None = None, severity: str = "error") -> None:
        """Note one finding."""
        self.findings.append(Finding(severity, code, message, self.file, line or 1))


def read_yaml(path: Path) -> Document:
    """Read and parse one file.

    Raises:
        ConfigError: the file cannot be read at all; what is wrong inside it stands in ``findings`` instead.
    """
    shown = display(path, 1000)
    try:
        if not path.is_file():
            raise FileNotFoundError(path)
        size = path.stat().st_size
        raw = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        finding = Finding("error", "unreadable_file", f"The file {reason}.", shown, 1)
        raise ConfigError(f"{shown} {reason}.", findings=[finding], code="unreadable_file") from error
    document = Document(shown)
    if size > MAX_BYTES:
        return _give_up(document, "too_large", f"The file has {size:,} bytes; the limit is {MAX_BYTES:,}.", 1)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _give_up(document, "not_utf8", "The file is not UTF-8 text; save it as UTF-8.", line)
    return parse_yaml(text, shown)


def parse_yaml(text: str, file: str = "<text>") -> Document:
    """Parse a text; never raises, problems stand in ``findings``."""
    document = Document(file, text)
    hidden = _NOT_PRINTABLE.search(text)
    if hidden:
        line = text.count("\n", 0, hidden.start()) + 1
        return _give_up(document, "control_character", f"Character {display(hidden.group())} is not allowed.", line)
    try:
        _Builder(document).build(yaml.parse(text, Loader=_LOADER))
    except _TooDeepError as error:
        _give_up(document, "too_deep", f"More than {MAX_DEPTH} levels of nesting.", error.line)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = min(mark.line + 1, text.count("\n") + 1) if mark else 1
        _give_up(document, "yaml_syntax", _syntax_message(error), line)
    except RecursionError:
        _give_up(document, "too_deep", f"More than {MAX_DEPTH} levels of nesting.", 1)
    return document


def _give_up(document: Document, code: str, message: str, line: int) -> Document:
    document.add(code, message, line)
    document.data, document.fatal = None, True
    return document


_HINTS = (
    ("cannot start any token", "Indent with spaces, not tabs, and put text with special characters in quotes."),
    ("mapping values are not allowed", "Put a text that holds a colon in quotes, and check the indentation."),
    ("could not find expected ':'", "A key needs a colon and a blank after it."),
    ("did not find expected key", "Check the indentation of this line and the quotes of the one before."),
    ("unexpected end of stream", "A quote or bracket is not closed."),
    ("did not find expected", "A bracket or a comma is missing, or the indentation is wrong."),
    ("unknown escape", "Use single quotes, or double the backslash."),
)


def _syntax_message(error: yaml.YAMLError) -> str:
    problem = str(getattr(error, "problem", "") or "")
    hint = next((hint for part, hint in _HINTS if part in problem), "Check indentation, quotes and brackets.")
    # The parser names the character it stumbled over, and sometimes a name; nothing of the text beyond that is shown.
    plain = re.sub(r"'[^']{2,}'", "a name", problem) if "expected ':'" not in problem else problem
    return f"This is not valid YAML ({display(plain, 80) or 'no reason given'}). {hint}"


class _TooDeepError(Exception):
    def __init__(self, line: int) -> None:
        self.line = line
        super().__init__()


class _Builder:
    """Builds data from parser events in one pass, without an object per node."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.lines = document.lines
        self.documents = 0
        self.seen: set[tuple[str, int]] = set()

    def build(self, events: Iterator[Any]) -> None:
        self.events = events
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    self._refuse("several_documents", "A second document (---) begins here; use one file each.", event)
                if event.tags or event.version:
                    self._refuse("yaml_directive", "A directive (%...) is not allowed.", event)
            elif isinstance(event, yaml.NodeEvent):
                data = self._node(event, ())
                if self.documents == 1:
                    self.document.data = data

    def _refuse(self, code: str, message: str, event: Any) -> None:
        line = event.start_mark.line + 1
        if (code, line) not in self.seen and len(self.document.findings) < MAX_FINDINGS:
            self.seen.add((code, line))
            self.document.add(code, message, line)

    def _node(self, event: Any, path: Path_) -> Any:
        if path not in self.lines:
            self.lines[path] = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            self._refuse("yaml_alias", "An alias (*name) is not allowed; write the content out.", event)
            return None
        if event.anchor is not None:
            self._refuse("yaml_anchor", "An anchor (&name) is not allowed; write the content out.", event)
        if event.tag is not None:
            self._refuse("yaml_tag", "A tag (!name) is not allowed; text needs quotes at most.", event)
        if isinstance(event, yaml.ScalarEvent):
            value = event.value
            if "\0" in value:
                self._refuse("control_character", "The character NUL (\\0) is not allowed.", event)
            return None if value in _NULLS and not event.style else value
        if len(path) >= MAX_DEPTH:
            raise _TooDeepError(event.start_mark.line + 1)
        return self._mapping(path) if isinstance(event, yaml.MappingStartEvent) else self._sequence(path)

    def _sequence(self, path: Path_) -> list[Any]:
        items: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path_) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path)
            taken = key is None or key in entries
            if key is not None and taken:
                first = self.lines[*path, key]
                self._refuse("duplicate_key", f"The key `{display(key, 60)}` is already given in line {first}.", event)
            inner = (*path, "\0refused") if taken else (*path, str(key))
            if not taken:
                self.lines[inner] = event.start_mark.line + 1
            value = self._node(next(self.events), inner)
            if not taken:
                entries[str(key)] = value
        return entries

    def _key(self, event: Any, path: Path_) -> str | None:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse("yaml_key", "A key must be text; put a text that begins with { or [ in quotes.", event)
            self._node(event, (*path, "\0refused"))
            return None
        if event.anchor is not None:
            self._refuse("yaml_anchor", "An anchor (&name) is not allowed; write the content out.", event)
        if event.tag is not None:
            self._refuse("yaml_tag", "A tag (!name) is not allowed; text needs quotes at most.", event)
        key: str = event.value
        if "\0" in key:
            self._refuse("control_character", "The character NUL (\\0) is not allowed.", event)
            return None
        if key == "<<" and not event.style:
            self._refuse("yaml_merge_key", "A merge key (<<) is not allowed; write the content out.", event)
            return None
        return key
