"""Mail about runs: what it says and how it is sent. Counts and places only; never a value of a person."""

from __future__ import annotations

import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from crosswalk.core.errors import AuthenticationError, ConfigError, RetryableError

if TYPE_CHECKING:
    from crosswalk.config.connection import Connection
    from crosswalk.connectors.base import ConnectionDetails

TIMEOUT_SECONDS = 30
STATE_TEXT = {
    "failed": "failed",
    "held": "held; nothing was written",
    "stale": "not applied: the store moved",
    "done": "done",
    "done_with_rejects": "done, with rejects",
    "nothing_new": "nothing new",
    "planned": "planned; nothing was written",
    "busy": "another run of this connection was writing",
}
_SHOWN = (
    "rows_read",
    "created",
    "updated",
    "unchanged",
    "unchanged_rows_skipped",
    "filtered",
    "invalid_values",
    "events_created",
    "events_updated",
    "events_unchanged",
    "events_rejected",
    "events_dropped",
    "available",
    "exported",
    "replaced_characters",
)
_GROUPS = {"events_rejected_by_reason": "events rejected", "events_exported": "events exported"}


def run_message(
    connection: Connection, name: str, run: dict[str, Any], state: str, run_url: str | None
) -> EmailMessage:
    """The mail about a finished run."""
    lines = [
        f"Connection: {connection.title} ({name})",
        f"Run:        {run.get('run_id')}",
        f"State:      {STATE_TEXT.get(state, state)}",
        f"Started:    {_moment(run.get('started_at'), connection.timezone)}",
        f"Ended:      {_moment(run.get('finished_at'), connection.timezone)}",
        "",
    ]
    goals = [goal for goal in run.get("goals", []) if goal["goal"]]
    for goal in goals:
        lines += [*goal_lines(goal, name), ""]
    lines += ["Look further", "  The counts of this and earlier runs:", f"    crosswalk runs {name}"]
    if any(_set_aside(goal) for goal in goals):
        lines += ["  What was set aside, with file, line and reason:", f"    crosswalk rejects {run.get('run_id')}"]
    if run_url:
        lines += ["  The run in Airflow:", f"    {run_url}"]
    message = EmailMessage()
    message["Subject"] = _subject(connection, STATE_TEXT.get(state, state))
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain="crosswalk.invalid")
    message.set_content("\n".join(lines) + "\n")
    return message


def question_message(
    connection: Connection, name: str, run: dict[str, Any], goal: dict[str, Any], question_url: str | None
) -> EmailMessage:
    """The mail that asks a person to agree to a plan."""
    lines = [
        f"Connection: {connection.title} ({name})",
        f"Run:        {run.get('run_id')}",
        "",
        *goal_lines(goal, name),
        "",
        "To write exactly this plan, or to reject it:",
        *([f"  {question_url}"] if question_url else []),
        "What was set aside, with file, line and reason:",
        f"  crosswalk rejects {run.get('run_id')}",
    ]
    message = EmailMessage()
    message["Subject"] = _subject(connection, "a person must agree")
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain="crosswalk.invalid")
    message.set_content("\n".join(lines) + "\n")
    return message


def _subject(connection: Connection, what: str) -> str:
    return f"[Crosswalk] {' '.join(connection.title.split())}: {what}"


def _moment(iso: str | None, zone: str) -> str:
    """A moment of the store (UTC) as people of the connection's zone read it."""
    if not iso:
        return "unknown"
    return f"{datetime.fromisoformat(iso).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S} ({zone})"


def _set_aside(goal: dict[str, Any]) -> bool:
    counts = (goal.get("result") or {}).get("counts") or {}
    return any(counts.get(key) for key in ("quarantined", "linked_quarantined", "invalid_values", "files_rejected"))


def message_of(error: dict[str, Any], connection: str, goal: str) -> str:
    """A stored error without its place, for texts whose heading names connection and goal already."""
    text = str(error.get("message", ""))
    return text.removeprefix(f'Connection "{connection}", goal "{goal}"').lstrip(":, ")


def goal_lines(goal: dict[str, Any], connection: str) -> list[str]:
    """What became of one goal of a run: state, counts, reason, error, the first warnings."""
    result = goal.get("result") or {}
    counts = result.get("counts") or {}
    lines = [f"Goal {goal['goal']}: {STATE_TEXT.get(goal['state'], goal['state'])}"]
    shown = [f"{key.replace('_', ' ')} {counts[key]:,}" for key in _SHOWN if counts.get(key)]
    if shown:
        lines.append("  " + ", ".join(shown))
    for group in ("excluded", "quarantined", *_GROUPS):
        for reason, number in sorted((counts.get(group) or {}).items()):
            lines.append(f"  {_GROUPS.get(group, group)}: {number:,} {reason}")
    if result.get("reason"):
        lines.append(f"  {result['reason']}")
    if result.get("error"):
        error = result["error"]
        lines += f"  Error [{error['code']}]: {message_of(error, connection, goal['goal'])}".splitlines()
    return [*lines, *(f"  Warning: {warning}" for warning in (result.get("warnings") or [])[:5])]


def alert_message(connection: Connection, name: str) -> EmailMessage:
    """The mail of ``crosswalk test-alert``."""
    message = EmailMessage()
    message["Subject"] = _subject(connection, "test alert")
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain="crosswalk.invalid")
    message.set_content(f'Alerts of connection "{connection.title}" ({name}) reach this address.\n')
    return message


def send(details: ConnectionDetails, message: EmailMessage, recipients: list[str]) -> None:
    """Deliver over SMTP as an Airflow ``smtp`` connection describes it.

    Extras read: ``disable_ssl``, ``disable_tls`` (STARTTLS otherwise when ``disable_ssl``), ``from_email``,
    ``timeout``.

    Raises:
        ConfigError: the connection lacks a host, or the server refuses sender or recipients.
        AuthenticationError: login refused.
        RetryableError: the server cannot be reached.
    """
    if not details.host:
        raise ConfigError(f'Airflow connection "{details.conn_id}" has no host.', remedy="Set it.", code="smtp_host")
    extra = details.extra
    message["From"] = str(extra.get("from_email") or "crosswalk@localhost")
    message["To"] = ", ".join(recipients)
    plain, timeout = bool(extra.get("disable_ssl")), float(extra.get("timeout") or TIMEOUT_SECONDS)
    port = details.port or (25 if plain else 465)
    try:
        with _open(details.host, port, plain, timeout) as server:
            if plain and not extra.get("disable_tls"):
                server.starttls(context=ssl.create_default_context())
            if details.login and details.password:
                server.login(details.login, details.password.reveal())
            server.send_message(message)
    except smtplib.SMTPAuthenticationError as error:
        raise AuthenticationError(
            f"The mail server refused the login of Airflow connection {details.conn_id}.", remedy="Correct it."
        ) from error
    except smtplib.SMTPRecipientsRefused as error:
        raise ConfigError("The mail server refused all recipients.", remedy="Correct notifications.emails.") from error
    except (OSError, smtplib.SMTPException) as error:
        raise RetryableError(
            f"The mail server {details.host}:{port} did not take the mail ({type(error).__name__}).",
            remedy="Check host, port and encryption, then run crosswalk test-alert.",
            code="mail_not_delivered",
        ) from error


def _open(host: str, port: int, plain: bool, timeout: float) -> smtplib.SMTP:
    if plain:
        return smtplib.SMTP(host, port, timeout=timeout)
    return smtplib.SMTP_SSL(host, port, timeout=timeout, context=ssl.create_default_context())
