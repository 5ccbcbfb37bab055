"""What every transport works with: where a system is and how to log in, and what a remote file is.

These types sit below the connectors because the transports need them; ``connectors/base.py`` hands them on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from crosswalk.core.errors import ConfigError
from crosswalk.core.redaction import Secret


@dataclass(frozen=True)
class ConnectionDetails:
    """Host, login and secrets of one Airflow connection; its text form shows no secret.

    Attributes:
        conn_id: the Airflow connection's id, for messages.
        host: name or address.
        port: None where the connection leaves it empty (or 0): the kind's usual port.
        login: user name.
        password: the secret of the connection's password field.
        extra: the connection's extra settings; values that are secrets are ``Secret``.

    Example:
        >>> details = ConnectionDetails("shop", host="sftp.example.org", login="shop", password=Secret("hunter2"))
        >>> details.password
        Secret(***)
    """

    conn_id: str
    host: str = ""
    port: int | None = None
    login: str = ""
    password: Secret | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """An extra setting as text, secrets revealed; '' where it is unset, null or blank."""
        value = self.extra.get(name)
        if isinstance(value, Secret):
            value = value.reveal()
        if value is None or isinstance(value, bool):
            return ""
        text = str(value)
        return text if text.strip() else ""

    def seconds(self, name: str, default: float) -> float:
        """An extra setting as a positive number of seconds.

        Raises:
            ConfigError: it is something else.
        """
        text = self.text(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= 86_400:
            raise ConfigError(
                f'Airflow connection "{self.conn_id}": the extra "{name}" must be a number of seconds above 0.',
                remedy=f"Correct it, or leave it out for {default:g} seconds.",
                code="bad_timeout",
            )
        return value

    def secrets(self) -> Iterator[Secret]:
        """Every secret of the connection, so that texts from elsewhere can be cleaned of them."""
        if self.password:
            yield self.password
        for value in self.extra.values():
            if isinstance(value, Secret):
                yield value


@dataclass(frozen=True)
class RemoteFile:
    """One entry of a folder on the source.

    Attributes:
        path: as the source is asked for it; kept exactly, however odd.
        name: the last part of the path.
        size: bytes.
        modified: modification time on the source, whole epoch seconds.
        is_regular: a plain file; not a folder, link, pipe or device.
    """

    path: str
    name: str
    size: int
    modified: int
    is_regular: bool = True

    @property
    def version(self) -> tuple[int, int]:
        """Size and modification time: two looks at an untouched file give the same."""
        return self.size, self.modified
