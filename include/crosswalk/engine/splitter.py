"""The tolerant splitter: text to records, where every physical line ends in exactly one bucket.

It is the reference for what a record is. Lines in good order go through the ``csv`` module in strict mode; everything
else is taken apart here, character by character where it must be.

======================== =============================================================================================
Reason                   The record is set aside because
======================== =============================================================================================
too_few_columns          it has fewer cells than the header
too_many_columns         it has more cells than the header
unclosed_quote           a quoted cell is open at the end of the file, or after 1 MiB, or closes amid text further down
stray_quote              text follows a closing quote
suspected_unclosed_quote a quoted cell spans lines that look like records of their own
invalid_encoding         it holds bytes that the encoding does not know
nul_byte                 it holds a NUL character
field_too_long           a cell is longer than 1 MiB, or the line is longer than 8 MiB
repeated_header          it repeats the header
======================== =============================================================================================

After an open quote reading goes on with the next line, so one damaged line costs one line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from crosswalk.core.errors import RejectedError
from crosswalk.engine.decode import show_invalid
from crosswalk.engine.dialect import MAX_COLUMNS, MAX_FIELD, MAX_HEADER, MAX_RAW, Dialect, Header, name_columns
from crosswalk.engine.lines import INVALID, LineSource

MESSAGES = {
    "too_few_columns": "{found} cells where the header has {width}.",
    "too_many_columns": "{found} cells where the header has {width}.",
    "unclosed_quote": "A quoted cell that opens here is not closed.",
    "stray_quote": "Text follows a closing quote.",
    "suspected_unclosed_quote": "A quoted cell that opens here spans lines that look like records of their own.",
    "invalid_encoding": "The record holds bytes that are not {encoding}.",
    "nul_byte": "The record holds a NUL character.",
    "field_too_long": "A cell is longer than 1 MiB.",
    "repeated_header": "The record repeats the header.",
}
RUN_LINES = 2_000
BATCH_ROWS = 20_000
STRAY, END = -1, -2


@dataclass
class Batch:
    """Records of one stretch of the file, with where each begins, and what was set aside there."""

    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    bad: list[tuple[int, str, str, str]] = field(default_factory=list)  # line, reason, message, raw


@dataclass
class Buckets:
    """How many physical lines ended where; together they are the file."""

    preamble: int = 0
    header: int = 0
    footer: int = 0
    comment: int = 0
    blank: int = 0
    rows: int = 0
    quarantined: int = 0

    @property
    def total(self) -> int:
        """All lines."""
        return self.preamble + self.header + self.footer + self.comment + self.blank + self.rows + self.quarantined


@dataclass
class _Parsed:
    """One attempt at a record: its cells, or why it is none; ``count`` lines belong to it."""

    cells: list[str] | None
    count: int
    reason: str = ""


class Splitter:
    """Splits one text; use :meth:`read_header` first, then :meth:`batches`.

    Attributes:
        header: the columns, after ``read_header``.
        buckets: lines by where they ended.
        padded: rows that ``extra_columns: ignore`` cut or padded.
    """

    def __init__(self, source: LineSource, dialect: Dialect, name: str) -> None:
        self.source = source
        self.dialect = dialect
        self.name = name
        self.header: Header | None = None
        self.header_line: int | None = None
        self.buckets = Buckets()
        self.padded = 0
        self._records = 0
        self._repeated: list[str] = []
        self._quick_csv = len(dialect.separator) == 1
        self._escaped = (
            re.compile(f"[{re.escape(dialect.quote)}{re.escape(dialect.escape)}]") if dialect.escape else None
        )

    # -- header ------------------------------------------------------------------------------------------------------

    def read_header(self) -> Header:
        """Skip the preamble and read the header; an empty text has no columns.

        Raises:
            RejectedError: the header cannot be used.
        """
        source, dialect = self.source, self.dialect
        for _ in range(dialect.skip_lines):
            if not source.more():
                break
            source.pos += 1
            self.buckets.preamble += 1
        records: list[list[str]] = []
        self._skip_empty()
        while len(records) < dialect.header_rows and source.more():
            if not records:
                self.header_line = source.number
            records.append(self._header_record())
            self._skip_empty()
        if dialect.header is not None:
            names, cells = list(dialect.header), list(dialect.header)
        elif dialect.header_rows == 0:
            names, cells = [""] * self._first_width(), []
        else:
            names, cells = _merge_names(records), records[0] if records else []
        header = name_columns(names, cells=cells, file=self.name, line=self.header_line)
        if dialect.header is None and dialect.header_rows == 0:
            header = Header(header.columns, header.originals, (), ())
        self.header, self._repeated = header, cells if any(cells) else []
        return header

    def _skip_empty(self) -> None:
        """Pass over blank and comment lines."""
        source = self.source
        while source.more():
            line = source.lines[source.pos]
            if not line.rstrip("\r\n"):
                self.buckets.blank += 1
            elif self.dialect.comment and line.startswith(self.dialect.comment):
                self.buckets.comment += 1
            else:
                return
            source.pos += 1

    def _header_record(self) -> list[str]:
        source, number = self.source, self.source.number
        parsed = self._parse(0)
        raw = "".join(source.lines[source.pos : source.pos + parsed.count])
        problem = ""
        if parsed.cells is None:
            problem = "has a quoted name that is not closed"
        elif INVALID.search(raw):
            problem = f"holds bytes that are not {self.dialect.encoding}"
        elif "\0" in raw:
            problem = "holds a NUL character"
        elif number in source.overlong or len(raw) > MAX_HEADER:
            problem = "is longer than 2 MiB"
        if problem or parsed.cells is None:
            raise RejectedError(
                f"The header {problem}.",
                remedy="Check `encoding`, `quote`, `skip_lines` and `header_rows`, or correct the file.",
                code="header",
                file=self.name,
                line=number,
            )
        source.pos += parsed.count
        self.buckets.header += parsed.count
        return parsed.cells

    def _first_width(self) -> int:
        if not self.source.more():
            return 0
        parsed = self._parse(0)
        text = self.source.lines[self.source.pos]
        width = len(parsed.cells) if parsed.cells is not None else text.count(self.dialect.separator) + 1
        return min(width, MAX_COLUMNS + 1)

    # -- records -----------------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """All records after the header, in order; at the end ``buckets`` is complete."""
        source = self.source
        while source.more():
            batch = Batch()
            while source.pos < len(source.lines) and len(batch.rows) < BATCH_ROWS:
                while source.special and source.special[0] < source.number:
                    source.special.popleft()
                end = source.base + len(source.lines)
                stop = min(source.special[0] if source.special else end, end, source.number + RUN_LINES)
                if stop == source.number or not self._run(stop - source.base, batch):
                    self._one(batch)
            yield batch
        self.buckets.footer += source.footers
        self.buckets.blank += source.footer_blanks

    @property
    def _width(self) -> int:
        return self.header.width if self.header else 0

    def _run(self, stop: int, batch: Batch) -> bool:
        """Split the ordinary lines up to index ``stop``; False when the line at ``pos`` then needs a closer look."""
        source, start, first = self.source, self.source.pos, self.source.number
        rows = self._all_at_once(start, stop)
        if rows is None:
            return self._one_by_one(stop, batch)
        batch.rows += rows
        batch.lines.extend(range(first, first + len(rows)))
        batch.records.extend(range(self._records + 1, self._records + 1 + len(rows)))
        self._records += len(rows)
        self.buckets.rows += len(rows)
        source.pos = stop
        return True

    def _all_at_once(self, start: int, stop: int) -> list[list[str]] | None:
        """The rows of these lines when each line is one good record, else None."""
        lines, separator, quote = self.source.lines[start:stop], self.dialect.separator, self.dialect.quote
        if self._quick_csv and quote:
            try:
                rows = list(csv.reader(lines, delimiter=separator, quotechar=quote, strict=True))
            except csv.Error:
                return None
        elif quote and any(quote in line for line in lines):
            return None
        else:
            rows = [line.rstrip("\r\n").split(separator) for line in lines]
        if len(rows) != len(lines) or set(map(len, rows)) != {self._width}:
            return None
        if self._repeated in rows or (self._width == 1 and [""] in rows):
            return None
        return rows

    def _one_by_one(self, stop: int, batch: Batch) -> bool:
        source, width, repeated = self.source, self._width, self._repeated
        start, first, before = source.pos, source.number, len(batch.rows)
        done, finished = 0, True
        for done, row in enumerate(self._quick_rows(start, stop)):
            if row is None:
                finished = False
                break
            if len(row) == width and row != repeated:
                self._records += 1
                batch.rows.append(row)
                batch.lines.append(first + done)
                batch.records.append(self._records)
            elif row:
                self._judge(_Parsed(row, 1), start + done, batch)
            else:
                self.buckets.blank += 1
        self.buckets.rows += len(batch.rows) - before
        source.pos = stop if finished else start + done
        return finished

    def _quick_rows(self, start: int, stop: int) -> Iterator[list[str] | None]:
        """Rows of one line each, ``[]`` for a blank line; None when a line is not that simple."""
        dialect, line_at = self.dialect, self.source.lines.__getitem__
        if self._quick_csv and dialect.quote:
            reader = csv.reader(
                map(line_at, range(start, stop)), delimiter=dialect.separator, quotechar=dialect.quote, strict=True
            )
            done = 0
            try:
                for row in reader:
                    done += 1
                    yield row if reader.line_num == done else None
            except csv.Error:
                yield None
            return
        for i in range(start, stop):
            line = line_at(i)
            if dialect.quote and dialect.quote in line:
                yield None
            body = line.rstrip("\r\n")
            yield body.split(dialect.separator) if body else []

    def _one(self, batch: Batch) -> None:
        """Take the record at ``pos`` with the exact parser."""
        source = self.source
        line = source.lines[source.pos]
        if not line.rstrip("\r\n"):
            self.buckets.blank += 1
            source.pos += 1
        elif self.dialect.comment and line.startswith(self.dialect.comment):
            self.buckets.comment += 1
            source.pos += 1
        else:
            parsed = self._parse(self._width)
            before = len(batch.rows)
            self._judge(parsed, source.pos, batch)
            self.buckets.rows += parsed.count if len(batch.rows) > before else 0
            source.pos += parsed.count

    def _judge(self, parsed: _Parsed, at: int, batch: Batch) -> None:
        """Put a record where it belongs."""
        source, number, width = self.source, self.source.base + at, self._width
        self._records += 1
        raw = source.lines[at] if parsed.count == 1 else "".join(source.lines[at : at + parsed.count])
        cells = parsed.cells or []
        reason = parsed.reason or self._fault(cells, raw, number)
        if not reason and len(cells) != width:
            if self.dialect.pad:
                self.padded += 1
                cells = (cells + [""] * (width - len(cells)))[:width]
            else:
                reason = "too_few_columns" if len(cells) < width else "too_many_columns"
        if not reason:
            batch.rows.append(cells)
            batch.lines.append(number)
            batch.records.append(self._records)
            return
        self.buckets.quarantined += parsed.count
        message = MESSAGES[reason].format(found=len(cells), width=width, encoding=self.dialect.encoding)
        shown = raw.rstrip("\r\n")[:MAX_RAW]
        if reason == "invalid_encoding" or INVALID.search(shown):
            shown = show_invalid(shown, self.dialect.encoding)
        batch.bad.append((number, reason, message, shown.replace("\0", "\\x00")[:MAX_RAW]))

    def _fault(self, cells: list[str], raw: str, number: int) -> str:
        if number in self.source.overlong:
            return "field_too_long"
        if INVALID.search(raw):
            return "invalid_encoding"
        if "\0" in raw:
            return "nul_byte"
        if len(raw) > MAX_FIELD and max(map(len, cells)) > MAX_FIELD:
            return "field_too_long"
        if self._repeated and [cells[0].removeprefix("\ufeff"), *cells[1:]] == self._repeated:
            return "repeated_header"
        return ""

    # -- the exact parser --------------------------------------------------------------------------------------------

    def _parse(self, width: int) -> _Parsed:
        """Parse the record at ``pos``; with ``width`` 0 (the header) spans are not doubted."""
        cells: list[str] = []
        spans: list[tuple[int, int, list[int]]] = []  # cell, lines before it, separators per line inside
        index, at = 0, 0
        if self.source.number in self.source.overlong:
            return _Parsed([self.source.lines[self.source.pos]], 1)
        while at != END:
            opened = index
            value, index, at, counts = self._cell(index, at)
            if value is None or at == STRAY:
                is_stray = value is not None and index == opened
                return _Parsed(None, opened + 1, "stray_quote" if is_stray else "unclosed_quote")
            if len(counts) > 1:
                spans.append((len(cells), opened, counts))
            cells.append(value)
        for cell, opened, counts in spans:
            if width > 1 and _is_suspect(cell, counts, width, ragged=len(cells) != width):
                return _Parsed(None, opened + 1, "suspected_unclosed_quote")
        return _Parsed(cells, index + 1)

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
        return text, len(text.rstrip("\r\n"))

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


def _merge_names(records: list[list[str]]) -> list[str]:
    """One name per column from several header records, joined with a blank."""
    width = max((len(cells) for cells in records), default=0)
    return [
        " ".join(part for part in (cells[i].strip() if i < len(cells) else "" for cells in records) if part)
        if len(records) > 1
        else records[0][i]
        for i in range(width)
    ]


def _is_suspect(cell: int, counts: list[int], width: int, *, ragged: bool) -> bool:
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
