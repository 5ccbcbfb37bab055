"""Private keys in the forms in which they reach us: forms and stores bend line breaks, keys must survive that."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

import asyncssh

from crosswalk.core.errors import ConfigError
from crosswalk.transport.details import ConnectionDetails

_ARMOUR = re.compile(r"-----BEGIN ([A-Z0-9][A-Z0-9 ]*)-----(.*?)-----END \1-----", re.DOTALL)
_BEGIN = "-----BEGIN"
# Headers of encrypted keys in the old PEM form. Flattened text has lost the line breaks around them, so the length of
# the initialisation vector says where the headers end.
_ENCRYPTED = re.compile(
    r"\s*Proc-Type:\s*4\s*,\s*ENCRYPTED\s*DEK-Info:\s*"
    r"(AES-[0-9]+-CBC\s*,\s*[0-9A-Fa-f]{32}|DES-[A-Z0-9-]*CBC\s*,\s*[0-9A-Fa-f]{16})\s*"
)
_LARGEST_KEY_FILE = 256 * 1024


def normalize_private_key(text: str) -> str:
    r"""Give a private key its line breaks back.

    Takes real line breaks of any kind, escaped ones (``\n``, ``\r\n``), breaks that a one-line form turned into blanks
    or took away, and the base64 of the whole PEM text on one line.

    Raises:
        ConfigError: the text is not a private key; says what it looks like instead.
    """
    text = text.strip().lstrip("\ufeff").strip("\"' \t\r\n")
    if _BEGIN not in text:
        text = _from_base64(text)
    text = text.replace("\\r\\n", "\n").replace("\\n", "\n").replace("\\r", "\n")
    match = _ARMOUR.search(text)
    if match is None or "PRIVATE KEY" not in match[1]:
        raise _not_a_key(text)
    kind, body = match[1], match[2]
    head = ""
    encrypted = _ENCRYPTED.match(body)
    if encrypted:
        cipher = re.sub(r"\s", "", encrypted[1])
        head = f"Proc-Type: 4,ENCRYPTED\nDEK-Info: {cipher}\n\n"
        body = body[encrypted.end() :]
    body = re.sub(r"\s+", "", body)
    lines = "\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    return f"-----BEGIN {kind}-----\n{head}{lines}\n-----END {kind}-----\n"


def _from_base64(text: str) -> str:
    try:
        decoded = base64.b64decode(re.sub(r"\s+|\\[rn]", "", text), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return text
    return decoded if _BEGIN in decoded else text


def _not_a_key(text: str) -> ConfigError:
    if text.startswith("PuTTY-User-Key-File"):
        what, remedy = "a PuTTY key", "Convert it in PuTTYgen with Conversions > Export OpenSSH key."
    elif text.startswith(("ssh-", "ecdsa-sha2-", "---- BEGIN SSH2 PUBLIC")) or "PUBLIC KEY-----" in text:
        what, remedy = "a public key", "Give the private key that belongs to it."
    elif _BEGIN in text:
        what, remedy = "cut off or not a private key", "Copy it whole, from its BEGIN line to its END line."
    else:
        what, remedy = "not a private key", "Paste the text of the key file, from its BEGIN line to its END line."
    return ConfigError(f"The text given as private key is {what}.", remedy=remedy, code="private_key")


def load_private_key(details: ConnectionDetails) -> asyncssh.SSHKey | None:
    """The private key of a connection: extra ``private_key`` (text), else ``key_file`` (path), else None.

    Raises:
        ConfigError: the key cannot be read, or its passphrase is missing or wrong.
    """
    text = details.text("private_key") or _read_key_file(details)
    if not text:
        return None
    place = f'Airflow connection "{details.conn_id}"'
    passphrase = details.text("private_key_passphrase") or None
    try:
        return asyncssh.import_private_key(normalize_private_key(text), passphrase)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error.message}", remedy=error.remedy, code=error.code) from None
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        # The library tells a missing passphrase from a broken key by its message only; ours are fixed texts.
        if passphrase is None and "passphrase" in str(error).lower():
            problem, remedy = "is encrypted", "Set the extra private_key_passphrase."
        elif passphrase is not None or isinstance(error, asyncssh.KeyEncryptionError):
            problem, remedy = "cannot be opened with its passphrase", "Correct the extra private_key_passphrase."
        else:
            problem, remedy = "cannot be read", "Paste it again, whole; RSA, ECDSA and Ed25519 keys are understood."
        raise ConfigError(f"{place}: the private key {problem}.", remedy=remedy, code="private_key") from None


def _read_key_file(details: ConnectionDetails) -> str:
    name = details.text("key_file")
    if not name:
        return ""
    path = Path(name).expanduser()
    try:
        if path.stat().st_size > _LARGEST_KEY_FILE:
            raise OSError(27, "it is too large for a key")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(
            f'Airflow connection "{details.conn_id}": the key file {path} cannot be read: {error.strerror}.',
            remedy="Correct the extra key_file, or give this machine's user the right to read it.",
            code="key_file",
        ) from None
