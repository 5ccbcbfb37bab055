"""The command kinds: which systems a connection can be made to."""

from __future__ import annotations

import argparse
from typing import Any

from crosswalk.cli.show import Output


def add_commands(commands: Any) -> None:
    """Register kinds."""
    command = commands.add_parser("kinds", help="list the kinds of connection")
    command.add_argument("term", metavar="TERM", nargs="*", help="only those that hold these words")
    command.add_argument("--all", action="store_true", help="also those that this release cannot run")
    command.set_defaults(run=_kinds)


def _kinds(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.connectors import KINDS
    from crosswalk.connectors.catalogue import find_kinds

    found = find_kinds(" ".join(options.term), KINDS.names, show_all=options.all)
    listed = [
        {"kind": item.name, "title": item.title, "description": item.description, "available": item.name in KINDS}
        for item in found
    ]
    if output.as_json:
        output.json(listed)
        return 0
    rows = [
        [item.name, item.title, item.description, "" if item.name in KINDS else "not in this release"] for item in found
    ]
    if rows:
        output.table("", ["kind", "system", "what flows", ""], rows)
    if not found:
        output.text("No kind matches." if options.all else "No kind matches; --all lists also those of later releases.")
    return 0
