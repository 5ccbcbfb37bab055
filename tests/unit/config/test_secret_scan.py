from __future__ import annotations

import base64
import logging

import pytest

from crosswalk.config.loader import load_connection, load_connections, load_tenant
from crosswalk.config.secret_scan import is_secret_key, is_secret_value
from crosswalk.core.errors import ConfigError
from tests.unit.config.conftest import BASE

CANARY = "planted-canary-7Qz"
JWT = ".".join(
    base64.urlsafe_b64encode(part.encode()).decode().rstrip("=")
    for part in ('{"alg":"none"}', '{"sub":"canary"}', CANARY)
)
PEM = f"-----BEGIN OPENSSH {'PRIVATE'} KEY-----"

# Every form is put where it says; the line that must be named ends with the mark.
TOP_LEVEL = [
    f"password: {CANARY}",
    f"Password: {CANARY}",
    f'PASSWORD: "{CANARY}"',
    f"'password': '{CANARY}'",
    f"passwd: {CANARY}",
    f"pwd: {CANARY}",
    f"pass_word: {CANARY}",
    f"sftp_password: {CANARY}",
    f"passwordOfUser: {CANARY}",
    f"passphrase: {CANARY}",
    f"private_key_passphrase: {CANARY}",
    f"secret: {CANARY}",
    f"client_secret: {CANARY}",
    f"clientSecret: {CANARY}",
    f"client-secret: {CANARY}",
    f"consumer secret: {CANARY}",
    f"token: {CANARY}",
    f"access_token: {CANARY}",
    f"securityToken: {CANARY}",
    f"api_key: {CANARY}",
    f"apikey: {CANARY}",
    f"api-key: {CANARY}",
    f"X-Api-Key: {CANARY}",
    f"private_key: {CANARY}",
    f"privateKey: {CANARY}",
    f"ssh_key: {CANARY}",
    f"credentials: {CANARY}",
    f"authorization: {CANARY}",
    f"wachtwoord: {CANARY}",
    f"\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44: {CANARY}",
    f"pass\u00adword: {CANARY}",
    f"owner: {{name: Ann, password: {CANARY}}}",
    f"password: {{value: {CANARY}}}",
    f"tokens: [{CANARY}]",
    f"secret: [[{{inner: {CANARY}}}]]",
    f"description: sftp://ann:{CANARY}@files.example.org/in",
    f"description: connect with password={CANARY}",
    f"description: https://example.org/?api_key={CANARY}",
    f"description: 'Authorization: Bearer {CANARY}'",
    f"description: {JWT}",
    f"description: '{PEM} {CANARY}'",
    f"labels: [{PEM} {CANARY}]",
    f"description: x  # password: {CANARY}",
    f"# password: {CANARY}",
    f"#   - client_secret = {CANARY}",
    f"password: &anchor {CANARY}",
    f"password: !vault {CANARY}",
]
IN_GOAL = [
    f"processors: [{{lookup: {{field: orders.id, token: {CANARY}}}}}]",
    f"processors: [{{lookup: {{url: 'https://ann:{CANARY}@example.org'}}}}]",
    f"format: {{password: {CANARY}}}",
    f"archive: sftp://ann:{CANARY}@example.org/old",
]
BLOCKS = [
    (f"password: |\n  {CANARY}\n  more", 5),
    (f"password: >-\n  {CANARY}", 5),
    (f"private_key: |\n  {PEM}\n  {CANARY}", 5),
    (f"description: |\n  hello\n  {PEM}\n  {CANARY}", 5),
    (f"extra:\n  nested:\n    deep:\n      - password: {CANARY}", 8),
    (f"password:\n  {CANARY}", 5),
]


def _shown(error: BaseException) -> str:
    parts = [str(error), repr(error), str(error.args), str(vars(error))]
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
        parts += [str(error), repr(error)]
    return "\n".join(parts)


def _assert_refused(raised: pytest.ExceptionInfo[ConfigError], line: int, log: str) -> None:
    found = [finding for finding in raised.value.findings if finding.code == "secret_in_yaml"]
    assert line in [finding.line for finding in found]
    assert "conn_id" in found[0].message
    for part in (CANARY, CANARY[:10], JWT[-12:]):
        assert part not in _shown(raised.value)
        assert part not in log


def test_there_are_at_least_forty_forms():
    assert len(TOP_LEVEL) + len(IN_GOAL) + len(BLOCKS) >= 40


@pytest.mark.parametrize("form", TOP_LEVEL)
def test_a_literal_secret_is_refused_at_its_line_and_never_repeated(write, caplog, form):
    caplog.set_level(logging.DEBUG)
    path = write(form)
    with pytest.raises(ConfigError) as raised:
        load_connection(path)
    _assert_refused(raised, 5, caplog.text)


@pytest.mark.parametrize("form", IN_GOAL)
def test_a_literal_secret_inside_a_goal_is_refused_too(write, caplog, form):
    with pytest.raises(ConfigError) as raised:
        load_connection(write(goal=form))
    _assert_refused(raised, 14, caplog.text)


@pytest.mark.parametrize(("form", "line"), BLOCKS)
def test_a_literal_secret_over_several_lines_is_refused_where_it_begins(write, caplog, form, line):
    with pytest.raises(ConfigError) as raised:
        load_connection(write(form))
    _assert_refused(raised, line if "hello" not in form else 5, caplog.text)


def test_a_broken_file_with_a_secret_does_not_repeat_it_either(tmp_path):
    (tmp_path / "a.yaml").write_text(BASE.replace("SETTINGS", f"password: '{CANARY}"))
    (tmp_path / "b.yaml").write_text(f"password: {CANARY}: x")
    (tmp_path / "c.yaml").write_text(f"{CANARY}")
    (tmp_path / "d.yaml").write_text(f"kind: {CANARY} x\nid: '{CANARY} '\ntitle: x\npassword: x\n")
    for item in load_connections(tmp_path):
        assert CANARY not in _shown(item.error)
        assert CANARY not in repr(item).replace(str(tmp_path), "")
        assert CANARY not in item.dag_id


@pytest.mark.parametrize(
    "settings",
    [
        "password:",
        "description: The password is in the Airflow connection.",
        "description: ask for a token at https://example.org:8443/tokens",
        "# the secret lives in Airflow, never here",
        "description: basic subscription-newsletter-readers",
        "labels: [secret, token, password]",
        "owner: {name: Token Ring, email: token@example.org}",
    ],
)
def test_words_about_secrets_are_no_secrets(write, settings):
    try:
        load_connection(write(settings))
    except ConfigError as error:
        assert "secret_in_yaml" not in [finding.code for finding in error.findings]  # noqa: PT017


def test_a_column_called_token_can_be_linked_and_mapped(load):
    text = """\
kind: sftp
title: Orders
conn_id: shop_sftp
goals:
  - import_profiles: orders
    files:
      - {name: orders, path: /in/orders.csv}
      - {name: tokens, path: /in/tokens.csv, link: {token: orders.token}}
    identifiers: [{field: tokens.token, property: customer_id}]
    processors: [{trim: {field: tokens.password_hint}}]
"""
    assert load(text=text).model.goals[0].files[1].link == {"token": "orders.token"}


def test_a_link_is_no_place_to_hide_a_secret(refused):
    text = f"""\
kind: sftp
title: Orders
conn_id: shop_sftp
goals:
  - import_profiles: orders
    files:
      - {{name: orders, path: /in/orders.csv, link: {{password: {CANARY}.x}}}}
    identifiers: [{{field: orders.token, property: customer_id}}]
"""
    assert "secret_in_yaml" in [finding.code for finding in refused(text=text)]


def test_a_property_called_token_may_be_declared_but_not_given_a_value(tmp_path):
    (tmp_path / "properties.yaml").write_text("properties:\n  api_token: {type: text}\n  secret_note: {name: Note}\n")
    assert "api_token" in load_tenant(tmp_path).model.properties
    (tmp_path / "properties.yaml").write_text(f"properties:\n  email: {{type: text, password: {CANARY}}}\n")
    with pytest.raises(ConfigError) as raised:
        load_tenant(tmp_path)
    _assert_refused(raised, 2, "")


@pytest.mark.parametrize(
    "key",
    ["conn_id", "secretary", "password_field", "token_column", "tokenize", "smtp_conn_id", "path", "key", "broken"],
)
def test_keys_that_only_name_things_are_no_secret_keys(key):
    assert not is_secret_key(key)


def test_a_long_value_is_looked_through_quickly():
    for text in ("a:" * 300_000, "://" + "a" * 500_000, "bearer " * 100_000, "eyJ" + "a." * 200_000, "# a" * 200_000):
        assert not is_secret_value(text)
