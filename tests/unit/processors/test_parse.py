"""From a goal to its processors and the fields it needs."""

from __future__ import annotations

from typing import Any

import pytest

from crosswalk.config.connection import ImportGroups, ImportProfiles
from crosswalk.core.errors import ConfigError
from crosswalk.engine.row_keys import used_fields
from crosswalk.processors import PROCESSORS, needed_fields, parse_processors, try_processor


def goal(*steps: dict[str, Any], **more: Any) -> ImportProfiles:
    return ImportProfiles.model_validate(
        {
            "import_profiles": "orders",
            "files": [
                {"name": "orders", "path": "/in/orders.csv"},
                {"name": "lines", "path": "/in/lines.csv", "link": {"order": "orders.id"}, "nested": True},
                {"name": "products", "path": "/in/products.csv", "link": {"sku": "lines.sku"}},
            ],
            "identifiers": [{"field": "orders.email", "property": "email"}],
            "processors": list(steps),
            **more,
        }
    )


def codes(error: ConfigError) -> list[str]:
    return [finding.code for finding in error.findings]


def test_processors_come_in_order_with_what_they_read_and_make() -> None:
    steps = parse_processors(
        goal(
            {"normalize_email": {"field": "orders.email"}},
            {"split": {"field": "orders.name", "separator": " ", "to": ["first", "last"]}},
            {"concatenate": {"fields": ["last", "first"], "to": "name"}},
            {"deduplicate": {"fields": "orders.id"}},
        )
    )
    assert [(step.name, step.inputs, step.outputs) for step in steps] == [
        ("normalize_email", ["orders.email"], ["orders.email"]),
        ("split", ["orders.name"], ["first", "last"]),
        ("concatenate", ["last", "first"], ["name"]),
        ("deduplicate", ["orders.id"], []),
    ]


def test_needed_fields_are_those_of_the_goal_and_its_processors_once_each() -> None:
    wanted = goal(
        {"split": {"field": "orders.name", "separator": " ", "to": ["first", "last"]}},
        {"trim": {"field": ["first", "orders.email"]}},
        row_key=["orders.id"],
        consent=[{"field": "orders.news", "objective": "news"}],
        mappings={"fields": [{"field": "first", "property": "f"}, {"field": "products.title", "property": "t"}]},
    )
    assert needed_fields(wanted, parse_processors(wanted)) == [
        "orders.email",
        "orders.id",
        "orders.news",
        "products.title",
        "orders.name",
    ]


def test_events_need_their_fields_too_and_may_use_made_ones() -> None:
    event = {
        "type": "order",
        "id": "orders.id",
        "date": "orders.at",
        "when": {"field": "orders.kind", "any_of": ["sale"]},
        "fields": {"coupon": "code"},
        "nested": {"product": {"file": "lines", "fields": {"id": "lines.sku", "name": "products.title"}}},
    }
    wanted = goal({"case": {"field": "orders.code", "style": "upper", "to": "code"}}, events=[event])
    needed = ["orders.email", "orders.id", "orders.at", "orders.kind", "lines.sku", "products.title", "orders.code"]
    assert needed_fields(wanted, parse_processors(wanted)) == needed
    assert used_fields(wanted) == [*needed[:4], "code", *needed[4:6]]
    with pytest.raises(ConfigError) as caught:
        parse_processors(goal(events=[event]))
    assert codes(caught.value) == ["unknown_field"]


def test_a_group_goal_needs_its_fields() -> None:
    content = goal({"trim": {"field": "orders.city"}}).model_dump(include={"files", "processors"})
    identifiers = [{"field": "orders.home", "property": "home_id"}]
    homes = ImportGroups.model_validate(
        {**content, "import_groups": "h", "group_type": "h", "identifiers": identifiers}
    )
    assert needed_fields(homes, parse_processors(homes)) == ["orders.home", "orders.city"]


def test_all_problems_are_found_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_processors(
            goal(
                {"trimm": {"field": "orders.email"}},
                {"case": {"field": "orders.email", "style": "camel"}},
                {"trim": {"field": "order.email"}},
                {"trim": {"field": "nowhere"}},
                {"filter": {"field": "lines.sku", "keep": ["a"]}},
                {"trim": {"field": "orders.a"}, "case": {}},
                {"hash": "orders.email"},
                mappings={"fields": [{"field": "made_by_nobody", "property": "p"}]},
            )
        )
    assert codes(caught.value) == [
        "unknown_processor",
        "invalid_processor",
        "unknown_file",
        "unknown_field",
        "nested_field",
        "invalid_processor",
        "invalid_processor",
        "unknown_field",
    ]
    assert "did you mean trim" in caught.value.findings[0].message
    assert "processor 2 (case)" in caught.value.findings[1].message


def test_a_field_made_later_is_not_there_yet() -> None:
    with pytest.raises(ConfigError, match="no earlier processor makes"):
        parse_processors(goal({"trim": {"field": "first"}}, {"fixed_value": {"to": "first", "value": "x"}}))


@pytest.mark.parametrize("field", ["lines.sku", "products.title"])
@pytest.mark.parametrize(
    "step",
    [
        lambda field: {"filter": {"field": field, "keep": "a"}},
        lambda field: {"deduplicate": {"fields": [field]}},
        lambda field: {"concatenate": {"fields": [field, "orders.id"], "to": "x"}},
        lambda field: {"fixed_value": {"to": field, "value": "x"}},
    ],
)
def test_fields_of_nested_files_are_refused_where_a_list_makes_no_sense(step: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_processors(goal(step(field)))
    assert codes(caught.value) == ["nested_field"]


def test_a_field_made_of_a_list_is_a_list() -> None:
    steps = [
        {"case": {"field": "lines.sku", "style": "upper", "to": "code"}},
        {"filter": {"field": "code", "keep": "A"}},
    ]
    with pytest.raises(ConfigError) as caught:
        parse_processors(goal(*steps))
    assert codes(caught.value) == ["nested_field"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"replace": {"field": "orders.a", "find": "(?=x)", "regex": True}}, "RE2"),
        ({"replace": {"field": "orders.a", "find": "(x)", "with": "\\2", "regex": True}}, "group 2"),
        ({"replace": {"field": "orders.a", "find": "(x)", "with": "\\d", "regex": True}}, "backslash"),
        ({"replace": {"field": "orders.a", "find": ""}}, "find"),
        ({"filter": {"field": "orders.a"}}, "exactly one"),
        ({"filter": {"field": "orders.a", "keep": ["x"], "drop": ["y"]}}, "exactly one"),
        ({"filter": {"field": "orders.a", "keep_regex": "["}}, "RE2"),
        ({"date_format": {"field": "orders.a", "from": "%Q"}}, "%Q"),
        ({"date_format": {"field": "orders.a", "from": "day"}}, "at least one"),
        ({"current_date": {"to": "today", "timezone": "Mars/Olympus"}}, "Mars/Olympus"),
        ({"phone": {"field": "orders.a", "country": "Belgium"}}, "Belgium"),
        ({"split": {"field": "orders.a", "separator": ",", "to": ["x", "x"]}}, "name of its own"),
        ({"split": {"field": "orders.a", "separator": ",", "to": ["orders.b"]}}, "without a dot"),
        ({"fixed_value": {"to": "row_id", "value": "1"}}, "row_id"),
        ({"trim": {"field": ["orders.a", "orders.b"], "to": "x"}}, "one field"),
        ({"trim": {"field": []}}, "field"),
        ({"first_n": {"rows": "0"}}, "rows"),
        ({"trim": {"fields": "orders.a"}}, "fields"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_before_the_run(step: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_processors(goal(step))
    assert said in str(caught.value)


def test_settings_arrive_as_text_from_yaml_and_are_read() -> None:
    rows = [{"c.id": str(number)} for number in range(3)]
    assert len(try_processor({"first_n": {"rows": "2"}}, *rows)) == 2
    assert try_processor({"remove_nulls": {"field": "c.id", "texts": [None, "1"]}}, {"c.id": "1"}) == [{"c.id": ""}]


def test_every_processor_says_what_it_reads() -> None:
    for name in PROCESSORS:
        kind = PROCESSORS.get(name)
        assert kind.__doc__
        assert kind.Options.model_config["extra"] == "forbid"
