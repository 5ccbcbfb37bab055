from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from crosswalk.config.connection import GOAL_KINDS, Connection
from crosswalk.config.schema import connection_schema
from tests.unit.config.conftest import GOOD


@pytest.fixture(scope="module")
def validator():
    schema = connection_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema)
    return jsonschema.Draft202012Validator(schema)


class EditorLoader(yaml.SafeLoader):
    """Without dates, which YAML 1.2 no longer has."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def as_an_editor_reads_it(text: str):
    return yaml.load(text, Loader=EditorLoader)


@pytest.mark.parametrize("path", sorted(GOOD.glob("*.yaml")), ids=lambda path: path.stem)
def test_good_connections_fit_the_schema(validator, path):
    assert list(validator.iter_errors(as_an_editor_reads_it(path.read_text()))) == []


TEXT = (GOOD / "webshop_orders.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("labels: [webshop, orders]", "labels: [1.10, 2026, true]"),
        ("schedule: {every_minutes: 15}", 'schedule: {every_minutes: "15"}'),
        ("schedule: {every_minutes: 15}", "schedule: manual"),
        ("schedule: {every_minutes: 15}", "schedule: {days_of_month: [1, last], at: '06:00'}"),
        ("schedule: {every_minutes: 15}", "schedule: {at: ['06:00', '18:00']}"),
        ("enabled: true", 'enabled: "yes"'),
        ("mark_done: true", "mark_done: all"),
    ],
)
def test_plain_scalars_fit_in_each_way_of_reading_them(validator, old, new):
    assert old in TEXT
    assert list(validator.iter_errors(as_an_editor_reads_it(TEXT.replace(old, new)))) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title: Webshop orders\n", ""),
        ("conn_id: webshop_sftp\n", ""),
        ("labels:", "lables:"),
        ("create_profiles:", "create_profile:"),
        ("encoding: latin-1", "encodin: latin-1"),
        ("match: any", "match: some"),
        ("schedule: {every_minutes: 15}", "schedule: often"),
        ("schedule: {every_minutes: 15}", "schedule: {every_minutes: x}"),
        ("import_profiles: orders", "export_profiles: orders"),
        ("strategy: sum", "strategy: multiply"),
    ],
)
def test_wrong_connections_do_not_fit_the_schema(validator, old, new):
    assert old in TEXT
    assert list(validator.iter_errors(as_an_editor_reads_it(TEXT.replace(old, new, 1))))


ALL_GOALS = (GOOD / "all_goals.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{profile_id: true, as: id}", "{profile_id: true, text: x}"),
        ("{profile_id: true, as: id}", "{as: id}"),
        ("as: mail", "as_: mail"),
        ("interactions: viewed", "interactions: opened"),
        ("compress: gzip", "compress: rar"),
        ("last_days: 30", "last_day: 30"),
        ("{from: 2026", "{from_: 2026"),
        ("        id: orders.order_id\n", ""),
        ("strategy: update_only", "strategy: append"),
        ("nested:\n", "details:\n"),
        ("    group_type: household\n", ""),
        ("create_groups: false", "create_profiles: false"),
        ("    directory: /out\n", ""),
    ],
)
def test_wrong_goals_of_each_kind_do_not_fit_the_schema(validator, old, new):
    assert old in ALL_GOALS
    assert list(validator.iter_errors(as_an_editor_reads_it(ALL_GOALS.replace(old, new, 1))))


def test_every_key_of_the_model_is_in_the_schema():
    assert set(connection_schema()["properties"]) == set(Connection.model_fields)


def test_a_goal_is_told_by_the_key_of_its_name():
    goals = connection_schema()["properties"]["goals"]["items"]
    assert goals["oneOf"] == [{"required": [kind]} for kind in GOAL_KINDS]
    assert [item["then"]["$ref"] for item in goals["allOf"]] == [
        "#/$defs/ImportProfiles",
        "#/$defs/ImportGroups",
        "#/$defs/ExportProfiles",
    ]
