"""How one file is to be read: separators, limits, and the naming of its columns.

Nothing here is ever guessed from the data: a dialect comes from the connection alone.
"""

from __future__ import annotations

import codecs
import difflib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from crosswalk.config.connection import Format
from crosswalk.core.errors import ConfigError, RejectedError
from crosswalk.core.names import display

MAX_COLUMNS = 10_000
MAX_NAME = 1_000  # characters of a column name
MAX_HEADER = 2 * 1024 * 1024  # characters of a header record
MAX_FIELD = 1024 * 1024  # characters of one cell; a longer one sets its row aside
MAX_LINE = 8 * 1024 * 1024  # bytes of one physical line; the rest of a longer one is counted but not kept
MAX_RAW = 64 * 1024  # characters of a raw record kept in quarantine
BLOCK = 1024 * 1024  # bytes read at once

RECORD, LINE = "record", "line"
SEPARATORS = {",": ",", ";": ";", "\t": "tab", "|": "|"}  # the usual ones, as `separator` takes them


@dataclass(frozen=True)
class Dialect:
    """The settings of a :class:`Format` that decide how text becomes records.

    Attributes:
        separator: between cells, one to four characters.
        quote: the quote character, or ``""`` for none.
        escape: a character that escapes a quote inside quotes, or ``""`` when the quote is doubled.
        encoding: Python's name of the codec.
        header: names for files without a header line, else None.
        header_rows: physical header records in the file.
        skip_lines: lines before the header.
        skip_footer: non-blank lines at the end that are no records.
        comment: lines that begin with it are left out; ``""`` for none.
        nulls: cells that mean "no value".
        pad: accept rows with more or fewer cells than the header.
    """

    separator: str = ","
    quote: str = '"'
    escape: str = ""
    encoding: str = "utf-8"
    header: tuple[str, ...] | None = None
    header_rows: int = 1
    skip_lines: int = 0
    skip_footer: int = 0
    comment: str = ""
    nulls: frozenset[str] = frozenset()
    pad: bool = False

    @classmethod
    def of(cls, form: Format) -> Dialect:
        """The dialect of a format.

        Raises:
            ConfigError: the encoding is unknown or the characters clash.
        """
        escape = "" if not form.quote or form.escape in (None, form.quote) else form.escape or ""
        if set(form.separator + escape + (form.comment or "")) & {"\n", "\r", "\0"}:
            raise ConfigError(
                "A separator, escape or comment character may not be a line end or NUL.",
                remedy="Correct `format` in the connection file.",
                code="format",
            )
        return cls(
            separator=form.separator,
            quote=form.quote,
            escape=escape,
            encoding=codec_name(form.encoding),
            header=tuple(form.header) if form.header else None,
            header_rows=0 if form.header else form.header_rows,
            skip_lines=form.skip_lines,
            skip_footer=form.skip_footer,
            comment=form.comment or "",
            nulls=frozenset(form.null_text),
            pad=form.extra_columns == "ignore",
        )


def codec_name(encoding: str) -> str:
    """Python's canonical name of a text encoding (``utf-8`` for ``utf-8-sig`` too).

    Raises:
        ConfigError: Python knows no such text encoding.
    """
    try:
        info = codecs.lookup(encoding)
        if not info._is_text_encoding or info.name in {"idna", "punycode", "undefined", "unicode_escape"}:
            raise LookupError(encoding)
    except (LookupError, ValueError) as error:
        raise ConfigError(
            f"Unknown encoding {encoding!r}.",
            remedy="Use utf-8, utf-16, latin-1, windows-1252 or another name that Python's codecs know.",
            code="encoding",
        ) from error
    return "utf-8" if info.name == "utf-8-sig" else info.name


def is_invisible(character: str) -> bool:
    """White space, and marks without a glyph such as a byte order mark or a zero-width space."""
    return character.isspace() or unicodedata.category(character) in {"Cf", "Cc"}


def normalise_name(text: str) -> str:
    """A column name as mappings write it: trimmed, without invisible marks at its ends, NFC, case kept."""
    first, last = 0, len(text)
    while first < last and is_invisible(text[first]):
        first += 1
    while last > first and is_invisible(text[last - 1]):
        last -= 1
    return unicodedata.normalize("NFC", " ".join(text[first:last].split()))


@dataclass(frozen=True)
class Header:
    """The columns of a file.

    Attributes:
        columns: unique names, as mappings use them.
        originals: the names as the file writes them, in the same order.
        cells: the cells of the first header record, to recognise a repeated header; empty when names are generated.
        warnings: what was changed to make the names usable.
    """

    columns: tuple[str, ...]
    originals: tuple[str, ...]
    cells: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many cells a record has."""
        return len(self.columns)


def name_columns(originals: list[str], *, cells: list[str], file: str, line: int | None) -> Header:
    """Make usable, unique column names of a header.

    Empty names become ``column_N``; a name that occurs again, also in other case, gets ``_2``, ``_3`` and so on.

    Raises:
        RejectedError: more columns or longer names than the limits.
    """
    if len(originals) > MAX_COLUMNS:
        raise RejectedError(
            f"The header has {len(originals)} columns; the limit is {MAX_COLUMNS}.",
            remedy="Check `separator` and `header_rows`, or export fewer columns.",
            code="too_many_columns",
            file=file,
            line=line,
        )
    names = [normalise_name(text) for text in originals]
    if any(len(name) > MAX_NAME for name in names):
        raise RejectedError(
            f"The header has a column name of more than {MAX_NAME} characters.",
            remedy="Check `separator`, `quote` and `header_rows`.",
            code="header_too_long",
            file=file,
            line=line,
        )
    warnings: list[str] = []
    taken: set[str] = {name.casefold() for name in names if name}
    used: set[str] = set()
    columns = []
    for position, name in enumerate(names, 1):
        chosen = name
        if not name:
            chosen = _free(f"column_{position}", taken | used)
            warnings.append(f"empty_header: Column {position} has no name in the header; it is called {chosen}.")
        elif name.casefold() in used:
            chosen = _free(name, taken | used)
            warnings.append(f"duplicate_header: The column name {name} occurs again; column {position} is {chosen}.")
        used.add(chosen.casefold())
        columns.append(chosen)
    return Header(tuple(columns), tuple(originals), tuple(cells), _few(warnings))


def _free(name: str, taken: set[str]) -> str:
    if name.casefold() not in taken:
        return name
    number = 2
    while f"{name}_{number}".casefold() in taken:
        number += 1
    return f"{name}_{number}"


def _few(warnings: list[str], most: int = 20) -> tuple[str, ...]:
    if len(warnings) <= most:
        return tuple(warnings)
    return (*warnings[:most], f"header: {len(warnings) - most} more columns without a name of their own.")


def doubtful_separator(header: Sequence[str], separator: str) -> str | None:
    """The usual separator that a header of one column holds, which may be the real one, as `separator` takes it."""
    if len(header) != 1:
        return None
    counts = {mark: header[0].count(mark) for mark in SEPARATORS if mark != separator}
    most = max(counts, key=lambda mark: counts[mark])
    return SEPARATORS[most] if counts[most] else None


def about_missing_column(column: str, header: Sequence[str], separator: str) -> str:
    """What a person needs to know when a file lacks a column: the likely mistake, and the columns there are."""
    shown = f"Its columns: {_listed(header)}."
    mark = doubtful_separator(header, separator)
    if mark:
        return f'Its header is one column that holds "{mark}": set `separator` in the format. {shown}'
    folded = {name.strip().lower(): name for name in header}
    near = difflib.get_close_matches(column.strip().lower(), folded, n=1, cutoff=0.6)
    return f'Did you mean "{display(folded[near[0]])}"? {shown}' if near else shown


def _listed(header: Sequence[str], most: int = 30) -> str:
    listed = ", ".join(display(column, 60) for column in header[:most])
    return f"{listed} and {len(header) - most} more" if len(header) > most else listed
