from __future__ import annotations

import time

import pytest

from crosswalk.config.checks import check_connection, check_tenant
from crosswalk.config.links import link_states
from crosswalk.config.loader import load_connection, load_connections, load_tenant
from tests.unit.config.conftest import BASE, GOOD, codes


def mapping(*items: str, prefix: str = "") -> str:
    lines = "\n".join(f"    - {{{item}}}" for item in items)
    return f"mappings:\n  prefix: '{prefix}'\n  fields:\n{lines}"


def test_a_sound_connection_has_no_findings(check):
    assert check(goal=mapping("field: customers.city, property: shop_city")) == []


def test_the_good_fixtures_have_no_errors(tenant):
    for loaded in load_connections(GOOD):
        assert codes(check_connection(loaded, tenant, []), "error") == []


# line of the first mapping of the base text
FIRST = 17


@pytest.mark.parametrize(
    ("item", "code", "parts"),
    [
        (
            "field: customers.x, property: shop_cty",
            "unknown_property",
            ["(did you mean `shop_city`?)", "properties.yaml:\n  shop_cty: {type: text}"],
        ),
        (
            "field: customers.x, property: points, strategy: sum",
            "unknown_property",
            ["\n  points: {type: decimal, merge: sum}"],
        ),
        ("field: customers.x, property: born, date: '%Y-%m-%d'", "unknown_property", ["\n  born: {type: datetime}"]),
        ("field: customers.x, property: 'a b'", "unknown_property", ["`a b` is no property id"]),
        ("field: customers.x, property: creationdate", "read_only_property", ["kept by the system"]),
        ("field: customers.x, property: shop_city, strategy: sum", "sum_not_numeric", ["`shop_city` is of type text"]),
        (
            "field: customers.x, property: email, strategy: set_or_clear",
            "clears_identifier",
            ["`email` recognises profiles"],
        ),
        ("field: lines.sku, property: shop_categories", "nested_strategy", ["`strategy: add`"]),
        ("field: lines.sku, property: shop_categories, strategy: set", "nested_strategy", ["`lines.sku`"]),
        ("field: custmers.x, property: shop_city", "unknown_file", ["no file `custmers` (did you mean `customers`?)"]),
        ("field: city, property: shop_city", "unknown_field", ["as in orders.city"]),
        ("field: customers., property: shop_city", "unknown_field", ["column is missing"]),
        (
            "field: customers.x, property: shop_last_order, date: dd/MM/yyyy",
            "invalid_date_pattern",
            ["Did you mean %d/%m/%Y?"],
        ),
        (
            "field: customers.x, property: shop_last_order, timezone: Europe/Brusels",
            "unknown_timezone",
            ["Europe/Brussels"],
        ),
    ],
)
def test_a_wrong_mapping_is_an_error_at_its_line(check, item, code, parts):
    findings = [f for f in check(goal=mapping("field: customers.c, property: score", item)) if f.severity == "error"]
    assert codes(findings) == [code]
    assert findings[0].line == FIRST + 1
    assert findings[0].message.startswith("Goal orders: ")
    for part in parts:
        assert part in findings[0].message


def test_lines_to_copy_end_without_a_full_stop(check):
    (finding,) = check(goal=mapping("field: customers.x, property: points"))
    assert finding.message.splitlines()[-1] == "  points: {type: text}"


def test_a_prefix_counts_for_the_target(check):
    assert check(goal=mapping("field: customers.city, property: city", prefix="shop_")) == []
    (finding,) = check(goal=mapping("field: customers.city, property: shop_city", prefix="shop_"))
    assert "`shop_shop_city`" in finding.message


@pytest.mark.parametrize("strategy", ["add", "sum"])
def test_fields_of_nested_files_may_be_added_and_summed(check, strategy):
    target = "shop_categories" if strategy == "add" else "shop_revenue"
    assert check(goal=mapping(f"field: lines.x, property: {target}, strategy: {strategy}")) == []


def test_a_file_that_hangs_on_a_nested_file_is_nested_too(load, tenant):
    text = BASE.replace("SETTINGS", "").replace(
        "GOAL", "    mappings: {fields: [{field: products.name, property: score}]}"
    )
    text = text.replace(
        "{id: orders.customer}}",
        "{id: orders.customer}}\n      - {name: products, path: /p.csv, link: {sku: lines.sku}}",
    )
    assert codes(check_connection(load(text=text), tenant), "error") == ["nested_strategy"]


def test_nested_fields_cannot_recognise_consent_or_key(load, tenant):
    text = BASE.replace("SETTINGS", "").replace("customers.email", "lines.email").replace("[orders.id]", "[lines.id]")
    text = text.replace("GOAL", "    consent: [{field: lines.ok, objective: newsletter, granted: [y]}]")
    assert codes(check_connection(load(text=text), tenant), "error") == ["nested_field"] * 3


def test_one_property_has_one_strategy_in_a_goal(check):
    same = mapping("field: orders.a, property: shop_city", "field: customers.b, property: shop_city, strategy: set")
    assert check(goal=same) == []
    other = mapping("field: orders.a, property: shop_city", "field: customers.b, property: shop_city, strategy: add")
    (finding,) = check(goal=other)
    assert (finding.code, finding.line) == ("two_strategies", FIRST + 1)
    assert "with set and with add" in finding.message


def test_the_default_strategy_of_text_with_a_multi_value_separator_is_add(check):
    goal = "format: {multi_value: '|'}\n" + mapping(
        "field: orders.a, property: shop_city", "field: customers.b, property: shop_city, strategy: add"
    )
    assert check(goal=goal) == []
    goal = mapping(
        "field: orders.a, property: shop_city, multi_value: '|'", "field: orders.b, property: shop_city, strategy: add"
    )
    assert check(goal=goal) == []


def test_sum_without_a_row_key_is_a_warning(load, tenant):
    goal = "\n".join(
        f"    {line}" for line in mapping("field: orders.x, property: shop_revenue, strategy: sum").splitlines()
    )
    with_key = BASE.replace("SETTINGS", "").replace("GOAL", goal)
    without = with_key.replace("    row_key: [orders.id]\n", "")
    assert check_connection(load(text=with_key), tenant) == []
    (finding,) = check_connection(load(text=without), tenant)
    assert (finding.severity, finding.code) == ("warning", "counter_without_row_key")
    assert "row_key: [orders.order_id]" in finding.message


def test_settings_without_effect_are_warned_of(check):
    findings = check(goal=mapping("field: orders.x, property: shop_city, date: '%d/%m/%Y', decimal: ','"))
    assert codes(findings, "warning") == ["no_effect", "no_effect"]


# identifiers, consent, objectives


@pytest.mark.parametrize(
    ("identifier", "code"),
    [
        ("{field: customers.x, property: device}", "identifier_not_unique"),
        ("{field: customers.x, property: shop_city}", "identifier_not_unique"),
        ("{field: customers.x, property: emial}", "unknown_property"),
        ("{field: customers.x, property: sample_id}", "read_only_property"),
        ("{field: custmers.x, property: email}", "unknown_file"),
    ],
)
def test_identifiers_must_be_unique_identifiers_of_the_tenant(load, tenant, identifier, code):
    text = (
        BASE.replace("SETTINGS", "")
        .replace("GOAL", "")
        .replace("{field: customers.email, property: email}", identifier)
    )
    (finding,) = check_connection(load(text=text), tenant)
    assert (finding.severity, finding.code, finding.line) == ("error", code, 12)


def test_an_unknown_identifier_is_suggested_as_a_unique_one(load, tenant):
    text = BASE.replace("SETTINGS", "").replace("GOAL", "").replace("property: email}", "property: card}")
    (finding,) = check_connection(load(text=text), tenant)
    assert finding.message.endswith("\n  card: {type: text, identifier: unique}")


@pytest.mark.parametrize(
    ("consent", "code"),
    [
        ("{field: customers.x, objective: newsleter, granted: [y]}", "unknown_objective"),
        ("{field: customers.x, objective: newsletter}", "empty_consent"),
        ("{field: customers.x, objective: newsletter, granted: [Yes], refused: [' yes ']}", "contrary_consent"),
        ("{field: cust.x, objective: newsletter, granted: [y]}", "unknown_file"),
    ],
)
def test_consent_columns_are_checked(check, consent, code):
    (finding,) = check(goal=f"consent: [{consent}]")
    assert (finding.severity, finding.code, finding.line) == ("error", code, 14)


def test_unknown_objectives_of_the_connection_name_the_known_ones(check):
    (finding,) = check("objectives: [newsletter, personalization]")
    assert (finding.code, finding.line) == ("unknown_objective", 5)
    assert "(did you mean `personalisation`?)" in finding.message
    assert "newsletter, personalisation" in finding.message


# files, links, formats


def files(*blocks: str) -> str:
    listed = "\n".join(f"      - {{{block}}}" for block in blocks)
    head = "kind: sftp\ntitle: x\nconn_id: x\nnotifications: {emails: [a@example.org]}\n"
    head += "goals:\n  - import_profiles: orders\n"
    return f"{head}    identifiers: [{{field: a.email, property: email}}]\n    files:\n{listed}\n"


A = "name: a, path: /a.csv"


@pytest.mark.parametrize(
    ("blocks", "code", "line", "part"),
    [
        ([A, "name: b, path: /b.csv"], "file_not_linked", 10, "file b: not linked"),
        (
            [A, "name: b, path: /b.csv, link: {x: c.y}", "name: c, path: /c.csv, link: {x: a.y}"],
            "incorrect_link",
            10,
            "`c` comes later",
        ),
        ([A, "name: b, path: /b.csv, link: {x: b.y}"], "incorrect_link", 10, "linked to itself"),
        ([A, "name: b, path: /b.csv, link: {x: d.y}"], "incorrect_link", 10, "no earlier file `d`; there are a"),
        ([A, "name: b, path: /b.csv, link: {x: a}"], "incorrect_link", 10, "incomplete"),
        ([A, "name: b, path: /b.csv, link: {x: a.}"], "incorrect_link", 10, "incomplete"),
        ([A, "name: b, path: /b.csv, link: {'': a.y}"], "incorrect_link", 10, "incomplete"),
        ([f"{A}, link: {{x: b.y}}"], "incorrect_link", 9, "primary file"),
        ([f"{A}, nested: true"], "nested_primary", 9, "cannot be nested"),
        ([A, "name: A, path: /b.csv, link: {x: a.y}"], "duplicate_file", 10, "two files are called `A`"),
        (["name: a, path: '/in/*/a.csv'"], "invalid_path", 9, "not for its folder"),
        (["name: a, path: /in/../a.csv"], "invalid_path", 9, "`..`"),
        (["name: a, path: '/in/*.csv', regex: 'a.*'"], "invalid_path", 9, "take the wildcard out"),
        (["name: a, path: /in/, regex: '(?=a)'"], "invalid_regex", 9, "Look-around"),
        (["name: a, path: /in/, regex: '(a'"], "invalid_regex", 9, "not a regular expression"),
        ([f"{A}, format: {{encoding: utf8000}}"], "unknown_encoding", 9, "windows-1252"),
        ([f"{A}, format: {{timezone: Mars/Base}}"], "unknown_timezone", 9, "Mars/Base"),
        ([f"{A}, format: {{date: '%Q'}}"], "invalid_date_pattern", 9, "%Q"),
        ([f"{A}, format: {{separator: '|', multi_value: '|'}}"], "same_separators", 9, "must differ"),
    ],
)
def test_file_blocks_are_checked(load, tenant, blocks, code, line, part):
    (finding,) = [f for f in check_connection(load(text=files(*blocks)), tenant) if f.severity == "error"]
    assert (finding.code, finding.line) == (code, line)
    assert part in finding.message


def test_a_decimal_comma_with_a_comma_as_separator_is_a_warning(check):
    (finding,) = check(goal="format: {decimal: ','}")
    assert (finding.severity, finding.code) == ("warning", "decimal_is_separator")


def test_link_states_are_clear_or_red_with_a_reason(load):
    goal = load(text=files(A, "name: b, path: /b.csv, link: {x: a.y, z: q.y}", "name: c, path: /c.csv")).model.goals[0]
    states = link_states(goal)
    assert [(s.file, s.column, s.target, s.status) for s in states] == [
        ("b", "x", "a.y", "clear"),
        ("b", "z", "q.y", "red"),
        ("c", None, None, "red"),
    ]
    assert states[0].reason == ""
    assert all(state.reason for state in states[1:])
    assert {state.goal for state in states} == {"orders"}


def test_links_turn_red_when_a_header_lacks_their_column(load):
    goal = load(text=files(A, "name: b, path: /b.csv, link: {x: a.y}")).model.goals[0]
    assert [s.status for s in link_states(goal, {"a": ["y"], "b": ["x"]})] == ["clear"]
    assert [s.reason for s in link_states(goal, {"a": ["Y"]})] == ["file a has no column `y`"]
    assert [s.reason for s in link_states(goal, {"b": []})] == ["file b has no column `x`"]


def test_processors_are_one_name_with_settings(check):
    findings = check(
        goal="processors:\n"
        "  - {trim: {field: orders.a}, case: {}}\n"
        "  - trim: {field: oders.a}\n"
        "  - trm: {field: orders.b}",
        processors=["trim"],
    )
    assert [(f.code, f.line) for f in findings] == [
        ("invalid_processor", 15),
        ("unknown_file", 16),
        ("unknown_processor", 17),
    ]
    assert "(did you mean `trim`?); known are trim" in findings[2].message


def test_fields_made_by_processors_have_no_file(check):
    goal = "processors: [{concatenate: {to: full_name}}]\n" + mapping("field: full_name, property: shop_city")
    assert check(goal=goal) == []


# connection


@pytest.mark.parametrize(
    ("settings", "severity", "code", "part"),
    [
        ("timezone: Europe/Brusels", "error", "unknown_timezone", "did you mean Europe/Brussels?"),
        ("schedule: {cron: '0 6 * *'}", "error", "invalid_cron", "has 4 fields"),
        ("schedule: {cron: '0 0 6 * * *'}", "error", "invalid_cron", "six fields"),
        ("schedule: {cron: '0 6 * * FRI#L'}", "error", "invalid_cron", "The last Friday is L5"),
        ("schedule: {cron: '0 6 31 2 *'}", "error", "invalid_cron", "never occurs"),
        ("schedule: {cron: 'R 6 * * *'}", "error", "invalid_cron", "chance"),
        ("schedule: {cron: '0 6 1 * MON'}", "warning", "cron_either_day", "one or the other"),
        ("schedule: {cron: '0 6 30 * *'}", "warning", "day_not_in_every_month", "skipped"),
        ("schedule: {days_of_month: [1, 31, 30]}", "warning", "day_not_in_every_month", "day 30 and 31"),
        ("enabled: false", "info", "connection_disabled", "switched off"),
    ],
)
def test_settings_of_the_connection_are_checked(check, settings, severity, code, part):
    (finding,) = check(settings)
    assert (finding.severity, finding.code, finding.line) == (severity, code, 5)
    assert part in finding.message


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        ("{emails: [a@example.org], on_success: true, on_failure: false}", [("warning", "success_without_failure")]),
        ("{emails: [a@example.org], on_success: true}", []),
        ("{emails: []}", [("info", "no_addresses")]),
        ("{on_failure: false}", []),
    ],
)
def test_notifications_are_checked(load, tenant, mail, expected):
    text = BASE.replace("SETTINGS", "").replace("GOAL", "").replace("{emails: [ops@example.org]}", mail)
    assert [(f.severity, f.code) for f in check_connection(load(text=text), tenant)] == expected


def test_an_unknown_kind_is_refused_where_the_kinds_are_known(load, tenant):
    text = BASE.replace("SETTINGS", "").replace("GOAL", "").replace("kind: sftp", "kind: stfp")
    loaded = load(text=text)
    assert check_connection(loaded, tenant) == []
    (finding,) = check_connection(loaded, tenant, kinds=["sftp"])
    assert (finding.code, finding.line) == ("unknown_kind", 1)
    assert "did you mean `sftp`" in finding.message


def test_goals_switched_off_are_noted(check):
    assert codes(check(goal="enabled: false")) == ["no_goal_enabled", "goal_disabled"]


def test_two_goals_of_one_name_are_refused(load, tenant):
    text = BASE.replace("SETTINGS", "").replace("GOAL", "")
    goal = text[text.index("  - import_profiles") :]
    findings = check_connection(load(text=text + goal.replace("orders\n", "ORDERS\n", 1)), tenant)
    assert codes(findings, "error") == ["duplicate_goal"]


# other connections


@pytest.fixture
def several(tmp_path, tenant):
    """Checks one of several connections; texts by name."""

    def run(name: str, **texts: str) -> list:
        for key, text in texts.items():
            (tmp_path / f"{key}.yaml").write_text(text)
        loaded = load_connections(tmp_path)
        return check_connection(next(item for item in loaded if item.name == name), tenant, loaded)

    return run


def waiting(*names: str) -> str:
    settings = f"schedule: {{after: [{', '.join(names)}]}}" if names else ""
    return BASE.replace("SETTINGS", settings).replace("GOAL", "")


def test_waiting_for_other_connections_is_checked(several):
    assert several("a", a=waiting("b"), b=waiting()) == []
    (finding,) = several("a", a=waiting("bb"), b=waiting())
    assert (finding.code, finding.line) == ("unknown_connection", 5)
    assert "(did you mean `b`?)" in finding.message


@pytest.mark.parametrize("last", ["a", "c"])
def test_connections_that_wait_for_each_other_are_refused(several, last):
    findings = several("a", a=waiting("b"), b=waiting("c"), c=waiting(last))
    assert codes(findings) == (["circular_after"] if last == "a" else [])
    if findings:
        assert "a waits for b waits for c waits for a" in findings[0].message


def test_a_connection_cannot_wait_for_itself(several):
    assert codes(several("a", a=waiting("a"), b=waiting())) == ["circular_after"]


def test_waiting_for_a_broken_connection_is_no_unknown_connection(several):
    assert several("a", a=waiting("b"), b="broken") == []


def test_without_other_connections_waiting_is_not_refused(load, tenant):
    assert check_connection(load(text=waiting("elsewhere")), tenant, []) == []


def test_a_property_that_another_goal_writes_is_warned_of_until_acknowledged(several):
    one = BASE.replace("SETTINGS", "").replace(
        "GOAL", "    mappings: {fields: [{field: orders.c, property: shop_city}]}"
    )
    two = one.replace("import_profiles: orders", "import_profiles: people")
    (finding,) = several("a", a=one, b=two)
    assert (finding.severity, finding.code, finding.line) == ("warning", "existing_property", 14)
    assert "`shop_city` is also written by connection b, goal people" in finding.message
    assert several("a", a=one.replace("shop_city}", "shop_city, existing: true}"), b=two) == []


def test_two_goals_of_one_connection_are_warned_of_too(load, tenant):
    text = BASE.replace("SETTINGS", "").replace(
        "GOAL", "    mappings: {fields: [{field: orders.c, property: shop_city}]}"
    )
    goal = text[text.index("  - import_profiles") :].replace("import_profiles: orders", "import_profiles: other")
    assert codes(check_connection(load(text=text + goal), tenant)) == ["existing_property"] * 2


def test_findings_come_in_the_order_of_their_lines_with_their_file(check, tmp_path):
    findings = check("timezone: Mars\nschedule: {cron: x}\nobjectives: [x]", mapping("field: a.b, property: c"))
    lines = [finding.line for finding in findings]
    assert lines == sorted(lines)
    assert len(set(lines)) == 4
    assert {finding.file for finding in findings} == {str(tmp_path / "orders.yaml")}


def test_every_finding_of_a_hopeless_goal_comes_at_once(check):
    goal = "match: all\nformat: {encoding: x, date: y}\n" + mapping(
        "field: q.a, property: nope, strategy: sum", "field: lines.x, property: email"
    )
    assert sorted(set(codes(check("timezone: x", goal)))) == [
        "invalid_date_pattern",
        "nested_strategy",
        "unknown_encoding",
        "unknown_file",
        "unknown_property",
        "unknown_timezone",
    ]


def test_checking_two_hundred_connections_is_quick(tmp_path, tenant):
    text = (GOOD / "webshop_orders.yaml").read_text()
    for number in range(200):
        (tmp_path / f"connection_{number}.yaml").write_text(text)
    loaded = load_connections(tmp_path)
    start = time.process_time()
    for item in loaded:
        check_connection(item, tenant, loaded)
    assert time.process_time() - start < 2


# the tenant model


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("  x: {type: currency}", "missing_currency", 3),
        ("  x: {merge: sum}", "merge_of_text", 3),
        ("  profile_id: {}", "read_only_property", 3),
        ("  x: {}\n  X: {}", "similar_properties", 4),
        ("  x: {group_type: houshold}", "unknown_group_type", 3),
    ],
)
def test_the_tenant_model_is_checked(tmp_path, text, code, line):
    (tmp_path / "properties.yaml").write_text(f"properties:\n  email: {{identifier: unique}}\n{text}\n")
    (tmp_path / "group_types.yaml").write_text(
        "group_types: {household: {properties: {household_id: {identifier: unique}}}}\n"
    )
    (finding,) = [f for f in check_tenant(load_tenant(tmp_path)) if f.severity != "info"]
    assert (finding.code, finding.line, finding.file) == (code, line, str(tmp_path / "properties.yaml"))


def test_a_tenant_without_identifier_is_warned_of(tmp_path):
    (tmp_path / "properties.yaml").write_text("properties:\n  x: {}\n")
    assert codes(check_tenant(load_tenant(tmp_path))) == ["no_identifier_declared"]


def test_the_model_alone_serves_as_well_as_the_loaded_tenant(tenant):
    loaded = load_connection(GOOD / "webshop_orders.yaml")
    assert check_connection(loaded, tenant.model) == check_connection(loaded, tenant)
