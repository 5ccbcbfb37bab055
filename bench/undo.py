"""Undo of a large run, against the run itself.

``python -m bench.undo [--rows 1000000] [--folder bench-data]``
Each row is a profile and an event. Four undos, each planned and written in one go, each compared with the run that it
takes back: a run that made every profile; one that changed every profile, with nothing since (``untouched``); one that
changed every profile, after another goal changed every profile too (``touched since``: every property is decided by
the change log); and that other run. Runs and undos are children of their own, over a local folder, on SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb

from bench.measure import Cost, machine, measure, show

PROPERTIES = """\
properties:
  email: {type: email, identifier: unique}
  city: {type: text}
  visits: {type: number}
  tags: {type: text}
  first_name: {type: text}
  score: {type: decimal}
  shop_city: {type: text}
"""
CONNECTION = """\
kind: sftp
title: Undo
conn_id: bench
goals:
  - import_profiles: people
    stable_seconds: 0
    files: [{name: people, path: /people.csv}]
    row_key: [people.id]
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
    mappings:
      fields:
        - {field: people.city, property: city}
        - {field: people.n, property: visits, strategy: sum}
        - {field: people.tag, property: tags, strategy: add}
        - {field: people.first, property: first_name}
        - {field: people.score, property: score}
    events: [{type: order, id: people.order, date: people.day, fields: {order_id: people.order}}]
  - import_profiles: others
    stable_seconds: 0
    files: [{name: others, path: /others.csv}]
    identifiers: [{field: others.email, property: email}]
    mappings: {fields: [{field: others.city, property: city}, {field: others.shop, property: shop_city}]}
"""
BAR = 1.0
PEOPLE = (
    "SELECT range AS id, 'person' || range || '@example.org' AS email, 'City ' || (range % 977 + {v}) AS city, "
    "range % 9 + 1 AS n, 't{v}' AS tag, 'First' || (range % 501) AS first, (range % 100) || '.5{v}' AS score, "
    "'order-' || range AS order, '2026-01-0{day}' AS day FROM range({rows})"
)
OTHERS = (
    "SELECT 'person' || range || '@example.org' AS email, 'Town ' || (range % 97) AS city, 'x' AS shop "
    "FROM range({rows})"
)


def prepare(folder: Path) -> None:
    """Connection and tenant model."""
    (folder / "tenant").mkdir(parents=True, exist_ok=True)
    (folder / "tenant" / "properties.yaml").write_text(PROPERTIES)
    (folder / "undo.yaml").write_text(CONNECTION)
    shutil.rmtree(folder / "staging", ignore_errors=True)
    for path in folder.glob("undo.db*"):
        path.unlink()


def write_file(folder: Path, name: str, query: str, **parts: int) -> None:
    """A source file."""
    with duckdb.connect() as engine:
        engine.execute(f"COPY ({query.format(**parts)}) TO '{folder}/{name}.csv' (HEADER)")


def run_goal(folder: Path, goal: str, run_id: str) -> None:
    """A whole run of one goal."""
    from tests.simulators.folder_connector import FolderConnector

    import crosswalk.connectors
    from crosswalk.connectors import base
    from crosswalk.steps.context import RunRequest, open_run
    from crosswalk.steps.pipeline import run_all

    crosswalk.connectors.create = lambda kind, details: FolderConnector(folder)
    request = RunRequest(str(folder / "undo.yaml"), run_id, goals=(goal,), tenant_folder=str(folder / "tenant"))
    details = base.ConnectionDetails(conn_id="bench", host="localhost", port=22, login="x", password=None, extra={})
    with open_run(request, resolve=lambda _: details) as context:
        run_all(context)
        run: Any = context.store.run(run_id)
    if run["state"] != "done":
        raise SystemExit(json.dumps(run["goals"]))


def undo(folder: Path, run_id: str) -> None:
    """Plan and write an undo."""
    from crosswalk.steps.undo import apply_undo, open_undo

    with open_undo(run_id, tenant_folder=str(folder / "tenant")) as context:
        result = apply_undo(context)
        run: Any = context.store.run(context.run_id)
    print(json.dumps({"state": result.state, "counts": run["goals"][-1]["result"]["counts"]}))


def main() -> int:
    """Run and undo, print; 1 when an undo cost more than its run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("bench-data"))
    parser.add_argument("--run", nargs=2, metavar=("GOAL", "RUN"), help="for the child of a run")
    parser.add_argument("--undo", metavar="RUN", help="for the child of an undo")
    options = parser.parse_args()
    folder = options.folder.resolve()
    os.environ.setdefault("CROSSWALK_STAGING", str(folder / "staging"))
    os.environ["CROSSWALK_STORE"] = f"sqlite:///{folder}/undo.db"
    if options.run:
        run_goal(folder, *options.run)
        return 0
    if options.undo:
        undo(folder, options.undo)
        return 0
    prepare(folder)
    print(machine())

    def child(*words: str) -> Cost:
        cost = measure("-m", "bench.undo", "--folder", str(folder), *words)
        print(f"{' '.join(words)}: {cost.cpu:.1f} CPU s {cost.output}", flush=True)
        return cost

    def people(version: int) -> Cost:
        write_file(folder, "people", PEOPLE, rows=options.rows, v=version, day=version + 1)
        return child("--run", "people", f"people-{version}")

    runs, undos = {"new": people(0)}, {"new": child("--undo", "people-0")}
    people(1)
    runs["untouched"], undos["untouched"] = people(2), child("--undo", "people-2")
    runs["touched since"] = people(3)
    write_file(folder, "others", OTHERS, rows=options.rows)
    runs["the other run"] = child("--run", "others", "others")
    undos["touched since"] = child("--undo", "people-3")
    undos["the other run"] = child("--undo", "others")
    for name, cost in undos.items():
        show(f"{options.rows:,} rows, {name}", {"run": runs[name], "undo": cost}, "run")
    return int(any(cost.cpu > BAR * runs[name].cpu for name, cost in undos.items()))


if __name__ == "__main__":
    raise SystemExit(main())
