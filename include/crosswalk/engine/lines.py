"""Physical lines of a text, numbered, with bounded memory.

A line ends with LF, CR LF or a lone CR, also mixed in one file; the last line may lack its end. Lines are handed out as
text whose invalid bytes are lone surrogates.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable, Iterator

from crosswalk.engine.decode import likely_encoding, reject_encoding
from crosswalk.engine.dialect import MAX_LINE, MAX_RAW, Dialect

CSV_LINE = 100_000  # characters; longer lines are left to the exact parser
SHARE_OF = 1_000
LEAST_INVALID = 10
INVALID = re.compile("[\udc80-\udcff]")


class LineSource:
    """Reads lines ahead on demand.

    Attributes:
        lines: the lines held, each with its line end.
        pos: index in ``lines`` of the next line to use.
        base: physical number of ``lines[0]``.
        special: numbers of lines, ascending, that the quick way must not touch (invalid bytes, NUL, comment, very long,
            a mark in mid-file, blanks before a quote, an escape).
        overlong: numbers of lines of which only the beginning was kept.
        footers, footer_blanks: lines left out at the end.
    """

    def __init__(self, chunks: Iterator[bytes], dialect: Dialect, name: str) -> None:
        self.lines: list[str] = []
        self.pos = 0
        self.base = 1
        self.special: deque[int] = deque()
        self.overlong: set[int] = set()
        self.footers = 0
        self.footer_blanks = 0
        self._chunks = chunks
        self._dialect = dialect
        self._name = name
        self._tail = b""
        self._ended = False
        self._done = False
        self._held: list[str] = []
        self._held_long: list[int] = []
        self._read = 0
        self._invalid = 0
        self._first_invalid: int | None = None
        self._sample = b""
        quote = dialect.quote
        self._loose_marks = (f"{dialect.separator} {quote}", f"\n {quote}", f"\r {quote}", f"  {quote}")
        self._loose = (
            re.compile(f"(?:^|{re.escape(dialect.separator)})[ ]+{re.escape(quote)}")
            if quote and not dialect.separator.startswith(" ")
            else None
        )

    @property
    def number(self) -> int:
        """Physical number of the next line."""
        return self.base + self.pos

    def more(self) -> bool:
        """Whether a line is at ``pos``; reads on when there is none."""
        while self.pos >= len(self.lines):
            if not self.fill():
                return False
        return True

    def fill(self) -> bool:
        """Read the next block and append its lines; False at the end of the text."""
        if self._done:
            return False
        if self.pos:
            del self.lines[: self.pos]
            self.base += self.pos
            self.pos = 0
        before = len(self.lines)
        while len(self.lines) == before and not self._done:
            block, long = self._block()
            if block or long:
                self._append(block, long)
            elif self._ended:
                self._end()
        return len(self.lines) > before

    def _block(self) -> tuple[bytes, bool]:
        """The next bytes that are whole lines, or the beginning of one overlong line."""
        for chunk in self._chunks:
            data = self._tail + chunk if self._tail else chunk
            cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
            if cut:
                self._tail = data[cut:]
                return data[:cut], False
            self._tail = data
            if len(data) > MAX_LINE:
                return self._skip_long(), True
        block, self._tail, self._ended = self._tail, b"", True
        return block, False

    def _skip_long(self) -> bytes:
        head, rest = self._tail[:MAX_RAW], self._tail
        self._tail = b""
        while True:
            ends = [at for at in (rest.find(b"\n"), rest.find(b"\r")) if at >= 0]
            if ends and (rest[min(ends) : min(ends) + 1] == b"\n" or min(ends) + 1 < len(rest)):
                at = min(ends)
                length = 2 if rest[at : at + 2] == b"\r\n" else 1
                self._tail = rest[at + length :]
                return head + b"\n"
            following = next(self._chunks, b"")
            if not following:
                return head + (b"\n" if ends else b"")
            rest = (b"\r" if rest.endswith(b"\r") else b"") + following

    def _append(self, block: bytes, long: bool) -> None:
        if not self._sample:
            self._sample = block[:MAX_RAW]
        try:
            text, clean = block.decode("utf-8"), True
        except UnicodeDecodeError:
            text, clean = block.decode("utf-8", "surrogateescape"), False
        fresh = list(io.StringIO(text, newline=""))
        first = self._read + 1
        self._read += len(fresh)
        self._find_special(fresh, first, text, clean)
        if long:
            self.overlong.add(first)
            self.special.append(first)
        if not clean and first <= SHARE_OF:
            found = [first + i for i, line in enumerate(fresh[: SHARE_OF + 1 - first]) if INVALID.search(line)]
            self._invalid += len(found)
            self._first_invalid = self._first_invalid or (found[0] if found else None)
        if self._read >= SHARE_OF:
            self._check_share()
        self.lines += self._hold_back(fresh) if self._dialect.skip_footer else fresh

    def _find_special(self, fresh: list[str], first: int, text: str, clean: bool) -> None:
        dialect = self._dialect
        marks = [mark for mark in ("\0", "\ufeff", dialect.escape) if mark and mark in text]
        tests: list[Callable[[str], object]] = [] if clean else [INVALID.search]
        if marks:
            tests.append(lambda line: any(mark in line for mark in marks))
        if dialect.comment and dialect.comment in text:
            tests.append(lambda line: line.startswith(dialect.comment))
        if self._loose and any(mark in text for mark in self._loose_marks):
            tests.append(self._loose.search)
        if max(map(len, fresh)) > CSV_LINE:
            tests.append(lambda line: len(line) > CSV_LINE)
        if tests:
            self.special.extend(first + i for i, line in enumerate(fresh) if any(test(line) for test in tests))

    def _check_share(self) -> None:
        seen = min(self._read, SHARE_OF)
        if self._invalid >= LEAST_INVALID and self._invalid * 2 > seen:
            likely = likely_encoding(self._sample) if self._dialect.encoding == "utf-8" else "another encoding"
            raise reject_encoding(self._name, self._dialect.encoding, likely, self._first_invalid)
        self._invalid = 0

    def _hold_back(self, fresh: list[str]) -> list[str]:
        """Keep the last lines, which may prove to be the footer; releases the others."""
        held = self._held + fresh
        missing = self._dialect.skip_footer
        at = len(held)
        while at and missing:
            at -= 1
            missing -= 1 if held[at].strip("\r\n") else 0
        self._held = held[at:]
        return held[:at]

    def _end(self) -> None:
        """What is still held back is the footer, except for lines that belong to the preamble and the header."""
        self._done = True
        if self._read < SHARE_OF:
            self._check_share()
        first = self._read - len(self._held) + 1
        head = max(self._dialect.skip_lines + self._dialect.header_rows + 1 - first, 0)
        self.lines += self._held[:head]
        rest, self._held = self._held[head:], []
        self.footer_blanks = sum(1 for line in rest if not line.strip("\r\n"))
        self.footers = len(rest) - self.footer_blanks
