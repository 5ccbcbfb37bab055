"""What a mail about a run says."""

from __future__ import annotations

from typing import Any

import pytest

from crosswalk.config.connection import Connection
from crosswalk.connectors.base import ConnectionDetails
from crosswalk.core.errors import ConfigError, RetryableError
from crosswalk.steps.mail import alert_message, message_of, run_message, send

CONNECTION = Connection.model_validate(
    {
        "kind": "sftp",
        "title": "Webshop",
        "conn_id": "shop",
        "goals": [
            {
                "import_profiles": "orders",
                "files": [{"name": "o", "path": "/o.csv"}],
                "identifiers": [{"field": "o.email", "property": "email"}],
            }
        ],
    }
)
RUN: dict[str, Any] = {
    "run_id": "webshop__1",
    "started_at": "2026-01-01T00:00:00Z",
    "finished_at": "2026-01-01T00:01:00Z",
    "goals": [
        {
            "goal": "orders",
            "state": "failed",
            "result": {
                "counts": {"rows_read": 1200, "quarantined": {"too_few_columns": 2}, "excluded": {"no_match": 3}},
                "error": {"code": "unknown_column", "message": "The file orders.csv has no column email."},
            },
        },
        {"goal": "", "state": "running", "result": {"timings": {"authenticate": 0.1}}},
    ],
}


def test_the_mail_names_connection_goal_counts_error_and_the_run() -> None:
    message = run_message(CONNECTION, "webshop", RUN, "failed", "https://airflow.example.org/dags/x/runs/y")
    text = message.get_content()
    assert message["Subject"] == "[Crosswalk] Webshop: failed"
    for part in (
        "Webshop (webshop)",
        "Goal orders: failed",
        "rows read 1,200",
        "quarantined: 2 too_few_columns",
        "excluded: 3 no_match",
        "[unknown_column]",
        "The file orders.csv has no column email.",
        "crosswalk rejects webshop__1",
        "https://airflow.example.org/dags/x/runs/y",
    ):
        assert part in text


def test_times_are_those_of_the_connection_and_errors_do_not_repeat_their_place() -> None:
    connection = CONNECTION.model_copy(update={"timezone": "Europe/Brussels"})
    message = 'Connection "webshop", goal "orders": The files cannot be joined.\n  no column "id"'
    error = {"code": "missing_column", "message": message}
    goal = {"goal": "orders", "state": "failed", "result": {"counts": {"files_read": 1}, "error": error}}
    text = run_message(connection, "webshop", {**RUN, "goals": [goal]}, "failed", None).get_content()
    assert "Started:    2026-01-01 01:00:00 (Europe/Brussels)" in text
    assert '  Error [missing_column]: The files cannot be joined.\n  no column "id"\n' in text
    assert "crosswalk rejects" not in text  # nothing was set aside
    assert message_of({"message": 'Connection "webshop", goal "orders", file a line 3: No.'}, "webshop", "orders") == (
        "file a line 3: No."
    )


def test_the_mail_about_an_export_counts_profiles_and_says_what_the_difference_is_made_of() -> None:
    counts = {"available": 1500, "exported": 1200, "excluded": {"not_changed": 300, "no_consent": 7}}
    reason = "1,200 of 1,500 available profiles go into the file: 300 are unchanged since the last good export."
    goal = {"goal": "list", "state": "done", "result": {"counts": counts, "reason": reason}}
    text = run_message(CONNECTION, "webshop", {**RUN, "goals": [goal]}, "done", None).get_content()
    for part in ("available 1,500, exported 1,200", "excluded: 7 no_consent", "excluded: 300 not_changed", reason):
        assert part in text


def test_a_title_with_a_line_break_cannot_add_headers() -> None:
    connection = CONNECTION.model_copy(update={"title": "Shop\nBcc: everyone@example.org"})
    message = run_message(connection, "webshop", RUN, "failed", None)
    assert message["Bcc"] is None
    assert message["Subject"] == "[Crosswalk] Shop Bcc: everyone@example.org: failed"


def test_a_mail_server_that_is_away_is_worth_another_try() -> None:
    details = ConnectionDetails("mail", host="127.0.0.1", port=1, extra={"disable_ssl": True, "timeout": 2})
    with pytest.raises(RetryableError, match="did not take the mail") as caught:
        send(details, alert_message(CONNECTION, "webshop"), ["ops@example.org"])
    assert caught.value.code == "mail_not_delivered"


def test_a_mail_connection_without_host_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="has no host"):
        send(ConnectionDetails("mail"), alert_message(CONNECTION, "webshop"), ["ops@example.org"])
