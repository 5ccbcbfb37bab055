"""Looks a connection id up the way Airflow does, and wraps what is secret.

Airflow's order is kept: a custom secrets back end, then the environment, then the metadata database. A connection given
as JSON in the environment is read here, without importing Airflow, which would take seconds on the command line.
"""

from __future__ import annotations

import configparser
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosswalk.connectors.base import ConnectionDetails
from crosswalk.core.errors import ConfigError, RetryableError
from crosswalk.core.names import display
from crosswalk.core.redaction import Secret

# A setting whose name holds one of these is a secret, unless it is in _PUBLIC.
_SECRET_WORDS = (
    "password",
    "passphrase",
    "passwd",
    "secret",
    "token",
    "private_key",
    "api_key",
    "apikey",
    "credential",
)
_PUBLIC = frozenset({"key_file", "host_key", "token_url", "private_key_file", "secret_name"})
_BACKEND_SETTINGS = (
    "AIRFLOW__SECRETS__BACKEND",
    "AIRFLOW__SECRETS__BACKEND_CMD",
    "AIRFLOW__SECRETS__BACKEND_SECRET",
    "AIRFLOW__WORKERS__SECRETS_BACKEND",
    "AIRFLOW__WORKERS__SECRETS_BACKEND_CMD",
    "AIRFLOW__WORKERS__SECRETS_BACKEND_SECRET",
)
_BACKEND_PLACES = (("secrets", "backend"), ("workers", "secrets_backend"))


def resolve(conn_id: str) -> ConnectionDetails:
    """Host, login and secrets of an Airflow connection.

    Raises:
        ConfigError: there is no such connection, or it cannot be read.
        RetryableError: Airflow cannot be asked right now.
    """
    text = os.environ.get(variable_name(conn_id), "").strip()
    if text.startswith("{") and not _has_custom_backend():
        details = _from_fields(conn_id, _read_json(conn_id, text))
    else:
        details = _ask_airflow(conn_id)
    _tell_masker(details)
    return details


def variable_name(conn_id: str) -> str:
    """The environment variable in which Airflow looks for a connection."""
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def _read_json(conn_id: str, text: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(text)
    except ValueError as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        raise ConfigError(
            f"The environment variable {variable_name(conn_id)} is not valid JSON (line {line}, column {column}).",
            remedy="Correct it; nothing of it is shown here, for it may hold secrets.",
            code="bad_connection",
        ) from None
    return fields if isinstance(fields, dict) else {}


def _from_fields(conn_id: str, fields: Mapping[str, Any]) -> ConnectionDetails:
    password = fields.get("password")
    return ConnectionDetails(
        conn_id=conn_id,
        host=str(fields.get("host") or "").strip(),
        port=_port(conn_id, fields.get("port")),
        login=str(fields.get("login") or ""),
        password=Secret(str(password)) if password else None,
        extra=_wrap(_extra(conn_id, fields.get("extra"))),
    )


def _port(conn_id: str, value: Any) -> int | None:
    """The port; None for empty and 0, which Airflow's form sends for an empty field."""
    try:
        port = int(value or 0)
    except (TypeError, ValueError):
        port = -1
    if not 0 <= port <= 65_535:
        raise ConfigError(
            f'Airflow connection "{conn_id}": port "{display(value)}" is not a number from 1 to 65535.',
            remedy="Correct it, or leave it empty for the usual port.",
            code="bad_port",
        )
    return port or None


def _extra(conn_id: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ConfigError(
                f'Airflow connection "{conn_id}": its extra is not a JSON object.',
                remedy='Write it as {"name": "value"}.',
                code="bad_connection",
            )
    return value if isinstance(value, dict) else {}


def _wrap(extra: Mapping[str, Any]) -> dict[str, Any]:
    wrapped: dict[str, Any] = {}
    for name, value in extra.items():
        if isinstance(value, dict):
            wrapped[name] = _wrap(value)
        elif value and is_secret_name(name):
            wrapped[name] = Secret(value if isinstance(value, str) else json.dumps(value))
        else:
            wrapped[name] = value
    return wrapped


def is_secret_name(name: str) -> bool:
    """Whether an extra setting of that name is a secret."""
    plain = name.lower().replace("-", "_").rpartition("__")[2]
    return plain not in _PUBLIC and any(word in plain for word in _SECRET_WORDS)


def _has_custom_backend() -> bool:
    """Whether Airflow would ask a secrets back end before the environment."""
    if any(os.environ.get(name) for name in _BACKEND_SETTINGS):
        return True
    if _in_task():
        from airflow.sdk.configuration import conf  # it is in memory; the file need not be read again

        return any(conf.get(section, key, fallback="") for section, key in _BACKEND_PLACES)
    home = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()
    path = Path(os.environ.get("AIRFLOW_CONFIG") or home / "airflow.cfg").expanduser()
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(path, encoding="utf-8")
        return any(parser.get(section, key, fallback="").strip() for section, key in _BACKEND_PLACES)
    except (configparser.Error, OSError, UnicodeDecodeError):
        return True  # not ours to judge; Airflow reads it


def _ask_airflow(conn_id: str) -> ConnectionDetails:
    try:
        connection = _airflow_connection(conn_id)
    except Exception as error:
        if _is_not_found(error):
            raise _not_found(conn_id) from None
        raise RetryableError(
            f'Airflow could not be asked for its connection "{conn_id}" ({type(error).__name__}).',
            remedy="Look at Airflow's database and secrets back end; airflow connections get shows the same.",
            code="airflow_unavailable",
        ) from error
    fields = {name: getattr(connection, name, None) for name in ("host", "port", "login", "password", "extra")}
    return _from_fields(conn_id, fields)


def _is_not_found(error: Exception) -> bool:
    """Whether Airflow says that it has no such connection; inside and outside a task it says so differently."""
    kind = repr(getattr(getattr(error, "error", None), "error", ""))
    return type(error).__name__ == "AirflowNotFoundException" or "CONNECTION_NOT_FOUND" in kind


def _airflow_connection(conn_id: str) -> Any:
    """Ask through the Task SDK inside a task; outside, where the SDK sees no database, through Airflow's own model."""
    if _in_task():
        from airflow.sdk import BaseHook

        return BaseHook.get_connection(conn_id)
    from airflow.models.connection import Connection

    return Connection.get_connection_from_secrets(conn_id)


def _in_task() -> bool:
    """Whether this process runs a task of Airflow."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return getattr(runner, "SUPERVISOR_COMMS", None) is not None


def _not_found(conn_id: str) -> ConfigError:
    return ConfigError(
        f'There is no Airflow connection "{conn_id}".',
        remedy=f"Set the environment variable {variable_name(conn_id)}, or run: airflow connections add {conn_id}"
        " --conn-type sftp --conn-host HOST --conn-login USER.",
        code="no_connection",
    )


def _tell_masker(details: ConnectionDetails) -> None:
    """Have Airflow mask the secrets in its logs, where Airflow is running."""
    if "airflow.sdk.log" not in sys.modules and "airflow.sdk.execution_time.task_runner" not in sys.modules:
        return
    from airflow.sdk.log import mask_secret

    for secret in details.secrets():
        mask_secret(secret.reveal())
