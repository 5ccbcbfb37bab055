"""Checks of events, groups and exports, on the connection with one goal of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosswalk.config.checks import check_connection
from crosswalk.config.loader import LoadedTenant, load_connection, load_connections, load_tenant
from crosswalk.config.tenant import Tenant
from crosswalk.core.errors import Finding
from tests.unit.config.conftest import FIXTURES, GOOD, codes

TEXT = (GOOD / "all_goals.yaml").read_text(encoding="utf-8")


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.fixture
def find(tmp_path: Path, tenant: LoadedTenant):
    """What the check finds after replacing a text, but for what the unchanged file has anyway."""

    def run(*changes: tuple[str, str], model: Tenant | None = None) -> list[Finding]:
        text = TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "all_goals.yaml"
        path.write_text(text, encoding="utf-8")
        usual = {"goal_disabled", "no_interactions", "no_addresses"}
        found = check_connection(load_connection(path), model or tenant)
        return [finding for finding in found if finding.code not in usual]

    return run


def test_the_connection_with_all_kinds_of_goals_is_sound(find):
    assert find() == []


@pytest.mark.parametrize(
    ("old", "new", "severity", "code", "part"),
    [
        (
            "type: order\n",
            "type: ordr\n",
            "error",
            "unknown_event_type",
            "`ordr` (did you mean `order`?); known are order",
        ),
        (
            "id: orders.order_id\n        date",
            "id: lines.id\n        date",
            "error",
            "event_id_not_primary",
            "Put file lines first",
        ),
        (
            "id: orders.order_id\n        date",
            "id: customers.id\n        date",
            "warning",
            "event_id_not_primary",
            "is not in the primary file, orders",
        ),
        ("date: orders.ordered_at", "date: lines.at", "error", "nested_field", "events: date: file lines"),
        ("date: orders.ordered_at", "date: ordered_at", "error", "unknown_field", "as in orders.ordered_at"),
        ("field: orders.kind", "field: lines.kind", "error", "nested_field", "events: when"),
        ("total_revenue: orders", "total: orders", "error", "unknown_event_field", "\n  total: {type: text}"),
        (
            "total_revenue: orders.total",
            "total_revenue: order.total",
            "error",
            "unknown_file",
            "(did you mean `orders`?)",
        ),
        ("total_revenue: orders", "total_revenue: lines", "error", "nested_field", "events: total_revenue"),
        ("coupon: lines.coupon", "product: lines.coupon", "error", "nested_event_field", "map them under `nested:`"),
        ("product: {file: lines", "coupon: {file: lines", "error", "nested_event_field", "map it under `fields:`"),
        (
            "product: {file: lines",
            "products: {file: lines",
            "error",
            "unknown_event_field",
            "(did you mean `product`?)",
        ),
        (
            "product: {file: lines",
            "product: {file: customers",
            "error",
            "details_not_nested",
            "one row per primary row",
        ),
        ("product: {file: lines", "product: {file: line", "error", "unknown_file", "(did you mean `lines`?)"),
        (
            "colour: products",
            "color: products",
            "error",
            "unknown_event_field",
            "no field `color` (did you mean `colour`?)",
        ),
        ("{id: lines.sku, name", "{sku: lines.sku, name", "error", "product_store_without_products", "by `id`; map it"),
    ],
)
def test_a_wrong_event_is_told_at_its_line(find, old, new, severity, code, part):
    found = [finding for finding in find((old, new)) if finding.code == code]
    assert [finding.severity for finding in found] == [severity]
    assert part in found[0].message
    at = TEXT.replace(old, new, 1).splitlines()[found[0].line - 1]
    assert new.split("\n")[0].split(":")[0] in at or "product_store" in at


def test_details_from_two_nested_files_do_not_mix(find):
    block = "      - {name: products,"
    other = "      - {name: gifts, path: /in/g.csv, link: {order_id: orders.order_id}, nested: true}\n"
    (finding,) = find((block, other + block), ("colour: products.colour", "colour: gifts.colour"))
    assert finding.code == "nested_field"
    assert "file gifts hangs on another nested file than lines" in finding.message


def test_an_update_that_replaces_all_details_is_warned_of(find):
    refund = "strategy: update_or_create\n"
    details = "        nested: {product: {file: lines, fields: {name: lines.name}}}\n"
    (finding,) = find((refund, refund + details))
    assert (finding.severity, finding.code) == ("warning", "details_without_identifier")
    assert find((refund, refund + details.replace("name: lines", "id: lines"))) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "part"),
    [
        ("group_type: household\n", "group_type: houshold\n", "unknown_group_type", "group_types.yaml has: household"),
        ("property: household_id", "property: household_city", "identifier_not_unique", "can recognise a group"),
        (
            "property: household_id",
            "property: email",
            "unknown_property",
            "group type household has no property `email`",
        ),
        (
            "property: city, strategy: set_or",
            "property: town, strategy: set_or",
            "unknown_property",
            "\n  household_town: {type: text}",
        ),
        ("field: households.city", "field: housholds.city", "unknown_file", "(did you mean `households`?)"),
        ("prefix: household_", "prefix: home_", "unknown_property", "(ids begin with household_)"),
        (
            "property: city, strategy: set_or_clear",
            "property: id, strategy: set_or_clear",
            "clears_identifier",
            "recognises groups",
        ),
        ("regex: '.*\\.txt'", "regex: '(a'", "invalid_regex", "not a regular expression"),
    ],
)
def test_a_wrong_group_goal_is_told_at_its_line(find, old, new, code, part):
    found = [finding for finding in find((old, new)) if finding.code == code]
    assert found
    assert part in found[0].message
    assert found[0].severity == "error"
    assert TEXT.splitlines()[found[0].line - 1].strip()


def test_without_any_group_type_the_goal_says_how_to_define_one(find, tenant):
    model = tenant.model.model_copy(update={"group_types": {}})
    found = [f for f in find(model=model) if f.code == "unknown_group_type" and f.message.startswith("Goal households")]
    assert "the tenant model has no group type yet" in found[0].message
    assert (
        "group_types:\n  household:\n    properties:\n      household_id: {type: text, identifier: unique}"
        in found[0].message
    )
    assert not [
        f for f in find(model=model) if f.message.startswith("Goal households") and f.code == "unknown_property"
    ]


def test_the_lines_that_define_a_group_type_do_define_one(find, tenant, tmp_path):
    model = tenant.model.model_copy(update={"group_types": {}})
    (found,) = [f for f in find(model=model) if f.code == "unknown_group_type" and "group type yet" in f.message][:1]
    folder = tmp_path / "tenant"
    folder.mkdir()
    (folder / "group_types.yaml").write_text(found.message.split("group_types.yaml:\n")[1])
    assert load_tenant(folder).model.group_types["household"].identifier == "household_id"


@pytest.mark.parametrize(
    ("old", "new", "severity", "code", "part"),
    [
        (
            "segment: newsletter_readers",
            "segment: newsleter_readers",
            "error",
            "unknown_segment",
            "there are newsletter_readers, buyers, others, all_profiles",
        ),
        ("directory: /out\n", "directory: /out/../etc\n", "error", "invalid_path", "`..`"),
        ("directory: /out\n", "directory: /out*\n", "error", "invalid_path", "wildcards"),
        (
            "custom: everybody.csv",
            "custom: all/everybody.csv",
            "error",
            "invalid_file_name",
            "belongs into `directory`",
        ),
        ("custom: everybody.csv", "custom: .hidden", "error", "invalid_file_name", "no plain file name"),
        ("custom: everybody.csv", "custom: x.csv.part", "error", "invalid_file_name", "files under way"),
        (
            "custom: everybody.csv}",
            "custom: e.csv}\n    incremental: true",
            "error",
            "incremental_custom_name",
            "segment_and_timestamp",
        ),
        ('multi_value: "|"', 'multi_value: "||"', "error", "ambiguous_separator", "begin as it ends"),
        ('multi_value: "|"', "multi_value: '\\'", "error", "ambiguous_separator", "backslash"),
        (
            'separator: ";", decimal: ",", quote',
            'separator: "§§§", decimal: ",", quote',
            "error",
            "separator_too_long",
            "4",
        ),
        ("encoding: utf-16", "encoding: utf17", "error", "unknown_encoding", "utf17"),
        ('date: "%d/%m/%Y"', "date: dd/MM/yyyy", "error", "invalid_date_pattern", "Did you mean %d/%m/%Y?"),
        ("timezone: UTC, enc", "timezone: Mars, enc", "error", "unknown_timezone", "Mars"),
        ('multi_value: "|", date', "multi_value: ';', date", "error", "same_separators", "must differ"),
        (
            "{property: email, as: mail}",
            "{property: emial, as: mail}",
            "error",
            "unknown_property",
            "(did you mean `email`?)",
        ),
        ("{property: creationdate}", "{property: profile_id}", "error", "unknown_property", "`{profile_id: true}`"),
        (
            "{group_type: household, property: household_city}}",
            "{group_type: home, property: household_city}}",
            "error",
            "unknown_group_type",
            "has: household",
        ),
        (
            "property: household_city}}",
            "property: city}}",
            "error",
            "unknown_property",
            "it has household_id, household_city",
        ),
        ("[buyers, all_profiles]", "[buyrs]", "error", "unknown_segment", "(did you mean `buyers`?)"),
        ("as: seen", "as: segments", "error", "duplicate_header", "two columns are called `segments`"),
        ("types: [order, visit]", "types: [order, visits]", "error", "unknown_event_type", "(did you mean `visit`?)"),
        (
            "columns: [{property: email}]",
            "columns: [{property: creationdate}]",
            "error",
            "no_property_column",
            "always be empty",
        ),
    ],
)
def test_a_wrong_export_is_told_at_its_line(find, old, new, severity, code, part):
    found = [finding for finding in find((old, new)) if finding.code == code]
    assert [finding.severity for finding in found] == [severity]
    assert part in found[0].message
    line = TEXT.replace(old, new, 1).splitlines()[found[0].line - 1]
    words = new.replace("\n", " ").replace("[", " ").replace("{", " ").split()
    assert any(word.strip(" ,:]}") in line for word in words)


def test_epoch_milliseconds_are_a_way_to_write_dates(find):
    assert find(('date: "%d/%m/%Y"', "date: epoch_ms")) == []


def test_a_group_type_without_members_leaves_the_column_empty(find, tenant):
    properties = {name: item for name, item in tenant.model.properties.items() if name != "household"}
    found = find(
        ("property: household}", "property: shop_city}"),
        model=tenant.model.model_copy(update={"properties": properties}),
    )
    assert codes(found) == ["group_type_not_linked"]


def test_interactions_without_their_property_are_warned_of_until_it_is_declared(tenant):
    loaded = load_connection(GOOD / "all_goals.yaml")
    (found,) = [f for f in check_connection(loaded, tenant) if f.code == "no_interactions"]
    assert found.severity == "warning"
    assert found.message.endswith("\n  interactions_viewed: {type: text}")
    declared = {**tenant.model.properties, "interactions_viewed": tenant.model.properties["shop_city"]}
    model = tenant.model.model_copy(update={"properties": declared})
    assert "no_interactions" not in codes(check_connection(loaded, model))


def test_an_export_is_refused_while_its_segment_is_wrong(find, tenant):
    objectives = {"personalisation": tenant.model.objectives["personalisation"]}
    found = find(("objectives: [newsletter]\n", ""), model=tenant.model.model_copy(update={"objectives": objectives}))
    assert set(codes(found)) == {"unknown_objective"}
    assert "segment newsletter_readers cannot be used: There is no objective `newsletter`" in found[0].message


# output files


def test_two_goals_that_write_the_same_file_are_refused(find):
    (found,) = find(
        ("file_name: {segment_and_timestamp: true}", "file_name: {custom: everybody.csv.gz}"),
        ("compress: gzip", "compress: none"),
        ("incremental: true", "incremental: false"),
        ("directory: /out/all/", "directory: /out"),
        ("{custom: everybody.csv}", "{custom: everybody.csv}\n    format: {compress: gzip}"),
        ("types: order,", "types: email_opened,"),
    )
    assert (found.severity, found.code) == ("error", "duplicate_output")
    assert "Goal everybody: /out/everybody.csv.gz is also written by goal newsletter" in found.message


def test_event_files_of_two_goals_must_not_meet_either(find):
    found = find(
        ("file_name: {segment_and_timestamp: true}", "file_name: {custom: a.csv}"),
        ("compress: gzip", "compress: none"),
        ("incremental: true", "incremental: false"),
        ("directory: /out/all/", "directory: /out"),
    )
    assert codes(found) == ["duplicate_output", "duplicate_output"]
    assert "/out/order.csv is" in found[0].message
    assert "/out/order_product.csv is" in found[1].message


def test_two_connections_to_the_same_server_must_not_write_the_same_file(tmp_path, tenant):
    (tmp_path / "one.yaml").write_text(TEXT)
    (tmp_path / "two.yaml").write_text(TEXT)
    (tmp_path / "three.yaml").write_text(TEXT.replace("conn_id: webshop_sftp", "conn_id: other_sftp"))
    loaded = {item.name: item for item in load_connections(tmp_path)}
    found = check_connection(loaded["one"], tenant, list(loaded.values()))
    told = [f.message for f in found if f.code == "duplicate_output"]
    assert any("/out/all/everybody.csv is also written by connection two, goal everybody" in text for text in told)
    assert any("/out/newsletter_readers_<timestamp>.csv.gz is also written by" in text for text in told)
    assert "duplicate_output" not in codes(check_connection(loaded["three"], tenant, list(loaded.values())))


def test_the_files_of_one_goal_must_not_meet_either(find):
    (found,) = find(("{custom: everybody.csv}", "{custom: order.csv}"))
    assert (found.severity, found.code) == ("error", "duplicate_output")
    assert "two files of this goal would be called order.csv" in found.message


# writing what another goal writes


def test_a_property_of_a_group_is_another_one_than_that_of_a_profile(tmp_path, tenant):
    (tmp_path / "one.yaml").write_text(TEXT)
    text = TEXT.replace("import_groups: households", "import_groups: homes")
    (tmp_path / "two.yaml").write_text(text)
    one, two = load_connections(tmp_path)
    found = [f for f in check_connection(one, tenant, [two]) if f.code == "existing_property"]
    assert [f.message.split("`")[1] for f in found] == [
        "household",
        "household/household_city",
        "household/household_income",
    ]
    assert "connection two, goal homes" in found[1].message


def test_the_fixtures_of_the_tenant_model_are_sound(tenant):
    from crosswalk.config.checks import check_tenant

    assert codes(check_tenant(load_tenant(FIXTURES / "tenant"))) == []


@pytest.mark.parametrize(
    ("line", "codes_found"),
    [
        ("{field: households.id, property: id}", []),
        ("{field: households.number, property: id}", ["group_id_mapped"]),
        ("{field: households.id, property: id, strategy: add}", []),
        ("{field: households.id, property: id, strategy: set_or_clear}", ["clears_identifier"]),
    ],
)
def test_only_the_linking_field_can_be_mapped_to_the_id_of_a_group(find, line, codes_found):
    old = "        - {field: households.city, property: city"
    found = find((old, f"        - {line}\n{old}"))
    assert [finding.code for finding in found if finding.severity == "error"] == codes_found
