"""Checks of the patterns that people write: regular expressions (RE2, as the engine has it) and date patterns."""

from __future__ import annotations

import re
from typing import Any

import re2

# What both reading and writing a date know; zones are a matter of mapping.
DATE_LETTERS = frozenset("aAbBdHIjmMpSfyY%")


def check_pattern(pattern: str) -> Any:
    """Compile an RE2 pattern.

    Raises:
        ValueError: it is none; look-around and back-references do not exist in RE2.
    """
    try:
        options = re2.Options()
        options.log_errors = False
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise ValueError(f"not a regular expression of RE2: {reason}") from None


def check_rewrite(pattern: Any, rewrite: str) -> None:
    r"""Refuse ``\3`` where the pattern has two groups, and a lone backslash."""
    for mark in re.findall(r"\\(.?)", rewrite, re.DOTALL):
        if mark != "\\" and not mark.isdecimal():
            raise ValueError(r"a backslash in `with` is written \\, and a group \1")
        if mark.isdecimal() and int(mark) > pattern.groups:
            raise ValueError(f"`with` speaks of group {mark}, and the pattern has {pattern.groups}")


def check_date_pattern(pattern: str) -> str:
    """Refuse unknown letters after %.

    Raises:
        ValueError: naming the first one.
    """
    letters = re.findall(r"%(.?)", pattern)
    for letter in letters:
        if letter not in DATE_LETTERS:
            known = ", ".join(f"%{known}" for known in sorted(DATE_LETTERS))
            raise ValueError(f"%{letter} is not known in a date pattern; known are {known}")
    if not [letter for letter in letters if letter != "%"]:
        raise ValueError("a date pattern holds at least one of its letters, as in %d/%m/%Y")
    return pattern
