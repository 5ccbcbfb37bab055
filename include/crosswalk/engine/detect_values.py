"""What the columns of a sample seem to hold: type, marks of numbers, pattern of dates, whether values are unique.

A shape suggests a type; the reader of values that a run uses then says how many values of the sample it takes. A type
that it does not take becomes text, because text refuses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from crosswalk.config.tenant import ValueType
from crosswalk.engine import functions
from crosswalk.engine.read import StagedFile
from crosswalk.engine.session import Session, identifier, literal
from crosswalk.engine.template import name, render
from crosswalk.engine.values import ValueReader

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
        is_unique: filled in every row, and no value twice.
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
        counts[column] = (len(filled), bool(filled) and len(known) == len(values))
    decimal, thousands = _marks([value for values in distinct.values() for value in values if MARKED.fullmatch(value)])
    reader = _Fitting(session, sample, functions.Marks(decimal, thousands))
    columns = [
        reader.column(column, distinct[column], filled=filled, is_unique=unique)
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


class _Fitting:
    """Suggests types by shape, and asks the reader of values how many of a column it takes."""

    def __init__(self, session: Session, sample: StagedFile, marks: functions.Marks) -> None:
        self.session = session
        self.sample = sample
        self.marks = marks

    def column(self, column: str, values: Sequence[str], *, filled: int, is_unique: bool) -> Column:
        """The column with the type that fits, else as text."""
        facts = Column(column, filled=filled, is_unique=is_unique)
        if not values:
            return facts
        kind, patterns, doubt = _suggest(values, self.marks)
        if kind == "text":
            return Column(column, filled=filled, is_unique=is_unique, doubt=doubt)
        misfits = {pattern: self._misfits(column, kind, pattern) for pattern in patterns}
        best = min(patterns, key=lambda pattern: misfits[pattern])
        if kind != "email" and misfits[best] > filled * (1 - OTHERS):
            return facts
        if kind == "datetime" and sum(count == misfits[best] for count in misfits.values()) > 1:
            others = [pattern for pattern in patterns if pattern != best and misfits[pattern] == misfits[best]]
            doubt = f"UNCERTAIN: every value reads as {best} and as {' and as '.join(map(str, others))}; choose."
        return Column(column, kind, filled, is_unique, misfits[best], best, doubt)

    def _misfits(self, column: str, kind: ValueType, pattern: str | None) -> int:
        reader = ValueReader(kind=kind, marks=self.marks, pattern=pattern)
        cell = functions.clean(name(column))
        row = self.session.execute(f"""
            SELECT count(*) FROM read_parquet({literal(self.sample.path)})
            WHERE trim({identifier(column)}) <> '' AND ({render(reader.text_of(cell))}) IS NULL""").fetchone()
        return int(row[0]) if row else 0


def _suggest(values: Sequence[str], marks: functions.Marks) -> tuple[ValueType, Sequence[str | None], str]:
    """Type, patterns to try, and doubt, by the shapes of distinct values."""
    if _share(values, ADDRESS) >= ADDRESSES:
        return "email", [None], ""
    if _share(values, ISO) >= OTHERS:
        return "datetime", [None], ""
    if patterns := _date_patterns(values):
        return "datetime", patterns, ""
    if _share(values, LEADING) > 0:
        return "text", [None], ""
    if _share(values, WHOLE) == 1:
        return "number", [None], ""
    if sum(bool(WHOLE.fullmatch(value) or MARKED.fullmatch(value)) for value in values) / len(values) >= OTHERS:
        marked = [value for value in values if MARKED.fullmatch(value)]
        if all(_decimal_mark(value) is None for value in marked) and marks.thousands is None:
            seen = next(mark for mark in ".," if mark in marked[0])
            if seen != marks.decimal or not _proved(values):
                return "text", [None], "UNCERTAIN: numbers like 1.234 may be thousands or decimals; set the type."
        return "decimal", [None], ""
    return "text", [None], ""


def _proved(values: Collection[str]) -> bool:
    """Whether a number with more or fewer than three digits behind its mark shows what the mark is."""
    return any(_decimal_mark(value) for value in values if MARKED.fullmatch(value))


def _share(values: Sequence[str], shape: re.Pattern[str]) -> float:
    return sum(bool(shape.fullmatch(value)) for value in values) / len(values)


def _date_patterns(values: Sequence[str]) -> list[str | None]:
    """The patterns that dates of this shape may have; the day before the month first."""
    found = [match for value in values if (match := DATE.fullmatch(value))]
    if len(found) < OTHERS * len(values):
        return []
    first, mark, _, last, gap, seconds = found[0].groups()
    time = "" if gap is None else f"{gap}%H:%M{':%S' if seconds else ''}"
    if len(first) == 4:
        return [f"%Y{mark}%m{mark}%d{time}"]
    if len(first) == 3:
        return []
    year = "%Y" if len(last) == 4 else "%y"
    return [f"%d{mark}%m{mark}{year}{time}", f"%m{mark}%d{mark}{year}{time}"]
