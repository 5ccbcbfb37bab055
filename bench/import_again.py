"""The same file again: one changed row in 1,000, and unchanged, against the full import into an empty store.

``python -m bench.import_again [--rows 1000000] [--folder bench-data/again]``; the bar for one changed row in 1,000 is
0.6 of the CPU seconds of the full import (all steps, the writing to a SQLite store included), for the unchanged file
no more than listing it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from bench.import_orders import ours, total
from bench.measure import machine, show
from bench.orders_data import generate

BAR = 0.6
STEPS = ("scan", "join", "link", "map", "apply", "finish", "report")


def change_some(path: Path, every: int = 1000) -> int:
    """Give one order in so many another status; returns how many."""
    changed = 0
    temporary = path.with_suffix(".new")
    with path.open("rb") as source, temporary.open("wb") as target:
        for number, line in enumerate(source):
            cells = line.split(b";")
            if number and number % every == 0:
                cells[7] = b"changed"
                changed += 1
            target.write(b";".join(cells))
    temporary.replace(path)
    return changed


def main() -> int:
    """Import, change, import again, import once more; print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("bench-data/again"))
    options = parser.parse_args()
    folder = options.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    generate(folder, options.rows)
    os.environ["CROSSWALK_STORE"] = f"sqlite:///{folder}/store.db"
    os.environ["CROSSWALK_STAGING"] = str(folder / "staging")
    print(machine())
    runs = {"full import": ours(folder, "first", "apply", STEPS)}
    changed = change_some(folder / "orders.csv")
    name = f"{changed:,} of {options.rows:,} changed"
    runs[name] = ours(folder, "second", "apply", STEPS)
    show("By step, one row in 1,000 changed", runs[name], "join")
    runs["unchanged"] = ours(folder, "third", "apply", ("scan", "report"))
    costs = {run: total(steps) for run, steps in runs.items()}
    show("All steps", costs, "full import")
    for steps in runs.values():
        print(list(steps.values())[-1].output)
    ratio = costs[name].cpu / costs["full import"].cpu
    print(f"ratio {ratio:.2f} (bar {BAR})")
    shutil.rmtree(folder)
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
