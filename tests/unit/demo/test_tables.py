"""The demo's tables show every row once, and nothing that a terminal would take for mark-up."""

from __future__ import annotations

from email.message import EmailMessage
from io import StringIO

from demo.tables import Screen, adds_up, buckets
from rich.console import Console

from crosswalk.config.tenant import Property, Tenant

COUNTS = {
    "rows_read": 100,
    "filtered": 10,
    "unchanged_rows_skipped": 0,
    "excluded": {"no_identifier": 5, "no_consent": 4},
    "quarantined": {"unclosed_quote": 1},
    "applied": 80,
    "created": 60,
    "updated": 0,
    "unchanged": 0,
    "invalid_values": 3,
}


def shown(**changes: object) -> str:
    screen = Screen(Console(file=StringIO(), width=140))
    goal = {"goal": "orders", "state": "done", "counts": COUNTS, **changes}
    screen.run({"run_id": "r1", "goals": [goal]}, {"scan": 0.5, "join": 2.0}, seconds=4.0)
    file = screen.console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_the_buckets_are_those_of_the_equation() -> None:
    assert sum(number for _, number in buckets(COUNTS)) == 100
    assert adds_up(COUNTS)
    assert not adds_up({**COUNTS, "applied": 79})


def test_a_run_shows_counts_reasons_and_times() -> None:
    text = shown()
    for part in ("rows read", "100", "excluded: no consent", "set aside: unclosed_quote", "profiles created", "join"):
        assert part in text
    assert "1.5 s" in text
    assert "do not add up" not in text


def test_rows_that_do_not_add_up_are_said_aloud() -> None:
    assert "do not add up" in shown(counts={**COUNTS, "applied": 70})


def test_an_error_is_shown_with_its_code() -> None:
    text = shown(state="failed", error={"code": "missing_column", "message": "no column [bold]customer_id[/bold]"})
    assert "missing_column: no column [bold]customer_id[/bold]" in text


def test_a_mail_is_shown_with_its_subject_and_text() -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", "[Crosswalk] Shop: failed"
    message.set_content("Goal orders: failed\n")
    screen = Screen(Console(file=StringIO(), width=140))
    screen.mail(message)
    file = screen.console.file
    assert isinstance(file, StringIO)
    assert "Subject: [Crosswalk] Shop: failed" in file.getvalue()
    assert "Goal orders: failed" in file.getvalue()


def test_a_profile_is_shown_with_names_dates_and_currencies() -> None:
    properties = {
        "shop_last_order": Property(name="Last order", type="datetime"),
        "shop_revenue": Property(type="currency", currency="EUR"),
    }
    document = {
        "properties": {"shop_last_order": ["1793623407000"], "shop_revenue": ["169.58"], "refused_objectives": ["n"]}
    }
    screen = Screen(Console(file=StringIO(), width=140))
    screen.profile(document, Tenant(properties=properties))
    file = screen.console.file
    assert isinstance(file, StringIO)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in file.getvalue().splitlines() if "│" in line]
    assert rows == [
        ["refused objectives", "n"],
        ["Last order", "2026-11-02 12:43:27 UTC"],
        ["shop_revenue", "169.58 EUR"],
    ]
