"""Names of columns, and settings that become a dialect."""

from __future__ import annotations

import pytest

from crosswalk.config.connection import Format
from crosswalk.core.errors import ConfigError, RejectedError
from crosswalk.engine.dialect import MAX_COLUMNS, Dialect, codec_name, name_columns, normalise_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("  Name ", "Name"),
        ("\ufeffid", "id"),
        ("\u200bid\u200e", "id"),
        ("full\r\nname", "full name"),
        ("cafe\u0301", "café"),
        ("a\u00a0b", "a b"),
        ("", ""),
        (" \u200b ", ""),
    ],
)
def test_a_name_is_trimmed_and_composed_and_keeps_its_case(text: str, name: str) -> None:
    assert normalise_name(text) == name


@pytest.mark.parametrize(
    ("originals", "columns"),
    [
        (["id", "id", "id"], ("id", "id_2", "id_3")),
        (["id", "ID"], ("id", "ID_2")),
        (["id", "id", "id_2"], ("id", "id_3", "id_2")),
        (["", "column_1", ""], ("column_1_2", "column_1", "column_3")),
        (["e\u0301", "é"], ("é", "é_2")),
    ],
)
def test_names_become_unique_without_taking_a_name_of_the_file(originals: list[str], columns: tuple[str, ...]) -> None:
    header = name_columns(originals, cells=originals, file="x", line=1)
    assert header.columns == columns
    assert header.originals == tuple(originals)
    assert len(header.warnings) == sum(a != b for a, b in zip(map(normalise_name, originals), columns, strict=True))


def test_many_odd_names_give_few_warnings() -> None:
    assert len(name_columns([""] * 500, cells=[], file="x", line=1).warnings) == 21


def test_the_limit_of_columns_is_told_with_file_and_line() -> None:
    with pytest.raises(RejectedError) as caught:
        name_columns(["x"] * (MAX_COLUMNS + 1), cells=[], file="in/x.csv", line=3)
    assert (caught.value.code, caught.value.file, caught.value.line) == ("too_many_columns", "in/x.csv", 3)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("latin-1", "iso8859-1"),
        ("windows-1252", "cp1252"),
        ("UTF-16", "utf-16"),
    ],
)
def test_encodings_have_many_names(name: str, codec: str) -> None:
    assert codec_name(name) == codec


@pytest.mark.parametrize("name", ["", "nonsense", "base64", "rot13", "punycode", "utf-8\0"])
def test_what_is_no_text_encoding_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigError):
        codec_name(name)


def test_an_escape_means_nothing_without_quotes_and_nothing_when_it_is_the_quote() -> None:
    assert Dialect.of(Format(quote="", escape="\\")).escape == ""
    assert Dialect.of(Format(quote='"', escape='"')).escape == ""
    assert Dialect.of(Format(escape="\\")).escape == "\\"


def test_names_from_the_connection_mean_that_the_file_has_no_header() -> None:
    assert Dialect.of(Format(header=["a"])).header_rows == 0
