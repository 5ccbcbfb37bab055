from __future__ import annotations

from pathlib import Path

import pytest

from crosswalk.config.checks import check_tenant
from crosswalk.config.loader import load_tenant
from crosswalk.config.tenant import Property
from crosswalk.core.errors import ConfigError

MODEL = {
    "properties": "properties:\n  email: {type: email, identifier: unique}\n  card: {identifier: shared}\n"
    "  home: {group_type: home}\n",
    "group_types": "group_types:\n  home:\n    properties:\n      home_id: {identifier: unique}\n",
}


@pytest.fixture
def find(tmp_path: Path):
    """Findings as (file, line, severity, code, message) of a small model with other files."""

    def run(**files: str) -> list[tuple[str, int | None, str, str, str]]:
        for subject, text in {**MODEL, **files}.items():
            (tmp_path / f"{subject}.yaml").write_text(text)
        try:
            found = check_tenant(load_tenant(tmp_path))
        except ConfigError as error:
            found = error.findings
        return [(Path(f.file or "").stem, f.line, f.severity, f.code, f.message) for f in found]

    return run


def test_a_small_model_is_sound(find):
    assert find() == []


@pytest.mark.parametrize(
    ("text", "line", "code", "part"),
    [
        ("      city: {type: text}\n", 5, "group_property_prefix", "as in `home_city`"),
        ("      home_rent: {type: currency}\n", 5, "missing_currency", "`currency: EUR`"),
        ("      home_Id: {}\n", 5, "similar_properties", "differ only in capitals"),
        ("      home_nr: {identifier: unique}\n", 2, "group_identifier", "exactly one"),
        ("      home_nr: {merge: sum}\n", 5, "unknown_key", "Unknown key `merge`"),
        ("  firm: {properties: {firm_id: {identifier: unique}}}\n", 5, "group_type_not_linked", "`group_type: firm`"),
        ("  firm shop: {}\n", 5, "invalid_name", "an id has"),
    ],
)
def test_group_types_are_checked(find, text, line, code, part):
    (found,) = find(group_types=MODEL["group_types"] + text)
    assert (found[0], found[1], found[3]) == ("group_types", line, code)
    assert part in found[4]


def test_a_group_type_that_is_not_there_is_named_with_the_known_ones(find):
    (found,) = find(group_types="group_types:\n  house: {properties: {house_id: {identifier: unique}}}\n")[:1]
    assert found[:4] == ("properties", 4, "error", "unknown_group_type")
    assert "group_types.yaml has: house." in found[4]


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("  email_opened: {retention_days: 400}", 2, "retention_too_long"),
        ("  x: {priority: low, retention_days: 400}", 2, "invalid_value"),
        ("  x: {priority: medium}", 2, "invalid_value"),
        ("  x: {fields: {a: {typ: text}}}", 2, "unknown_key"),
        ("  x: {fields: {name: {fields: {id: {typ: text}}}}}", 2, "unknown_key"),
    ],
)
def test_event_types_are_checked(find, text, line, code):
    (found,) = find(event_types=f"event_types:\n{text}\n")
    assert found[:4] == ("event_types", line, "error", code)
    if code == "unknown_key":
        assert "Did you mean `type`?" in found[4]


@pytest.mark.parametrize(
    ("rule", "code", "part"),
    [
        ("{identifier: emial}", "unknown_property", "(did you mean `email`?)"),
        ("{identifier: card}", "identifier_not_unique", "no unique identifier"),
        ("{identifier: email, conditions: [{property: x, same: true}]}", "unknown_property", "no property `x`"),
        ("{identifier: email, conditions: [{property: home}]}", "invalid_value", "either same: true or equals"),
        ("{identifier: email, conditions: [{property: home, same: true, equals: a}]}", "invalid_value", "either same"),
        ("{identifier: email, conditions: [{property: home, same: false}]}", "invalid_value", "either same"),
        ("{identifer: email}", "unknown_key", "Did you mean `identifier`?"),
    ],
)
def test_merge_rules_are_checked(find, rule, code, part):
    found = [item for item in find(merge_rules=f"merge_rules:\n  - {rule}\n") if item[3] == code]
    assert [item[:3] for item in found] == [("merge_rules", 2, "error")]
    assert part in found[0][4]


def test_merge_rules_are_a_list(find):
    (found,) = find(merge_rules="merge_rules: {email: {}}\n")
    assert found[3] == "invalid_value"
    assert "must be a list" in found[4]


def test_dates_cannot_be_summed_up(find):
    (found,) = find(properties=MODEL["properties"] + "  born: {type: datetime, merge: sum}\n")
    assert found[1:4] == (5, "error", "sum_not_numeric")


def test_problems_of_all_files_come_at_once(find):
    found = find(
        properties=MODEL["properties"] + "  price: {type: currency}\n",
        group_types=MODEL["group_types"] + "      city: {}\n",
        event_types="event_types:\n  email_opened: {retention_days: 400}\n",
        segments="segments:\n  s: {all: [{property: nowhere, has_value: true}]}\n",
        merge_rules="merge_rules:\n  - {identifier: card}\n",
    )
    assert [item[0] for item in found if item[2] == "error"] == [
        "properties",
        "group_types",
        "event_types",
        "segments",
        "merge_rules",
    ]


@pytest.mark.parametrize(
    ("declared", "strategy"),
    [
        ({}, "both"),
        ({"type": "email"}, "both"),
        ({"type": "number"}, "latest"),
        ({"type": "datetime"}, "latest"),
        ({"type": "currency", "merge": "sum"}, "sum"),
        ({"merge": "keep"}, "keep"),
    ],
)
def test_the_merge_strategy_goes_by_the_type_unless_it_is_declared(declared, strategy):
    assert Property.model_validate(declared).merge_strategy == strategy
