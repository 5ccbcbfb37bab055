"""What the columns of a sample seem to hold: type, marks of numbers, pattern of dates, whether values are unique.

A shape suggests a type; the reader of values that a run uses then says how many values of the sample it takes. A type
that it does not take becomes text, because text refuses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from crosswalk.config.tenant import ValueType
from crosswalk.engine import functions
from crosswalk.engine.functions import Marks
from crosswalk.engine.read import StagedFile
from crosswalk.engine.session import Session, identifier, literal
from crosswalk.engine.template import name, render
from crosswalk.engine.values import ValueReader

AT_ONCE = 25  # columns in one query
MOST_SHAPES = 2_000  # distinct values of a column that are looked at
ADDRESSES = 0.8  # shares of values that must have the shape of a type
OTHERS = 0.95
WHOLE = re.compile(r"[+-]?\d{1,15}")
LEADING = re.compile(r"0\d+|\+\d+")  # a leading zero or plus would be lost in a number
MARKED = re.compile(r"[+-]?\d+(?:[.,]\d+)+")
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")
DATE = re.compile(r"(\d{1,4})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?:([T ])\d{1,2}:\d\d(:\d\d)?)?")


@dataclass(frozen=True)
class Column:
    """One column of a sample.

    Attributes:
        name: as mappings write it.
        type: the property type that its values suggest.
        filled: values that are not empty.
        is_unique: there are several rows, it is filled in each, and no value is there twice.
        misfits: values that the type does not take.
        date: strptime pattern of a date-time; None: ISO 8601.
        doubt: what a person should decide; empty when nothing.
    """

    name: str
    type: ValueType = "text"
    filled: int = 0
    is_unique: bool = False
    misfits: int = 0
    date: str | None = None
    doubt: str = ""


@dataclass(frozen=True)
class Values:
    """All columns of a sample, and the marks of its numbers."""

    columns: list[Column]
    decimal: str = "."
    thousands: str | None = None


def detect_values(session: Session, sample: StagedFile) -> Values:
    """Suggest a type for each column of a sample."""
    distinct: dict[str, list[str]] = {}
    counts: dict[str, tuple[int, bool]] = {}
    for column, values in _columns(sample):
        filled = [text for value in values if (text := value.strip())]
        known = dict.fromkeys(filled)
        distinct[column] = list(known)[:MOST_SHAPES]
        counts[column] = (len(filled), len(values) > 1 and len(known) == len(values))
    decimal, thousands = _marks([value for values in distinct.values() for value in values if MARKED.fullmatch(value)])
    hints = {column: _suggest(values, Marks(decimal, thousands)) for column, values in distinct.items() if values}
    tries = [(column, hint.type, pattern) for column, hint in hints.items() for pattern in hint.patterns]
    misfits = _misfits(session, sample, tries, Marks(decimal, thousands))
    columns = [
        _column(column, hints.get(column, _Hint()), misfits, filled=filled, is_unique=unique)
        for column, (filled, unique) in counts.items()
    ]
    return Values(columns, decimal, thousands)


def _columns(sample: StagedFile) -> Iterator[tuple[str, list[str]]]:
    with pq.ParquetFile(sample.path) as file:
        for column in sample.columns:
            yield column, file.read(columns=[column]).column(0).to_pylist()


def _marks(numbers: Sequence[str]) -> tuple[str, str | None]:
    """Decimal mark and the mark of thousands that the numbers prove; a point and none where they prove nothing."""
    comma = any(_decimal_mark(number) == "," for number in numbers)
    point = any(_decimal_mark(number) == "." for number in numbers)
    if comma == point:
        return ".", None
    decimal, other = (",", ".") if comma else (".", ",")
    grouped = re.compile(rf"[+-]?\d{{1,3}}(?:{re.escape(other)}\d{{3}})+(?:{re.escape(decimal)}\d+)?")
    return decimal, other if any(grouped.fullmatch(number) for number in numbers) else None


def _decimal_mark(number: str) -> str | None:
    """The mark that can only be the decimal one; None for ``1.234``, which may be either."""
    found = re.findall(r"[.,]", number)
    if len(set(found)) == 2:
        return str(found[-1])
    if len(found) > 1:  # 1.234.567
        return "," if found[0] == "." else "."
    return None if len(re.split(r"[.,]", number)[1]) == 3 else str(found[0])


@dataclass(frozen=True)
class _Hint:
    """What the shapes of a column's values suggest.

    Attributes:
        type: of the property.
        patterns: of dates, to try; one None for all else.
        doubt: what shapes cannot decide.
    """

    type: ValueType = "text"
    patterns: tuple[str | None, ...] = (None,)
    doubt: str = ""


Try = tuple[str, ValueType, str | None]


def _column(column: str, hint: _Hint, misfits: Mapping[Try, int], *, filled: int, is_unique: bool) -> Column:
    """The column with the type that fits, else as text."""
    counts = {pattern: misfits.get((column, hint.type, pattern), 0) for pattern in hint.patterns}
    best = min(counts, key=lambda pattern: counts[pattern])
    if hint.type not in ("text", "email") and counts[best] > filled * (1 - OTHERS):
        return Column(column, filled=filled, is_unique=is_unique)
    doubt = hint.doubt
    others = [str(pattern) for pattern, count in counts.items() if pattern != best and count == counts[best]]
    if others:
        doubt = f"UNCERTAIN: every value reads as {best} and as {' and as '.join(others)}; choose."
    return Column(column, hint.type, filled, is_unique, counts[best], best, doubt)


def _misfits(session: Session, sample: StagedFile, tries: Sequence[Try], marks: Marks) -> dict[Try, int]:
    """How many values of each column the reader of values does not take as that type."""
    found: dict[Try, int] = {}
    asked = [item for item in tries if item[1] != "text"]
    for start in range(0, len(asked), AT_ONCE):
        part = asked[start : start + AT_ONCE]
        counts = ", ".join(_count(*item, marks) for item in part)
        row = session.execute(f"SELECT {counts} FROM read_parquet({literal(sample.path)})").fetchone()
        found |= dict(zip(part, row or (), strict=True))
    return found


def _count(column: str, kind: ValueType, pattern: str | None, marks: Marks) -> str:
    reader = ValueReader(kind=kind, marks=marks, pattern=pattern)
    value = render(reader.text_of(functions.clean(name(column))))
    return f"count(*) FILTER (WHERE trim({identifier(column)}) <> '' AND ({value}) IS NULL)"


def _suggest(values: Sequence[str], marks: Marks) -> _Hint:
    """What the shapes of distinct values suggest."""
    if _share(values, ADDRESS) >= ADDRESSES:
        return _Hint("email")
    if _share(values, ISO) >= OTHERS:
        return _Hint("datetime")
    if patterns := _date_patterns(values):
        return _Hint("datetime", patterns)
    if _share(values, LEADING) > 0:
        return _Hint()
    if _share(values, WHOLE) == 1:
        return _Hint("number")
    if sum(bool(WHOLE.fullmatch(value) or MARKED.fullmatch(value)) for value in values) / len(values) >= OTHERS:
        marked = [value for value in values if MARKED.fullmatch(value)]
        if all(_decimal_mark(value) is None for value in marked) and marks.thousands is None:
            seen = next(mark for mark in ".," if mark in marked[0])
            if seen != marks.decimal or not _proved(values):
                return _Hint(doubt="UNCERTAIN: numbers like 1.234 may be thousands or decimals; set the type.")
        return _Hint("decimal")
    return _Hint()


def _proved(values: Collection[str]) -> bool:
    """Whether a number with more or fewer than three digits behind its mark shows what the mark is."""
    return any(_decimal_mark(value) for value in values if MARKED.fullmatch(value))


def _share(values: Sequence[str], shape: re.Pattern[str]) -> float:
    return sum(bool(shape.fullmatch(value)) for value in values) / len(values)


def _date_patterns(values: Sequence[str]) -> tuple[str | None, ...]:
    """The patterns that dates of this shape may have; the day before the month first."""
    found = [match for value in values if (match := DATE.fullmatch(value))]
    if len(found) < OTHERS * len(values):
        return ()
    first, mark, _, last, gap, seconds = found[0].groups()
    time = "" if gap is None else f"{gap}%H:%M{':%S' if seconds else ''}"
    if len(first) == 4:
        return (f"%Y{mark}%m{mark}%d{time}",)
    if len(first) == 3:
        return ()
    year = "%Y" if len(last) == 4 else "%y"
    return (f"%d{mark}%m{mark}{year}{time}", f"%m{mark}%d{mark}{year}{time}")
