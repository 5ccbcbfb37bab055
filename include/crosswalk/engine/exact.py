"""The exact parser: one record at a time, out of any text, with a reason where it is none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from crosswalk.engine.dialect import MAX_FIELD, Dialect
from crosswalk.engine.lines import LineSource

STRAY, END = -1, -2


@dataclass
class Parsed:
    """One attempt at a record: its cells, or why it is none; ``count`` lines belong to it."""

    cells: list[str] | None
    count: int
    reason: str = ""


class ExactParser:
    """Parses the record at the position of a line source, which it does not move.

    Args:
        source: the lines; read ahead where a quoted cell goes on.
        dialect: how to read them.
    """

    def __init__(self, source: LineSource, dialect: Dialect) -> None:
        self.source = source
        self.dialect = dialect
        self._last = "", 0
        self._escaped = (
            re.compile(f"[{re.escape(dialect.quote)}{re.escape(dialect.escape)}]") if dialect.escape else None
        )

    def parse(self, width: int) -> Parsed:
        """Parse the record at ``pos``; with ``width`` 0 (the header) spans are not doubted."""
        cells: list[str] = []
        spans: list[tuple[int, int, list[int]]] = []  # cell, lines before it, separators per line inside
        index, at = 0, 0
        if self.source.number in self.source.overlong:
            return Parsed([self.source.lines[self.source.pos]], 1)
        text, end = self._line(0)
        if not self.dialect.quote or self.dialect.quote not in text:
            return Parsed(text[:end].split(self.dialect.separator), 1)
        while at != END:
            opened = index
            value, index, at, counts = self._cell(index, at)
            if value is None or at == STRAY:
                is_stray = value is not None and index == opened
                return Parsed(None, opened + 1, "stray_quote" if is_stray else "unclosed_quote")
            if len(counts) > 1:
                spans.append((len(cells), opened, counts))
            cells.append(value)
        for cell, opened, counts in spans:
            if width > 1 and is_suspect(cell, counts, width, ragged=len(cells) != width):
                return Parsed(None, opened + 1, "suspected_unclosed_quote")
        return Parsed(cells, index + 1)

    def _cell(self, index: int, at: int) -> tuple[str | None, int, int, list[int]]:
        """The cell at ``at``.

        Returns:
            Its value (None when it never closes), the line it ends in, where the next one begins (or ``END`` or
            ``STRAY``), and the separators in each line inside its quotes.
        """
        text, end = self._line(index)
        opening = self._opening(text, at, end)
        if opening >= 0:
            value, index, at, counts = self._quoted(index, opening)
            return value, index, at if value is None else self._after_quote(*self._line(index), at), counts
        separator = self.dialect.separator
        stop = text.find(separator, at, end)
        if stop < 0:
            return text[at:end], index, END, []
        return text[at:stop], index, stop + len(separator), []

    def _line(self, index: int) -> tuple[str, int]:
        """Line ``pos + index`` and where its text ends."""
        text = self.source.lines[self.source.pos + index]
        if text is not self._last[0]:
            self._last = text, len(text.rstrip("\r\n"))
        return self._last

    def _opening(self, text: str, at: int, end: int) -> int:
        """Index after the quote that opens a cell at ``at``, or -1; blanks before it count when it closes properly."""
        quote = self.dialect.quote
        if not quote or at >= end:
            return -1
        if text[at] == quote:
            return at + 1
        if text[at] != " " or self.dialect.separator.startswith(" "):
            return -1
        while at < end and text[at] == " ":
            at += 1
        if at < end and text[at] == quote:
            close = self._closing(text, at + 1)[0]
            if 0 <= close < end and self._after_quote(text, end, close + 1) != STRAY:
                return at + 1
        return -1

    def _after_quote(self, text: str, end: int, at: int) -> int:
        """Where the next cell begins after a closing quote (and blanks), or ``END`` or ``STRAY``."""
        separator = self.dialect.separator
        if not text.startswith(separator, at):
            while at < end and text[at] == " ":
                at += 1
        if at >= end:
            return END
        return at + len(separator) if text.startswith(separator, at) else STRAY

    def _closing(self, text: str, at: int) -> tuple[int, list[str]]:
        """Index of the quote that closes a cell in this line, or -1, and the pieces of the value up to there."""
        quote, escape = self.dialect.quote, self.dialect.escape
        pieces: list[str] = []
        begin = at
        while True:
            if self._escaped:
                found = self._escaped.search(text, at)
                stop = found.start() if found else -1
            else:
                stop = text.find(quote, at)
            if stop < 0:
                pieces.append(text[begin:])
                return -1, pieces
            following = text[stop + 1 : stop + 2]
            if text[stop] == quote and following != quote:
                pieces.append(text[begin:stop])
                return stop, pieces
            if text[stop] == quote or following in (quote, escape):
                pieces.append(text[begin:stop])
                begin, at = stop + 1, stop + 2
            else:
                at = stop + 1

    def _quoted(self, index: int, at: int) -> tuple[str | None, int, int, list[int]]:
        """The value of a quoted cell, the line and position behind it, and the separators in each line inside it."""
        source, separator = self.source, self.dialect.separator
        parts: list[str] = []
        counts: list[int] = []
        size = 0
        while True:
            text = source.lines[source.pos + index]
            close, pieces = self._closing(text, at)
            parts += pieces
            inside = text[at : close if close >= 0 else len(text)]
            counts.append(inside.count(separator) if counts == [] or close >= 0 or inside.strip("\r\n") else -1)
            if close >= 0:
                return "".join(parts), index, close + 1, counts
            size += len(inside)
            if (index and size > MAX_FIELD) or not self._has(index + 1) or source.number + index + 1 in source.overlong:
                return None, index, at, counts
            index, at = index + 1, 0

    def _has(self, index: int) -> bool:
        """Whether line ``pos + index`` exists; reads on when needed."""
        while self.source.pos + index >= len(self.source.lines):
            if not self.source.fill():
                return False
        return True


def is_suspect(cell: int, counts: list[int], width: int, *, ragged: bool) -> bool:
    """Whether the lines inside a quoted cell look like records, so that its quote was probably never meant to open.

    An honest cell seldom holds lines with just as many separators as a record has; a swallowed stretch of records does,
    and then also the rest of its first line and the beginning of its last one complete a record.

    Args:
        cell: index of the cell.
        counts: separators per line inside the quotes; -1 for a blank line.
        width: columns of the file.
        ragged: the record has a wrong number of cells anyway.
    """
    inner = [count for count in counts[1:-1] if count >= 0]
    alike = sum(1 for count in inner if count == width - 1)
    if ragged and alike:
        return True
    framed = counts[0] == width - 1 - cell and counts[-1] == cell
    if framed and (alike or (width >= 4 and not inner)):
        return True
    return width >= 3 and alike > 0 and alike * 2 >= len(inner)
