"""The reader against the ``csv`` module, against itself, and against arithmetic."""

from __future__ import annotations

import csv
import io
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crosswalk.config.connection import Format
from crosswalk.core.errors import RejectedError
from crosswalk.engine.dialect import Dialect
from crosswalk.engine.lines import LineSource
from crosswalk.engine.measure import count_lines
from crosswalk.engine.session import Session, open_session
from tests.unit.engine.reading import Result, stage

EXAMPLES = int(os.environ.get("CROSSWALK_EXAMPLES", "150"))
thorough = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with tempfile.TemporaryDirectory() as folder, open_session(Path(folder), memory_mb=256, threads=2) as opened:
        yield opened


def read(session: Session, data: bytes, **form: Any) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        return stage(session, Path(folder), data, **form)


QUIET = st.text(st.sampled_from('ab1é東" ;,|\t\u2028\x0b'), max_size=6)
BROKEN = st.text(st.sampled_from('ab1é" \n\r'), max_size=6)  # line breaks without separators: no room for doubt
CELL = st.one_of(QUIET, QUIET, BROKEN)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[str]], dict[str, Any], str]:
    width = draw(st.integers(1, 5))
    rows = draw(st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=8))
    form = {"separator": draw(st.sampled_from(",;|\t")), "quote": draw(st.sampled_from("\"'"))}
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    if any("\r" in cell for row in rows for cell in row):
        quoting = csv.QUOTE_ALL  # the writer leaves a lone CR unquoted
    buffer = io.StringIO(newline="")
    writer = csv.writer(
        buffer,
        delimiter=form["separator"],
        quotechar=form["quote"],
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
        quoting=quoting,
    )
    writer.writerows([[f"header {i}" for i in range(width)], *rows])
    return rows, form, buffer.getvalue()


@thorough
@given(table=tables())
def test_a_valid_file_reads_the_same_as_with_the_csv_module(session: Session, table: tuple) -> None:
    rows, form, text = table
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=form["separator"], quotechar=form["quote"], strict=True
    )
    expected, lines, before = [], [], 0
    for row in reader:
        if before:
            expected.append(row)
            lines.append(before + 1)
        before = reader.line_num
    assert expected == rows
    for engine in (True, False):
        result = read(session, text.encode(), engine=engine, **form)
        assert result.rows == expected
        assert result.lines == [physical(text, line) for line in lines]
        assert result.bad == []


def physical(text: str, line: int) -> int:
    """The csv module is fed by lines that end with LF only; ours may also end with CR."""
    before = "".join(io.StringIO(text, newline="").readlines()[: line - 1])
    return len(re.findall("\r\n|\r|\n", before)) + 1


PIECES = ["a", "b", "12", ",", ",", '"', '"', '""', "\n", "\n", "\n", "\r\n", "\r", " ", ";", "é", "x,y\n", '"q",w\n']
NASTY = ["\0", "\ufeff", "#", "\\", "h,i\n", "|", "||"]


@settings(thorough, max_examples=EXAMPLES * 3)
@given(
    pieces=st.lists(st.sampled_from(PIECES + NASTY), max_size=40),
    form=st.sampled_from(
        [
            {},
            {"quote": ""},
            {"quote": "'"},
            {"separator": ";"},
            {"separator": "||"},
            {"escape": "\\"},
            {"comment": "#"},
            {"extra_columns": "ignore"},
            {"skip_footer": 2},
            {"null_text": ["a"]},
            {"separator": " "},
        ]
    ),
    broken=st.sampled_from([b"", b"", b"\xff", b"\xc3", b"\xed\xa0\x80"]),
    ends=st.sampled_from(["as is", "lf", "crlf"]),
)
@example(pieces=["1,2,", "\n"], form={}, broken=b"", ends="lf")
@example(pieces=['1, "a" "b"', "\n"], form={}, broken=b"", ends="lf")
@example(pieces=['1,  ""', "\n"], form={}, broken=b"", ends="lf")
def test_any_text_reads_the_same_on_both_ways_and_every_line_is_accounted_for(
    session: Session, pieces: list[str], form: dict[str, Any], broken: bytes, ends: str
) -> None:
    text = "h,i\n".replace(",", form.get("separator", ",")) + "".join(pieces)
    if ends != "as is":
        text = re.sub("\r\n|\r|\n", "\n" if ends == "lf" else "\r\n", text)
    data = text.encode() + broken
    found = []
    for engine in (True, False):
        try:
            result = read(session, data, engine=engine, **form)
        except RejectedError as error:
            found.append((error.code, error.line))
            continue
        found.append((result.rows, result.lines, result.records, result.rejects, result.staged.buckets))
        assert result.staged.lines == len(re.findall(b"\r\n|\r|\n", data)) + (data[-1:] not in (b"\n", b"\r"))
        assert len(result.lines) == len(set(result.lines))
        assert not set(result.lines) & {line for line, _ in result.bad}
    assert found[0] == found[1]


@thorough
@given(
    lines=st.lists(st.text(st.sampled_from("ab,\"é '#\t"), max_size=8), max_size=12),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_without_quotes_the_file_can_be_put_together_again(session: Session, lines: list[str], end: str) -> None:
    data = end.join(["head 1,head 2", *lines]).encode()
    result = read(session, data, quote="")
    rebuilt = dict.fromkeys(range(2, len(lines) + 2), "")
    rebuilt.update(zip(result.lines, (",".join(row) for row in result.rows), strict=True))
    rebuilt.update({reject["line"]: reject["raw"] for reject in result.rejects})
    assert [rebuilt[line] for line in range(2, len(lines) + 2)] == lines


@thorough
@given(
    data=st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xc3\xa9", b"\xff"]), max_size=40).map(b"".join),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
)
def test_lines_do_not_depend_on_where_the_text_was_cut_for_reading(data: bytes, sizes: list[int]) -> None:
    def chunks() -> Iterator[bytes]:
        at = turn = 0
        while at < len(data):
            size = sizes[turn % len(sizes)]
            yield data[at : at + size]
            at, turn = at + size, turn + 1

    source, found = LineSource(chunks(), Dialect(), "x"), []
    try:
        while source.more():
            found.append(source.lines[source.pos])
            source.pos += 1
    except RejectedError:
        return
    expected = [line.decode("utf-8", "surrogateescape") for line in data.splitlines(keepends=True)]
    assert found == expected
    assert count_lines(chunks()) == len(expected)


@thorough
@given(
    rows=st.lists(st.tuples(QUIET, QUIET), min_size=1, max_size=6), encoding=st.sampled_from(["utf-16", "utf-8-sig"])
)
def test_the_encoding_does_not_change_what_is_read(
    session: Session, rows: list[tuple[str, str]], encoding: str
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([("head 1", "head 2"), *rows])
    result = read(session, buffer.getvalue().encode(encoding), encoding=encoding)
    assert result.rows == [list(row) for row in rows]
    assert Format(encoding=encoding).encoding == encoding
