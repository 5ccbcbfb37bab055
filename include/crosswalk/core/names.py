"""Names from outside: shown without tricks, and turned into local file names that cannot escape their folder."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Control, format (bidirectional marks, zero-width), surrogate, private-use and separator characters.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_PLAIN = re.compile(r"[\x20-\x7e]*\Z")
_LONGEST_FILE_NAME = 120


def display(text: object, limit: int = 200) -> str:
    r"""A name as a person may safely see it: one line, invisible characters written out, long ones cut.

    File and column names come from other people's systems; a line break in one would forge a log line, a
    right-to-left mark would show another name than the one that is used.

    Example:
        >>> display("orders\u202evsc.csv\n")
        'orders\\u202evsc.csv\\n'
    """
    shown = str(text)
    if not _PLAIN.match(shown):
        shown = "".join(_escape(character) for character in shown)
    return shown if len(shown) <= limit else f"{shown[: max(limit - 1, 1)]}…"


def is_hidden(character: str) -> bool:
    """Whether a character has no shape of its own (control, bidirectional, zero-width, unassigned)."""
    return unicodedata.category(character) in _HIDDEN


def _escape(character: str) -> str:
    if not is_hidden(character):
        return " " if unicodedata.category(character) == "Zs" else character
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if known:
        return known
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def fold(text: str) -> str:
    """A name from outside as an id: letters without accents in lower case, digits, and ``_`` for the rest."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:60]


def safe_file_name(text: str) -> str:
    """A local file name for any remote one: readable, within one folder, unique, ending kept.

    Two different texts never give the same name, also on file systems that ignore case: what had to be changed, or
    has capitals, carries a part of its hash.

    Example:
        >>> safe_file_name("orders_20260101.csv.gz")
        'orders_20260101.csv.gz'
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text.replace("\\", "/").rpartition("/")[2])
    plain = re.sub(r"\.{2,}", ".", plain).strip("._- ") or "file"
    if plain == text and plain == plain.lower() and len(plain) <= _LONGEST_FILE_NAME:
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    stem, dot, ending = plain.partition(".")
    if len(ending) > 20:
        stem, dot, ending = plain, "", ""
    return f"{stem[: _LONGEST_FILE_NAME - 40]}-{digest}{dot}{ending}"
