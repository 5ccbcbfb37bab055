"""The command ``crosswalk``: arguments in, exit code out.

Exit codes: 0 done or nothing new, 1 failed, 2 wrong use or configuration, 3 done with rejects, 4 held by a guard or
stale, 5 busy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from crosswalk import __version__
from crosswalk.cli import groups, init, kinds, look, products, runs, setup, trace, undo
from crosswalk.cli.show import Output
from crosswalk.core.errors import CrosswalkError


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="crosswalk",
        description="Customer-data connections: check, preview, plan and run them, and see what happened.",
        epilog="Settings by environment: CROSSWALK_STORE, CROSSWALK_STAGING, CROSSWALK_CONNECTIONS, CROSSWALK_TENANT.",
    )
    parser.add_argument("--version", action="version", version=f"crosswalk {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (init, kinds, look, trace, groups, products, runs, undo, setup):
        module.add_commands(commands)
    for command in commands.choices.values():
        _add_json(command)
    return parser


def _add_json(command: argparse.ArgumentParser) -> None:
    nested = [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]
    for action in nested:
        for choice in action.choices.values():
            _add_json(choice)
    if not nested:
        command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not all(word.isascii() or word.encode(errors="ignore").decode() == word for word in arguments or sys.argv[1:]):
        parser.error("an argument is no valid UTF-8 text")
    output = Output(as_json=options.json)
    try:
        return int(options.run(options, output))
    except CrosswalkError as error:
        output.error(error)
        return error.exit_code
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("Interrupted; running again is safe.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
