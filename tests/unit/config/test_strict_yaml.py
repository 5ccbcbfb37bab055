from __future__ import annotations

import pytest

from crosswalk.config.strict_yaml import MAX_BYTES, parse_yaml, read_yaml
from crosswalk.core.errors import ConfigError


@pytest.mark.parametrize(
    "text",
    [
        "NO",
        "yes",
        "Off",
        "1.10",
        "007",
        "12:30:00",
        "2026-01-01",
        "1e3",
        "0x1f",
        "0o17",
        "1_000",
        ".5",
        "NULL",
        "Null",
        "+1",
        "=",
        ".inf",
        "!x"[1:],
    ],
)
def test_plain_scalars_stay_what_they_look_like(text):
    assert parse_yaml(f"a: {text}\nb: [{text}]\n{text}: c").data == {"a": text, "b": [text], text: "c"}


@pytest.mark.parametrize("text", ["", "~", "null"])
def test_only_nothing_and_null_become_none(text):
    assert parse_yaml(f"a: {text}").data == {"a": None}


@pytest.mark.parametrize("text", ["''", '""', "'null'", '"~"', "|\n  null"])
def test_quoted_nulls_stay_text(text):
    value = parse_yaml(f"a: {text}\n").data["a"]
    assert isinstance(value, str)


def test_every_node_keeps_its_line():
    document = parse_yaml(
        "# first\na: 1\nb:\n  - x\n  - c: 2\n    d: |\n      text\n      text\n    e: [1,\n      2]\n"
    )
    assert document.line("a") == 2
    assert document.line("b") == 3
    assert document.line("b", 0) == 4
    assert document.line("b", 1, "c") == 5
    assert document.line("b", 1, "d") == 6
    assert document.line("b", 1, "e") == 9
    assert document.line("b", 1, "e", 1) == 10
    assert document.line("b", 1, "missing", 3) == 5
    assert document.line("nowhere") == 2


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: 1\nb: &x 2", "yaml_anchor", 2),
        ("a: &x 1\nb: *x", "yaml_alias", 2),
        ("a: 1\nb: !!int 2", "yaml_tag", 2),
        ("a: 1\nb: !secret x", "yaml_tag", 2),
        ("a: ! 1", "yaml_tag", 1),
        ("!!python/object/apply:os.system ['x']", "yaml_tag", 1),
        ("a: 1\n!!str b: 2", "yaml_tag", 2),
        ("a: 1\n&k b: 2", "yaml_anchor", 2),
        ("a: {b: 1}\n<<: {c: 2}", "yaml_merge_key", 2),
        ("a: 1\nb: 2\na: 3", "duplicate_key", 3),
        ("a: {b: 1, b: 2}", "duplicate_key", 1),
        ('a: 1\n"a": 2', "duplicate_key", 2),
        ("a: 1\n? [b]\n: c", "yaml_key", 2),
        ("a: 1\nb: {{ x }}", "yaml_key", 2),
        ("a: 1\n---\nb: 2", "several_documents", 2),
        ("%YAML 1.1\n---\na: 1", "yaml_directive", 2),
        ("%TAG ! tag:example.org,2000:\n---\na: 1", "yaml_directive", 2),
        ("a: 1\nb: \x07", "control_character", 2),
        ('a: 1\nb: "x\\0y"', "control_character", 2),
        ('a: 1\n"x\\0y": b', "control_character", 2),
        ("a: 1\nb:\n\t- c", "yaml_syntax", 3),
        ("a: 1\nb: [c", "yaml_syntax", 2),
        ("a: 1\nb: c: d", "yaml_syntax", 2),
        ("a: 1\n" + "b: " + "[" * 25 + "]" * 25, "too_deep", 2),
        ("[" * 200_000, "too_deep", 1),
        ("{a: " * 200_000, "too_deep", 1),
    ],
)
def test_what_yaml_can_do_beyond_data_is_refused_with_its_line(text, code, line):
    findings = parse_yaml(text).findings
    assert code in [finding.code for finding in findings]
    found = next(finding for finding in findings if finding.code == code)
    # A directive is noticed at the document it begins.
    assert found.line == line or code == "yaml_directive"


def test_all_problems_of_the_yaml_are_found_at_once():
    findings = parse_yaml("a: &x 1\nb: !!int 2\nc: *x\na: 3\n<<: {d: 1}\n").findings
    assert [(finding.code, finding.line) for finding in findings] == [
        ("yaml_anchor", 1),
        ("yaml_tag", 2),
        ("yaml_alias", 3),
        ("duplicate_key", 4),
        ("yaml_merge_key", 5),
    ]


def test_a_quoted_merge_sign_is_an_ordinary_key():
    assert parse_yaml('"<<": 1').data == {"<<": "1"}


def test_twenty_levels_are_allowed():
    assert not parse_yaml("[" * 24 + "]" * 24).findings


def test_a_file_over_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert [finding.code for finding in read_yaml(path).findings] == ["too_large"]


def test_a_mark_at_the_begin_is_dropped_and_other_encodings_are_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\r\nb: 2\r\n")
    assert read_yaml(path).data == {"a": "é", "b": "2"}
    path.write_bytes(b"a: 1\nb: \xe9\n")
    document = read_yaml(path)
    assert [(finding.code, finding.line) for finding in document.findings] == [("not_utf8", 2)]
    assert document.data is None


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path, make):
    path = tmp_path / "x.yaml"
    make(path)
    with pytest.raises(ConfigError, match="is not there") as raised:
        read_yaml(path)
    assert raised.value.findings[0].code == "unreadable_file"


def test_a_syntax_message_never_quotes_the_text():
    for text in (
        "a: 'hunter2",
        "a: *hunter2 x",
        "hunter2\nb: c",
        'a: "hunter2" hunter2',
        "!hunter2!x a",
        "- a\nhunter2: b",
    ):
        findings = parse_yaml(text).findings
        assert findings
        assert "hunter2" not in str(findings)
