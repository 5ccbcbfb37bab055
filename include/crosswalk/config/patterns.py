"""Checks the small languages inside a connection file: date patterns, encodings, regular expressions, paths."""

from __future__ import annotations

import codecs
import re

from crosswalk.core.names import display

# What both Python and the engine read the same way; a dash after the percent sign means "without leading zero".
_DIRECTIVES = frozenset("aAbBdfHIjmMpSyYz%")
_LETTERS = (
    (r"[yY]{4}", "%Y"),
    (r"\b[yY]{2}\b|(?<![A-Za-z%])[yY]{2}(?![yY])", "%y"),
    (r"MMMM", "%B"),
    (r"MMM", "%b"),
    (r"(?<!%)MM?", "%m"),
    (r"(?<!%)(?:dd?|DD?)", "%d"),
    (r"(?<!%)HH?", "%H"),
    (r"(?<!%)hh?", "%I"),
    (r"(?<!%)mm?", "%M"),
    (r"(?<!%)SSS", "%f"),
    (r"(?<!%)ss?", "%S"),
    (r"(?<!%)a\b", "%p"),
)
# Codecs that Python lists among the encodings but that are no way to store a text file.
_NO_ENCODINGS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})


def date_problem(pattern: str) -> str:
    """What is wrong with a strptime pattern; empty when nothing is."""
    shown = display(pattern, 60)
    if "%" not in pattern:
        guess = _from_letters(pattern)
        hint = f" Did you mean {guess}?" if not date_problem_in(guess) else " For example %d/%m/%Y %H:%M:%S."
        return f"`{shown}` holds no % directive.{hint}"
    problem = date_problem_in(pattern)
    return f"`{shown}`: {problem}" if problem else ""


def date_problem_in(pattern: str) -> str:
    """The same without quoting the pattern."""
    used = re.findall(r"%-?(.?)", pattern, re.DOTALL)
    unknown = sorted({letter for letter in used if letter not in _DIRECTIVES})
    if unknown or "" in used:
        names = ", ".join(f"%{display(letter)}" for letter in unknown)
        known = " ".join(f"%{letter}" for letter in sorted(_DIRECTIVES, key=str.casefold))
        return f"unknown directive {names}; known are {known}."
    have = set(used)
    if not have & {"Y", "y"}:
        return "the year is missing (%Y or %y)."
    if "j" not in have and not (have & {"m", "b", "B"} and "d" in have):
        return "the day or the month is missing (%d, and %m, %b or %B)."
    if "I" in have and "p" not in have:
        return "hours of twelve (%I) need %p; hours of 24 are %H."
    return ""


def _from_letters(pattern: str) -> str:
    """A guess at what a pattern of letters, such as ``dd/MM/yyyy``, means."""
    for letters, directive in _LETTERS:
        pattern = re.sub(letters, directive, pattern)
    return pattern


def encoding_problem(name: str) -> str:
    """What is wrong with the name of an encoding; empty when nothing is."""
    shown = display(name, 40)
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return f"There is no encoding `{shown}`; usual ones are utf-8, utf-16, latin-1 and windows-1252."
    is_text = getattr(found, "_is_text_encoding", True)
    if not is_text or found.name.replace("-", "_") in _NO_ENCODINGS:
        return f"`{shown}` is no encoding of text files; usual ones are utf-8, utf-16, latin-1 and windows-1252."
    return ""


def regex_problem(pattern: str) -> str:
    """What is wrong with a regular expression of the RE2 kind; empty when nothing is."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = (
            error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        )
        return (
            f"`{display(pattern, 60)}` is not a regular expression ({display(reason, 60)}). "
            "Look-around and back references are not available."
        )
    return ""


def path_problem(path: str, regex: str | None) -> str:
    """What is wrong with the path of a file block; empty when nothing is."""
    folder, _, name = path.rpartition("/")
    if any(mark in folder for mark in "*?"):
        return "wildcards (* and ?) are for the file's name only, not for its folder."
    if regex is not None and any(mark in name for mark in "*?"):
        return "with `regex`, `path` is the folder; take the wildcard out."
    if ".." in path.split("/"):
        return "`..` is not allowed; write the folder out."
    return ""
