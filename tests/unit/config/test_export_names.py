from __future__ import annotations

import pytest

from crosswalk.config.connection import ExportProfiles
from crosswalk.config.export_names import event_types_of, file_names
from crosswalk.config.tenant import Tenant

STAMP = "20260131060000"
TENANT = Tenant.model_validate(
    {
        "event_types": {
            "visit": {"fields": {"shop": {}, "purchase": {"fields": {"sku": {}}}, "talk": {"fields": {"by": {}}}}}
        }
    }
)


def goal(**more: object) -> ExportProfiles:
    content = {
        "export_profiles": "g",
        "segment": "readers",
        "directory": "/out",
        "file_name": {"custom": "all.csv"},
        "columns": [{"property": "email"}],
    }
    return ExportProfiles.model_validate({**content, **more})


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({}, ["all.csv"]),
        ({"file_name": {"segment_and_timestamp": "true"}}, [f"readers_{STAMP}.csv"]),
        ({"format": {"compress": "gzip"}}, ["all.csv.gz"]),
        (
            {"format": {"compress": "zstd"}, "events": {"types": "email_opened"}},
            ["all.csv.zst", "email_opened.csv.zst"],
        ),
        ({"events": {"types": ["visit"]}}, ["all.csv", "visit.csv", "visit_purchase.csv", "visit_talk.csv"]),
        (
            {
                "file_name": {"segment_and_timestamp": "true"},
                "events": {"types": ["order"]},
                "format": {"compress": "zip"},
            },
            [f"readers_{STAMP}.csv.zip", f"order_{STAMP}.csv.zip", f"order_product_{STAMP}.csv.zip"],
        ),
    ],
)
def test_the_names_of_all_files_of_a_run(more, names):
    assert file_names(goal(**more), TENANT, STAMP) == names


def test_all_event_types_are_those_of_the_tenant_model_in_its_order():
    assert event_types_of(goal(events={}), TENANT) == list(TENANT.event_types)
    assert event_types_of(goal(events={"types": ["visit", "order", "unknown"]}), TENANT) == ["order", "visit"]
    assert event_types_of(goal(), TENANT) == []


@pytest.mark.parametrize(
    ("more", "incremental"),
    [
        ({}, False),
        ({"file_name": {"segment_and_timestamp": "true"}}, True),
        ({"file_name": {"segment_and_timestamp": "true"}, "incremental": "false"}, False),
    ],
)
def test_exports_are_incremental_where_the_names_allow_it_unless_they_say_otherwise(more, incremental):
    assert goal(**more).is_incremental is incremental


def test_columns_say_their_kind_and_header():
    columns = [
        {"profile_id": "true"},
        {"property": "email"},
        {"property": "email", "as": "mail"},
        {"segments": "readers"},
        {"interactions": "viewed"},
        {"permission_level": "yes"},
        {"text": ""},
        {"group_property": {"group_type": "home", "property": "home_city"}},
    ]
    assert [(column.kind, column.header) for column in goal(columns=columns).columns] == [
        ("profile_id", "profile_id"),
        ("property", "email"),
        ("property", "mail"),
        ("segments", "segments"),
        ("interactions", "interactions_viewed"),
        ("permission_level", "permission_level"),
        ("text", "text"),
        ("group_property", "home_city"),
    ]
