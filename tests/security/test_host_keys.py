"""Twelve cases of host keys against a real OpenSSH server: only the known key lets us go on to log in."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest

from crosswalk.core.errors import AuthenticationError
from crosswalk.hooks.credentials import resolve
from crosswalk.transport.host_keys import trust_host_key, trust_store_path
from crosswalk.transport.sftp import SftpSession, fetch_host_key
from tests.simulators import openssh

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not openssh.is_available(), reason=openssh.MISSING),
]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROSSWALK_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home" / "known_hosts"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openssh.OpenSsh]:
    with openssh.running(tmp_path_factory.mktemp("ssh"), host_key_types=("ed25519", "rsa")) as running:
        yield running


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A key that is not the server's."""
    return openssh.public_text(openssh.make_key(tmp_path_factory.mktemp("other") / "key"))


def hashed(name: str) -> str:
    salt = b"01234567890123456789"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def fingerprint(key: str) -> str:
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def attempts(server: openssh.OpenSsh) -> int:
    """How often somebody got as far as naming a user."""
    text = server.log.read_text()
    return sum(text.count(words) for words in ("Accepted publickey", "Failed publickey", "Postponed publickey"))


def login(server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, **extra: object) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_HOST_KEYS", server.connection_json(**{"host_key": None, **extra}))
    with SftpSession.open(resolve("host_keys")) as session:
        return session.host_key().text


def refused(server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, **extra: object) -> AuthenticationError:
    before = attempts(server)
    with pytest.raises(AuthenticationError) as caught:
        login(server, monkeypatch, **extra)
    assert attempts(server) == before, "something of the login was sent to a server that is not trusted"
    return caught.value


def test_01_an_unknown_key_is_refused_and_shown(server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(server, monkeypatch)

    assert error.code == "host_key_unknown"
    assert fingerprint(server.host_key) in str(error)
    assert "crosswalk trust host_keys" in str(error)
    assert not trust_store_path().exists(), "looking at a key must not store it"


def test_02_a_key_that_was_fetched_and_trusted_is_accepted(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HOST_KEYS", server.connection_json(host_key=None))
    details = resolve("host_keys")

    key = fetch_host_key(details)
    assert (key.text, key.fingerprint) == (server.host_key, fingerprint(server.host_key))
    assert not store.exists()
    assert trust_host_key(details, key) == store

    assert login(server, monkeypatch) == server.host_key
    assert store.read_text() == f"[127.0.0.1]:{server.port} {server.host_key}\n"


def test_03_a_changed_key_is_refused_and_both_are_shown(
    server: openssh.OpenSsh, other: str, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    store.write_text(f"[127.0.0.1]:{server.port} {other}\n")

    error = refused(server, monkeypatch)

    assert error.code == "host_key_changed"
    assert fingerprint(server.host_key) in str(error)
    assert fingerprint(other) in str(error)
    assert store.read_text() == f"[127.0.0.1]:{server.port} {other}\n"


def test_04_a_pinned_key_that_differs_is_refused_and_both_are_shown(
    server: openssh.OpenSsh, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refused(server, monkeypatch, host_key=other)

    assert fingerprint(server.host_key) in str(error)
    assert fingerprint(other) in str(error)


def test_05_a_key_of_another_type_than_the_trusted_one_is_refused(
    server: openssh.OpenSsh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    ecdsa = openssh.public_text(openssh.make_key(tmp_path / "ecdsa", "ecdsa"))
    store.write_text(f"[127.0.0.1]:{server.port} {ecdsa}\n")

    error = refused(server, monkeypatch)

    assert "ecdsa-sha2-nistp256" in str(error)
    assert "ssh-ed25519" in str(error)
    assert fingerprint(ecdsa) in str(error)


def test_06_the_servers_second_key_is_accepted_when_that_one_is_trusted(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    rsa = openssh.public_text(server.host_keys[1])
    store.write_text(f"[127.0.0.1]:{server.port} {rsa}\n")

    assert login(server, monkeypatch) == rsa


def test_07_a_revoked_key_is_refused_even_when_it_is_trusted_too(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    store.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n@revoked * {server.host_key}\n")

    error = refused(server, monkeypatch)

    assert error.code == "host_key_revoked"
    assert fingerprint(server.host_key) in str(error)


def test_08_a_hashed_entry_with_the_key_lets_in(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    store.write_text(f"{hashed(f'[127.0.0.1]:{server.port}')} {server.host_key}\n")

    assert login(server, monkeypatch) == server.host_key


def test_09_a_hashed_entry_with_another_key_is_refused(
    server: openssh.OpenSsh, other: str, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    store.write_text(f"{hashed(f'[127.0.0.1]:{server.port}')} {other}\n")

    assert fingerprint(other) in str(refused(server, monkeypatch))


def test_10_an_entry_of_another_port_does_not_count(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    store.write_text(f"[127.0.0.1]:{server.port + 1} {server.host_key}\n")

    assert refused(server, monkeypatch).code == "host_key_unknown"


def test_11_the_key_of_the_address_does_not_let_another_name_in(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    store.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n127.0.0.1 {server.host_key}\n")
    text = server.connection_json(host_key=None).replace('"host": "127.0.0.1"', '"host": "localhost"')
    monkeypatch.setenv("AIRFLOW_CONN_HOST_KEYS", text)

    with pytest.raises(AuthenticationError) as caught, SftpSession.open(resolve("host_keys")):
        pass

    assert caught.value.code == "host_key_unknown"
    assert "localhost" in str(caught.value)


def test_12_a_server_set_up_anew_is_refused_until_it_is_trusted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openssh.running(tmp_path / "ssh") as server:
        monkeypatch.setenv("AIRFLOW_CONN_HOST_KEYS", server.connection_json(host_key=None))
        details = resolve("host_keys")
        first = fetch_host_key(details)
        trust_host_key(details, first.text)
        login(server, monkeypatch)

        server.stop()
        server.start([openssh.make_key(tmp_path / "new")])
        error = refused(server, monkeypatch)
        assert error.code == "host_key_changed"
        assert first.fingerprint in str(error)
        assert fingerprint(server.host_key) in str(error)

        trust_host_key(details, fetch_host_key(details))
        assert login(server, monkeypatch) == server.host_key


def test_the_switch_of_airflow_that_leaves_the_check_out_is_not_followed(
    server: openssh.OpenSsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(server, monkeypatch, no_host_key_check=True).code == "host_key_unknown"


def test_nothing_of_this_users_own_ssh_settings_has_a_say(
    server: openssh.OpenSsh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "person" / ".ssh").mkdir(parents=True)
    (tmp_path / "person" / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    (tmp_path / "person" / ".ssh" / "config").write_text("Host *\n  StrictHostKeyChecking no\n  ProxyCommand false\n")
    monkeypatch.setenv("HOME", str(tmp_path / "person"))

    assert refused(server, monkeypatch).code == "host_key_unknown"
