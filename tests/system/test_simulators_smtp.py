"""The mail catcher keeps what it gets, as text and as files."""

from __future__ import annotations

import json
import smtplib
import subprocess
import sys
import time
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.simulators import smtp_catcher

pytestmark = pytest.mark.system


def message(subject: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "us@example.org", "ops@example.org", subject
    made.set_content("Één regel\n")
    return made


def test_messages_are_kept_in_order_and_written_as_files(tmp_path: Path) -> None:
    with smtp_catcher.running(tmp_path / "mail") as catcher, smtplib.SMTP(catcher.host, catcher.port) as client:
        for subject in ("première", "second"):
            client.send_message(message(subject))
        first, second = catcher.wait_for(2)

    assert (first.subject, second.subject) == ("première", "second")
    assert first.recipients == ["ops@example.org"]
    assert first.text == "Één regel\n"
    assert [path.name for path in sorted((tmp_path / "mail").iterdir())] == ["mail_0001.eml", "mail_0002.eml"]
    assert b"Subject:" in first.file.read_bytes()


def test_a_refusal_can_be_asked_for(tmp_path: Path) -> None:
    with smtp_catcher.running() as catcher, smtplib.SMTP(catcher.host, catcher.port) as client:
        catcher.refusals.append("451 try later")
        with pytest.raises(smtplib.SMTPDataError):
            client.send_message(message("refused"))
        client.send_message(message("taken"))
        assert [mail.subject for mail in catcher.wait_for(1)] == ["taken"]


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.simulators.smtp_catcher", "--folder", str(tmp_path)]
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        limit = time.monotonic() + 30
        while not (tmp_path / "server.json").exists():
            assert child.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.02)
        facts = json.loads((tmp_path / "server.json").read_text())
        with smtplib.SMTP(facts["host"], facts["port"]) as client:
            client.send_message(message("hello"))
        assert (tmp_path / "mail_0001.eml").exists()
    finally:
        child.terminate()
        assert child.wait(timeout=10) == 0
