from __future__ import annotations

import pytest

from crosswalk.config.loader import goal_fingerprint, load_connection
from crosswalk.config.tenant import Property, Tenant
from tests.unit.config.conftest import GOOD

TEXT = (GOOD / "webshop_orders.yaml").read_text()


@pytest.fixture
def fingerprint(tmp_path, tenant):
    def make(old: str = "", new: str = "") -> str:
        assert old in TEXT
        path = tmp_path / "webshop_orders.yaml"
        path.write_text(TEXT.replace(old, new, 1) if old else TEXT)
        model = load_connection(path).model
        return goal_fingerprint(model, model.goals[0], tenant.model)

    return make


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title: Webshop orders", "title: Other"),
        ("description: Orders", "description: Other"),
        ("labels: [webshop, orders]", "labels: []"),
        ("schedule: {every_minutes: 15}", "schedule: manual"),
        ("emails: [ops@example.org]", "emails: []"),
        ("max_created: 50000", "max_created: 1"),
        ("mark_done: true", "mark_done: all"),
        ("enabled: true", "enabled: false"),
        ("conn_id: webshop_sftp", "conn_id: other_sftp"),
        ("import_profiles: orders", "import_profiles: renamed"),
        ("path: /in/orders_*.csv", "path: /in/new/orders_*.csv"),
        ("strategy: set_if_empty}", "strategy: set_if_empty, existing: true}"),
        ("# Everything", "# Nothing"),
        ("match: any\n    ", ""),
        ("prefix: shop_\n", "prefix: shop\n".replace("shop\n", "'shop_'\n")),
    ],
)
def test_what_does_not_decide_the_result_keeps_the_fingerprint(fingerprint, old, new):
    assert fingerprint(old, new) == fingerprint()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('separator: ";"', 'separator: ","'),
        ("encoding: latin-1", "encoding: utf-8"),
        ("link: {zip: customers.zip}", "link: {code: customers.zip}"),
        ("nested: true", "nested: false"),
        ("path: /in/customers.csv", "path: /in/people.csv"),
        ("row_key: [orders.order_id]", "row_key: []"),
        ("keep: [paid, shipped]", "keep: [paid]"),
        ("normalize_email:", "trim:"),
        ("property: email}]", "property: customer_id}]"),
        ("match: any", "match: all"),
        ("create_profiles: true", "create_profiles: false"),
        ('granted: ["yes"]', 'granted: ["yes", "y"]'),
        ("prefix: shop_", "prefix: x_"),
        ("strategy: sum", "strategy: set"),
        ("field: customers.city", "field: customers.town"),
        ("objectives: [personalisation]", "objectives: []"),
        ("timezone: Europe/Brussels", "timezone: UTC"),
        ("create_profiles: true", "create_profiles: true\n    invalid_values: reject_row"),
        ("create_profiles: true", "create_profiles: true\n    store_identifiers: false"),
    ],
)
def test_what_decides_the_result_changes_the_fingerprint(fingerprint, old, new):
    assert fingerprint(old, new) != fingerprint()


def test_definitions_of_the_written_properties_count_and_others_do_not(tenant):
    model = load_connection(GOOD / "webshop_orders.yaml").model

    def with_property(name: str, declared: Property) -> str:
        changed = tenant.model.model_copy(update={"properties": {**tenant.model.properties, name: declared}})
        return goal_fingerprint(model, model.goals[0], changed)

    unchanged = goal_fingerprint(model, model.goals[0], tenant.model)
    assert with_property("unrelated", Property(type="decimal")) == unchanged
    assert with_property("shop_city", Property(type="text", name="Town", sensitivity="none")) == unchanged
    assert with_property("shop_city", Property(type="number")) != unchanged
    assert with_property("email", Property(type="text", identifier="unique")) != unchanged


def test_the_fingerprint_is_stable_from_process_to_process(fingerprint):
    assert len(fingerprint()) == 64
    assert fingerprint() == fingerprint()


def test_goals_of_earlier_releases_keep_their_fingerprint(fingerprint, tenant):
    """What was imported is not read again because connection files learned new keys."""
    assert fingerprint() == "6848e594dd30a6f8cdab23a4e85a96910d4ef086e0683b03c456aff74f032ddb"
    scores = load_connection(GOOD / "scores.yaml").model
    before = "5c58761fc1ed691e0be67799a800a0349d0bee5fe43a915fa57cfd36e48862ef"
    assert goal_fingerprint(scores, scores.goals[0], tenant.model) == before


ALL_GOALS = (GOOD / "all_goals.yaml").read_text()


@pytest.fixture
def fingerprints(tmp_path, tenant):
    """The fingerprints of all goals by name, after a change of the file or of the tenant model."""

    def make(old: str = "", new: str = "", model: Tenant | None = None) -> dict[str, str]:
        assert old in ALL_GOALS
        path = tmp_path / "all_goals.yaml"
        path.write_text(ALL_GOALS.replace(old, new, 1) if old else ALL_GOALS)
        connection = load_connection(path).model
        return {goal.name: goal_fingerprint(connection, goal, model or tenant.model) for goal in connection.goals}

    return make


def changed(one: dict[str, str], other: dict[str, str]) -> set[str]:
    return {name for name, text in one.items() if other[name] != text}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("directory: /out\n", "directory: /elsewhere\n"),
        ("custom: everybody.csv", "custom: all.csv"),
        ('file_name: {segment_and_timestamp: true}\n    format: {separator: ";"', 'format: {separator: ";"'),
        ("compress: gzip", "compress: zip"),
        ("incremental: true", "incremental: false"),
        ("always_write: true", "always_write: false"),
        ("enabled: false", "enabled: true"),
        ("{segments: all}", "{segments: all, as: segments}"),
        ("max_group_storage_mb: 2.5", "max_group_storage_mb: 3"),
        ("archive: /in/done", "archive: /in/old"),
        ("path: /in/households/, regex: '.*\\.txt'", "path: /in/homes/"),
        ("any_of: refund", "any_of: [refund]"),
    ],
)
def test_what_does_not_decide_the_result_of_any_goal_keeps_all_fingerprints(fingerprints, old, new):
    if old.startswith("file_name"):
        new = "file_name: {custom: a.csv}\n    " + new
    assert changed(fingerprints(), fingerprints(old, new)) == set()


@pytest.mark.parametrize(
    ("old", "new", "goal"),
    [
        ("date: orders.ordered_at", "date: orders.paid_at", "orders"),
        ("{total_revenue: orders.total", "{revenue: orders.total", "orders"),
        ("colour: products.colour", "colour: products.shade", "orders"),
        ("any_of: refund", "any_of: refunds", "orders"),
        ("product_store: true", "product_store: false", "orders"),
        ("strategy: update_or_create", "strategy: update_only", "orders"),
        ("create_missing_groups: true", "create_missing_groups: false", "orders"),
        ("create_groups: false", "create_groups: true", "households"),
        ("strategy: set_or_clear", "strategy: set", "households"),
        ("separator: tab", "separator: ';'", "households"),
        ("invalid_values: reject_row", "invalid_values: drop", "households"),
        ("segment: newsletter_readers", "segment: buyers", "newsletter"),
        ("as: mail", "as: e_mail", "newsletter"),
        ("{property: creationdate}", "{property: lastmodifieddate}", "newsletter"),
        ('separator: ";"', 'separator: ","', "newsletter"),
        ("ids: name", "ids: id", "newsletter"),
        ("formula_guard: true", "formula_guard: false", "newsletter"),
        ("types: [order, visit]", "types: [order]", "newsletter"),
        ("last_days: 30", "last_days: 31", "newsletter"),
        ("interactions: viewed", "interactions: clicked", "newsletter"),
    ],
)
def test_what_decides_the_result_of_a_goal_changes_its_fingerprint_alone(fingerprints, old, new, goal):
    assert changed(fingerprints(), fingerprints(old, new)) == {goal}


@pytest.mark.parametrize(
    ("subject", "name", "declared", "goals"),
    [
        ("event_types", "order", {"fields": {"status": {"type": "number"}}}, {"orders", "newsletter", "everybody"}),
        (
            "event_types",
            "order",
            {"name": "Sale", "fields": {"status": {"multiple": "no"}, "product": {"fields": {"colour": {}}}}},
            set(),
        ),
        ("event_types", "visit", {"priority": "high"}, {"orders", "newsletter"}),
        ("event_types", "call", {}, set()),
        ("segments", "buyers", {"any": [{"property": "shop_last_order", "last_days": "31"}]}, {"newsletter"}),
        ("segments", "another", {"any": [{"property": "email", "has_value": "true"}]}, {"newsletter"}),
        ("properties", "shop_revenue", {"type": "number"}, {"newsletter"}),
        ("properties", "household", {"type": "text", "group_type": "other"}, {"orders"}),
        ("properties", "score", {"type": "number"}, set()),
    ],
)
def test_definitions_count_for_the_goals_that_build_on_them(fingerprints, tenant, subject, name, declared, goals):
    data = tenant.model.model_dump(by_alias=True, exclude_unset=True)
    data[subject] = {**data[subject], name: declared}
    plain = Tenant.model_validate(tenant.model.model_dump(by_alias=True, exclude_unset=True))
    assert changed(fingerprints(model=plain), fingerprints(model=Tenant.model_validate(data))) == goals


def test_properties_of_groups_count_for_group_imports_and_for_what_looks_at_them(fingerprints, tenant):
    data = tenant.model.model_dump(by_alias=True, exclude_unset=True)
    data["group_types"]["household"]["properties"]["household_city"] = {"type": "number"}
    plain = Tenant.model_validate(tenant.model.model_dump(by_alias=True, exclude_unset=True))
    found = changed(fingerprints(model=plain), fingerprints(model=Tenant.model_validate(data)))
    assert found == {"households", "newsletter"}
