"""What becomes of single texts: one example per rule."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

import pytest

from crosswalk.config.connection import FieldMapping, ImportProfiles
from crosswalk.config.tenant import Property
from crosswalk.engine import functions
from crosswalk.engine.functions import Marks, parse_datetime
from crosswalk.engine.identifiers import normalize_identifier
from crosswalk.engine.session import Session, open_session
from crosswalk.engine.template import all_of, any_of, name, named, number, render, sql, sum_of, text, texts, union_all
from crosswalk.engine.values import ValueReader


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with open_session(tmp_path_factory.mktemp("engine") / "tmp", threads=1) as opened:
        yield opened


def read(session: Session, reader: ValueReader, raw: str) -> tuple[str | None, str]:
    """The canonical value, and the reason that a refusal would have."""
    query = sql(
        "SELECT $value, $problem FROM (SELECT $clean AS cell FROM (SELECT $raw AS raw))",
        value=reader.text_of(sql("cell")),
        problem=reader.problem_of(sql("cell")),
        clean=functions.clean(sql("raw")),
        raw=text(raw),
    )
    return session.execute(render(query)).fetchall()[0]


POINT, COMMA = Marks("."), Marks(",")
EUR = ValueReader("currency", POINT, 2)
UNIQUE_TEXT, UNIQUE_EMAIL = (Property(type=kind, identifier="unique") for kind in ("text", "email"))


@pytest.mark.parametrize(
    ("reader", "raw", "value"),
    [
        (ValueReader(), "  Gent\t", "Gent"),
        (ValueReader(), "\u00a0é b\u3000", "é b"),
        (ValueReader(), "0007", "0007"),
        (ValueReader(), "", None),
        (ValueReader(), " \t ", None),
        (ValueReader(), "x" * 65_000, "x" * 65_000),
        (ValueReader.of_property(UNIQUE_TEXT), "é" * 500, "é" * 500),
        (ValueReader("email"), " ANN@Example.Org", "ann@example.org"),
        (
            ValueReader("email"),
            "\u200bann.o'neill+news@example.photography\u2060",
            "ann.o'neill+news@example.photography",
        ),
        (ValueReader("email"), "用户@例子.广告", "用户@例子.广告"),
        (ValueReader("number"), "12.0", "12"),
        (ValueReader("number"), "-0", "0"),
        (ValueReader("number"), "+7", "7"),
        (ValueReader("number"), "007", "7"),
        (ValueReader("number"), "-2147483647", "-2147483647"),
        (ValueReader("number", Marks(",", ".")), "1.000.000", "1000000"),
        (ValueReader("number", COMMA), "12,0", "12"),
        (ValueReader("decimal"), "12.50", "12.5"),
        (ValueReader("decimal"), ".5", "0.5"),
        (ValueReader("decimal"), "-0.00004", "0"),
        (ValueReader("decimal"), "0.00005", "0"),
        (ValueReader("decimal"), "0.00015", "0.0002"),
        (ValueReader("decimal"), "0.0000500000000000000000001", "0.0001"),
        (ValueReader("decimal"), "1,234.5", "1234.5"),
        (ValueReader("decimal"), "1,234,567", "1234567"),
        (ValueReader("decimal", COMMA), "1.234,56", "1234.56"),
        (ValueReader("decimal", Marks(",", ".")), "1.234", "1234"),
        (ValueReader("decimal", Marks(".", " ")), "1\u202f234.5", "1234.5"),
        (EUR, "12", "12.00"),
        (EUR, "12.345", "12.34"),
        (EUR, "12.355", "12.36"),
        (ValueReader("currency", POINT, 0), "12.5", "12"),
        (ValueReader("currency", POINT, 3), "1.2", "1.200"),
    ],
)
def test_text_becomes_its_canonical_value(session: Session, reader: ValueReader, raw: str, value: str | None) -> None:
    assert read(session, reader, raw)[0] == value


@pytest.mark.parametrize(
    ("reader", "raw", "reason"),
    [
        (ValueReader(), "x" * 65_001, "too_long"),
        (ValueReader("email"), "ann@example", "invalid_email"),
        (ValueReader("email"), "ann@@example.org", "invalid_email"),
        (ValueReader("email"), "a@b.c;d@e.f", "invalid_email"),
        (ValueReader("email"), "Ann <ann@example.org>", "invalid_email"),
        (ValueReader("email"), '"ann smit"@example.org', "invalid_email"),
        (ValueReader("email"), "ann\u00a0smit@example.org", "invalid_email"),
        (ValueReader("email"), "ann\u200b@example.org", "invalid_email"),
        (ValueReader("email"), "ann@exam\u00adple.org", "invalid_email"),
        (ValueReader("email"), "ann\x85@example.org", "invalid_email"),
        (ValueReader.of_property(UNIQUE_EMAIL), "x" * 489 + "@example.org", "too_long"),
        (ValueReader.of_property(UNIQUE_TEXT), "x" * 501, "too_long"),
        (ValueReader("number"), "12.5", "invalid_number"),
        (ValueReader("number"), "1,000", "ambiguous_number"),
        (ValueReader("number"), "1e3", "invalid_number"),
        (ValueReader("number"), "١٢", "invalid_number"),
        (ValueReader("number"), "2147483648", "out_of_range"),
        (ValueReader("decimal"), "1,234", "ambiguous_number"),
        (ValueReader("decimal", COMMA), "1.234", "ambiguous_number"),
        (ValueReader("decimal"), "1.234,56", "invalid_decimal"),
        (ValueReader("decimal"), "1e999", "invalid_decimal"),
        (ValueReader("decimal"), "123456789012345", "out_of_range"),
        (ValueReader("decimal"), "99999999999999.99995", "out_of_range"),
        (EUR, "€ 5", "invalid_currency"),
        (EUR, "5 EUR", "invalid_currency"),
        (ValueReader("datetime"), "2024-02-30", "invalid_datetime"),
        (ValueReader("datetime"), "20240101", "invalid_datetime"),
        (ValueReader("datetime"), "0000-01-01", "invalid_datetime"),
        (ValueReader("datetime"), "99999-01-01", "invalid_datetime"),
        (ValueReader("datetime"), "2024-01-01T24:00", "invalid_datetime"),
    ],
)
def test_text_that_does_not_fit_is_refused_with_its_reason(
    session: Session, reader: ValueReader, raw: str, reason: str
) -> None:
    assert read(session, reader, raw) == (None, reason)


@pytest.mark.parametrize(
    ("raw", "pattern", "zone", "value"),
    [
        ("1719828000", None, "Europe/Brussels", 1_719_828_000_000),
        ("1719828000123", None, "Europe/Brussels", 1_719_828_000_123),
        ("2024-07-01T12:00:00+02:00", None, "UTC", 1_719_828_000_000),
        ("2024-07-01 10:00:00,5Z", None, "Europe/Brussels", 1_719_828_000_500),
        ("2024-07-01", None, "Europe/Brussels", 1_719_784_800_000),
        ("2024-03-31T02:30", None, "Europe/Brussels", 1_711_848_600_000),
        ("2024-10-27 02:30", None, "Europe/Brussels", 1_729_989_000_000),
        ("1969-12-31T23:59:59.9995Z", None, "UTC", -1),
        ("31-12-2024 23:59", "%d-%m-%Y %H:%M", "Europe/Brussels", 1_735_685_940_000),
        ("2024-01-01 10:00 +0200", "%Y-%m-%d %H:%M %z", "America/New_York", 1_704_096_000_000),
        ("9999-12-31", None, "Europe/Brussels", 253_402_210_800_000),
        ("31/12/2024", "%d-%m-%Y", "UTC", None),
    ],
)
def test_dates_become_epoch_milliseconds(
    session: Session, raw: str, pattern: str | None, zone: str, value: int | None
) -> None:
    query = f"SELECT {parse_datetime('raw', pattern, zone)} FROM (SELECT ?::VARCHAR AS raw)"
    found = session.execute(query, [raw]).fetchall()[0][0]
    assert found == (None if value is None else str(value))


def test_a_pattern_with_a_literal_percent_sign_has_no_offset() -> None:
    assert functions.has_offset("%d %z")
    assert functions.has_offset("%%%z")
    assert not functions.has_offset("%d %%z")


def test_identifiers_that_people_type_are_normalised_like_those_of_files() -> None:
    assert normalize_identifier(Property(type="email", identifier="unique"), " ANN@x.org ") == "ann@x.org"
    assert normalize_identifier(Property(type="number", identifier="unique"), "007") == "7"
    assert normalize_identifier(Property(type="number", identifier="unique"), " x ") == "x"
    assert normalize_identifier(Property(identifier="unique"), " K1 ") == "K1"


def test_new_ids_are_version_five_uuids(session: Session) -> None:
    query = sql(
        "SELECT $id FROM (SELECT unnest([1, 22, 333])::VARCHAR AS n)",
        id=functions.uuid5_text(functions.uuid5_digest(NAMESPACE_URL, sql("n"))),
    )
    found = [row[0] for row in session.execute(render(query)).fetchall()]
    assert found == [str(uuid5(NAMESPACE_URL, n)) for n in ("1", "22", "333")]


def test_row_keys_in_the_store_are_the_md5_with_its_bytes_reversed(session: Session) -> None:
    for content in ("", "abc", "é" * 100):
        found = session.execute(render(sql("SELECT $bytes", bytes=functions.md5_bytes(text(content))))).fetchall()
        assert found == [(hashlib.md5(content.encode()).digest()[::-1],)]


def test_a_union_keeps_the_first_list_and_appends_what_it_lacks(session: Session) -> None:
    pairs = [(["a", "b"], ["b", "c", "a", "d"]), (None, ["a"]), (["a"], None), ([], [])]
    for first, second in pairs:
        union = render(functions.ordered_union(sql("x"), sql("y")))
        found = session.execute(
            f"SELECT {union} FROM (SELECT ?::VARCHAR[] AS x, ?::VARCHAR[] AS y)", [first, second]
        ).fetchall()
        both = [*(first or []), *(item for item in second or [] if item not in (first or []))]
        assert found[0][0] == (both if first is not None or second is not None else None)


def test_the_format_of_a_field_is_its_files_with_the_mappings_own_settings_on_top() -> None:
    goal = ImportProfiles.model_validate(
        {
            "import_profiles": "g",
            "files": [
                {"name": "a", "path": "/a", "format": {"decimal": ",", "date": "%d.%m.%Y"}},
                {"name": "b", "path": "/b", "link": {"x": "a.x"}},
            ],
            "format": {"decimal": ".", "timezone": "Europe/Paris", "multi_value": "|"},
            "identifiers": [{"field": "a.x", "property": "x"}],
        }
    )
    score, born = Property(type="decimal"), Property(type="datetime")
    assert ValueReader.of_field(goal, "a.n", score, zone="UTC").marks == Marks(",")
    assert ValueReader.of_field(goal, "b.n", score, zone="UTC").marks == Marks(".")
    own = FieldMapping(field="a.n", property="p", decimal=".", multi_value=";")
    reader = ValueReader.of_field(goal, "a.n", score, zone="UTC", mapping=own)
    assert (reader.marks, reader.separator) == (Marks("."), ";")
    dated = ValueReader.of_field(goal, "a.d", born, zone="UTC")
    assert (dated.pattern, dated.zone) == ("%d.%m.%Y", "Europe/Paris")
    made = ValueReader.of_field(goal, "made_by_a_processor", born, zone="UTC")
    assert (made.pattern, made.zone) == (None, "Europe/Paris")


def test_names_and_texts_never_become_sql(session: Session) -> None:
    evil = 'x"; DROP TABLE y; --'
    query = sql("SELECT $columns FROM (SELECT $value)", columns=[text("'; --")], value=text(evil))
    assert session.execute(render(query)).fetchall() == [("'; --",)]
    aliased = sql(
        "SELECT $column FROM ($inner)", column=name(evil), inner=sql("SELECT $c", c=[named(text(evil), evil)])
    )
    assert session.execute(render(aliased)).fetchall() == [(evil,)]


def test_parts_are_put_in_parentheses_where_they_would_bind_differently(session: Session) -> None:
    query = sql("SELECT $a - $b, $c * 2, NOT $d", a=sql("10"), b=sql("3 - 2"), c=sql("1 + 1"), d=sql("false OR true"))
    assert session.execute(render(query)).fetchall() == [(9, 4, False)]


def test_lists_of_parts_fill_columns_arguments_and_conditions(session: Session) -> None:
    query = sql(
        "SELECT coalesce($items), [$items], $all, $any", items=[sql("NULL"), sql("2")], all=all_of([]), any=any_of([])
    )
    assert session.execute(render(query)).fetchall() == [(2, [None, 2], True, False)]
    both = union_all([sql("SELECT 1"), sql("SELECT 2")])
    assert session.execute(render(both)).fetchall() == [(1,), (2,)]
    assert session.execute(render(sql("SELECT $listed", listed=texts(["a'b", ""])))).fetchall() == [(["a'b", ""],)]


def test_conditions_and_sums_may_have_thousands_of_terms(session: Session) -> None:
    items = [sql("$n = 2999", n=number(n)) for n in range(3000)]
    query = sql("SELECT $any, $sum", any=any_of(items), sum=sum_of([number(n) for n in range(3000)]))
    assert session.execute(render(query)).fetchall() == [(True, 2999 * 1500)]
    assert render(sum_of([])) == "0"
