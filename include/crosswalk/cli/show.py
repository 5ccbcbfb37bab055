"""How the command line prints: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crosswalk.core.errors import ConfigError, CrosswalkError

if TYPE_CHECKING:
    from crosswalk.config.tenant import Definition

COUNT_LABELS = (
    ("rows_read", "rows read"),
    ("created", "profiles created"),
    ("updated", "profiles updated"),
    ("unchanged", "profiles unchanged"),
    ("merged", "profiles merged into others"),
    ("unchanged_rows_skipped", "unchanged rows skipped"),
    ("filtered", "rows filtered"),
    ("applied", "rows applied"),
    ("invalid_values", "invalid values"),
    ("rounded_values", "values rounded"),
    ("events_created", "events created"),
    ("events_updated", "events updated"),
    ("events_unchanged", "events unchanged"),
    ("events_repeated", "events repeated by a later row"),
    ("events_not_found", "events not found"),
    ("events_expired", "events expired"),
    ("events_dropped", "events dropped for lack of room"),
    ("events_without_id", "rows without the id of an event"),
    ("events_rejected", "events rejected"),
    ("groups_created", "groups made"),
    ("group_storage", "bytes of all groups"),
    ("files_read", "files read"),
    ("files_skipped", "files skipped"),
    ("files_rejected", "files rejected"),
    ("files_marked_done", "files marked done"),
    ("available", "profiles available"),
    ("exported", "profiles exported"),
    ("files_written", "files written"),
    ("replaced_characters", "characters replaced"),
    ("profiles_restored", "profiles taken back"),
    ("profiles_removed", "profiles removed"),
    ("profiles_gone", "profiles gone already"),
    ("answers_taken_back", "consent answers taken back"),
    ("events_restored", "events given back"),
    ("events_removed", "events removed"),
    ("purchases_taken_back", "purchases taken back"),
    ("rows_taken_back", "rows taken back"),
)
COUNTS_BY_NAME = (
    ("excluded", "excluded"),
    ("quarantined", "quarantined"),
    ("left_alone", "left alone"),
    ("invalid_by_reason", "invalid value"),
    ("events_rejected_by_reason", "event rejected"),
    ("linked_quarantined", "quarantined in a linked file"),
    ("events_exported", "events exported"),
    ("rows_by_file", "rows in"),
    ("unmatched", "rows without a partner in"),
    ("orphans", "rows that nothing refers to in"),
    ("duplicates", "repeated link values in"),
)
SET_ASIDE = ("quarantined", "linked_quarantined", "invalid_values", "events_rejected")


def readable(value: str, about: Definition | None) -> str:
    """A stored value as people read it: moments are kept as milliseconds since 1970, amounts without their currency."""
    if about is not None and about.type == "datetime":
        return f"{datetime.fromtimestamp(int(value) / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if about is not None and about.type == "currency":
        return f"{value} {about.currency}"
    return value


def short_number(number: int) -> str:
    """A large number in short form: 103,412 is 103K; exact below a thousand."""
    for size, letter in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "K")):
        if number >= size:
            tenths = number * 10 // size
            return f"{tenths // 10}.{tenths % 10}{letter}" if tenths < 100 else f"{tenths // 10}{letter}"
    return str(number)


class Output:
    """One command's output.

    Args:
        as_json: print a JSON document on standard output and nothing else; progress and tables are left out.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._progress_shown = False

    def progress(self, text: str) -> None:
        """Show what is going on, on standard error, where a person looks at it."""
        if not self.as_json and sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{text} ...")
            sys.stderr.flush()
            self._progress_shown = True

    def _clear(self) -> None:
        if self._progress_shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._progress_shown = False

    def json(self, value: Any) -> None:
        """Print the JSON document."""
        print(json.dumps(value, ensure_ascii=False, indent=2, default=str))

    def text(self, line: str = "") -> None:
        """Print a line for people; nothing in JSON mode."""
        self._clear()
        if not self.as_json:
            print(line)

    def table(self, title: str, columns: list[str], rows: Iterable[Iterable[Any]]) -> None:
        """Print a table for people; nothing in JSON mode. Numbers are right-aligned."""
        self._clear()
        if self.as_json:
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        listed = [list(row) for row in rows]
        table = Table(header_style="bold")
        for position, column in enumerate(columns):
            numeric = bool(listed) and all(isinstance(row[position], int | float) for row in listed)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in listed:
            table.add_row(*(Text(self._cell(value)) for value in row))
        console = Console(width=None if sys.stdout.isatty() else 160)
        if title:
            console.print(Text(self._cell(title), style="italic"), soft_wrap=True)
        console.print(table)

    @staticmethod
    def _cell(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int):
            return f"{value:,}"
        if value is None:
            return ""
        from crosswalk.core.names import display

        return display(str(value))

    def error(self, error: CrosswalkError) -> None:
        """Print an error: on standard error for people, as the document in JSON mode."""
        self._clear()
        if self.as_json:
            document: dict[str, Any] = {"state": "failed", "error": {"code": error.code, "message": str(error)}}
            if isinstance(error, ConfigError):
                document["findings"] = [vars(finding) for finding in error.findings]
            self.json(document)
        else:
            print(f"crosswalk: {error}", file=sys.stderr)

    def run_result(self, document: dict[str, Any], timings: dict[str, dict[str, float]] | None = None) -> None:
        """Print a run's result as ``run --json`` and ``plan --json`` promise it, or as tables."""
        if self.as_json:
            self.json(document)
            return
        self.text(f"Run {document['run_id']} of {document['connection']} ({document['mode']}): {document['state']}")
        for goal in document["goals"]:
            self._goal(goal, (timings or {}).get(goal["goal"], {}))
        if document.get("error"):  # no goal began
            self.text(f"  Error [{document['error']['code']}]: {document['error']['message']}")
        if any(goal["counts"].get(key) for goal in document["goals"] for key in SET_ASIDE):
            self.text(f"What was set aside, with file, line and reason: crosswalk rejects {document['run_id']}")

    def _goal(self, goal: dict[str, Any], timings: dict[str, float]) -> None:
        counts = goal["counts"]
        rows: list[tuple[str, Any]] = [(label, counts[key]) for key, label in COUNT_LABELS if counts.get(key)]
        if "group_storage" in counts:  # a group import counts groups where others count profiles
            rows = [(label.replace("profiles", "groups"), number) for label, number in rows]
        for group, label in COUNTS_BY_NAME:
            named = sorted((counts.get(group) or {}).items())
            rows += [(f"{label}: {name}", number) for name, number in named if number]
        heading = f"Goal {goal['goal']}: {goal['state']}"
        if rows:
            self.table(heading, ["count", "number"], rows)
        else:
            self.text(heading)
        if goal.get("reason"):
            self.text(f"  {goal['reason']}")
        if goal.get("error"):
            self.text(f"  Error [{goal['error']['code']}]: {goal['error']['message']}")
        for key, label in (("approved_by", "Approved by"), ("undone_by", "Undone by")):
            if goal.get(key):
                self.text(f"  {label}: {goal[key]}")
        for warning in goal.get("warnings", []):
            self.text(f"  Warning: {warning}")
        if timings:
            parts = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in timings.items())
            self.text(f"  Time: {parts}")
