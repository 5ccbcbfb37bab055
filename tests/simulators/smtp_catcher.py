"""A mail server that delivers nothing: it keeps every message and also writes it as an ``.eml`` file.

Run as a program it serves until it is stopped::

    python -m tests.simulators.smtp_catcher --folder FOLDER [--port 0]

Once it listens, ``server.json`` with host, port and pid lies in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class Mail:
    """One caught message.

    Attributes:
        sender: of the envelope.
        recipients: of the envelope.
        message: headers and body.
        file: where its text lies, when a folder was given.
    """

    sender: str
    recipients: list[str]
    message: EmailMessage
    file: Path | None = None

    @property
    def subject(self) -> str:
        """The decoded subject."""
        return str(self.message["subject"] or "")

    @property
    def text(self) -> str:
        """The plain body, else the HTML one, with plain line breaks."""
        part = self.message.get_body(("plain", "html"))
        return part.get_content().replace("\r\n", "\n") if part is not None else ""


@dataclass
class SmtpCatcher:
    """A running catcher; also usable with ``with running(...)``.

    Attributes:
        folder: where ``.eml`` files go; None for none.
        mails: what arrived, in order.
        refusals: answers given instead of taking the next messages, for example ``"451 try later"``.
    """

    folder: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _arrived: threading.Condition = field(default_factory=threading.Condition, repr=False)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - name is given
        """Keep one message."""
        if self.refusals:
            return self.refusals.pop(0)
        content = bytes(envelope.original_content or envelope.content or b"")
        message = message_from_bytes(content, policy=policy.default)
        with self._arrived:
            file = self._write(content)
            self.mails.append(Mail(envelope.mail_from or "", list(envelope.rcpt_tos), message, file))
            self._arrived.notify_all()
        return "250 kept"

    def _write(self, content: bytes) -> Path | None:
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(self.mails) + 1
        while (path := self.folder / f"mail_{number:04d}.eml").exists():
            number += 1
        temporary = path.with_suffix(".part")
        temporary.write_bytes(content)
        temporary.replace(path)
        return path

    def wait_for(self, count: int, timeout_seconds: float = 10) -> list[Mail]:
        """The first ``count`` messages; AssertionError when they do not come in time."""
        limit = time.monotonic() + timeout_seconds
        with self._arrived:
            while len(self.mails) < count:
                left = limit - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{len(self.mails)} of {count} mails arrived")
                self._arrived.wait(left)
            return self.mails[:count]

    def connection_json(self) -> str:
        """The catcher as an Airflow connection of type smtp, in JSON."""
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "crosswalk@example.org", "retry_limit": 1}
        fields = {"conn_type": "smtp", "host": self.host, "port": self.port, "extra": extra}
        return json.dumps(fields)


class _Controller(Controller):
    """Binds to any free port and says which; its parent would connect to port 0 to see whether it is up."""

    def _trigger_server(self) -> None:
        if self.server is not None:
            self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def running(folder: Path | None = None, port: int = 0) -> Iterator[SmtpCatcher]:
    """A catcher in a thread of its own; stopped at the end of the ``with`` block."""
    catcher = SmtpCatcher(folder)
    controller = _Controller(catcher, hostname=catcher.host, port=port)
    controller.start()
    catcher.port = controller.port
    try:
        yield catcher
    finally:
        controller.stop()


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A local mail catcher for the demo.")
    parser.add_argument("--folder", type=Path, required=True, help="where .eml files and server.json go")
    parser.add_argument("--port", type=int, default=0, help="0 for any free port")
    options = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with running(options.folder, options.port) as catcher:
        options.folder.mkdir(parents=True, exist_ok=True)
        temporary = options.folder / "server.json.part"
        temporary.write_text(json.dumps({"host": catcher.host, "port": catcher.port, "pid": os.getpid()}))
        temporary.replace(options.folder / "server.json")
        stopped.wait()


if __name__ == "__main__":
    main()
