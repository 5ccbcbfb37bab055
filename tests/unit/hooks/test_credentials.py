"""Connection ids resolved from the environment, without Airflow where that can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crosswalk.core.errors import ConfigError, RetryableError
from crosswalk.core.redaction import Secret
from crosswalk.hooks import credentials
from crosswalk.hooks.credentials import is_secret_name, resolve


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.delenv("AIRFLOW_CONFIG", raising=False)
    for name in credentials._BACKEND_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def given(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any] | str) -> None:
    text = fields if isinstance(fields, str) else json.dumps(fields)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_SFTP", text)


FIELDS = {
    "conn_type": "sftp",
    "host": "sftp.example.org",
    "login": "shop",
    "password": "hunter2hunter2",
    "port": 2222,
    "extra": {"private_key": "KEYTEXTKEYTEXT", "private_key_passphrase": "geheim99", "host_key": "ssh-ed25519 AAAA"},
}


def test_every_field_arrives_and_secrets_are_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, FIELDS)

    details = resolve("shop_sftp")

    assert (details.host, details.port, details.login) == ("sftp.example.org", 2222, "shop")
    assert details.password == Secret("hunter2hunter2")
    assert details.text("private_key") == "KEYTEXTKEYTEXT"
    assert details.extra["host_key"] == "ssh-ed25519 AAAA"
    for secret in ("hunter2hunter2", "KEYTEXTKEYTEXT", "geheim99"):
        assert secret not in f"{details} {details!r} {details.extra}"
    assert {secret.reveal() for secret in details.secrets()} == {"hunter2hunter2", "KEYTEXTKEYTEXT", "geheim99"}


def test_extra_may_be_json_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, {**FIELDS, "extra": json.dumps(FIELDS["extra"])})

    assert resolve("shop_sftp").text("private_key_passphrase") == "geheim99"


@pytest.mark.parametrize("port", [None, "", 0, "0"])
def test_an_empty_port_is_the_usual_one(monkeypatch: pytest.MonkeyPatch, port: object) -> None:
    given(monkeypatch, {**FIELDS, "port": port})

    assert resolve("shop_sftp").port is None


@pytest.mark.parametrize("port", ["x", -1, 70_000, "22.5", []])
def test_a_wrong_port_is_named(monkeypatch: pytest.MonkeyPatch, port: object) -> None:
    given(monkeypatch, {**FIELDS, "port": port})
    if port == []:
        assert resolve("shop_sftp").port is None
        return
    with pytest.raises(ConfigError, match="port"):
        resolve("shop_sftp")


def test_broken_json_is_named_by_its_place_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, '{"host": "h", "password": hunter2hunter2}')

    with pytest.raises(ConfigError) as caught:
        resolve("shop_sftp")

    assert "AIRFLOW_CONN_SHOP_SFTP" in str(caught.value)
    assert "column 27" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_extra_that_is_no_object_is_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, {**FIELDS, "extra": "password=hunter2hunter2"})

    with pytest.raises(ConfigError, match="extra") as caught:
        resolve("shop_sftp")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("private_key", True),
        ("private_key_passphrase", True),
        ("extra__sftp__private_key", True),
        ("client-secret", True),
        ("Access_Token", True),
        ("key_file", False),
        ("host_key", False),
        ("auth_method", False),
        ("known_hosts", False),
    ],
)
def test_secret_settings_are_known_by_their_names(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


def test_json_in_the_environment_is_read_without_airflow() -> None:
    program = "import sys; from crosswalk.hooks.credentials import resolve; print(resolve('shop_sftp').host);"
    program += "print(any(name.partition('.')[0] == 'airflow' for name in sys.modules))"
    env = {"AIRFLOW_CONN_SHOP_SFTP": json.dumps(FIELDS), "AIRFLOW_HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}

    out = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)

    assert out.stdout.split() == ["sftp.example.org", "False"]


@pytest.mark.parametrize("how", ["environment", "airflow.cfg", "unreadable airflow.cfg"])
def test_a_secrets_back_end_is_asked_first(monkeypatch: pytest.MonkeyPatch, home: Path, how: str) -> None:
    given(monkeypatch, FIELDS)
    if how == "environment":
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "some.Backend")
    else:
        text = "[secrets]\nbackend = some.Backend\n" if how == "airflow.cfg" else "no section\n"
        (home / "airflow.cfg").write_text(text)
    vault = SimpleNamespace(host="vault.example.org", port=None, login="v", password="p", extra="{}")
    monkeypatch.setattr(credentials, "_airflow_connection", lambda conn_id: vault)

    assert resolve("shop_sftp").host == "vault.example.org"


def test_an_airflow_configuration_without_back_end_changes_nothing(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    (home / "airflow.cfg").write_text("[secrets]\nbackend =\n[workers]\nsecrets_backend = \n")
    given(monkeypatch, FIELDS)
    monkeypatch.setattr(credentials, "_airflow_connection", lambda conn_id: pytest.fail("asked Airflow"))

    assert resolve("shop_sftp").host == "sftp.example.org"


@pytest.mark.parametrize(("backend", "host"), [("some.Backend", "vault.example.org"), ("", "sftp.example.org")])
def test_a_task_takes_the_settings_that_airflow_has_read(
    monkeypatch: pytest.MonkeyPatch, home: Path, backend: str, host: str
) -> None:
    from airflow.sdk.configuration import conf
    from airflow.sdk.execution_time import task_runner

    given(monkeypatch, FIELDS)
    (home / "airflow.cfg").write_text("this file is not read again")
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object(), raising=False)
    monkeypatch.setattr(
        conf, "get", lambda section, key, **_: backend if (section, key) == ("secrets", "backend") else ""
    )
    vault = SimpleNamespace(host="vault.example.org", port=None, login="v", password=None, extra="{}")
    monkeypatch.setattr(credentials, "_airflow_connection", lambda conn_id: vault)
    monkeypatch.setattr(credentials, "_tell_masker", lambda details: None)

    assert resolve("shop_sftp").host == host


class AirflowNotFoundException(Exception):  # noqa: N818 - named as Airflow's
    """What Airflow raises outside a task."""


class AirflowRuntimeError(Exception):
    """What Airflow raises inside a task."""

    def __init__(self, kind: str) -> None:
        self.error = SimpleNamespace(error=kind)


def raising(error: Exception):
    def ask(conn_id: str) -> None:
        raise error

    return ask


@pytest.mark.parametrize(
    "error", [AirflowNotFoundException("the conn_id isn't defined"), AirflowRuntimeError("CONNECTION_NOT_FOUND")]
)
def test_a_missing_connection_names_both_ways_to_add_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(credentials, "_airflow_connection", raising(error))

    with pytest.raises(ConfigError) as caught:
        resolve("nobody")

    assert "AIRFLOW_CONN_NOBODY" in str(caught.value)
    assert "airflow connections add nobody" in str(caught.value)


def test_an_airflow_that_cannot_answer_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_airflow_connection", raising(OSError("postgresql://user:hunter2@db")))

    with pytest.raises(RetryableError) as caught:
        resolve("nobody")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "1e9"])
def test_a_timeout_that_is_no_time_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    given(monkeypatch, {**FIELDS, "extra": {"conn_timeout": text}})

    with pytest.raises(ConfigError, match="conn_timeout"):
        resolve("shop_sftp").seconds("conn_timeout", 30)


@pytest.mark.parametrize(("extra", "seconds"), [({}, 30), ({"conn_timeout": ""}, 30), ({"conn_timeout": "2.5"}, 2.5)])
def test_a_timeout_is_read_or_left_at_its_default(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], seconds: float
) -> None:
    given(monkeypatch, {**FIELDS, "extra": extra})

    assert resolve("shop_sftp").seconds("conn_timeout", 30) == seconds
