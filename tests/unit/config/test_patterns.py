from __future__ import annotations

from datetime import datetime

import pytest

from crosswalk.config.patterns import date_problem, encoding_problem, path_problem, regex_problem


@pytest.mark.parametrize(
    "pattern",
    [
        "%d/%m/%Y %H:%M:%S",
        "%Y-%m-%d",
        "%-d.%-m.%y",
        "%d %b %Y",
        "%Y%j",
        "%I:%M %p %d/%m/%Y",
        "%Y-%m-%dT%H:%M:%S.%f%z",
        "%%%Y%m%d",
    ],
)
def test_usable_date_patterns_pass(pattern):
    assert date_problem(pattern) == ""
    datetime(2026, 11, 22, tzinfo=None).strftime(pattern)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("dd/MM/yyyy", "Did you mean %d/%m/%Y?"),
        ("yyyy-MM-dd HH:mm:ss", "Did you mean %Y-%m-%d %H:%M:%S?"),
        ("DD.MM.YYYY", "Did you mean %d.%m.%Y?"),
        ("d-M-yy", "Did you mean %d-%m-%y?"),
        ("", "no % directive"),
        ("today", "no % directive"),
        ("%Q", "unknown directive %Q"),
        ("%c", "unknown directive %c"),
        ("%d/%m", "the year is missing"),
        ("%Y", "the day or the month is missing"),
        ("%H:%M", "the year is missing"),
        ("%d/%m/%Y %I:%M", "need %p"),
        ("%d/%m/%Y %", "unknown directive"),
        ("%d/%m/%Y %-", "unknown directive"),
    ],
)
def test_unusable_date_patterns_are_explained(pattern, part):
    assert part in date_problem(pattern)


@pytest.mark.parametrize(
    "name", ["utf-8", "UTF8", "utf-16", "latin-1", "windows-1252", "cp1252", "iso-8859-15", "shift_jis"]
)
def test_encodings_of_text_pass(name):
    assert encoding_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        "utf-9",
        "rot13",
        "base64",
        "zlib",
        "hex",
        "idna",
        "punycode",
        "unicode_escape",
        "undefined",
        "a\0b",
        "x" * 1000,
    ],
)
def test_what_is_no_encoding_of_text_is_refused(name):
    assert encoding_problem(name)


@pytest.mark.parametrize("pattern", [r"^orders_\d{8}\.csv$", ".*", "", r"\p{Lu}+", "(?i)a|b"])
def test_expressions_of_re2_pass(pattern):
    assert regex_problem(pattern) == ""


@pytest.mark.parametrize(
    "pattern", ["(a", "[", "(?=a)", r"(a)\1", "(?<!x)y", "a{10000}", "((a{1000}){1000}){1000}", "*"]
)
def test_expressions_that_re2_does_not_take_are_refused_quietly(pattern, capfd):
    assert "is not a regular expression" in regex_problem(pattern)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("path", "regex", "is_refused"),
    [
        ("/in/orders_*.csv", None, False),
        ("/in/", None, False),
        ("orders.csv", None, False),
        ("/in", "a.*", False),
        ("/in/..hidden", None, False),
        ("/*/orders.csv", None, True),
        ("/in/*.csv", "a.*", True),
        ("/in/../orders.csv", None, True),
        ("..", None, True),
    ],
)
def test_paths_with_a_wildcard_or_dots_in_the_wrong_place_are_refused(path, regex, is_refused):
    assert bool(path_problem(path, regex)) is is_refused
