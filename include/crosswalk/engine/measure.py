"""Counts the lines of a text and proves, independently of the engine, whether it is in plain order.

*Plain order* means: every physical line is one record with the right number of cells, quotes open right after a
separator or line end and close right before one, line ends are all alike, and there is no NUL, blank line, invalid byte
or overlong line. Of such a text the engine's own reader cannot make anything else than we do (its lenience about a
separator too many, or blanks around quotes, never comes into play), so it may be used, and its row count is checked
against the lines counted here.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crosswalk.engine.dialect import BLOCK, Dialect

LF, CR = 10, 13
HEADER_LOOKS = 1_000  # lines of one block that are compared with the header before the check gives up


@dataclass
class Measure:
    """What one pass over a text found.

    Attributes:
        lines: physical lines; an unfinished last line counts.
        plain: every line after the skipped ones is in plain order.
    """

    lines: int
    plain: bool


def count_lines(chunks: Iterator[bytes]) -> int:
    """Physical lines of a text: LF, CR LF and lone CR end one, and an unfinished last line counts."""
    count, last = 0, b""
    for chunk in chunks:
        count += chunk.count(b"\n")
        if b"\r" in chunk:
            count += chunk.count(b"\r") - chunk.count(b"\r\n")
        if last == b"\r" and chunk.startswith(b"\n"):
            count -= 1
        last = chunk[-1:]
    return count + (last not in (b"", b"\n", b"\r"))


class PlainCheck:
    """Checks whole lines of a text, stretch by stretch.

    Args:
        dialect: with a separator of one ASCII character and no escape.
        width: cells per record.
        crlf: lines end with CR LF rather than LF.
        header: cells of the header, which no record may repeat.
    """

    def __init__(self, dialect: Dialect, width: int, *, crlf: bool, header: tuple[str, ...]) -> None:
        self._separator = ord(dialect.separator)
        self._quote = ord(dialect.quote) if dialect.quote else -1
        self._width = width
        self._crlf = crlf
        cells = [max(cell.split(dialect.quote or "\n"), key=len) for cell in header]
        self._cells = sorted((cell.encode() for cell in cells if cell), key=len, reverse=True)
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def __call__(self, block: bytes) -> bool:
        """Whether these lines, the last one ended, are in plain order."""
        if b"\0" in block or not self._is_text(block) or self._repeats_header(block):
            return False
        returns = block.count(b"\r") if b"\r" in block else 0
        data = np.frombuffer(block, dtype=np.uint8)
        marks = (data == self._separator) | (data == LF)
        if self._quote >= 0 and self._quote in block:
            marks |= data == self._quote
            return self._quoted(data, np.flatnonzero(marks), returns)
        places = np.flatnonzero(marks)
        kinds = data[places]
        return self._line_ends(data, places[kinds == LF], returns) and self._widths(kinds)

    def _is_text(self, block: bytes) -> bool:
        if block.isascii():
            return True
        try:
            self._decoder.decode(block, True)
        except UnicodeDecodeError:
            return False
        return True

    def _repeats_header(self, block: bytes) -> bool:
        """Whether a line holds every name of the header, and so may be the header again."""
        at = block.find(self._cells[0]) if self._cells else -1
        for _ in range(HEADER_LOOKS):
            if at < 0:
                return False
            end = block.find(b"\n", at)
            line = block[block.rfind(b"\n", 0, at) + 1 : end]
            if all(cell in line for cell in self._cells):
                return True
            at = block.find(self._cells[0], end)
        return at >= 0

    def _line_ends(self, data: np.ndarray, ends: np.ndarray, returns: int) -> bool:
        if not self._crlf:
            return returns == 0
        return returns == len(ends) and bool(ends[0] > 0) and bool((data[ends - 1] == CR).all())

    def _widths(self, kinds: np.ndarray) -> bool:
        """Whether between two line ends there are always as many separators as there must be; ``kinds`` holds both."""
        return len(kinds) % self._width == 0 and bool(
            (kinds.reshape(-1, self._width)[:, -1] == LF).all()
            and np.count_nonzero(kinds == LF) * self._width == len(kinds)
        )

    def _quoted(self, data: np.ndarray, places: np.ndarray, returns: int) -> bool:
        kinds = data[places]
        is_quote = kinds == self._quote
        open_after = np.cumsum(is_quote, dtype=np.uint8) & 1
        if bool((open_after[kinds == LF] != 0).any()):
            return False
        outside = kinds[~is_quote & (open_after == 0)]
        if not self._widths(outside) or not self._line_ends(data, places[kinds == LF], returns):
            return False
        opening = places[is_quote & (open_after == 1)]
        before = data[opening[1:] - 1] if len(opening) and opening[0] == 0 else data[opening - 1]
        if not bool(((before == self._separator) | (before == LF) | (before == self._quote)).all()):
            return False
        after = data[places[is_quote & (open_after == 0)] + 1]
        good = (after == self._separator) | (after == LF) | (after == self._quote) | (after == CR)
        return bool(good.all())


def measure(chunks: Iterator[bytes], skip: int, check: PlainCheck | None) -> Measure:
    """Count the lines and check those after the first ``skip`` ones, reading once.

    Args:
        chunks: the text without a mark; small pieces, so that a line of a whole chunk is overlong.
        skip: lines of preamble and header.
        check: None when the dialect alone rules plain order out.
    """
    plain = check is not None
    lines, last, tail, left = 0, b"", b"", skip
    for chunk in chunks:
        lines += chunk.count(b"\n")
        if b"\r" in chunk:
            lines += chunk.count(b"\r") - chunk.count(b"\r\n")
        if last == b"\r" and chunk.startswith(b"\n"):
            lines -= 1
        last = chunk[-1:]
        if not plain or check is None:
            continue
        at = chunk.rfind(b"\n") + 1
        if not at:
            tail += chunk
            plain = len(tail) < BLOCK
            continue
        block, tail = tail + chunk[:at], chunk[at:]
        left, block = _drop_lines(block, left)
        plain = not block or check(block)
    if tail and plain and check is not None:
        end = b"\r\n" if check._crlf else b"\n"
        left, block = _drop_lines(tail + end, left)
        plain = not block or check(block)
    return Measure(lines + (last not in (b"", b"\n", b"\r")), plain)


def _drop_lines(block: bytes, count: int) -> tuple[int, bytes]:
    """Take up to ``count`` lines off the beginning; returns how many are left to take, and the rest."""
    at = 0
    while count and at < len(block):
        at = block.find(b"\n", at) + 1
        count -= 1
    return count, block[at:] if at else block
