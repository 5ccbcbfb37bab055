"""How the demonstration shows a run: what happened to each row, and where the time went."""

from __future__ import annotations

import sys
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crosswalk.cli.show import readable

if TYPE_CHECKING:
    from crosswalk.config.tenant import Tenant

PRINTED_WIDTH = 130
STEPS = {"scan": "scan (2 s of it to see whether files grow)"}
BUCKETS = (
    ("filtered", "left out by a processor"),
    ("unchanged_rows_skipped", "unchanged since they were applied"),
    ("applied", "applied to profiles"),
)
REASONS = {
    "no_identifier": "excluded: no identifier",
    "no_match": "excluded: no profile with that identifier",
    "no_consent": "excluded: no consent",
}
PROFILES = (
    ("created", "profiles created"),
    ("updated", "profiles updated"),
    ("unchanged", "profiles left as they were"),
    ("events_created", "events created"),
    ("events_updated", "events changed"),
    ("groups_created", "groups made"),
)
EXPORTED = (("available", "profiles that may be exported"), ("exported", "profiles in the file"))
TAKEN_BACK = (
    ("profiles_restored", "profiles as they were before"),
    ("profiles_removed", "profiles that the run had created"),
    ("rows_taken_back", "rows that count as not imported"),
    ("answers_taken_back", "answers taken back"),
    ("events_taken_back", "events taken back"),
)
SET_ASIDE = (("invalid_values", "values set aside"), ("files_read", "files read"), ("files_skipped", "files skipped"))


def buckets(counts: dict[str, Any]) -> list[tuple[str, int]]:
    """The buckets of one goal, whose sum is the number of rows read."""
    rows = [(label, int(counts.get(key) or 0)) for key, label in BUCKETS]
    for reason, number in sorted((counts.get("excluded") or {}).items()):
        rows.append((REASONS.get(reason, f"excluded: {reason}"), int(number)))
    for reason, number in sorted((counts.get("quarantined") or {}).items()):
        rows.append((f"set aside: {reason}", int(number)))
    return [(label, number) for label, number in rows if number]


def adds_up(counts: dict[str, Any]) -> bool:
    """Whether every row is in exactly one bucket."""
    return sum(number for _, number in buckets(counts)) == int(counts.get("rows_read") or 0)


class Screen:
    """Everything that the demonstration prints."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, width=None if sys.stdout.isatty() else PRINTED_WIDTH)

    def step(self, text: str) -> None:
        """A headline."""
        self.console.print()
        self.console.rule(Text(text, style="bold"), align="left")

    def say(self, text: str) -> None:
        """A line of prose."""
        self.console.print(Text(text), soft_wrap=True)

    def run(self, document: dict[str, Any], timings: dict[str, float], seconds: float) -> None:
        """One run: buckets on the left, times on the right."""
        self.say(f"Run {document['run_id']}: {document.get('state', document['goals'][-1]['state'])}")
        for goal in document["goals"]:
            self._goal(goal, (timings, seconds) if goal is document["goals"][-1] else None)

    def _goal(self, goal: dict[str, Any], times: tuple[dict[str, float], float] | None) -> None:
        counts = goal["counts"]
        self.say(f"Goal {goal['goal']}: {goal['state']}")
        if goal.get("reason"):
            self.say(f"  {goal['reason']}")
        if goal.get("error"):
            self.say(f"  {goal['error']['code']}: {goal['error']['message']}")
        outer = Table.grid(padding=(0, 4))
        outer.add_column()
        outer.add_column()
        profiles = [(label, int(counts[key])) for key, label in (*PROFILES, *SET_ASIDE) if counts.get(key)]
        if "group_storage" in counts:  # a group import counts groups
            profiles = [(label.replace("profiles", "groups"), number) for label, number in profiles]
        right = Table.grid(padding=(1, 0))
        if profiles:
            right.add_row(self._numbers("Profiles, values and files", [], profiles))
        if times:
            right.add_row(self._times(*times))
        read = int(counts.get("rows_read") or 0)
        if read:
            outer.add_row(self._numbers("What happened to each row", [("rows read", read)], buckets(counts)), right)
        else:
            outer.add_row(right)
        self.console.print(outer)
        if not adds_up(counts):
            self.say("  The buckets do not add up to the rows read: please report this.")

    @staticmethod
    def _numbers(title: str, total: list[tuple[str, int]], rows: list[tuple[str, int]]) -> Table:
        table = Table(title=title, title_justify="left", title_style="", show_header=False, min_width=44)
        table.add_column()
        table.add_column(justify="right")
        for label, number in total:
            table.add_row(Text(label, style="bold"), Text(f"{number:,}", style="bold"), end_section=True)
        for label, number in rows:
            table.add_row(Text(label), f"{number:,}")
        return table

    @staticmethod
    def _times(timings: dict[str, float], seconds: float) -> Table:
        table = Table(
            title="Where the time went", title_justify="left", title_style="", show_header=False, min_width=36
        )
        table.add_column()
        table.add_column(justify="right")
        for step, taken in timings.items():
            table.add_row(STEPS.get(step, step), f"{taken:.1f} s")
        waiting = max(0.0, seconds - sum(timings.values()))
        table.add_row("log-in, report, scheduling", f"{waiting:.1f} s", end_section=True)
        table.add_row(Text("all of it", style="bold"), Text(f"{seconds:.1f} s", style="bold"))
        return table

    def rejects(self, rows: list[dict[str, Any]], limit: int = 8) -> None:
        """Some rows and values that were set aside, one of each reason first."""
        first: dict[tuple[str, Any], dict[str, Any]] = {}
        for row in rows:
            first.setdefault((row["reason"], row["column"]), row)
        table = Table(title=f"{len(rows):,} set aside; one of each kind", title_justify="left", title_style="")
        for column in ("file", "line", "column", "reason", "what it says"):
            table.add_column(column, justify="right" if column == "line" else "left")
        for row in list(first.values())[:limit]:
            place = (str(row["file"] or "").rsplit("/", 1)[-1], str(row["line"] or ""), row["column"] or "")
            table.add_row(*(Text(part) for part in (*place, row["reason"], row["message"] or "")))
        self.console.print(table)

    def products(self, rows: list[dict[str, Any]]) -> None:
        """The products that were bought most often."""
        table = Table(title="Bought most often (crosswalk products)", title_justify="left", title_style="")
        for column in ("product", "times bought", "last bought"):
            table.add_column(column, justify="right" if column == "times bought" else "left")
        for row in rows:
            table.add_row(
                Text(row["name"] or row["product_id"]), f"{row['bought_count']:,}", row["last_bought_at"][:16]
            )
        self.console.print(table)

    def export(self, goal: dict[str, Any]) -> None:
        """Who is in the file, and why the others are not."""
        counts = goal["counts"]
        rows = [(label, int(counts[key])) for key, label in EXPORTED if counts.get(key)]
        rows += [(f"left out: {reason}", number) for reason, number in sorted((counts.get("excluded") or {}).items())]
        self.console.print(self._numbers(f"Goal {goal['goal']}: {goal['state']}", [], rows))

    def file(self, path: Path, lines: int = 4) -> None:
        """The first lines of a file that arrived at the server."""
        with path.open(encoding="utf-8") as file:
            head = "".join(line for _, line in zip(range(lines), file, strict=False))
        table = Table(show_header=False, title=f"/out/{path.name}", title_justify="left", title_style="")
        table.add_column()
        table.add_row(Text(f"{head}..."))
        self.console.print(table)

    def undo(self, document: dict[str, Any]) -> None:
        """What an undo takes back, and what it leaves alone."""
        for goal in document["goals"]:
            counts = goal["counts"]
            rows = [(label, int(counts[key])) for key, label in TAKEN_BACK if counts.get(key)]
            alone = sorted((counts.get("left_alone") or {}).items())
            rows += [(f"left alone: {reason}", number) for reason, number in alone]
            self.console.print(self._numbers(f"Goal {goal['goal']}: {goal['state']}", [], rows))

    def profile(self, document: dict[str, Any], tenant: Tenant) -> None:
        """One profile: names, dates and amounts as people read them."""
        table = Table(title="One of the profiles", title_justify="left", title_style="", show_header=False)
        table.add_column()
        table.add_column()
        for name, values in sorted(document["properties"].items()):
            about = tenant.properties.get(name)
            shown = [readable(value, about) for value in values]
            table.add_row(Text(about.name or name if about else name.replace("_", " ")), Text(" | ".join(shown)))
        self.console.print(table)

    def mail(self, message: EmailMessage) -> None:
        """A mail as it arrived."""
        table = Table(show_header=False, title="The mail that arrived", title_justify="left", title_style="")
        table.add_column()
        table.add_row(
            Text(f"From: {message['from']}\nTo: {message['to']}\nSubject: {message['subject']}", style="bold")
        )
        table.add_section()
        body = message.get_body(("plain",))
        table.add_row(Text(str(body.get_content()).rstrip() if body is not None else ""))
        self.console.print(table)
