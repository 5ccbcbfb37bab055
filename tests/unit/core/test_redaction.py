from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import traceback
from dataclasses import asdict, dataclass
from urllib.parse import quote

import pytest

from crosswalk.core.redaction import Secret, mask, redact, safe_url

VALUE = "hunter2-Zo$é"


@dataclass
class Login:
    user: str
    password: Secret


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        format,
        ascii,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r:>40}",
        lambda secret: f"{secret:>40}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
        lambda secret: "{} {!s}".format(secret, secret),  # noqa: UP032
        lambda secret: str([secret]),
        lambda secret: str({secret: secret}),
        lambda secret: repr(Login("ann", secret)),
        lambda secret: str(asdict(Login("ann", secret))),
        lambda secret: str(ValueError(secret)) + repr(ValueError(secret)),
        lambda secret: "".join(traceback.format_exception(ValueError("login failed", secret))),
        lambda secret: json.dumps({"password": secret}, default=str),
        lambda secret: repr(copy.copy(secret)) + repr(copy.deepcopy([secret])),
        lambda secret: (
            str(dir(secret)) + str(getattr(secret, "__dict__", "")) + (secret.__doc__ or "").split("Example")[0]
        ),
    ],
)
def test_no_way_of_showing_a_secret_gives_its_value(show):
    shown = show(Secret(VALUE))
    assert VALUE not in shown
    assert "hunter2" not in shown


def test_a_secret_reveals_its_value_only_on_request():
    assert Secret(VALUE).reveal() == VALUE


def test_a_secret_can_be_neither_pickled_nor_written_as_json():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError) as raised:
            pickle.dumps(Secret(VALUE), protocol)
        assert VALUE not in str(raised.value)
    with pytest.raises(TypeError) as raised:
        json.dumps(Secret(VALUE))
    assert VALUE not in str(raised.value)


def test_copies_of_a_secret_still_hold_it():
    assert copy.deepcopy({"a": Secret(VALUE)})["a"].reveal() == VALUE
    assert copy.copy(Secret(VALUE)) == Secret(VALUE)


def test_a_secret_equals_only_another_secret_of_the_same_value():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
    assert Secret("a")


def test_a_log_line_with_a_secret_argument_shows_stars(caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("crosswalk.test").info("Logging in with %s as %r", Secret(VALUE), Secret(VALUE))
    assert VALUE not in caplog.text
    assert "***" in caplog.text


BODY = "b3BlbnNzaC1rZXktdjEAAAAA\nQUJDREVGR0hJSktMTU5PUFFS"
KEY = f"-----BEGIN OPENSSH {'PRIVATE'} KEY-----\n{BODY}\n-----END OPENSSH {'PRIVATE'} KEY-----\n"


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2",
        "abc",
        "p@ss/word&?=",
        'quo"te\\back',
        "wachtwoord-é-漢",
        "a.b*c+(d)[e]$^",
        "two words",
        KEY,
        "tab\there",
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        str,
        lambda value: quote(value, safe=""),
        lambda value: json.dumps({"value": value}),
        lambda value: json.dumps({"value": value}, ensure_ascii=False),
        repr,
        lambda value: repr(value.encode()),
        lambda value: base64.b64encode(value.encode()).decode(),
    ],
)
def test_a_known_secret_is_taken_out_in_every_form_in_which_it_travels(secret, form):
    text = f"before {form(secret)} after"
    cleaned = redact(text, [Secret(secret), None, ""])
    assert form(secret) not in cleaned
    assert secret not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


def test_single_lines_of_a_key_are_taken_out():
    assert "QUJDREVGR0hJSktMTU5PUFFS" not in redact("line: QUJDREVGR0hJSktMTU5PUFFS", [KEY])


def test_a_longer_secret_is_replaced_before_a_shorter_one_inside_it():
    assert redact("secretsecret2", ["secret", "secretsecret2"]) == "***"


def test_stars_are_not_replaced_again():
    assert redact("a*b", ["*", "a"]) == "******b"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("sftp://ann:hunter2@files.example.org/in", "hunter2"),
        ("postgresql://u:p%40ss@db/x?y=1", "p%40ss"),
        ("postgresql://u:p@ss@db/x", "p@ss"),
        ("Authorization: Bearer eyJhbGciOi.abc.def", "eyJhbGciOi"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("host=db password=hunter2 dbname=x", "hunter2"),
        ("https://api/x?access_token=hunter2&page=2", "hunter2"),
        (f"key was {KEY}", BODY[:24]),
        (KEY[:60], BODY[:12]),
    ],
)
def test_what_looks_like_a_credential_is_taken_out_even_when_unknown(text, gone):
    assert gone not in redact(text)


def test_ordinary_text_stays_as_it_is():
    text = "files.example.org:22, folder /in, 12 files; ask ops@example.org about basic rights"
    assert redact(text, ["x" * 30]) == text


def test_a_long_text_without_secrets_is_redacted_quickly():
    text = "a:" * 300_000 + "//" + "A" * 300_000
    assert redact(text) == text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:pw@host:8443/a/b?token=x#y", "https://host:8443/a/b"),
        ("https://host/a", "https://host/a"),
        ("https://[::1", "***"),
    ],
)
def test_a_url_is_shown_without_login_and_query(url, shown):
    assert safe_url(url) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [("an@example.org", "a***@***"), ("Gent", "G***"), ("Ann", "***"), ("", ""), (None, ""), ("+32475123456", "***")],
)
def test_a_masked_value_shows_at_most_its_first_character(value, shown):
    assert mask(value) == shown


def test_masks_of_values_of_different_length_look_the_same():
    assert mask("x" * 4) == mask("x" * 400)
