from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from crosswalk.config.connection import slug
from crosswalk.config.loader import (
    BrokenConnection,
    LoadedConnection,
    find_connections_folder,
    find_tenant_folder,
    load_connection,
    load_connections,
    load_tenant,
)
from crosswalk.core.errors import ConfigError
from tests.unit.config.conftest import FIXTURES, GOOD, codes

BAD = sorted((FIXTURES / "connections" / "bad").glob("*.yaml"))


def test_a_complete_connection_is_read_with_its_types():
    loaded = load_connection(GOOD / "webshop_orders.yaml")
    model = loaded.model
    assert loaded.name == "webshop_orders"
    assert loaded.dag_id == "sftp__webshop_orders"
    assert model.guards.max_created == 50_000
    assert model.notifications.on_failure is True
    goal = model.goals[0]
    assert goal.name == "orders"
    assert goal.mark_done is True
    assert goal.format.separator == ";"
    assert goal.file_format("products").header_rows == 2
    assert goal.file_format("products").separator == ";"
    assert goal.consent[0].granted == ["yes"]
    assert loaded.line("goals", 0, "mappings", "fields", 1, "property") == 36
    assert len(loaded.fingerprint) == 64


def test_an_id_replaces_the_name_of_the_file():
    loaded = load_connection(GOOD / "scores.yaml")
    assert loaded.name == "nightly_scores"
    assert loaded.dag_id == "sftp__nightly_scores"


@pytest.mark.parametrize("path", sorted(GOOD.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_good_fixture_loads(path):
    assert isinstance(load_connection(path), LoadedConnection)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_bad_fixture_is_refused_at_the_line_it_says(path):
    """A bad fixture marks each wrong line with a comment ``# refused: code``."""
    expected = {
        (number, line.split("# refused:")[1].strip())
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if "# refused:" in line
    }
    assert expected
    with pytest.raises(ConfigError) as raised:
        load_connection(path)
    found = {(finding.line, finding.code) for finding in raised.value.findings}
    assert found == expected
    assert all(finding.file == str(path) for finding in raised.value.findings)


def test_words_that_yaml_would_change_arrive_as_text(load):
    loaded = load("title: NO\ndescription: 12:30:00\nlabels: [1.10, off, 007]".replace("title: NO\n", ""))
    assert loaded.model.description == "12:30:00"
    assert loaded.model.labels == ["1.10", "off", "007"]


@pytest.mark.parametrize(
    ("text", "value"), [("no", False), ("off", False), ("true", True), ("Yes", True), ('"on"', True)]
)
def test_declared_booleans_are_read_from_words(load, text, value):
    assert load(f"enabled: {text}").model.enabled is value


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ("titel: x", ["Unknown key `titel`", "Known here: approve"]),
        ("lables: [x]", ["Unknown key `lables`", "Did you mean `labels`?"]),
        ("retries: many", ["`retries`: must be a whole number."]),
        ("retries: 50", ["`retries`: must be 20 or less."]),
        ("retries:", ["`retries`: there is no value"]),
        ("enabled: perhaps", ["`enabled`: must be true or false."]),
        ("labels: webshop", ["`labels`: must be a list"]),
        ("owner: Ann", ["`owner`: must be a block of keys and values."]),
        ("owner: {name: Ann, email: ann}", ["`owner.email`: must be an e-mail address."]),
        ("guards: {max_overwritten_share: 1.5}", ["must be 1.0 or less"]),
        ("guards: {max_overwritten_share: nan}", ["must be a number"]),
        ("guards: {empty_source: warm}", ["must be ok, warn or fail. Did you mean warn?"]),
        ("schedule: daily", ["`schedule`: not a schedule. Use one of manual"]),
        ("schedule: {every_minutes: 15, cron: x}", ["`schedule`: not a schedule."]),
        ("schedule: {every_minutes: 0}", ["`schedule.every_minutes`: must be 1 or more."]),
        ("schedule: {every_minutes: 15, att: x}", ["Unknown key `att` in `schedule`. Known here: every_minutes."]),
        ("schedule: {times_per_day: 5}", ["5 times do not divide a day evenly; use 1, 2, 3"]),
        ("schedule: {times_per_day: 2, at: ['06:00']}", ["times_per_day says 2 but at lists 1"]),
        ("schedule: {at: ['06:00', '06:00']}", ["at lists the same time twice"]),
        ("schedule: {days_of_week: [monday]}", ["must be mon, tue, wed, thu, fri, sat or sun. Did you mean mon?"]),
        ("schedule: {days_of_week: [mon], at: 7:30}", ['must be a time of day such as "07:30"']),
        ("schedule: {days_of_month: [32]}", ["must be a day from 1 to 31, or last."]),
        ("schedule: {weekday_of_month: {fifth: tue}}", ["the key must be first, second, third, fourth or last."]),
    ],
)
def test_a_wrong_setting_is_explained_in_plain_words_at_its_line(refused, settings, parts):
    findings = refused(settings)
    assert [finding.line for finding in findings] == [5]
    for part in parts:
        assert part in findings[0].message
    for jargon in ("Input should", "validation", "pydantic", "union", "literal"):
        assert jargon not in findings[0].message


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("title", "every connection needs a descriptive title"),
        ("kind", "which system"),
        ("conn_id", "Airflow connection"),
        ("goals", "at least one goal"),
    ],
)
def test_what_is_missing_is_named_with_its_purpose(write, missing, why):
    text = "\n".join(
        line for line in GOOD.joinpath("scores.yaml").read_text().splitlines() if not line.startswith(missing)
    )
    if missing == "goals":
        text = text[: text.index("  - import_profiles")]
    with pytest.raises(ConfigError) as raised:
        load_connection(write(text=text))
    finding = raised.value.findings[0]
    assert f"`{missing}` is missing" in finding.message
    assert why in finding.message
    assert finding.line is not None


@pytest.mark.parametrize(
    "text", ["kind: sftp\ntitle:\nconn_id: x\ngoals: []\n", "kind: sftp\ntitle: ''\nconn_id: x\ngoals: []\n"]
)
def test_an_empty_title_and_no_goals_are_both_reported_at_once(refused, text):
    findings = refused(text=text)
    assert [(finding.line, finding.message.split(":")[0]) for finding in findings] == [(2, "`title`"), (4, "`goals`")]
    assert "a connection needs at least one goal to run" in findings[1].message


def test_a_goal_of_no_kind_or_of_two_says_which_kinds_there_are(refused):
    head = "kind: sftp\ntitle: x\nconn_id: x\ngoals:\n"
    findings = refused(text=head + "  - {enabled: false}\n  - import_groups: a\n    export_profiles: b\n  - later\n")
    assert [(finding.code, finding.line) for finding in findings] == [
        ("goal_kind", 5),
        ("goal_kind", 7),
        ("goal_kind", 8),
    ]
    assert "Kinds: import_profiles, import_groups, export_profiles." in findings[0].message
    assert "one goal is of one kind, not import_groups and export_profiles." in findings[1].message


def test_a_goal_of_no_kind_does_not_hide_the_problems_of_the_next(refused):
    text = (
        "kind: sftp\ntitle: x\nconn_id: x\ngoals:\n  - files: []\n  - import_profiles: b\n    match: some\n"
        "    files: [{name: f, path: /f.csv}]\n    identifiers: [{field: f.a, property: email}]\n"
        "  - export_profiles: c\n"
    )
    assert [(finding.code, finding.line) for finding in refused(text=text)] == [
        ("goal_kind", 5),
        ("invalid_value", 7),
        *[("missing_key", 10)] * 4,
    ]


@pytest.mark.parametrize(
    ("goal", "line", "parts"),
    [
        ("export_profiles: x\n    match: any", 6, ["Unknown key `match`", "Known here: always_write, columns"]),
        ("import_groups: x\n    create_profiles: true", 6, ["Unknown key `create_profiles`", "mean `create_groups`?"]),
        ("import_profiles: x\n    events:\n    - {id: a.b}", 7, ["`type` is missing: it says which event type"]),
        (
            "import_profiles: x\n    events:\n    - {type: order, id: a.b, date: a.c, nestd: {}}",
            7,
            ["Unknown key `nestd` in `goals[1].events[1]`. Did you mean `nested`?"],
        ),
        (
            "export_profiles: x\n    columns: [{profile_id: true, text: a}]",
            6,
            ["a column is exactly one of profile_id, property", "this one has profile_id and text."],
        ),
        ("export_profiles: x\n    columns: [{as: a}]", 6, ["this one says nothing."]),
        ("export_profiles: x\n    columns: [{profile_id: false}]", 6, ["must be true; leave the column out"]),
        ("export_profiles: x\n    columns: [{segments: [], as: a}]", 6, ["all, or a list of segments"]),
        (
            "export_profiles: x\n    columns: [{text: a, As: b}]",
            6,
            ["Did you mean `as`?", "Known here: as, group_prop"],
        ),
        ("export_profiles: x\n    columns: []", 6, ["an export needs at least one column"]),
        ("export_profiles: x\n    file_name: {}", 6, ["give either {segment_and_timestamp: true} or {custom"]),
        ("export_profiles: x\n    file_name: a.csv", 6, ["must be a block of keys and values"]),
        ("export_profiles: x\n    format: {compress: rar}", 6, ["must be none, gzip, zip or zstd"]),
        ("export_profiles: x\n    format: {null_text: x}", 6, ["Unknown key `null_text`", "formula_guard, ids"]),
        ("export_profiles: x\n    events: {period: some}", 6, ["must be all, {last_days: 30} or {from: 2026-01-01"]),
        ("export_profiles: x\n    events: {period: {last_days: 0}}", 6, ["must be 1 or more"]),
        (
            "export_profiles: x\n    events: {period: {last_days: 1, to: 2026-01-01}}",
            6,
            ["give either {last_days: 30}"],
        ),
        ("export_profiles: x\n    events: {period: {form: 2026-01-01}}", 6, ["Did you mean `from`?"]),
        ("export_profiles: x\n    events: {period: {from: 1/2/26}}", 6, ["must be a date such as 2026-01-31"]),
        ("export_profiles: x\n    events: {period: {from: 2026-02-01, to: 2026-01-01}}", 6, ["from must be before to"]),
    ],
)
def test_a_wrong_goal_is_explained_in_plain_words_at_its_line(refused, goal, line, parts):
    findings = refused(text=f"kind: sftp\ntitle: x\nconn_id: x\ngoals:\n  - {goal}\n")
    told = [finding for finding in findings if finding.line == line]
    for part in parts:
        assert any(part in finding.message for finding in told), [finding.message for finding in findings]
    for finding in findings:
        for jargon in ("Input should", "validation", "pydantic", "union", "literal", "goal:", "period:"):
            assert jargon not in finding.message


def test_a_files_own_format_is_checked_as_strictly_as_its_goals(refused):
    text = (GOOD / "scores.yaml").read_text() + "    format: {decimal: ',', encodin: x}\n"
    text = text.replace(
        "        path: /out/scores.csv\n",
        "        path: /out/scores.csv\n        format:\n          thousands: ','\n          quot: x\n",
    )
    messages = {finding.line: finding.message for finding in refused(text=text)}
    assert "Unknown key `quot` in `goals[1].files[1].format`. Did you mean `quote`?" in messages[13]
    assert "Unknown key `encodin`" in messages[max(messages)]


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]", "text", "- a\n", "null"])
def test_a_file_without_keys_is_refused(refused, text):
    assert codes(refused(text=text)) == ["empty_file"]


def test_one_broken_file_hides_no_other(tmp_path):
    for name in ("webshop_orders", "scores"):
        (tmp_path / f"{name}.yaml").write_text((GOOD / f"{name}.yaml").read_text())
    (tmp_path / "broken.yaml").write_text("kind: sftp\ntitle: [")
    (tmp_path / "locked.yaml").mkdir()
    (tmp_path / "binary.yml").write_bytes(os.urandom(100) + b"\xff")
    (tmp_path / "half.yaml").write_text("kind: sftp\nid: my_half\ntitle: x\n")
    (tmp_path / ".hidden.yaml").write_text("[")
    (tmp_path / "notes.txt").write_text("[")
    found = load_connections(tmp_path)
    assert [(type(item).__name__, item.dag_id) for item in found] == [
        ("BrokenConnection", "broken__binary"),
        ("BrokenConnection", "broken__broken"),
        ("BrokenConnection", "sftp__my_half"),
        ("BrokenConnection", "broken__locked"),
        ("LoadedConnection", "sftp__nightly_scores"),
        ("LoadedConnection", "sftp__webshop_orders"),
    ]
    for item in found:
        if isinstance(item, BrokenConnection):
            assert item.findings[0].file == str(item.path)
            assert item.findings[0].line


def test_a_name_taken_twice_is_a_finding_and_ids_stay_unique(tmp_path):
    text = (GOOD / "scores.yaml").read_text()
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(text.replace("nightly_scores", "Same" if name == "b" else "same"))
    (tmp_path / "same.yaml").write_text("broken")
    found = load_connections(tmp_path)
    assert [isinstance(item, LoadedConnection) for item in found] == [True, False, False, False]
    assert len({item.dag_id.casefold() for item in found}) == 4
    assert found[1].findings[0].code == "duplicate_connection"
    assert "already taken by a.yaml" in found[1].findings[0].message
    assert found[1].findings[0].line == 3


def test_a_folder_that_cannot_be_read_shows_as_one_broken_connection(tmp_path):
    found = load_connections(tmp_path / "nowhere")
    assert [type(item) for item in found] == [BrokenConnection]
    assert "CROSSWALK_CONNECTIONS" in found[0].findings[0].message


def test_folders_come_from_the_environment_or_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CROSSWALK_CONNECTIONS", raising=False)
    monkeypatch.delenv("CROSSWALK_TENANT", raising=False)
    assert find_connections_folder() == tmp_path / "dags" / "connections"
    assert find_tenant_folder() == tmp_path / "include" / "tenant"
    monkeypatch.setenv("CROSSWALK_CONNECTIONS", "elsewhere")
    monkeypatch.setenv("CROSSWALK_TENANT", "/other/tenant")
    assert find_connections_folder() == tmp_path / "elsewhere"
    assert find_tenant_folder() == Path("/other/tenant")


@pytest.mark.parametrize(
    ("stem", "name"),
    [("orders", "orders"), ("my orders", "my_orders"), ("été", "t"), ("...", "connection"), ("a/b", "a_b")],
)
def test_a_slug_is_made_of_plain_characters(stem, name):
    assert slug(stem) == name


def test_long_file_names_give_distinct_slugs_of_limited_length():
    one, other = slug("x" * 300 + "a"), slug("x" * 300 + "b")
    assert one != other
    assert len(one) <= 100


def test_the_tenant_model_merges_its_files(tenant):
    assert tenant.model.properties["email"].identifier == "unique"
    assert tenant.model.objectives["newsletter"].description == "Weekly mail"
    assert list(tenant.model.segments) == ["newsletter_readers", "buyers", "others"]
    assert tenant.model.merge_rules[1].conditions[1].equals == "1"
    assert tenant.model.event_types["visit"].kept_days == 90
    file, line = tenant.place("properties", "shop_city")
    assert (Path(file).name, line) == ("properties.yaml", 5)


def test_the_starter_tenant_model_is_sound():
    from crosswalk.config.checks import check_tenant

    starter = load_tenant(Path(__file__).parents[3] / "include" / "tenant")
    assert check_tenant(starter) == []
    assert starter.model.properties["email"].identifier == "unique"


def test_problems_of_all_tenant_files_come_at_once(tmp_path):
    (tmp_path / "properties.yaml").write_text(
        "properties:\n  a b: {type: text}\n  c: {typ: text}\n  d: {type: bool}\n  e:\n"
    )
    (tmp_path / "objectives.yaml").write_text("objective:\n  x: {}\n")
    (tmp_path / "segments.yaml").write_text("segments: &x\n  a: 1\n")
    (tmp_path / "property.yaml").write_text("properties: {}\n")
    (tmp_path / "event_types.yml").write_text("event_types: {}\n")
    with pytest.raises(ConfigError) as raised:
        load_tenant(tmp_path)
    found = [(Path(finding.file).name, finding.line, finding.code) for finding in raised.value.findings]
    assert found == [
        ("event_types.yml", 1, "unknown_subject"),
        ("objectives.yaml", 1, "unknown_key"),
        ("properties.yaml", 2, "invalid_name"),
        ("properties.yaml", 3, "unknown_key"),
        ("properties.yaml", 4, "invalid_value"),
        ("properties.yaml", 5, "invalid_value"),
        ("property.yaml", 1, "unknown_subject"),
        ("segments.yaml", 1, "yaml_anchor"),
        ("segments.yaml", 2, "invalid_value"),
    ]
    assert "Did you mean `type`?" in str(raised.value)


def test_a_missing_tenant_folder_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="CROSSWALK_TENANT"):
        load_tenant(tmp_path / "nowhere")


def test_an_empty_tenant_folder_is_an_empty_model(tmp_path):
    (tmp_path / "properties.yaml").write_text("properties:\n")
    (tmp_path / "segments.yaml").write_text("")
    assert load_tenant(tmp_path).model.properties == {}


def test_two_hundred_connections_are_read_in_well_under_two_seconds(tmp_path):
    text = (GOOD / "webshop_orders.yaml").read_text()
    for number in range(200):
        (tmp_path / f"connection_{number}.yaml").write_text(text)
    load_connection(GOOD / "webshop_orders.yaml")
    start = time.process_time()
    assert len(load_connections(tmp_path)) == 200
    assert time.process_time() - start < 2


def test_an_error_of_a_whole_file_reads_like_one_sentence_and_a_list(write):
    path = write("retries: many\nenabled: perhaps")
    with pytest.raises(ConfigError) as raised:
        load_connection(path)
    text = str(raised.value)
    assert text.startswith(f'Connection "orders", file {path} line 5: The connection file has 2 errors.')
    assert f"\n  {path}:6: error [invalid_value] `enabled`: must be true or false." in text
    assert raised.value.exit_code == 2
