from __future__ import annotations

import pytest

from crosswalk.config.loader import goal_fingerprint, load_connection
from crosswalk.config.tenant import Property
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
