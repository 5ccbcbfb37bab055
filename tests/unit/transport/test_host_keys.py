"""Which keys are trusted, without any server: the trust store, pinned keys, known_hosts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import stat
import threading
from pathlib import Path

import asyncssh
import pytest

from crosswalk.core.errors import AuthenticationError, ConfigError
from crosswalk.transport.details import ConnectionDetails
from crosswalk.transport.host_keys import HostKey, HostKeyPolicy, trust_host_key, trust_store_path

ED, OTHER = (HostKey.of(asyncssh.generate_private_key("ssh-ed25519")) for _ in range(2))
EC = HostKey.of(asyncssh.generate_private_key("ecdsa-sha2-nistp256"))
RSA = HostKey.of(asyncssh.generate_private_key("ssh-rsa", key_size=2048))


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROSSWALK_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "known_hosts"


def details(port: int | None = None, host: str = "sftp.example.org", **extra: object) -> ConnectionDetails:
    return ConnectionDetails("shop", host=host, port=port, login="u", extra=extra)


def hashed(name: str) -> str:
    salt = b"12345678901234567890"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def test_nothing_is_trusted_at_first() -> None:
    policy = HostKeyPolicy.of(details())

    assert not policy.accepts(ED)
    assert policy.refusal(ED).code == "host_key_unknown"


def test_a_trusted_key_is_accepted_and_no_other(store: Path) -> None:
    assert trust_host_key(details(), ED) == store

    policy = HostKeyPolicy.of(details())

    assert policy.accepts(ED)
    assert not policy.accepts(OTHER)
    assert store.read_text() == f"sftp.example.org {ED.text}\n"
    assert trust_store_path() == store
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700


def test_trusting_a_new_key_replaces_the_old_one(store: Path) -> None:
    trust_host_key(details(), ED.text)
    trust_host_key(details(2222), RSA.text)

    trust_host_key(details(), OTHER.text)

    assert not HostKeyPolicy.of(details()).accepts(ED)
    assert HostKeyPolicy.of(details()).accepts(OTHER)
    assert HostKeyPolicy.of(details(2222)).accepts(RSA)
    assert store.read_text().splitlines() == [
        f"[sftp.example.org]:2222 {RSA.text}",
        f"sftp.example.org {OTHER.text}",
    ]


def test_trusting_the_same_key_again_changes_nothing(store: Path) -> None:
    trust_host_key(details(), ED.text)
    before = store.read_text()

    trust_host_key(details(), ED.text)
    assert store.read_text() == before


def test_trusting_keeps_comments_other_hosts_and_revocations(store: Path) -> None:
    kept = f"# ours\nother.example.org {EC.text}\n@revoked * {RSA.text}\n"
    store.parent.mkdir()
    store.write_text(kept + f"{hashed('sftp.example.org')} {ED.text}\n")

    trust_host_key(details(), OTHER.text)

    assert store.read_text() == f"{kept}sftp.example.org {OTHER.text}\n"


def test_what_is_no_key_cannot_be_trusted(store: Path) -> None:
    with pytest.raises(ConfigError, match="not a public key"):
        trust_host_key(details(), "ssh-ed25519 nonsense")
    assert not store.exists()


def test_a_revoked_key_cannot_be_trusted(store: Path) -> None:
    store.parent.mkdir()
    store.write_text(f"@revoked * {ED.text}\n")

    with pytest.raises(ConfigError, match="revoked"):
        trust_host_key(details(), ED.text)


def test_two_that_trust_at_once_lose_nothing(store: Path) -> None:
    threads = [
        threading.Thread(target=trust_host_key, args=(details(host=f"h{n}.example.org"), ED.text)) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(store.read_text().splitlines()) == 8


@pytest.mark.parametrize(
    "line",
    [
        "sftp.example.org {key}",
        "sftp.example.org,10.0.0.1 {key} a comment",
        "*.example.org {key}",
        "{hashed} {key}",
        "broken line\nsftp.example.org {key}",
        "sftp.example.org ssh-ed25519 AAAAnonsense\nsftp.example.org {key}",
        "|1|broken|entry {key}\nsftp.example.org {key}",
    ],
)
def test_known_hosts_lines_that_name_the_host_are_trusted(line: str) -> None:
    text = line.format(key=ED.text, hashed=hashed("sftp.example.org"))

    assert HostKeyPolicy.of(details(known_hosts=text)).accepts(ED)


@pytest.mark.parametrize(
    "line",
    [
        "other.example.org {key}",
        "!sftp.example.org,*.example.org {key}",
        "[sftp.example.org]:2222 {key}",
        "{hashed} {key}",
        "@cert-authority sftp.example.org {key}",
        "@revoked sftp.example.org {key}\nsftp.example.org {key}",
        "@revoked * {key}\nsftp.example.org {key}",
        "# sftp.example.org {key}",
    ],
)
def test_known_hosts_lines_that_do_not_name_the_host_are_not(line: str) -> None:
    text = line.format(key=ED.text, hashed=hashed("other.example.org"))

    assert not HostKeyPolicy.of(details(known_hosts=text)).accepts(ED)


@pytest.mark.parametrize(
    "line", ["[sftp.example.org]:2222 {key}", "{hashed} {key}", "[*.example.org]:2222 {key}", "sftp.example.org {key}"]
)
def test_another_port_is_matched_with_its_port_first(line: str) -> None:
    text = line.format(key=ED.text, hashed=hashed("[sftp.example.org]:2222"))

    assert HostKeyPolicy.of(details(2222, known_hosts=text)).accepts(ED)


def test_an_entry_without_port_does_not_count_beside_one_with_it() -> None:
    text = f"sftp.example.org {ED.text}\n[sftp.example.org]:2222 {OTHER.text}"

    policy = HostKeyPolicy.of(details(2222, known_hosts=text))

    assert policy.accepts(OTHER)
    assert not policy.accepts(ED)


def test_an_address_that_is_known_lets_no_other_name_in() -> None:
    policy = HostKeyPolicy.of(details(host="localhost", known_hosts=f"127.0.0.1 {ED.text}"))

    assert not policy.accepts(ED)


def test_known_hosts_may_be_a_path_or_escaped_text(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(f"sftp.example.org {ED.text}\n")
    escaped = f"other.example.org {RSA.text}\\nsftp.example.org {ED.text}"

    assert HostKeyPolicy.of(details(known_hosts=str(path))).accepts(ED)
    assert HostKeyPolicy.of(details(known_hosts=escaped)).accepts(ED)


def test_a_known_hosts_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="known_hosts"):
        HostKeyPolicy.of(details(known_hosts=str(tmp_path / "none")))


@pytest.mark.parametrize(
    "text",
    [
        "{key}",
        "{key} root@server",
        "sftp.example.org {key}",
        "{blob}",
        "{other}\n{key}",
        "{other}\\n{key}",
    ],
)
def test_a_pinned_key_is_taken_in_any_form(text: str) -> None:
    given = text.format(key=ED.text, blob=ED.text.split()[1], other=RSA.text)

    assert HostKeyPolicy.of(details(host_key=given)).accepts(ED)


def test_a_pinned_key_overrules_the_trust_store() -> None:
    trust_host_key(details(), OTHER.text)

    policy = HostKeyPolicy.of(details(host_key=ED.text))

    assert policy.accepts(ED)
    assert not policy.accepts(OTHER)


@pytest.mark.parametrize("text", ["ssh-ed25519", "AAAAshort", "ssh-rsa AAAAB3NzaC1yc2EAAA==", "yes"])
def test_a_pinned_key_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="host_key"):
        HostKeyPolicy.of(details(host_key=text))


@pytest.mark.parametrize("switch", [True, "true", 1])
def test_the_switch_of_airflow_that_leaves_the_check_out_is_not_followed(switch: object) -> None:
    assert not HostKeyPolicy.of(details(no_host_key_check=switch, known_hosts="none")).accepts(ED)


def test_the_refusal_of_an_unknown_key_shows_it_and_what_to_run() -> None:
    error = HostKeyPolicy.of(details(2222)).refusal(ED)

    assert isinstance(error, AuthenticationError)
    assert ED.fingerprint in str(error)
    assert "sftp.example.org port 2222" in str(error)
    assert "crosswalk trust shop" in error.remedy


@pytest.mark.parametrize(
    ("source", "has"), [("store", "crosswalk trust shop"), ("host_key", OTHER.text)], ids=["store", "host_key"]
)
def test_the_refusal_of_another_key_shows_both(source: str, has: str) -> None:
    if source == "store":
        trust_host_key(details(), ED.text)
        policy = HostKeyPolicy.of(details())
    else:
        policy = HostKeyPolicy.of(details(host_key=ED.text))

    error = policy.refusal(OTHER)

    assert error.code == "host_key_changed"
    assert ED.fingerprint in str(error)
    assert OTHER.fingerprint in str(error)
    assert has in error.remedy


def test_the_kind_of_key_that_is_trusted_is_asked_for_first() -> None:
    trust_host_key(details(), RSA.text)

    assert HostKeyPolicy.of(details()).algorithms[:3] == ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519"]
    assert HostKeyPolicy.of(details(host_key=EC.text)).algorithms[0] == "ecdsa-sha2-nistp256"


def test_fingerprints_are_those_of_openssh() -> None:
    blob = base64.b64decode(ED.text.split()[1])
    expected = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

    assert f"SHA256:{expected}" == ED.fingerprint
