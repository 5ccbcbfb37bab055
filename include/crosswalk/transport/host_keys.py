"""Which host keys we trust, and what to say when a server shows another one.

A key is looked up in one place, the first of these that the connection has:

1. extra ``host_key``: one or several public keys, ``ssh-ed25519 AAAA...``;
2. extra ``known_hosts``: the path or the text of a file in OpenSSH's format;
3. our trust store, ``known_hosts`` in ``CROSSWALK_HOME`` (unset: ``~/.crosswalk``), which ``crosswalk trust`` writes.

Names are matched by the host as the connection writes it, never by the address behind it: a name that somebody
points at another known machine is refused. Hashed entries, wildcards, ``[host]:port`` and ``@revoked`` work as in
OpenSSH; ``@cert-authority`` lines trust nothing. There is no switch to leave the check out.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from crosswalk.core.errors import AuthenticationError, ConfigError
from crosswalk.core.names import display
from crosswalk.core.staging import durable
from crosswalk.transport.details import ConnectionDetails

DEFAULT_PORT = 22
# Kinds of host keys that we ask for, best first; what we trust already goes before them.
ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_KEY = re.compile(r"\bAAAA[A-Za-z0-9+/]+={0,3}")


@dataclass(frozen=True)
class HostKey:
    """A server's public key as people compare it.

    Attributes:
        type: for example ``ssh-ed25519``.
        text: ``type base64``, as it is written into files.
        fingerprint: ``SHA256:...``, as OpenSSH prints it.
    """

    type: str
    text: str
    fingerprint: str

    @classmethod
    def of(cls, key: asyncssh.SSHKey) -> HostKey:
        """Describe a key of the SSH library."""
        kind = key.get_algorithm()
        text = f"{kind} {base64.b64encode(key.public_data).decode()}"
        return cls(kind, text, key.get_fingerprint("sha256"))

    def __str__(self) -> str:
        return f"{self.type} {self.fingerprint}"


@dataclass(frozen=True)
class HostKeyPolicy:
    """The keys one connection trusts for its host.

    Attributes:
        place: host and port, for messages.
        conn_id: the Airflow connection's id, for messages.
        source: where the keys come from: ``host_key``, ``known_hosts`` or ``trust store``.
        trusted: keys that are accepted.
        revoked: keys that are refused whatever else says.
    """

    place: str
    conn_id: str
    source: str
    trusted: tuple[HostKey, ...] = ()
    revoked: tuple[HostKey, ...] = field(default=())

    @classmethod
    def of(cls, details: ConnectionDetails) -> HostKeyPolicy:
        """Read the trusted keys of a connection.

        Raises:
            ConfigError: the place that should hold them cannot be read.
        """
        port = details.port or DEFAULT_PORT
        place = f"{display(details.host)} port {port}"
        pinned = details.text("host_key")
        if pinned:
            return cls(place, details.conn_id, "host_key", _pinned_keys(details, pinned))
        given = details.text("known_hosts")
        if given and given.strip().lower() != "none":
            source, text = "known_hosts", _known_hosts_text(details, given)
        else:
            source, text = "trust store", _read_store()
        trusted, revoked = _match(text, details.host, port)
        return cls(place, details.conn_id, source, trusted, revoked)

    @property
    def algorithms(self) -> list[str]:
        """What to ask the server for: kinds that are trusted first, so that it shows a key we can compare."""
        preferred: list[str] = []
        for key in self.trusted:
            preferred += ["rsa-sha2-512", "rsa-sha2-256"] if key.type == "ssh-rsa" else [key.type]
        return list(dict.fromkeys([*(a for a in preferred if a in ALGORITHMS), *ALGORITHMS]))

    def accepts(self, key: HostKey) -> bool:
        """Whether this very key is trusted and not revoked."""
        return key.text in {k.text for k in self.trusted} and key.text not in {k.text for k in self.revoked}

    def refusal(self, key: HostKey) -> AuthenticationError:
        """The error for a key that is not accepted; shows what was expected and what came."""
        if key.text in {k.text for k in self.revoked}:
            return AuthenticationError(
                f"{self.place} shows the host key {key}, which is revoked in the {self.source}.",
                remedy="Nobody may log in to it; ask the server's administrator for its new key.",
                code="host_key_revoked",
            )
        if not self.trusted:
            return AuthenticationError(
                f"The host key of {self.place} is not known: it shows {key}, and the {self.source} has none for it.",
                remedy=f"Compare that fingerprint with the one its administrator gives you, then {self._how(key)}.",
                code="host_key_unknown",
            )
        known = ", ".join(str(k) for k in self.trusted)
        return AuthenticationError(
            f"The host key of {self.place} is not the trusted one: it shows {key}; trusted is {known}"
            f" ({self.source}). Somebody may be listening in between, or the server was set up anew.",
            remedy=f"Ask its administrator for the fingerprint; only if it is the new one, {self._how(key)}.",
            code="host_key_changed",
        )

    def _how(self, key: HostKey) -> str:
        if self.source == "trust store":
            return f"run: crosswalk trust {self.conn_id}"
        entry = f'"{key.text}"' if self.source == "host_key" else "its line"
        where = f'extra "{self.source}" of the Airflow connection "{self.conn_id}"'
        return f"put {entry} into the {where} (crosswalk trust {self.conn_id} shows the key)"


def trust_store_path() -> Path:
    """The file that ``crosswalk trust`` writes."""
    home = os.environ.get("CROSSWALK_HOME")
    return (Path(home) if home else Path.home() / ".crosswalk") / "known_hosts"


def trust_host_key(details: ConnectionDetails, key: HostKey | str) -> Path:
    """Write a key into the trust store as the only trusted one of the connection's host and port.

    Args:
        details: whose host it is.
        key: what ``fetch_host_key`` returned, or its text.

    Returns:
        The trust store.

    Raises:
        ConfigError: the key is not a public key, is revoked, or the file cannot be written.
    """
    port = details.port or DEFAULT_PORT
    new = _parse_key(key if isinstance(key, str) else key.text)
    if new is None:
        raise ConfigError("The text given as host key is not a public key.", code="host_key")
    path = trust_store_path()
    try:
        with _locked(path):
            text = _read_store()
            if new in _match(text, details.host, port)[1]:
                raise ConfigError(
                    f"The key {new} is marked as revoked in {path}.",
                    remedy="Remove that line by hand if that is wrong.",
                    code="host_key_revoked",
                )
            kept = [line for line in text.splitlines() if not _speaks_only_of(line, details.host, port)]
            _write_store(path, [*kept, f"{_entry_name(details.host, port)} {new.text}"])
    except OSError as error:
        raise ConfigError(
            f"The trust store {path} cannot be written: {error.strerror}.",
            remedy="Give this user the right to write it, or set CROSSWALK_HOME to a folder of yours.",
            code="trust_store",
        ) from None
    return path


def _entry_name(host: str, port: int) -> str:
    return host if port == DEFAULT_PORT else f"[{host}]:{port}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (path.parent / ".known_hosts.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write_store(path: Path, lines: list[str]) -> None:
    with durable(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read_store() -> str:
    path = trust_store_path()
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(
            f"The trust store {path} cannot be read: {error.strerror}.",
            remedy="Give this user the right to read it.",
            code="trust_store",
        ) from None


def _pinned_keys(details: ConnectionDetails, text: str) -> tuple[HostKey, ...]:
    lines = [line for line in text.replace("\\n", "\n").splitlines() if line.strip()]
    keys = [_parse_key(line) for line in lines]
    if None in keys:
        raise ConfigError(
            f'Airflow connection "{details.conn_id}": the extra "host_key" is not a public key.',
            remedy='Write it as "ssh-ed25519 AAAA..."; crosswalk trust shows the key of the server.',
            code="host_key",
        )
    return tuple(key for key in keys if key is not None)


def _parse_key(line: str) -> HostKey | None:
    """The key in a line: with or without host names and type before it and a comment behind it."""
    match = _KEY.search(line)
    if match is None:
        return None
    try:
        blob = base64.b64decode(match[0], validate=True)
        kind = blob[4 : 4 + int.from_bytes(blob[:4], "big")].decode("ascii")
        return HostKey.of(asyncssh.import_public_key(f"{kind} {match[0]}"))
    except (binascii.Error, ValueError):
        return None


def _known_hosts_text(details: ConnectionDetails, given: str) -> str:
    if _KEY.search(given):
        return given.replace("\\n", "\n")
    path = Path(given.strip()).expanduser()
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(
            f'Airflow connection "{details.conn_id}": the known_hosts file {path} cannot be read: {error.strerror}.',
            remedy='Correct the extra "known_hosts", or leave it out and run crosswalk trust.',
            code="known_hosts",
        ) from None


def _entry(line: str) -> asyncssh.SSHKnownHosts | None:
    """One line alone, so that a broken line spoils no other."""
    stripped = line.strip()
    if not stripped or stripped.startswith("#"):
        return None
    try:
        return asyncssh.import_known_hosts(stripped)
    except (ValueError, IndexError):
        return None


def _match(text: str, host: str, port: int) -> tuple[tuple[HostKey, ...], tuple[HostKey, ...]]:
    """Trusted and revoked keys of a host; an entry without port counts only where there is none with it."""
    with_port: list[HostKey] = []
    without: list[HostKey] = []
    revoked: list[HostKey] = []
    for entry in filter(None, map(_entry, text.splitlines())):
        if port != DEFAULT_PORT:
            # Given the port, the library would look a second time without it; given the whole name, it cannot.
            found = entry.match(f"[{host}]:{port}", "", None)
            with_port += [HostKey.of(key) for key in found[0]]
            revoked += [HostKey.of(key) for key in found[2]]
        found = entry.match(host, "", None)
        without += [HostKey.of(key) for key in found[0]]
        revoked += [HostKey.of(key) for key in found[2]]
    return tuple(dict.fromkeys(with_port or without)), tuple(dict.fromkeys(revoked))


def _speaks_only_of(line: str, host: str, port: int) -> bool:
    """Whether a line of the trust store names this host and port and nothing else."""
    name = line.split()[0] if line.split() else ""
    if name == _entry_name(host, port):
        return True
    entry = _entry(line) if name.startswith("|") else None
    return entry is not None and bool(entry.match(_entry_name(host, port), "", None)[0])
