"""Counts the lines of a text and proves, independently of the engine, whether it is in plain order.

*Plain order* means: every physical line is one record with the right number of cells, quotes open right after a
separator or line end and close right before one, line ends are all alike, and there is no NUL, blank line, invalid byte
or overlong line. Of such a text the engine's own reader cannot make anything else than we do (its lenience about a
separator too many, or blanks around quotes, never comes into play), so it may be used, and its row count is checked
against the lines counted here.
"""

from __future__ import annotations

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
    """Checks whole lines of a text, stretch by stretch, with whole-array operations.

    Args:
        dialect: with a separator of one ASCII character and no escape.
        width: cells per record.
        crlf: lines end with CR LF rather than LF.
        header: cells of the header, which no record may repeat.
    """

    def __init__(self, dialect: Dialect, width: int, *, crlf: bool, header: tuple[str, ...]) -> None:
        self.line_end = b"\r\n" if crlf else b"\n"
        self._separator = dialect.separator.encode()
        self._quote = dialect.quote.encode()
        self._width = width
        self._room = [np.empty(0, np.bool_)] * 3
        self._record = self._separator * (width - 1) + b"\n"
        self._others = bytes(set(range(256)) - set(self._separator + b"\n"))
        cells = [max(cell.split(dialect.quote or "\n"), key=len) for cell in header]
        self._cells = sorted((cell.encode() for cell in cells if cell), key=len, reverse=True)

    def __call__(self, block: bytes) -> bool:
        """Whether these lines, the last one ended, are in plain order."""
        if b"\0" in block or not self._is_text(block) or self._repeats_header(block):
            return False
        if self._quote and self._quote in block:
            return self._in_order(np.frombuffer(block, np.uint8))
        marks = block.translate(None, self._others)
        return marks == self._record * marks.count(b"\n")

    def ends_alike(self, block: bytes) -> bool:
        """Whether all these lines, the last one ended, end as the first line of the file does."""
        if b"\r" not in block:
            return self.line_end == b"\n"
        returns = block.count(b"\r")
        return self.line_end == b"\r\n" and returns == block.count(b"\r\n") == block.count(b"\n")

    def _in_order(self, data: np.ndarray) -> bool:
        """The same for text with quotes: they must be where cells begin and end, and no line may end inside them."""
        quote, separator, width = ord(self._quote), ord(self._separator), self._width
        if len(self._room[0]) < len(data):
            self._room = [np.empty(len(data), np.bool_) for _ in range(3)]
        is_quote, is_mark, inside = (room[: len(data)] for room in self._room)
        np.equal(data, quote, out=is_quote)
        quotes = np.flatnonzero(is_quote)
        if len(quotes) % 2:
            return False
        before, after = data[quotes[::2] - 1], data[quotes[1::2] + 1]  # the byte before the first one is the last: LF
        if not ((before == separator) | (before == LF) | (before == quote)).all():
            return False
        if not ((after == separator) | (after == LF) | (after == quote) | (after == CR)).all():
            return False
        np.equal(data, separator, out=is_mark)
        np.equal(data, LF, out=inside)
        lines = int(np.count_nonzero(inside))
        np.logical_or(is_mark, inside, out=is_mark)
        np.bitwise_xor.accumulate(is_quote.view(np.uint8), out=inside.view(np.uint8))
        np.greater(is_mark, inside, out=is_mark)
        marks = data[np.flatnonzero(is_mark)]
        return len(marks) == lines * width and bool((marks.reshape(lines, width)[:, -1] == LF).all())

    @staticmethod
    def _is_text(block: bytes) -> bool:
        if block.isascii():
            return True
        try:
            block.decode()
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


def measure(chunks: Iterator[bytes], skip: int, check: PlainCheck | None) -> Measure:
    """Count the lines and check those after the first ``skip`` ones, reading once.

    Args:
        chunks: the text without a mark, in pieces of half a block.
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
            plain = len(chunk) < BLOCK // 2  # a line that fills a whole chunk may be overlong
            continue
        block, tail = tail + chunk[:at], chunk[at:]
        plain, left = _is_plain(check, block, left)
    if tail and plain and check is not None:
        plain, left = _is_plain(check, tail + check.line_end, left)
    return Measure(lines + (last not in (b"", b"\n", b"\r")), plain)


def _is_plain(check: PlainCheck, block: bytes, skip: int) -> tuple[bool, int]:
    if not check.ends_alike(block):
        return False, skip
    left, rest = _drop_lines(block, skip)
    return not rest or check(rest), left


def _drop_lines(block: bytes, count: int) -> tuple[int, bytes]:
    """Take up to ``count`` lines off the beginning; returns how many are left to take, and the rest."""
    at = 0
    while count and at < len(block):
        at = block.find(b"\n", at) + 1
        count -= 1
    return count, block[at:] if at else block
