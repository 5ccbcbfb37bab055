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
from crosswalk.engine.exact import ExactParser, Parsed, is_suspect
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
MOST_PATIENCE = 64
LINE_END = re.compile("\r\n|\r|\n")


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
        self._width = 0
        self._patience = 1
        self._exact_left = 0
        self._quick_csv = len(dialect.separator) == 1
        self._exact = ExactParser(source, dialect)
        self._messages: dict[tuple[str, int], str] = {}

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
            if len(records) < dialect.header_rows:
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
        self._width = header.width
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
        parsed = self._exact.parse(0)
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
        parsed = self._exact.parse(0)
        text = self.source.lines[self.source.pos]
        width = len(parsed.cells) if parsed.cells is not None else text.count(self.dialect.separator) + 1
        return min(width, MAX_COLUMNS + 1)

    # -- records -----------------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """All records after the header, in order; at the end ``buckets`` is complete."""
        source = self.source
        while source.more():
            batch = Batch()
            while source.pos < len(source.lines) and len(batch.rows) + len(batch.bad) < BATCH_ROWS:
                self._step(batch)
            yield batch
        self.buckets.footer += source.footers
        self.buckets.blank += source.footer_blanks

    def _step(self, batch: Batch) -> None:
        """Take a run of ordinary lines at once, or one record with the exact parser.

        After trouble some records go to the exact parser at once, ever more of them while trouble goes on, so that a
        file full of it is not read twice.
        """
        source = self.source
        while source.special and source.special[0] < source.number:
            source.special.popleft()
        end = source.base + len(source.lines)
        stop = min(source.special[0] if source.special else end, end, source.number + RUN_LINES)
        if self._exact_left or stop == source.number:
            self._exact_left = max(self._exact_left - 1, 0)
            self._one(batch)
        elif self._run(stop - source.base, batch):
            self._patience = 1
        else:
            self._one(batch)
            self._patience = min(self._patience * 2, MOST_PATIENCE)
            self._exact_left = self._patience

    def _run(self, stop: int, batch: Batch) -> bool:
        """Split the ordinary lines up to index ``stop``; False when the record at ``pos`` then needs a closer look."""
        source, first = self.source, self.source.number
        rows = self._all_at_once(source.pos, stop)
        if rows is None:
            return self._one_by_one(stop, batch)
        if set(map(len, rows)) == {self._width} and self._repeated not in rows:
            batch.rows += rows
            batch.lines.extend(range(first, first + len(rows)))
            batch.records.extend(range(self._records + 1, self._records + 1 + len(rows)))
            self._records += len(rows)
            self.buckets.rows += len(rows)
        elif not any(rows):
            self.buckets.blank += len(rows)
        else:
            for at, row in enumerate(rows, source.pos):
                self._sort(row, at, 1, batch)
        source.pos = stop
        return True

    def _all_at_once(self, start: int, stop: int) -> list[list[str]] | None:
        """The cells of these lines when each line is a record of its own (``[]``: blank), else None."""
        lines, separator, quote = self.source.lines[start:stop], self.dialect.separator, self.dialect.quote
        if self._quick_csv and quote:
            try:
                rows = list(csv.reader(lines, delimiter=separator, quotechar=quote, strict=True))
            except csv.Error:
                return None
            return rows if len(rows) == len(lines) else None
        if quote and any(quote in line for line in lines):
            return None
        bodies = [line.rstrip("\r\n") for line in lines]
        return [body.split(separator) if body else [] for body in bodies]

    def _one_by_one(self, stop: int, batch: Batch) -> bool:
        """The same where records may span lines, up to the first one that is not in order."""
        source = self.source
        start, done = source.pos, 0
        for row, count in self._quick_records(start, stop):
            if count > 1 and self._doubt(row):
                break
            self._sort(row, start + done, count, batch)
            done += count
        source.pos = start + done
        return source.pos == stop

    def _quick_records(self, start: int, stop: int) -> Iterator[tuple[list[str], int]]:
        """Records in good order, with how many lines they span; ends before one that is not."""
        dialect, line_at = self.dialect, self.source.lines.__getitem__
        if self._quick_csv and dialect.quote:
            reader = csv.reader(
                map(line_at, range(start, stop)), delimiter=dialect.separator, quotechar=dialect.quote, strict=True
            )
            done = 0
            try:
                for row in reader:
                    yield row, reader.line_num - done
                    done = reader.line_num
            except csv.Error:
                return
            return
        for i in range(start, stop):
            line = line_at(i)
            if dialect.quote and dialect.quote in line:
                return
            body = line.rstrip("\r\n")
            yield body.split(dialect.separator) if body else [], 1

    def _doubt(self, row: list[str]) -> bool:
        """Whether a record of several lines may be none."""
        for cell, value in enumerate(row):
            pieces = LINE_END.split(value) if "\n" in value or "\r" in value else ()
            if len(pieces) > 1 and self._width > 1:
                counts = [piece.count(self.dialect.separator) if piece else -1 for piece in pieces]
                counts[0], counts[-1] = max(counts[0], 0), max(counts[-1], 0)
                if is_suspect(cell, counts, self._width, ragged=len(row) != self._width):
                    return True
        return sum(map(len, row)) > MAX_FIELD

    def _sort(self, row: list[str], at: int, count: int, batch: Batch) -> None:
        """Put a record of ordinary lines where it belongs."""
        width = self._width
        if not row:
            self.buckets.blank += 1
        elif len(row) == width and row != self._repeated:
            self._records += 1
            batch.rows.append(row)
            batch.lines.append(self.source.base + at)
            batch.records.append(self._records)
            self.buckets.rows += count
        elif len(row) == width or self.dialect.pad:
            self._judge(Parsed(row, count), at, batch)
        else:
            self._records += 1
            raw = "".join(self.source.lines[at : at + count]) if count > 1 else self.source.lines[at]
            self.buckets.quarantined += count
            reason, found = self._ragged(len(row)), len(row)
            shown = raw[:MAX_RAW].rstrip("\r\n")  # an ordinary line holds nothing that cannot be shown
            batch.bad.append((self.source.base + at, reason, self._message(reason, found), shown))

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
            parsed = self._exact.parse(self._width)
            self._judge(parsed, source.pos, batch)
            source.pos += parsed.count

    def _judge(self, parsed: Parsed, at: int, batch: Batch) -> None:
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
                reason = self._ragged(len(cells))
        if reason:
            self._set_aside(reason, len(cells), parsed.count, number, raw, batch)
            return
        batch.rows.append(cells)
        batch.lines.append(number)
        batch.records.append(self._records)
        self.buckets.rows += parsed.count

    def _ragged(self, found: int) -> str:
        return "too_few_columns" if found < self._width else "too_many_columns"

    def _message(self, reason: str, found: int) -> str:
        text = self._messages.get((reason, found))
        if text is None:
            text = MESSAGES[reason].format(found=found, width=self._width, encoding=self.dialect.encoding)
            self._messages[reason, found] = text
        return text

    def _set_aside(self, reason: str, found: int, count: int, number: int, raw: str, batch: Batch) -> None:
        self.buckets.quarantined += count
        shown = raw[:MAX_RAW].rstrip("\r\n")
        if reason == "invalid_encoding" or (not shown.isascii() and INVALID.search(shown)):
            shown = show_invalid(shown, self.dialect.encoding)
        batch.bad.append((number, reason, self._message(reason, found), shown.replace("\0", "\\x00")[:MAX_RAW]))

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


def _merge_names(records: list[list[str]]) -> list[str]:
    """One name per column from several header records, joined with a blank."""
    width = max((len(cells) for cells in records), default=0)
    return [
        " ".join(part for part in (cells[i].strip() if i < len(cells) else "" for cells in records) if part)
        if len(records) > 1
        else records[0][i]
        for i in range(width)
    ]
