"""``python -m demo up | own | stop``; people use ``make demo``, ``make run`` and ``make stop``."""

from __future__ import annotations

import sys

from demo.place import ROOT, Place
from demo.story import own, tell


def main(arguments: list[str]) -> int:
    """Run one of the three commands."""
    demo, mine = Place(ROOT / ".demo"), Place(ROOT / ".airflow")
    command = arguments[0] if arguments else "up"
    if command == "stop":
        stopped = [f"demo: {name}" for name in demo.stop()] + [f"run: {name}" for name in mine.stop()]
        print("Stopped " + ", ".join(stopped) if stopped else "Nothing was running.")
        return 0
    if command == "up":
        return tell(demo)
    if command == "own":
        return own(mine)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
