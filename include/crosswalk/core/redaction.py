"""Keeps secrets and personal values out of everything a person or a machine writes down.

Three tools: ``Secret`` wraps a value so that no ordinary way of printing or storing an object shows it, ``redact``
takes known secrets (in the forms in which they travel) out of a text, ``mask`` shortens a personal value for a preview.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Iterable
from typing import NoReturn
from urllib.parse import quote, quote_plus, urlsplit, urlunsplit

MASK = "***"
_SHORTEST_LINE = 16
_USERINFO = re.compile(r"://[^/\s?#\"'<>]*@")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_ASSIGNMENT = re.compile(
    r"(?i)\b(password|passwd|pwd|passphrase|client_secret|secret|access_token|refresh_token|token|api_key|apikey)=[^\s&;,\"']+"
)


class Secret:
    """A value that only ``reveal`` shows.

    It cannot be pickled or written as JSON; copies are the same object. Compares in constant time with another secret.

    Example:
        >>> password = Secret("hunter2")
        >>> f"{password} {password!r}"
        '*** Secret(***)'
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The value itself, for the one call that needs it."""
        return self.__value

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = (secret.__value.encode("utf-8", "surrogatepass") for secret in (self, other))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "A secret is never written down; pass the connection id and look the secret up where it is used."
        )

    __reduce__ = __reduce_ex__  # type: ignore[assignment]
    __getstate__ = __reduce_ex__  # type: ignore[assignment]


def redact(text: str, secrets: Iterable[Secret | str | None] = ()) -> str:
    """Replace every occurrence of the secrets by ``***``, and what looks like a credential in any case.

    Finds a secret as it is, URL-encoded, escaped as in JSON or a Python repr, in base64, and, for a key of several
    lines, each of its long lines. Without ``secrets`` it still removes logins inside URLs, bearer and basic
    credentials, private keys and assignments such as ``password=...``.
    """
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    if forms:
        text = re.sub("|".join(re.escape(form) for form in forms), MASK, text)
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _USERINFO.sub(f"://{MASK}@", text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    return _ASSIGNMENT.sub(rf"\1={MASK}", text)


def _forms(secret: Secret | str | None) -> set[str]:
    value = secret.reveal() if isinstance(secret, Secret) else secret
    if not value:
        return set()
    plain = {value, value.strip()}
    if "\n" in value or "\r" in value:
        plain |= {line.strip() for line in value.splitlines() if len(line.strip()) >= _SHORTEST_LINE}
        plain |= {value.replace("\r\n", "\n"), value.replace("\r\n", "\n").replace("\n", "\\n")}
    forms = set(plain)
    for text in plain:
        forms |= {quote(text, safe=""), quote(text), quote_plus(text)}
        forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
        raw = text.encode("utf-8", "surrogatepass")
        forms |= {repr(raw)[2:-1], base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    return {form for form in forms if form}


def safe_url(url: str) -> str:
    """A URL for messages: scheme, host, port and path; no login, query or fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return MASK


def mask(value: str | None) -> str:
    """A personal value for a preview: the first character at most, never the length.

    Example:
        >>> mask("an@example.org"), mask("Gent"), mask("An"), mask("")
        ('a***@***', 'G***', '***', '')
    """
    if not value:
        return ""
    start = value[0] if len(value) > 3 and value[0].isalnum() else ""
    return f"{start}{MASK}@{MASK}" if "@" in value[1:] else f"{start}{MASK}"
