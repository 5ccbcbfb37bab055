"""What is decided before a login: methods, algorithms, and whether the server's key is the trusted one."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncssh

from crosswalk.core.errors import AuthenticationError, ConfigError, RetryableError
from crosswalk.core.names import display
from crosswalk.transport import sftp_errors
from crosswalk.transport.details import ConnectionDetails
from crosswalk.transport.host_keys import HostKey, HostKeyPolicy
from crosswalk.transport.loop_thread import LoopThread
from crosswalk.transport.ssh_keys import load_private_key

CONNECT_TIMEOUT_SECONDS = 30.0
AUTH_METHODS = ("password", "public_key")
# Fastest first with our library; without hardware for AES the server's own order would matter little either.
_CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"
# What the server may send in one packet, and before we have taken it in; its own limits hold as well.
_LARGEST_PACKET = 128 * 1024
_WINDOW = 8 * 1024 * 1024


class HostKeyClient(asyncssh.SSHClient):
    """Decides about the host key; the library asks for every key, for it is told of none.

    Attributes:
        shown: the key that the server showed.
    """

    def __init__(self, policy: HostKeyPolicy) -> None:
        self._policy = policy
        self.shown: HostKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Whether the key is trusted; kept in ``shown`` for the message."""
        self.shown = HostKey.of(key)
        return self._policy.accepts(self.shown)


def login_options(details: ConnectionDetails) -> tuple[dict[str, Any], HostKeyPolicy, str]:
    """What the SSH library is told, the keys we trust, and the login method in words; reads key files, no network.

    Raises:
        ConfigError: a field is missing or wrong; names the field.
    """
    _quieten()
    _require(details, "host")
    _require(details, "login")
    method = details.text("auth_method").strip()
    if method and method not in AUTH_METHODS:
        raise ConfigError(
            f'Airflow connection "{details.conn_id}": the extra "auth_method" is "{display(method)}".',
            remedy="Use password or public_key, or leave it out.",
            code="auth_method",
        )
    key = None if method == "password" else load_private_key(details)
    if method == "public_key" and key is None:
        raise _missing(details, "private_key (or key_file)")
    password = None if key or details.password is None else details.password.reveal()
    if key is None and not password:
        raise _missing(details, "password" if method == "password" else "password, private_key or key_file")
    policy = HostKeyPolicy.of(details)
    options: dict[str, Any] = {
        "host": details.host.strip(),
        "port": details.port or 22,
        "username": details.login,
        "password": password,
        "client_keys": [key] if key else None,
        "preferred_auth": "publickey" if key else "password,keyboard-interactive",
        "agent_path": None,
        "config": None,
        "gss_host": None,
        "known_hosts": ([], [], []),
        "server_host_key_algs": policy.algorithms,
        "encryption_algs": _CIPHERS,
        "compression_algs": None,
        "max_pktsize": _LARGEST_PACKET,
        "window": _WINDOW,
    }
    return options, policy, "its private key" if key else "its password"


def fetch_host_key(details: ConnectionDetails) -> HostKey:
    """Ask a server for its key without logging in, for a person to compare; nothing is trusted by this.

    Raises:
        ConfigError: the host is missing.
        RetryableError: the server cannot be reached.
    """
    _require(details, "host")
    limit = details.seconds("conn_timeout", CONNECT_TIMEOUT_SECONDS)

    async def fetch() -> asyncssh.SSHKey | None:
        async with asyncio.timeout(limit):
            return await asyncssh.get_server_host_key(
                details.host,
                details.port or 22,
                server_host_key_algs=HostKeyPolicy.of(details).algorithms,
                config=None,
            )

    _quieten()
    with LoopThread(f"host-key-{details.conn_id}") as loop:
        try:
            key = loop.run(fetch())
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise sftp_errors.connect_error(error, details, "no login") from error
    if key is None:
        raise RetryableError(f"{sftp_errors.place(details)} showed no host key.", code="no_connection")
    return HostKey.of(key)


def _require(details: ConnectionDetails, name: str) -> None:
    if not str(getattr(details, name) or "").strip():
        raise _missing(details, name)


def _missing(details: ConnectionDetails, name: str) -> ConfigError:
    return ConfigError(
        f'Airflow connection "{details.conn_id}": {name} is missing.',
        remedy="Fill it in.",
        code=f"missing_{name.split(' ')[0].rstrip(',')}",
    )


def certificate_only(policy: HostKeyPolicy) -> AuthenticationError:
    """The error for a server that shows no plain key."""
    return AuthenticationError(
        f"{policy.place} shows a host key that cannot be compared.",
        remedy="Have the server offer an Ed25519, ECDSA or RSA host key.",
        code="host_key_unknown",
    )


def _quieten() -> None:
    # The library logs user names and paths at INFO, and whole packets when debugging.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
