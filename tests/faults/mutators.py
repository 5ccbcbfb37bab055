"""Files damaged on purpose, each with what a right reader makes of it.

A mutator writes a file line by line and notes beside every line what must become of it, from the damage it has just
done; it never asks the reader. Kinds in :data:`REJECTED_WHOLE` may be refused as a whole, no other.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

WORDS = ["Ann", "Zoë", "Gent", "Łódź", "blue shirt", "12,50", "a b", "東京", "O'Neil", "x", "n/a", "0012", "=1+1"]
REJECTED_WHOLE = {
    "utf16_undeclared": "encoding",
    "latin1_undeclared": "encoding",
    "header_of_too_many": "too_many_columns",
    "header_of_one_megabyte": "header_too_long",
    "unclosed_header": "header",
}


@dataclass
class Case:
    """A damaged file and its fate.

    Attributes:
        kind: the mutator's name.
        data: the file.
        form: how the connection says it is to be read.
        rows: line and cells of every record that must load.
        bad: line and reason of every record that must be set aside.
        rejected: code of the refusal when the whole file must be refused.
    """

    kind: str
    data: bytes = b""
    form: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)
    rejected: str | None = None


class Writer:
    """Writes a file and its fate together."""

    def __init__(self, rng: random.Random, kind: str, *, width: int | None = None, header: bool = True) -> None:
        self.rng = rng
        self.case = Case(kind)
        self.width = width or rng.randint(2, 7)
        self.separator = ","
        self.end = rng.choice(["\n", "\r\n"])
        self.names = [f"col{i} {rng.choice(['a', 'é'])}" for i in range(self.width)]
        self.parts: list[bytes] = []
        self.line = 1
        if header:
            self.raw(",".join(self.names))

    def raw(self, text: str | bytes, *, lines: int = 1, end: str | None = None) -> int:
        """Append a line as it stands; returns its number."""
        number = self.line
        data = text.encode() if isinstance(text, str) else text
        self.parts.append(data + (self.end if end is None else end).encode())
        self.line += lines
        return number

    def cells(self, words: list[str] | None = None) -> list[str]:
        return [self.rng.choice(words or WORDS) for _ in range(self.width)]

    def quoted(self, cell: str, *, force: bool = False) -> str:
        special = any(mark in cell for mark in '",\n\r')
        return '"' + cell.replace('"', '""') + '"' if special or force else cell

    def good(self, cells: list[str] | None = None, *, end: str | None = None, quote: float = 0.2) -> None:
        """A record that must load; some of its cells are quoted without need."""
        chosen = cells or self.cells()
        text = ",".join(self.quoted(cell, force=self.rng.random() < quote) for cell in chosen)
        lines = 1 + text.replace("\r\n", "\n").replace("\r", "\n").count("\n")
        self.case.rows.append((self.raw(text, lines=lines, end=end), chosen))

    def bad(self, text: str | bytes, reason: str) -> None:
        """A record that must be set aside."""
        self.case.bad.append((self.raw(text), reason))

    def some_good(self, least: int = 0, most: int = 5) -> None:
        for _ in range(self.rng.randint(least, most)):
            self.good()

    def around(self, damage: Callable[[], None], *, most: int = 3) -> Case:
        """Good rows, then damage between good rows, one or several times."""
        self.some_good(1, 6)
        for _ in range(self.rng.randint(1, most)):
            damage()
            self.some_good(1, 4)
        return self.done()

    def done(self, encoding: str | None = None) -> Case:
        data = b"".join(self.parts)
        self.case.data = data.decode().encode(encoding) if encoding else data
        return self.case

    def plain(self, width: int | None = None) -> list[str]:
        """Cells without any quote or separator."""
        return [self.rng.choice(["Ann", "Gent", "x", "0012", "é"]) for _ in range(width or self.width)]


def unclosed_quote(rng: random.Random) -> Case:
    w = Writer(rng, "unclosed_quote")

    def damage() -> None:
        cells, at = w.plain(), rng.randrange(w.width)
        cells[at] = '"' + cells[at]
        w.bad(",".join(cells), "unclosed_quote")

    return w.around(damage)


def doubled_quote(rng: random.Random) -> Case:
    w = Writer(rng, "doubled_quote")

    def damage() -> None:
        cells, at = w.plain(), rng.randrange(w.width)
        if rng.random() < 0.5:
            cells[at] = f'""{cells[at]}""'
            w.bad(",".join(cells), "stray_quote")
        else:
            cells[at] = rng.choice(['"', '""', 'say "hi"', '"hi" he said', 'a ""b"" c', '",', ',"'])
            w.good(cells)

    return w.around(damage)


def stray_quote(rng: random.Random) -> Case:
    w = Writer(rng, "stray_quote")

    def damage() -> None:
        cells, at = w.plain(), rng.randrange(w.width)
        if rng.random() < 0.5:
            cells[at] = f'"{cells[at]}"x'
            w.bad(",".join(cells), "stray_quote")
        else:
            cells[at] = cells[at] + '"' + rng.choice(["", "y", '"'])
            w.case.rows.append((w.raw(",".join(cells)), cells))

    return w.around(damage)


def swallowed_rows(rng: random.Random) -> Case:
    """A quote opens in one row and happens to close properly in a later one."""
    w = Writer(rng, "swallowed_rows", width=rng.randint(3, 6))
    w.good()
    at = rng.randrange(w.width)
    cells = w.plain()
    w.bad(",".join([*cells[:at], '"' + cells[at], *cells[at + 1 :]]), "suspected_unclosed_quote")
    for _ in range(rng.randint(1, 5)):
        w.good(w.plain(), quote=0)
    last = w.plain()
    last[at] += '"'
    w.case.rows.append((w.raw(",".join(last)), last))
    w.some_good(1, 3)
    return w.done()


def mixed_separators(rng: random.Random) -> Case:
    w = Writer(rng, "mixed_separators")
    return w.around(lambda: w.bad(rng.choice([";", "\t", "|"]).join(w.plain()), "too_few_columns"))


def mixed_line_ends(rng: random.Random) -> Case:
    w = Writer(rng, "mixed_line_ends")
    for _ in range(rng.randint(3, 30)):
        w.good(end=rng.choice(["\n", "\r\n", "\r"]))
    if rng.random() < 0.5:
        w.good(["tail"] * w.width, end="")
    return w.done()


def nul(rng: random.Random) -> Case:
    w = Writer(rng, "nul")
    for _ in range(10):
        w.good()

    def damage() -> None:
        text = ",".join(w.plain())
        at = rng.randrange(len(text) + 1)
        w.bad(text[:at] + "\0" + text[at:], "nul_byte")

    return w.around(damage)


def byte_order_marks(rng: random.Random) -> Case:
    w = Writer(rng, "byte_order_marks")
    w.parts[0] = b"\xef\xbb\xbf" + w.parts[0]
    w.some_good(1, 4)
    w.good(["\ufeffx", *w.plain(w.width - 1)])
    return w.done()


def utf16(rng: random.Random) -> Case:
    w = Writer(rng, "utf16")
    w.case.form = {"encoding": "utf-16"}
    w.some_good(0, 9)
    return w.done(rng.choice(["utf-16", "utf-16-le", "utf-16-be"]))


def utf16_undeclared(rng: random.Random) -> Case:
    w = Writer(rng, "utf16_undeclared")
    w.some_good(1, 9)
    return w.done(rng.choice(["utf-16", "utf-16-le", "utf-16-be"]))


def _bad_bytes(kind: str, rng: random.Random, bad: list[bytes]) -> Case:
    w = Writer(rng, kind)

    def damage() -> None:
        cells = [cell.encode() for cell in w.plain()]
        cells[rng.randrange(w.width)] += rng.choice(bad) + b"z"
        w.bad(b",".join(cells), "invalid_encoding")

    return w.around(damage)


def latin1_byte(rng: random.Random) -> Case:
    return _bad_bytes("latin1_byte", rng, [b"\xe9", b"\xe8t\xe9", b"\xff"])


def latin1_undeclared(rng: random.Random) -> Case:
    w = Writer(rng, "latin1_undeclared")
    w.parts, w.names = [b"a" + b",b" * (w.width - 1) + b"\n"], []
    for _ in range(rng.randint(40, 80)):
        w.raw(",".join(["crème"] * w.width).encode("latin-1"))
    return w.done()


def broken_utf8(rng: random.Random) -> Case:
    return _bad_bytes("broken_utf8", rng, [b"\xc3", b"\xe6\x9d", b"\xf0\x9f\x98", b"\x80", b"\xf5\x80\x80\x80"])


def overlong_utf8(rng: random.Random) -> Case:
    return _bad_bytes("overlong_utf8", rng, [b"\xc0\xaf", b"\xc0\x80", b"\xe0\x80\xaf", b"\xf0\x82\x82\xac"])


def surrogates(rng: random.Random) -> Case:
    return _bad_bytes("surrogates", rng, [b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80"])


def ragged(rng: random.Random) -> Case:
    w = Writer(rng, "ragged")

    def damage() -> None:
        count = rng.choice([n for n in (1, w.width - 1, w.width + 1, w.width + 5) if n != w.width])
        cells = w.plain(count)
        if count > w.width and rng.random() < 0.5:
            cells[-1] = ""
        w.bad(",".join(cells), "too_few_columns" if count < w.width else "too_many_columns")

    return w.around(damage)


def empty(rng: random.Random) -> Case:
    return Case("empty", rng.choice([b"", b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b"\n\n\n"]))


def header_only(rng: random.Random) -> Case:
    w = Writer(rng, "header_only")
    for _ in range(rng.randint(0, 3)):
        w.raw("")
    return w.done()


def no_header(rng: random.Random) -> Case:
    w = Writer(rng, "no_header", header=False)
    w.case.form = {"header": w.names} if rng.random() < 0.5 else {"header_rows": 0}
    w.some_good(1, 9)
    return w.done()


def odd_header(rng: random.Random) -> Case:
    """Names that are missing or occur again."""
    w = Writer(rng, "odd_header", header=False)
    w.raw(",".join(rng.choice(["", " ", "id", "ID", "name", "line", "record"]) for _ in range(w.width - 1)) + ",end")
    w.some_good(1, 6)
    return w.done()


def unclosed_header(rng: random.Random) -> Case:
    w = Writer(rng, "unclosed_header", header=False)
    w.raw('"a' + ",b" * (w.width - 1))
    for _ in range(3):
        w.raw(",".join(w.plain()))
    return w.done()


def header_of_many(rng: random.Random) -> Case:
    w = Writer(rng, "header_of_many", width=rng.choice([600, 1_500]))
    w.some_good(1, 3)
    return w.done()


def header_of_too_many(rng: random.Random) -> Case:
    w = Writer(rng, "header_of_too_many", width=rng.choice([10_001, 30_000]))
    w.raw(",".join(w.plain()))
    return w.done()


def header_of_one_megabyte(rng: random.Random) -> Case:
    w = Writer(rng, "header_of_one_megabyte", header=False)
    w.raw("x" * rng.randint(1_000_000, 1_500_000) + ",b" * (w.width - 1))
    w.raw(",".join(w.plain()))
    return w.done()


def huge_cell(rng: random.Random) -> Case:
    w = Writer(rng, "huge_cell")

    def damage() -> None:
        cells = w.plain()
        size, quote = rng.choice([1_200_000, 9_000_000, 10_000_000]), rng.choice(["", '"'])
        cells[rng.randrange(w.width)] = quote + "x" * size + quote
        w.bad(",".join(cells), "field_too_long")

    return w.around(damage, most=1)


def million_columns(rng: random.Random) -> Case:
    w = Writer(rng, "million_columns")
    return w.around(lambda: w.bad(",".join(["", "1"] * 500_000), "too_many_columns"), most=1)


def row_bomb(rng: random.Random) -> Case:
    """Very many very short lines."""
    w = Writer(rng, "row_bomb", width=2)
    count = rng.choice([50_000, 100_000])
    if rng.random() < 0.5:
        w.raw(b"\n" * (count - 1), lines=count, end="\n")
        w.good()
        return w.done()
    w.case.rows += [(w.line + i, ["", ""]) for i in range(count)]
    w.raw(("," + w.end) * (count - 1) + ",", lines=count)
    return w.done()


def _odd_texts(kind: str, rng: random.Random, texts: list[str]) -> Case:
    w = Writer(rng, kind)
    for _ in range(rng.randint(1, 8)):
        w.good(w.cells(texts))
    return w.done()


def bidi_and_zero_width(rng: random.Random) -> Case:
    return _odd_texts(
        "bidi_and_zero_width", rng, ["\u202eabc\u202c", "a\u200bb", "\u200f", "\u2066x\u2069", "a\u00adb", "\u2028"]
    )


def nfc_and_nfd(rng: random.Random) -> Case:
    return _odd_texts("nfc_and_nfd", rng, ["é", "e\u0301", "Å", "A\u030a", "\u212b", "ﬁ"])


def odd_numbers(rng: random.Random) -> Case:
    return _odd_texts(
        "odd_numbers", rng, ["1e999", "-0", "١٢", "0x1F", "1_000", "NaN", "00.10", "+5", " 7 ", "9" * 400]
    )


def odd_dates(rng: random.Random) -> Case:
    return _odd_texts(
        "odd_dates", rng, ["30/02/2024", "0000-01-01", "99999-12-31", "2024-02-29T24:00:00", "now", "24:61"]
    )


def truncated(rng: random.Random) -> Case:
    """The file ends at any byte of its last row."""
    w = Writer(rng, "truncated")
    w.some_good(1, 6)
    text = ",".join(["Ann"] * w.width)
    cut = text[: rng.randrange(len(text))]
    if cut.count(",") == w.width - 1:
        w.case.rows.append((w.line, cut.split(",")))
    elif cut:
        w.case.bad.append((w.line, "too_few_columns"))
    w.raw(cut, end="")
    return w.done()


def truncated_in_quotes(rng: random.Random) -> Case:
    w = Writer(rng, "truncated_in_quotes")
    w.some_good(1, 6)
    w.case.bad.append((w.line, "unclosed_quote"))
    w.raw(",".join([*w.plain(w.width - 1), '"cut of']), end="")
    return w.done()


def glued(rng: random.Random) -> Case:
    """Two files put together, with or without an end of the first one's last line."""
    w = Writer(rng, "glued")
    w.some_good(1, 4)
    mark = rng.choice(["", "\ufeff"])
    if rng.random() < 0.5:
        w.bad(",".join(w.plain()) + mark + ",".join(w.names), "too_many_columns")
    else:
        w.bad(mark + ",".join(w.names), "repeated_header")
    w.some_good(1, 4)
    return w.done()


def repeated_header(rng: random.Random) -> Case:
    w = Writer(rng, "repeated_header")
    return w.around(lambda: w.bad(",".join(w.quoted(n, force=rng.random() < 0.3) for n in w.names), "repeated_header"))


MUTATORS: list[Callable[[random.Random], Case]] = [
    unclosed_quote,
    doubled_quote,
    stray_quote,
    swallowed_rows,
    mixed_separators,
    mixed_line_ends,
    nul,
    byte_order_marks,
    utf16,
    utf16_undeclared,
    latin1_byte,
    latin1_undeclared,
    broken_utf8,
    overlong_utf8,
    surrogates,
    ragged,
    empty,
    header_only,
    no_header,
    odd_header,
    unclosed_header,
    header_of_many,
    header_of_too_many,
    header_of_one_megabyte,
    huge_cell,
    million_columns,
    row_bomb,
    bidi_and_zero_width,
    nfc_and_nfd,
    odd_numbers,
    odd_dates,
    truncated,
    truncated_in_quotes,
    glued,
    repeated_header,
]


def make(seed: int, number: int) -> Case:
    """The damaged file of that number in the series of that seed: every kind in turn."""
    case = MUTATORS[number % len(MUTATORS)](random.Random(f"{seed}-{number}"))
    case.rejected = REJECTED_WHOLE.get(case.kind)
    return case
