from __future__ import annotations

import time
from pathlib import Path

import pytest

from crosswalk.config.checks import check_tenant
from crosswalk.config.loader import load_tenant
from crosswalk.config.segment_checks import problems_behind
from crosswalk.config.segments import (
    AllCondition,
    AnyCondition,
    NotCondition,
    PropertyCondition,
    SegmentCondition,
    conditions_in,
)
from crosswalk.config.tenant import Tenant
from crosswalk.core.errors import ConfigError, Finding

HEAD = "segments:\n  s:\n    all:\n      - "


@pytest.fixture
def findings(tmp_path: Path):
    """Problems of a segments file beside a small tenant model, however they are found."""

    def run(text: str) -> list[Finding]:
        (tmp_path / "segments.yaml").write_text(text)
        (tmp_path / "properties.yaml").write_text(
            "properties:\n  email: {type: email, identifier: unique}\n  city: {}\n  age: {type: number}\n"
            "  bought: {type: datetime}\n  household: {group_type: household}\n"
        )
        (tmp_path / "objectives.yaml").write_text("objectives: {newsletter: {}}\n")
        (tmp_path / "group_types.yaml").write_text(
            "group_types:\n  household:\n"
            "    properties: {household_id: {identifier: unique}, household_size: {type: number}}\n"
        )
        try:
            return check_tenant(load_tenant(tmp_path))
        except ConfigError as error:
            return error.findings

    return run


@pytest.mark.parametrize(
    "condition",
    [
        "{property: city, has_value: true}",
        "{property: city, is_empty: yes}",
        "{property: city, any_of: gent}",
        "{property: email, none_of: [a@example.org]}",
        "{property: age, all_of: [1, 2.5]}",
        "{property: age, between: [null, -10]}",
        "{property: bought, between: [2026-01-01, 2026-02-01T06:00]}",
        "{property: bought, last_days: 30}",
        "{property: lastmodifieddate, next_hours: 1}",
        "{property: consented_objectives, not_all_of: [newsletter]}",
        "{objective: newsletter, is: not_needed_or_consented}",
        "{segment: all_profiles}",
        "{group_type: household, all: [{property: household_size, between: [2, 4]}]}",
        "{not: {any: [{property: city, has_value: true}, {all: [{objective: newsletter, is: refused}]}]}}",
    ],
)
def test_every_kind_of_condition_is_accepted(findings, condition):
    assert findings(HEAD + condition) == []


@pytest.mark.parametrize(
    ("condition", "code", "part"),
    [
        ("{property: ctiy, has_value: true}", "unknown_property", "`ctiy` (did you mean `city`?)"),
        ("{objective: newsleter, is: consented}", "unknown_objective", "objectives.yaml has: newsletter"),
        ("{segment: nobody}", "unknown_segment", "segments.yaml has: s, all_profiles"),
        ("{group_type: home, all: [{property: x, has_value: true}]}", "unknown_group_type", "has: household"),
        (
            "{group_type: household, all: [{property: size, has_value: true}]}",
            "unknown_property",
            "Group type household",
        ),
        (
            "{property: city, last_days: 3}",
            "segment_test",
            "needs a property of type datetime, and `city` is of type text",
        ),
        ("{property: city, between: [1, 2]}", "segment_test", "needs a number or a datetime"),
        ("{property: bought, any_of: [2026-01-01]}", "segment_test", "use between, last_days or next_days"),
        ("{property: age, any_of: [many]}", "segment_test", "`many` is no number"),
        ("{property: age, between: [4, 2]}", "segment_test", "low end is above"),
        ("{property: bought, between: [yesterday, null]}", "segment_test", "`yesterday` is no datetime"),
        ("{property: city}", "invalid_value", "exactly one of has_value, is_empty"),
        ("{property: city, has_value: true, any_of: [a]}", "invalid_value", "this one has has_value and any_of"),
        ("{property: city, has_value: false}", "invalid_value", "write is_empty: true"),
        ("{property: age, between: [null, null]}", "invalid_value", "at least one end"),
        ("{property: age, between: [1]}", "invalid_value", "two values, either of them null"),
        ("{property: city, any_of: []}", "invalid_value", "needs at least 1 item"),
        ("{property: city, contains: a}", "unknown_key", "Known here: all_of, any_of, between"),
        (
            "{objective: newsletter, is: granted}",
            "invalid_value",
            "must be consented, not_needed_or_consented, refused",
        ),
        ("{objective: newsletter}", "missing_key", "`is` is missing"),
        (
            "{objective: newsletter, segment: s}",
            "invalid_condition",
            "not a condition. Use one of {property: ..., any_of",
        ),
        ("{}", "invalid_condition", "not a condition"),
        ("{all: [], any: []}", "invalid_condition", "not a condition"),
        ("{group_type: household, any: []}", "invalid_condition", "not a condition"),
        ("{not: {al: []}}", "invalid_condition", "`segments.s.all[1].not`: not a condition"),
    ],
)
def test_a_wrong_condition_is_an_error_at_its_line(findings, condition, code, part):
    (finding,) = findings(HEAD + condition)
    assert (finding.severity, finding.code, finding.line) == ("error", code, 4)
    assert finding.file is not None
    assert finding.file.endswith("segments.yaml")
    assert part in finding.message
    for jargon in ("Input should", "validation", "union", "condition:"):
        assert jargon not in finding.message


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("  s: {name: Nobody}", "invalid_value", "exactly one of all, any, inverse_of; this one has none"),
        ("  s: {all: [{segment: t}], inverse_of: t}", "invalid_value", "this one has all and inverse_of"),
        ("  s: {inverse_of: t}", "unknown_segment", "no segment `t`"),
        ("  s: {inverse_of: s}", "circular_segment", "s builds on s"),
        ("  all_profiles: {any: [{property: city, has_value: true}]}", "reserved_segment", "built in"),
        ("  s: {nott: {}}", "unknown_key", "Did you mean"),
    ],
)
def test_a_wrong_segment_is_an_error_at_its_line(findings, text, code, part):
    found = [finding for finding in findings(f"segments:\n{text}\n") if finding.code == code]
    assert [finding.line for finding in found] == [2]
    assert part in found[0].message or "Known here" in found[0].message


def test_a_circle_of_segments_is_told_for_each_of_them_and_is_too_deep_for_others(findings):
    text = "segments:\n  a: {inverse_of: b}\n  b: {all: [{not: {segment: c}}]}\n  c: {any: [{segment: a}]}\n"
    text += "  d: {all: [{segment: a}]}\n"
    found = findings(text)
    assert [(finding.code, finding.line) for finding in found] == [
        *[("circular_segment", line) for line in (2, 3, 4)],
        ("segment_too_deep", 5),
    ]
    assert "a builds on b builds on c builds on a" in found[0].message


def nest(depth: int, inner: str = "{property: city, has_value: true}") -> str:
    """A segment of so many levels of ``all``."""
    for _ in range(depth - 1):
        inner = f"{{all: [{inner}]}}"
    return f"{{all: [{inner}]}}"


def test_ten_levels_are_enough_whether_written_out_or_by_reference(findings):
    assert findings(f"segments:\n  s: {nest(10)}\n") == []
    assert findings(f"segments:\n  s: {nest(6, '{segment: t}')}\n  t: {nest(4)}\n") == []
    found = findings(f"segments:\n  s: {nest(6, '{segment: t}')}\n  t: {nest(5)}\n")
    assert [(finding.code, finding.line) for finding in found] == [("segment_too_deep", 2)]
    (deep,) = findings(f"segments:\n  s: {nest(11)}\n")
    assert deep.code in ("segment_too_deep", "too_deep")


def test_many_segments_that_name_each_other_are_checked_quickly(findings):
    """Ten levels of eight segments that each name the next eight: a hundred million paths."""
    levels = [
        f"  s{level}_{n}: {{any: [{', '.join(f'{{segment: s{level + 1}_{m}}}' for m in range(8))}]}}"
        for level in range(9)
        for n in range(8)
    ]
    last = [f"  s9_{n}: {{any: [{{property: city, has_value: true}}]}}" for n in range(8)]
    start = time.process_time()
    assert findings("segments:\n" + "\n".join([*levels, *last]) + "\n") == []
    assert time.process_time() - start < 5


def test_a_long_chain_of_segments_is_too_deep_and_nothing_worse(findings):
    chain = [f"  s{n}: {{inverse_of: s{n + 1}}}" for n in range(300)]
    text = "segments:\n" + "\n".join(chain) + "\n  s300: {any: [{property: city, has_value: true}]}\n"
    assert {finding.code for finding in findings(text)} == {"segment_too_deep"}


def test_all_problems_of_a_file_come_at_once(findings):
    text = "segments:\n  a: {any: [{property: x, has_value: true}, {segment: y}]}\n"
    text += "  b: {all: [{property: city, last_days: 1}]}\n"
    assert [(finding.code, finding.line) for finding in findings(text)] == [
        ("unknown_property", 2),
        ("unknown_segment", 2),
        ("segment_test", 3),
    ]


def test_a_segment_reads_as_one_condition(tenant):
    segments = tenant.model.segments
    readers = segments["newsletter_readers"].condition
    assert isinstance(readers, AllCondition)
    assert isinstance(readers.all[2], AnyCondition)
    test = readers.all[2].any[1]
    assert isinstance(test, PropertyCondition)
    assert (test.test, test.between) == ("between", ["100", None])
    others = segments["others"].condition
    assert isinstance(others, NotCondition)
    assert others.not_ == SegmentCondition(segment="newsletter_readers")
    assert isinstance(segments["buyers"].condition, AnyCondition)


def test_conditions_are_listed_with_place_and_depth(tenant):
    listed = [(place, depth) for place, depth, _ in conditions_in(tenant.model.segments["newsletter_readers"])]
    assert listed == [
        (("all", 0), 1),
        (("all", 1), 1),
        (("all", 2), 1),
        (("all", 2, "any", 0), 2),
        (("all", 2, "any", 1), 2),
        (("all", 2, "any", 2), 2),
        (("all", 3), 1),
        (("all", 3, "not"), 2),
    ]


def test_the_problems_behind_a_segment_include_those_of_the_segments_it_builds_on():
    model = Tenant.model_validate(
        {
            "segments": {
                "a": {"all": [{"segment": "b"}]},
                "b": {"any": [{"property": "x", "has_value": "true"}]},
                "c": {"any": [{"property": "y", "has_value": "true"}]},
            }
        }
    )
    assert [place[:2] for place, _ in problems_behind("a", model)] == [("segments", "b")]
