"""Failures of the SSH library turned into ours, by what the reader should do about them.

| What happened | Class | Code |
| --- | --- | --- |
| login refused | AuthenticationError | login_refused |
| no algorithm in common | ConfigError | no_common_algorithm |
| no such path / no right to it | ConfigError | no_such_path / no_permission |
| a file that was listed is gone | SourceChangedError | source_vanished |
| server's disk or quota is full | RetryableError | remote_disk_full |
| cut, hang, damaged transfer, no answer | RetryableError | connection_lost / timeout |
"""

from __future__ import annotations

import socket

import asyncssh

from crosswalk.core.errors import AuthenticationError, ConfigError, CrosswalkError, RetryableError, SourceChangedError
from crosswalk.core.names import display
from crosswalk.core.redaction import redact
from crosswalk.transport.details import ConnectionDetails

_MISSING = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory)
_DENIED = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect)
_FULL = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)
_LOST = (
    asyncssh.SFTPConnectionLost,
    asyncssh.SFTPNoConnection,
    asyncssh.SFTPBadMessage,
    asyncssh.DisconnectError,
    OSError,
)
_TRY_AGAIN = "Try again later; if it stays, look at the server and the network between."


def place(details: ConnectionDetails) -> str:
    """The system as messages name it: Airflow connection, host and port."""
    return f'"{details.conn_id}" ({display(details.host)}:{details.port or 22})'


def connect_error(error: BaseException, details: ConnectionDetails, method: str) -> CrosswalkError:
    """The error for a connection that did not come about.

    Args:
        error: what the library raised.
        details: the connection.
        method: how we tried to log in, in words.
    """
    where = place(details)
    if isinstance(error, asyncssh.PermissionDenied):
        return AuthenticationError(
            f'{where} refused the login of user "{display(details.login)}" with {method}.',
            remedy=f'Correct the Airflow connection "{details.conn_id}", or have the server accept it.',
            code="login_refused",
        )
    # The same class stands for a transfer that was damaged while the keys were agreed on.
    if isinstance(error, asyncssh.KeyExchangeFailed) and "no matching" in str(error).lower():
        return ConfigError(
            f"{where} offers no algorithm that we accept: {_said(error, details)}",
            remedy="Have the server offer a current one (Ed25519, ECDSA or RSA with SHA-2 host keys).",
            code="no_common_algorithm",
        )
    if isinstance(error, asyncssh.ChannelOpenError | asyncssh.SFTPError):
        return RetryableError(
            f"{where} accepted the login and gave no SFTP session: {_said(error, details)}",
            remedy="Have its administrator allow SFTP for this user, or wait until it has a free session.",
            code="no_sftp_session",
        )
    if isinstance(error, socket.gaierror):
        return RetryableError(
            f'{where}: the name "{display(details.host)}" cannot be looked up.',
            remedy="Check the host of the Airflow connection and the name service.",
            code="unknown_host",
        )
    if isinstance(error, TimeoutError):
        return RetryableError(
            f"{where} did not answer in time.",
            remedy="Check host, port and firewall, or set the extra conn_timeout.",
            code="timeout",
        )
    return RetryableError(
        f"{where} cannot be reached: {_said(error, details)}", remedy=_TRY_AGAIN, code="no_connection"
    )


def request_error(error: BaseException, details: ConnectionDetails, doing: str, path: str) -> CrosswalkError:
    """The error for a request that failed on an open connection.

    Args:
        error: what the library raised.
        details: the connection.
        doing: what was tried, as in "listing".
        path: the remote path concerned.
    """
    where, shown = place(details), display(path)
    if isinstance(error, _MISSING):
        return ConfigError(
            f"{where} has no {shown} ({doing}).",
            remedy="Correct the path, or have the folder made.",
            code="no_such_path",
            file=shown,
        )
    if isinstance(error, _DENIED):
        return ConfigError(
            f'{where}: user "{display(details.login)}" has no right to {shown} ({doing}).',
            remedy="Have the server's administrator grant it.",
            code="no_permission",
            file=shown,
        )
    if isinstance(error, _FULL):
        return RetryableError(f"{where}: its disk or quota is full ({doing} {shown}).", code="remote_disk_full")
    if isinstance(error, _LOST):
        return RetryableError(
            f"{where}: the connection was lost while {doing} {shown}: {_said(error, details)}",
            remedy=_TRY_AGAIN,
            code="connection_lost",
        )
    return RetryableError(
        f"{where} failed while {doing} {shown}: {_said(error, details)}", remedy=_TRY_AGAIN, code="sftp_failure"
    )


def hang_error(details: ConnectionDetails, doing: str, path: str, seconds: float) -> RetryableError:
    """The error for a connection on which nothing moved any more."""
    return RetryableError(
        f"{place(details)}: nothing arrived for {seconds:g} seconds while {doing} {display(path)}.",
        remedy="Try again later, or set the extra inactivity_timeout.",
        code="timeout",
    )


def vanished(details: ConnectionDetails, path: str) -> SourceChangedError:
    """The error for a file that was there and is gone."""
    return SourceChangedError(
        f"{place(details)}: {display(path)} vanished before it was read whole.",
        remedy="It is looked for again in the next run.",
        code="source_vanished",
        file=display(path),
    )


def changed(details: ConnectionDetails, path: str, before: object, after: object) -> SourceChangedError:
    """The error for a file that is not the one any more that was looked at."""
    return SourceChangedError(
        f"{place(details)}: {display(path)} changed while it was read (size and time {before}, now {after}).",
        remedy="It is read again when it has come to rest.",
        file=display(path),
    )


def is_missing(error: BaseException) -> bool:
    """Whether the server says that the path does not exist."""
    return isinstance(error, _MISSING)


def _said(error: BaseException, details: ConnectionDetails) -> str:
    """What library or server said, cleaned: their text may hold anything."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return redact(display(text or type(error).__name__), details.secrets()).rstrip(". ") + "."
