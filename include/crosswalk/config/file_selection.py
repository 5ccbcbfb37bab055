"""Which files of a folder a file block means: by path, wildcard or regular expression."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

import re2

from crosswalk.config.connection import SourceFile
from crosswalk.core.errors import ConfigError
from crosswalk.core.names import display

_HANDLED = re.compile(r"\.done(\.\d+)?\Z")


def folder_of(source: SourceFile) -> str:
    """The one folder that a file block looks into.

    Raises:
        ConfigError: a wildcard in a folder's name.
    """
    folder, name = posixpath.split(source.path)
    if source.regex is not None and name:
        folder = source.path
    if re.search(r"[*?]", folder):
        raise ConfigError(
            f'File "{source.name}": {display(source.path)} has a wildcard in a folder.',
            remedy="Wildcards work in the file name; add one file block per folder.",
            code="wildcard_in_folder",
        )
    return (folder.rstrip("/") or "/") if folder else "."


def is_handled(name: str) -> bool:
    """Whether a name says that the file was handled (``.done``) or is under way (``.part``)."""
    return name.endswith(".part") or _HANDLED.search(name) is not None


def selector(source: SourceFile) -> Callable[[str], bool] | None:
    """The test for file names; None where the path names one file."""
    name = posixpath.basename(source.path)
    if source.regex is not None:
        pattern = compile_regex(source)
        return lambda text: not text.startswith(".") and _matches(pattern, text)
    if not name:
        return lambda text: not text.startswith(".")
    if not re.search(r"[*?]", name):
        return None
    translated = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in re.sub(r"\*+", "*", name))
    wildcard = re2.compile(f"(?s){translated}")
    hidden = name.startswith(".")
    return lambda text: (hidden or not text.startswith(".")) and _matches(wildcard, text)


def compile_regex(source: SourceFile) -> re2._Regexp:
    """The compiled pattern of a file block.

    Raises:
        ConfigError: RE2 does not take it; look-around and back references are refused, so that no name can stall a run.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(source.regex or "", options)
    except re2.error as error:
        raise ConfigError(
            f'File "{source.name}": the regular expression cannot be used: {display(_text(error))}.',
            remedy="Use RE2 syntax: no look-around, no back references.",
            code="bad_regex",
        ) from None


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def _matches(pattern: re2._Regexp, text: str) -> bool:
    try:
        return pattern.fullmatch(text) is not None
    except UnicodeEncodeError:  # a name that is not text in the server's encoding
        return False
