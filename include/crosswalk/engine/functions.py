"""Our own SQL functions: how text becomes a value, and how values become canonical text. One body per engine, all here.

Each function takes and gives SQL nodes (see ``template.py``) and is total: text that does not fit gives NULL, never
an error and never a guess. Rules (``cdp-semantics.md`` section 2, ``design.md`` section 6 rules 1 and 7):

========== ===================================================== ================================
type       accepted                                              canonical text
========== ===================================================== ================================
text       up to 65,000 characters, outer blanks removed         as is
email      one ``@``, something before, a domain with a dot, no  lower case
           blank or invisible character within
number     whole, ``12.0`` too, up to +-2,147,483,647            ``12``
decimal    at most 14 digits before the mark; more decimals than ``12.5``
           kept are rounded half even
currency   as decimal, with the currency's decimals              ``12.50`` (its ISO digits)
datetime   a pattern, else ISO 8601 or epoch seconds or ms       epoch milliseconds
========== ===================================================== ================================

Reasons of refusal: ``too_long``, ``invalid_email``, ``invalid_number``, ``invalid_decimal``, ``invalid_currency``,
``ambiguous_number`` (``1.234`` where the decimal mark is a comma), ``out_of_range``, ``invalid_datetime``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlglot
from sqlglot import exp

from crosswalk.engine.template import Node, any_of, call, cast, name, number, render, sql, text, try_cast
from crosswalk.engine.zones import to_utc

MAX_TEXT = 65_000
MAX_IDENTIFIER = 500  # characters of a unique identifier: PostgreSQL's index takes entries of 2,704 bytes
MAX_NUMBER = 2_147_483_647
MAX_VALUES = 1_000
INTEGER_DIGITS = 14
BLANKS = " \t\n\v\f\r\u00a0\u1680\u2028\u2029\u202f\u205f\u2060\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200C)))
SEPARATOR, NULL_MARK = "\x1f", "\x1e"
_NOT_IN_EMAIL = r'@<>,;"\p{Z}\p{Cc}\p{Cf}'
EMAIL = rf"[^{_NOT_IN_EMAIL}]+@[^{_NOT_IN_EMAIL}.]+(?:\.[^{_NOT_IN_EMAIL}.]+)+"
_TIME = r"[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?"
ISO_LOCAL = rf"\d{{4}}-\d{{2}}-\d{{2}}(?:{_TIME})?"
ISO_OFFSET = rf"\d{{4}}-\d{{2}}-\d{{2}}{_TIME}(?:Z|[+-]\d{{2}}(?::?\d{{2}})?)"
_MARKS = {".": r"\.", ",": ",", " ": r"[ \x{a0}\x{2009}\x{202f}]", "'": r"['\x{2019}]"}
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999


@dataclass(frozen=True)
class Marks:
    """The marks of numbers.

    Attributes:
        decimal: ``.`` or ``,``.
        thousands: the mark between groups of three; None: the other mark counts as such only where it cannot be the
            decimal mark.
    """

    decimal: str = "."
    thousands: str | None = None

    @property
    def mark(self) -> str:
        """The decimal mark as a pattern."""
        return _MARKS[self.decimal]

    @property
    def other(self) -> str:
        """The mark of groups as a pattern."""
        return _MARKS[self.thousands or ("," if self.decimal == "." else ".")]

    @property
    def grouped(self) -> str:
        """Numbers with groups whose reading is certain."""
        if self.thousands:
            return rf"[+-]?[1-9]\d{{0,2}}(?:{self.other}\d{{3}})+(?:{self.mark}\d*)?"
        sure = rf"(?:{self.other}\d{{3}})+{self.mark}\d+|(?:{self.other}\d{{3}}){{2,}}"
        return rf"[+-]?[1-9]\d{{0,2}}(?:{sure})"

    @property
    def accepted(self) -> str:
        """Every number that is accepted, however many digits."""
        return rf"[+-]?(?:\d+(?:{self.mark}\d*)?|{self.mark}\d+)|{self.grouped}"

    @property
    def whole(self) -> str:
        """Whole numbers; with groups only when the format declares them."""
        groups = rf"|[+-]?[1-9]\d{{0,2}}(?:{self.other}\d{{3}})+(?:{self.mark}0*)?" if self.thousands else ""
        return rf"[+-]?(?:\d+(?:{self.mark}0*)?|{self.mark}0+){groups}"

    @property
    def ambiguous(self) -> str:
        """A lone group that could be decimals."""
        return rf"[+-]?\d{{1,3}}{self.other}\d{{3}}"


def clean(cell: Node) -> Node:
    """A cell without outer blanks; NULL stays NULL (absent), a cell of blanks becomes ''.

    Trimming is costly and seldom needed, so the ends are looked at first.
    """
    return sql(
        "CASE WHEN $cell NOT BETWEEN '!' AND chr(127) OR $cell[-1] NOT BETWEEN '!' AND '~' "
        "THEN trim($cell, $blanks) ELSE $cell END",
        cell=cell,
        blanks=text(BLANKS),
    )


def matches(cell: Node, pattern: str) -> Node:
    """Whether the whole text matches an RE2 pattern."""
    return sql("regexp_full_match($cell, $pattern)", cell=cell, pattern=text(pattern))


def parse_text(cell: Node, longest: int = MAX_TEXT) -> Node:
    """Text of a clean cell, up to so many characters."""
    return sql("CASE WHEN $cell <> '' AND length($cell) <= $longest THEN $cell END", cell=cell, longest=number(longest))


def parse_email(cell: Node, longest: int = MAX_TEXT) -> Node:
    """A lower-case address of up to so many characters."""
    return sql(
        "CASE WHEN $fits AND length($cell) <= $longest THEN lower($cell) END",
        fits=matches(cell, EMAIL),
        cell=cell,
        longest=number(longest),
    )


def text_problem(cell: Node, longest: int, kind: str) -> Node:
    """Why a clean, refused text or address was refused."""
    if kind == "text":
        return text("too_long")
    return sql(
        "CASE WHEN length($cell) > $longest THEN 'too_long' ELSE 'invalid_email' END",
        cell=cell,
        longest=number(longest),
    )


def is_plain(cell: Node, marks: Marks, decimals: int) -> Node:
    """Whether a clean cell is a number that needs no rounding and no removal of marks: the usual case."""
    tail = rf"(?:{marks.mark}\d{{1,{decimals}}})?" if decimals else ""
    return matches(cell, rf"[+-]?\d{{1,{INTEGER_DIGITS}}}{tail}")


def parse_decimal(cell: Node, marks: Marks, decimals: int, plain: Node | None = None) -> Node:
    """A DECIMAL(18, decimals), rounded half even.

    Args:
        cell: clean text.
        marks: the format's marks.
        decimals: how many are kept.
        plain: a column that holds ``is_plain`` of the cell, where it is computed already.
    """
    pointed = cell if marks.decimal == "." else sql("replace($cell, ',', '.')", cell=cell)
    return sql(
        "CASE WHEN $plain THEN $exact WHEN $accepted THEN $rounded END",
        plain=plain if plain is not None else is_plain(cell, marks, decimals),
        exact=try_cast(pointed, f"DECIMAL(18, {decimals})"),
        accepted=matches(cell, marks.accepted),
        rounded=_round_half_even(_digits_only(cell, marks), decimals),
    )


def _digits_only(cell: Node, marks: Marks) -> Node:
    """An accepted number with its sign, digits and a point."""
    ungrouped = sql("regexp_replace($cell, $mark, '', 'g')", cell=cell, mark=text(marks.other))
    return ungrouped if marks.decimal == "." else sql("replace($cell, ',', '.')", cell=ungrouped)


def _round_half_even(digits: Node, decimals: int) -> Node:
    """Exact for any number of decimals: the text is cut, then the cut part decides."""
    whole = sql("regexp_extract($digits, '^[+-]?0*([0-9]*)', 1)", digits=digits)
    fraction = sql("regexp_extract($digits, '[.]([0-9]*)$', 1)", digits=digits)
    kept = sql("left($fraction, $decimals)", fraction=fraction, decimals=number(decimals))
    lost = sql("substr($fraction, $next)", fraction=fraction, next=number(decimals + 1))
    cut = try_cast(sql("concat('0', $whole, '.', $kept)", whole=whole, kept=kept), f"DECIMAL(30, {decimals})")
    # No IN list here: the engine turns a longer one into a join, which would compute all this for every row.
    odd = sql("contains('13579', right(concat('0', $whole, $kept), 1))", whole=whole, kept=kept)
    upwards = sql("$lost >= '5' AND (rtrim($lost, '0') <> '5' OR $odd)", lost=lost, odd=odd)
    step = cast(text(f"{10**-decimals:.{decimals}f}"), f"DECIMAL(30, {decimals})")
    rounded = sql("$cut + CASE WHEN $upwards THEN $step ELSE 0 END", cut=cut, upwards=upwards, step=step)
    signed = sql("CASE WHEN $digits[1] = '-' THEN -($rounded) ELSE $rounded END", digits=digits, rounded=rounded)
    return sql(
        "CASE WHEN length($whole) <= $limit THEN $result END",
        whole=whole,
        limit=number(INTEGER_DIGITS),
        result=try_cast(signed, f"DECIMAL(18, {decimals})"),
    )


def is_rounded(cell: Node, marks: Marks, decimals: int) -> Node:
    """Whether an accepted number loses digits that are not zero."""
    pattern = rf"{marks.mark}\d{{{decimals}}}\d*[1-9]" if decimals else rf"{marks.mark}\d*[1-9]"
    return sql("regexp_matches($cell, $pattern)", cell=cell, pattern=text(pattern))


def parse_number(cell: Node, marks: Marks) -> Node:
    """A whole number as BIGINT, within the type's range; groups only when the format declares them."""
    return sql(
        "CASE WHEN $short THEN TRY_CAST($cell AS BIGINT) "
        "WHEN $long AND $bounded THEN TRY_CAST($digits AS DECIMAL(18, 0))::BIGINT END",
        short=matches(cell, r"[+-]?\d{1,9}"),
        long=matches(cell, marks.whole),
        bounded=sql(
            "abs(TRY_CAST($digits AS DECIMAL(38, 0))) <= $limit", digits=_whole(cell, marks), limit=number(MAX_NUMBER)
        ),
        digits=_whole(cell, marks),
        cell=cell,
    )


def _whole(cell: Node, marks: Marks) -> Node:
    """Sign and digits before the decimal mark."""
    tail = sql("regexp_replace($cell, $tail, '')", cell=cell, tail=text(rf"{marks.mark}0*$"))
    cut = sql("regexp_replace($tail, '^[+-]?$', '0')", tail=tail)  # of .0 nothing is left
    return sql("regexp_replace($cut, $mark, '', 'g')", cut=cut, mark=text(marks.other)) if marks.thousands else cut


def number_problem(cell: Node, marks: Marks, kind: str) -> Node:
    """Why a clean, refused number was refused."""
    accepted = marks.whole if kind == "number" else marks.accepted
    return sql(
        "CASE WHEN $large THEN 'out_of_range' WHEN $ambiguous THEN 'ambiguous_number' ELSE $invalid END",
        large=matches(cell, accepted),
        ambiguous=exp.false() if marks.thousands else matches(cell, marks.ambiguous),
        invalid=text(f"invalid_{kind}"),
    )


def number_text(value: Node, decimals: int, *, fixed: bool = False, precision: int = 18) -> Node:
    """Canonical text of a DECIMAL: no exponent, no ``-0``, no trailing zeros unless ``fixed``."""
    kinds = [f"DECIMAL({precision}, {kept})" for kept in range(decimals + 1)]
    if fixed:
        return cast(cast(value, kinds[-1]), "VARCHAR")
    branches = [
        sql(
            "CASE WHEN $short = $value THEN $text END",
            short=cast(value, kind),
            value=value,
            text=cast(cast(value, kind), "VARCHAR"),
        )
        for kind in kinds[:-1]
    ]
    return call("coalesce", *branches, cast(cast(value, kinds[-1]), "VARCHAR"))


def local_microseconds(cell: Node, pattern: str | None) -> Node | None:
    """Epoch microseconds of the local time that a clean cell says; None when the pattern always carries an offset."""
    if pattern is None:
        local = sql(
            "CASE WHEN $fits THEN epoch_us(TRY_CAST(replace($cell, ',', '.') AS TIMESTAMP)) END",
            fits=matches(cell, ISO_LOCAL),
            cell=cell,
        )
    elif has_offset(pattern):
        return None
    else:
        local = sql("epoch_us(try_strptime($cell, $pattern))", cell=cell, pattern=text(pattern))
    return local


def instant_microseconds(cell: Node, pattern: str | None) -> Node | None:
    """Epoch microseconds of a clean cell that names an instant by itself; None when the pattern never does."""
    if pattern is not None:
        return (
            sql("epoch_us(try_strptime($cell, $pattern))", cell=cell, pattern=text(pattern))
            if has_offset(pattern)
            else None
        )
    return sql(
        "CASE WHEN $seconds THEN TRY_CAST($cell AS BIGINT) * 1000000 WHEN $milliseconds THEN TRY_CAST($cell AS "
        "BIGINT) * 1000 "
        "WHEN $iso THEN epoch_us(TRY_CAST(replace($cell, ',', '.') AS TIMESTAMPTZ)) END",
        seconds=matches(cell, r"\d{9,10}"),
        milliseconds=matches(cell, r"\d{12,13}"),
        iso=matches(cell, ISO_OFFSET),
        cell=cell,
    )


def has_offset(pattern: str) -> bool:
    """Whether a pattern reads an offset or a zone."""
    return re.search(r"(?:^|[^%])(?:%%)*%[zZ]", pattern) is not None


def utc_microseconds(local: Node | None, instant: Node | None, zone: str) -> Node:
    """The instant in UTC, or NULL; the arguments should be columns."""
    known = [part for part in (instant, None if local is None else to_utc(local, zone)) if part is not None]
    moment = known[0] if len(known) == 1 else call("coalesce", *known)
    return sql("CASE WHEN $inside THEN $moment END", inside=is_moment(local, instant), moment=moment)


def is_moment(local: Node | None, instant: Node | None) -> Node:
    """Whether there is a time within the years 1 to 9999; never NULL."""
    span = {"first": number(_FIRST_US), "last": number(_LAST_US)}
    checks = [
        sql("coalesce($column BETWEEN $first AND $last, false)", column=column, **span)
        for column in (local, instant)
        if column is not None
    ]
    return any_of(checks)


def milliseconds_text(moment: Node) -> Node:
    """Epoch milliseconds, rounded down also before 1970."""
    shift = -_FIRST_US
    return sql(
        "(($moment + $shift) // 1000 - $whole)::VARCHAR",
        moment=moment,
        shift=number(shift),
        whole=number(shift // 1000),
    )


def parse_datetime(expr_sql: str, pattern: str | None, zone: str) -> str:
    """Epoch milliseconds as text of any text expression, or NULL; SQL text in and out.

    Args:
        expr_sql: an expression of type VARCHAR.
        pattern: strptime pattern; None: ISO 8601, epoch seconds (9 or 10 digits) or milliseconds (12 or 13).
        zone: IANA zone of times without offset.
    """
    cell = clean(sqlglot.parse_one(expr_sql, dialect="duckdb"))
    return render(datetime_text(cell, pattern, zone))


def datetime_text(cell: Node, pattern: str | None, zone: str) -> Node:
    """``parse_datetime`` for nodes, in one expression: a list of one stands in for a column."""
    parts = {"local": local_microseconds(name("cell"), pattern), "instant": instant_microseconds(name("cell"), pattern)}
    known = {key: part for key, part in parts.items() if part is not None}
    found = {key: sql(f"found.{key}") for key in known}
    moment = milliseconds_text(utc_microseconds(found.get("local"), found.get("instant"), zone))
    fields = exp.Struct(
        expressions=[exp.PropertyEQ(this=exp.to_identifier(key), expression=part) for key, part in known.items()]
    )
    return sql(
        "list_transform(list_transform([$cell], LAMBDA cell : $fields), LAMBDA found : $moment)[1]",
        cell=cell,
        fields=fields,
        moment=moment,
    )


def distinct_values(values: Node) -> Node:
    """The list without repeats, keeping the order of first occurrence."""
    return sql(
        "CASE WHEN len($values) < 2 THEN $values "
        "ELSE list_filter($values, LAMBDA item, position : list_position($values, item) = position) END",
        values=values,
    )


def ordered_union(first: Node, second: Node) -> Node:
    """The first list with those values of the second behind it that it lacks.

    Both without repeats, NULL counts as [].
    """
    return sql(
        "CASE WHEN $second IS NULL THEN $first WHEN $first IS NULL THEN $second "
        "ELSE list_concat($first, list_filter($second, LAMBDA item : NOT list_contains($first, item))) END",
        first=first,
        second=second,
    )


def joined_cells(cells: Sequence[Node]) -> Node:
    """The cells of a row in one text: U+001F between them, U+001E for an absent one."""
    between: list[Node] = []
    for cell in cells:
        marked = sql("coalesce($cell, $mark)", cell=cell, mark=text(NULL_MARK))
        between += [text(SEPARATOR), marked] if between else [marked]
    return call("concat", *between)


def row_text(cells: Sequence[Node], joined: Node | None = None) -> Node:
    """Injective text of a row's cells: two rows have the same text only if all their cells are equal.

    It is the joined text; a row in which the two marks occur is written as JSON behind as many separators as no other
    row can have.

    Args:
        cells: text cells.
        joined: a column that holds ``joined_cells``, where it is computed already.
    """
    whole = joined if joined is not None else joined_cells(cells)
    doubtful = [sql("$cell = $mark", cell=cell, mark=text(NULL_MARK)) for cell in cells]
    return sql(
        "CASE WHEN $joined LIKE $pattern OR $doubtful THEN concat($prefix, to_json([$cells])) ELSE $joined END",
        joined=whole,
        pattern=text("%" + f"{SEPARATOR}%" * len(cells)),
        doubtful=call("coalesce", any_of(doubtful), exp.false()),
        prefix=text(SEPARATOR * len(cells)),
        cells=list(cells),
    )


def md5_bytes(content: Node) -> Node:
    """The md5 of a text: 16 bytes, the last one first.

    ``unhex(md5(...))`` costs twice as much as the digest itself; the sort key of the digest as a number holds the same
    bytes behind one byte that says "not NULL". They are kept in the store, so a test pins them.
    """
    return sql("create_sort_key(md5_number($content), 'ASC NULLS LAST')[2:17]", content=content)


def uuid5_digest(namespace: UUID, content: Node) -> Node:
    """What ``uuid5_text`` makes the UUID of: the SHA-1 of the namespace and the text, in hexadecimal."""
    return sql("sha1(unhex($namespace) || encode($content))", namespace=text(namespace.hex), content=content)


def uuid5_text(digest: Node) -> Node:
    """The version 5 UUID of a digest, which should be a column."""
    return sql(
        "concat(substr($d, 1, 8), '-', substr($d, 9, 4), '-5', substr($d, 14, 3), '-', "
        "substr('89ab89ab89ab89ab', instr('0123456789abcdef', substr($d, 17, 1)), 1), substr($d, 18, 3), '-', "
        "substr($d, 21, 12))",
        d=digest,
    )
