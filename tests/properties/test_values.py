"""Reading text as values: the engine against plain Python, over generated text (``cdp-semantics.md`` section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosswalk.config.tenant import Property
from crosswalk.engine import functions
from crosswalk.engine.session import Session, open_session
from crosswalk.engine.template import render, sql, texts
from crosswalk.engine.values import ValueReader
from crosswalk.engine.zones import transitions
from tests.reference_model import Reading, amount_of

ZONES = ["Europe/Brussels", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata", "UTC"]
COMMIT = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with open_session(tmp_path_factory.mktemp("engine") / "tmp", threads=1) as opened:
        yield opened


def read_all(session: Session, reader: ValueReader, cells: list[str]) -> list[str | None]:
    """What the engine reads of each text."""
    query = sql(
        "SELECT $value FROM (SELECT $clean AS cell FROM (SELECT unnest($cells::VARCHAR[]) AS raw))",
        value=reader.text_of(sql("cell")),
        clean=functions.clean(sql("raw")),
        cells=texts(cells),
    )
    return [row[0] for row in session.execute(render(query)).fetchall()]


def expected(reading: Reading, cells: list[str]) -> list[str | None]:
    """What Python reads."""
    found = []
    for cell in cells:
        values, _, _ = reading.read(cell)
        found.append(values[0] if values else None)
    return found


def _digits(most: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=0, max_size=most)


numbers = st.one_of(
    st.builds(
        lambda sign, whole, mark, rest, tail: sign + whole + mark + rest + tail,
        st.sampled_from(["", "-", "+"]),
        _digits(16),
        st.sampled_from([".", ",", "", " ", "'"]),
        _digits(8),
        st.sampled_from(["", "", "", "5", "50", "500", "00000000000000000000001"]),
    ),
    st.builds(
        lambda groups, mark, other, rest: mark.join(groups) + other + rest,
        st.lists(st.text("0123456789", min_size=1, max_size=3), min_size=1, max_size=4),
        st.sampled_from([".", ",", " ", "'"]),
        st.sampled_from([".", ",", ""]),
        _digits(5),
    ),
    st.text(" +-.,'e0123459_xé\u0661", max_size=12),
    st.sampled_from(
        [
            "-0",
            "-0.00",
            "1e999",
            "0x10",
            "inf",
            "NaN",
            "--1",
            "1-",
            "٣",
            "2147483647",
            "2147483648",
            "99999999999999.99995",
        ]
    ),
)
declared_numbers = st.sampled_from(
    [
        Property(type="number"),
        Property(type="decimal"),
        Property(type="decimal", decimals=1),
        Property(type="currency", currency="EUR"),
        Property(type="currency", currency="JPY"),
        Property(type="currency", currency="KWD"),
    ]
)


@COMMIT
@given(
    declared=declared_numbers,
    marks=st.sampled_from([(".", None), (",", None), (".", ","), (",", "."), (".", " "), (",", "'")]),
    cells=st.lists(numbers, min_size=20, max_size=80),
)
def test_numbers_are_read_as_plain_python_reads_them(
    session: Session, declared: Property, marks: tuple[str, str | None], cells: list[str]
) -> None:
    reader = ValueReader(kind=declared.type, marks=functions.Marks(*marks), decimals=declared.stored_decimals)
    reading = Reading(declared, marks[0], marks[1], None, "UTC", None)
    assert list(zip(cells, read_all(session, reader, cells), strict=True)) == list(
        zip(cells, expected(reading, cells), strict=True)
    )


@COMMIT
@given(cells=st.lists(numbers, min_size=20, max_size=80), declared=declared_numbers)
def test_a_number_is_never_changed_beyond_its_rounding(session: Session, cells: list[str], declared: Property) -> None:
    reader = ValueReader(kind=declared.type, decimals=declared.stored_decimals)
    for cell, value in zip(cells, read_all(session, reader, cells), strict=True):
        amount = amount_of(declared, cell.strip(functions.BLANKS), ".", None)
        assert (value is None) == (amount is None), cell
        if value is not None and amount is not None:
            assert float(value) == pytest.approx(float(amount), abs=10.0**-declared.stored_decimals)
            assert "e" not in value.lower()


emails = st.one_of(
    st.builds(
        lambda a, b, c: f"{a}@{b}{c}",
        *(st.text("aAzé.@ -_,<\u00a0\u00ad\u200b\u2028\x85", max_size=6) for _ in range(2)),
        st.sampled_from([".org", "", ".", ".b.c"]),
    ),
    st.sampled_from(
        [
            "Ann@Example.ORG",
            "a@b",
            "a@b.c",
            " a@b.c ",
            "a b@c.d",
            "<a@b.c>",
            "a@b..c",
            '"a"@b.c',
            "a@b.c;d@e.f",
            "é@ü.de",
        ]
    ),
)


@COMMIT
@given(cells=st.lists(emails, min_size=10, max_size=60))
def test_addresses_are_read_as_plain_python_reads_them(session: Session, cells: list[str]) -> None:
    reading = Reading(Property(type="email"), ".", None, None, "UTC", None)
    assert read_all(session, ValueReader(kind="email"), cells) == expected(reading, cells)


def moments(zone: str) -> st.SearchStrategy[datetime]:
    """Any time, and times around the zone's clock changes."""
    anywhere = st.datetimes(datetime(1, 1, 2), datetime(9998, 12, 31))  # noqa: DTZ001
    thresholds = transitions(zone)[0] if zone != "UTC" else ()
    if not thresholds:
        return anywhere
    near = st.builds(
        lambda second, shift: datetime(1970, 1, 1) + timedelta(seconds=second + shift),  # noqa: DTZ001
        st.sampled_from(thresholds),
        st.integers(-4 * 3600, 4 * 3600),
    )
    return st.one_of(anywhere, near)


@COMMIT
@given(
    data=st.data(), zone=st.sampled_from(ZONES), pattern=st.sampled_from([None, "%d/%m/%Y %H:%M:%S", "%Y-%m-%d %H:%M"])
)
def test_local_times_are_the_instants_that_python_finds(
    session: Session, data: st.DataObject, zone: str, pattern: str | None
) -> None:
    drawn = data.draw(st.lists(moments(zone), min_size=10, max_size=40))
    shown = [
        moment.replace(microsecond=0).isoformat() if pattern is None else _written(moment, pattern) for moment in drawn
    ]
    reader = ValueReader(kind="datetime", pattern=pattern, zone=zone)
    reading = Reading(Property(type="datetime"), ".", None, pattern, zone, None)
    assert list(zip(shown, read_all(session, reader, shown), strict=True)) == list(
        zip(shown, expected(reading, shown), strict=True)
    )


def _written(moment: datetime, pattern: str) -> str:
    return moment.strftime(pattern.replace("%Y", f"{moment.year:04d}"))


@pytest.mark.parametrize("zone", ZONES)
def test_every_clock_change_of_a_zone_is_read_as_python_reads_it(session: Session, zone: str) -> None:
    thresholds = transitions(zone)[0] if zone != "UTC" else (0,)
    seconds = [second + shift for second in thresholds for shift in (-7200, -3600, -1800, -1, 0, 1, 1800, 3600)]
    moments = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second) for second in seconds)
    shown = [moment.replace(tzinfo=None).isoformat() for moment in moments]
    reading = Reading(Property(type="datetime"), ".", None, None, zone, None)
    assert read_all(session, ValueReader(kind="datetime", zone=zone), shown) == expected(reading, shown)


cells_of_lists = st.lists(st.text("ab| \té", max_size=8), min_size=1, max_size=30)


@COMMIT
@given(cells=cells_of_lists, separator=st.sampled_from(["|", " ", "ab"]))
def test_cells_with_several_values_split_trim_and_keep_their_order(
    session: Session, cells: list[str], separator: str
) -> None:
    reader = ValueReader(separator=separator)
    query = sql(
        "SELECT $values FROM (SELECT $clean AS cell FROM (SELECT unnest($cells::VARCHAR[]) AS raw))",
        values=reader.texts(sql("cell"), reader.at_once(sql("cell"))),
        clean=functions.clean(sql("raw")),
        cells=texts(cells),
    )
    found = [row[0] or [] for row in session.execute(render(query)).fetchall()]
    reading = Reading(Property(), ".", None, None, "UTC", separator)
    assert found == [reading.read(cell)[0] for cell in cells]


awkward = st.one_of(st.none(), st.text('ab\x1e\x1f"\\,', max_size=4))


@COMMIT
@given(rows=st.lists(st.tuples(awkward, awkward, awkward), min_size=2, max_size=60, unique=True))
def test_different_rows_never_have_the_same_text(session: Session, rows: list[tuple[str | None, ...]]) -> None:
    columns = [[row[index] for row in rows] for index in range(3)]
    query = render(
        sql(
            "SELECT count(DISTINCT $row) FROM "
            "(SELECT unnest(a) AS x, unnest(b) AS y, unnest(c) AS z FROM awkward_rows)",
            row=functions.row_text([sql(letter) for letter in "xyz"]),
        )
    )
    session.execute(
        "CREATE OR REPLACE TABLE awkward_rows AS SELECT ?::VARCHAR[] AS a, ?::VARCHAR[] AS b, ?::VARCHAR[] AS c",
        columns,
    )
    assert session.execute(query).fetchall() == [(len(rows),)]


def test_the_functions_are_the_same_in_one_thread_and_two(tmp_path: Path) -> None:
    cells = [f"{number / 7:.6f}" for number in range(5000)]
    results = []
    for threads in (1, 2):
        with open_session(tmp_path / str(threads), threads=threads) as session:
            results.append(read_all(session, ValueReader(kind="decimal"), cells))
    assert results[0] == results[1]
