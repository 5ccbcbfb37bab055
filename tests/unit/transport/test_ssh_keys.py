"""Private keys in every form in which forms, stores and people bend them."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

import asyncssh
import pytest

from crosswalk.core.errors import ConfigError
from crosswalk.core.redaction import Secret
from crosswalk.transport.details import ConnectionDetails
from crosswalk.transport.ssh_keys import load_private_key, normalize_private_key

# Keys of tests are locked weakly on purpose, to be quick.
pytestmark = pytest.mark.filterwarnings("ignore:.*bcrypt.kdf")

ALGORITHMS = {"rsa": "ssh-rsa", "ecdsa": "ecdsa-sha2-nistp256", "ed25519": "ssh-ed25519"}
KEYS = {
    name: asyncssh.generate_private_key(algorithm, **({"key_size": 2048} if name == "rsa" else {}))
    for name, algorithm in ALGORITHMS.items()
}
FORMATS = {"rsa": ("openssh", "pkcs1-pem", "pkcs8-pem"), "ecdsa": ("openssh", "pkcs1-pem", "pkcs8-pem")}
FORMATS["ed25519"] = ("openssh", "pkcs8-pem")
WRITTEN = [(name, form) for name in KEYS for form in FORMATS[name]]
BENDS = {
    "as it is": lambda text: text,
    "windows line breaks": lambda text: text.replace("\n", "\r\n"),
    "old mac line breaks": lambda text: text.replace("\n", "\r"),
    "escaped line breaks": lambda text: text.replace("\n", "\\n"),
    "escaped windows line breaks": lambda text: text.replace("\n", "\\r\\n"),
    "blanks for line breaks": lambda text: text.replace("\n", " "),
    "no line breaks at all": lambda text: text.replace("\n", ""),
    "base64 of it all on one line": lambda text: base64.b64encode(text.encode()).decode(),
    "wrapped base64 of it all": lambda text: base64.encodebytes(text.encode()).decode(),
    "in quotes": lambda text: f'"{text.strip()}"',
    "blank lines around, no final break": lambda text: f"\n\n  {text.strip()}",
    "indented": lambda text: text.replace("\n", "\n    "),
    "with a byte order mark": lambda text: f"\ufeff{text}",
    "with remarks around": lambda text: f"key of the shop:\n{text}\nkeep safe\n",
}


def details(**extra: object) -> ConnectionDetails:
    return ConnectionDetails("shop", host="h", login="u", extra=extra)


@pytest.mark.parametrize("bend", BENDS)
@pytest.mark.parametrize(("name", "form"), WRITTEN, ids=[f"{n}-{f}" for n, f in WRITTEN])
def test_a_key_survives_what_is_done_to_its_line_breaks(name: str, form: str, bend: str) -> None:
    text = BENDS[bend](KEYS[name].export_private_key(form).decode())

    key = load_private_key(details(private_key=Secret(text)))

    assert key is not None
    assert key.public_data == KEYS[name].public_data


@cache
def encrypted(form: str) -> str:
    rounds = {"rounds": 2} if form == "openssh" else {}
    return KEYS["rsa"].export_private_key(form, "geheim", **rounds).decode()


# Opening costs time by design, so the forms that hold no headers of their own are tried with two bends only.
ENCRYPTED = [("pkcs1-pem", bend) for bend in BENDS] + [
    (form, bend) for form in ("openssh", "pkcs8-pem") for bend in ("escaped line breaks", "no line breaks at all")
]


@pytest.mark.parametrize(("form", "bend"), ENCRYPTED)
def test_an_encrypted_key_survives_too(form: str, bend: str) -> None:
    text = BENDS[bend](encrypted(form))

    key = load_private_key(details(private_key=Secret(text), private_key_passphrase=Secret("geheim")))

    assert key is not None
    assert key.public_data == KEYS["rsa"].public_data


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEYS["ed25519"].export_private_key())

    key = load_private_key(details(key_file=str(path)))

    assert key is not None
    assert key.public_data == KEYS["ed25519"].public_data


def test_no_key_is_no_error() -> None:
    assert load_private_key(details(private_key=None, key_file="  ")) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "PuTTY"),
        (KEYS["rsa"].export_public_key().decode(), "a public key"),
        (KEYS["rsa"].export_public_key("pkcs8-pem").decode(), "a public key"),
        (KEYS["rsa"].export_private_key().decode()[:400], "cut off"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "not a private key"),
        ("correct horse battery staple", "not a private key"),
    ],
)
def test_what_is_no_private_key_is_named(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        normalize_private_key(text)

    assert says in caught.value.message
    assert caught.value.remedy
    assert text[20:60] not in str(caught.value)


def test_a_damaged_key_is_refused_without_showing_it() -> None:
    lines = KEYS["rsa"].export_private_key().decode().splitlines()
    text = "\n".join([*lines[:5], *lines[7:]])

    with pytest.raises(ConfigError) as caught:
        load_private_key(details(private_key=Secret(text)))

    assert 'connection "shop"' in str(caught.value)
    assert not any(line in str(caught.value) for line in lines[1:-1])


@pytest.mark.parametrize("form", ["openssh", "pkcs1-pem", "pkcs8-pem"])
@pytest.mark.parametrize(("given", "says"), [(None, "is encrypted"), ("falsch", "passphrase")])
def test_a_missing_or_wrong_passphrase_is_named(form: str, given: str | None, says: str) -> None:
    text = encrypted(form)
    extra = {"private_key": Secret(text), **({"private_key_passphrase": Secret(given)} if given else {})}

    with pytest.raises(ConfigError) as caught:
        load_private_key(details(**extra))

    assert says in caught.value.message
    assert "private_key_passphrase" in caught.value.remedy
    assert "geheim" not in str(caught.value)
    assert "falsch" not in str(caught.value)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_private_key(details(key_file=str(tmp_path / "none")))

    assert str(tmp_path / "none") in str(caught.value)


def test_a_huge_key_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as handle:
        handle.truncate(10_000_000)

    with pytest.raises(ConfigError, match="too large"):
        load_private_key(details(key_file=str(path)))
