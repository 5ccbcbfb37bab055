from __future__ import annotations

import pytest
from pydantic import ValidationError

from crosswalk.config.event_types import EventType, ready_made
from crosswalk.config.tenant import Tenant

NAMES = [
    "order",
    "order_refund",
    "order_return",
    "order_exchange",
    "abandoned_basket",
    "email_delivered",
    "email_opened",
    "email_clicked",
]


def types(**declared: dict) -> dict[str, EventType]:
    return dict(Tenant.model_validate({"event_types": declared}).event_types)


def test_the_ready_made_types_are_there_without_a_file():
    assert list(types()) == NAMES
    order = types()["order"]
    assert (order.priority, order.kept_days) == ("high", None)
    assert order.fields["total_revenue"].value_type == "decimal"
    assert order.fields["product"].identifier == "id"
    assert types()["email_opened"].kept_days == 30


def test_a_type_of_the_same_id_extends_the_ready_made_one():
    own = {
        "name": "Sale",
        "fields": {
            "status": {"type": "number"},
            "coupon": {"multiple": "false"},
            "product": {"fields": {"colour": {}}},
        },
    }
    order = types(order=own)["order"]
    assert (order.name, order.priority) == ("Sale", "high")
    assert list(order.fields) == [*ready_made()["order"].fields, "status"]
    assert not order.fields["coupon"].is_multiple
    assert list(order.fields["product"].fields or {}) == [
        *(ready_made()["order"].fields["product"].fields or {}),
        "colour",
    ]
    assert order.fields["product"].identifier == "id"
    assert "colour" not in (ready_made()["order"].fields["product"].fields or {})


def test_a_type_that_does_not_extend_replaces_the_ready_made_one():
    order = types(order={"extend": "false", "priority": "low", "fields": {"total": {"type": "decimal"}}})["order"]
    assert list(order.fields) == ["total"]
    assert order.kept_days == 30


def test_types_of_your_own_come_behind_and_reading_a_model_again_changes_nothing():
    made = Tenant.model_validate({"event_types": {"visit": {"fields": {"shop": {}}}, "order": {"name": "Sale"}}})
    assert list(made.event_types) == [*NAMES, "visit"]
    assert Tenant.model_validate(made.model_dump()).event_types == made.event_types


@pytest.mark.parametrize(
    ("field", "multiple"),
    [
        ({}, True),
        ({"type": "number"}, False),
        ({"type": "text", "multiple": "no"}, False),
        ({"type": "date", "multiple": "yes"}, True),
        ({"fields": {"id": {}}}, True),
        ({"fields": {"id": {}}, "multiple": "false"}, False),
    ],
)
def test_text_and_details_hold_several_values_unless_they_say_otherwise(field, multiple):
    assert types(x={"fields": {"f": field}})["x"].fields["f"].is_multiple is multiple


def test_an_identifier_holds_one_value():
    field = types(x={"fields": {"f": {"fields": {"id": {"identifier": "true"}}}}})["x"].fields["f"]
    assert field.fields is not None
    assert not field.fields["id"].is_multiple


@pytest.mark.parametrize(
    ("declared", "part"),
    [
        ({"fields": {"f": {"type": "text", "fields": {"id": {}}}}}, "not both"),
        ({"fields": {"f": {"fields": {"a": {"identifier": "true"}, "b": {"identifier": "true"}}}}}, "not a and b"),
        ({"fields": {"f": {"fields": {"a": {"identifier": "true", "multiple": "true"}}}}}, "holds one value"),
        ({"fields": {"f": {"fields": {}}}}, "at least 1"),
        ({"fields": {"f": {"fields": {"a": {"fields": {}}}}}}, "Extra inputs"),
        ({"fields": {"f": {"identifier": "true"}}}, "Extra inputs"),
        ({"fields": {"f g": {}}}, "pattern"),
        ({"fields": {"f": {"type": "currency"}}}, "boolean"),
        ({"priority": "low", "retention_days": "366"}, "365 days at most"),
        ({"retention_days": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_an_event_type_cannot_be_is_refused(declared, part):
    with pytest.raises(ValidationError, match=part):
        types(x=declared)
