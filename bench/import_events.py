"""Timeline events from a file to the store, against a bare load of the same rows.

``python -m bench.import_events [--rows 5000000] [--folder bench-data] [--lines 0] [--only ours|floor] [--repeat]``
The profiles are there before: both sides look them up by e-mail address. Ours is a whole run over a local folder, row
state and change log included; the floor reads the file with the engine, looks the profiles up, writes the same events
as JSON and loads them over ADBC into the same table with the same key, in one transaction; it types every value, but
keeps no state of rows, takes each event id for new, and rejects nothing. ``--lines`` gives each
event so many products of a second file; ``--repeat`` measures a second run that changes nothing (``--full``).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from bench.measure import machine, measure, show

EVENTS_PER_PROFILE = 20
GOAL = """\
  - import_profiles: events
    stable_seconds: 0
    files:
      - {name: events, path: /events.csv}
%(lines)s
    format: {separator: ";", decimal: ",", date: "%%d/%%m/%%Y %%H:%%M:%%S"}
    row_key: [events.id]
    identifiers: [{field: events.email, property: email}]
    events:
      - type: order
        id: events.id
        date: events.ordered_at
        fields: {order_id: events.id, total_revenue: events.total, affiliation: events.shop, quantity: events.quantity}
%(nested)s
"""
CONNECTION = """\
kind: sftp
title: Events
conn_id: bench
timezone: Europe/Brussels
goals:
  - import_profiles: people
    stable_seconds: 0
    files: [{name: people, path: /people.csv}]
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
"""
LINES = "      - {name: lines, path: /lines.csv, link: {id: events.id}, nested: true}"
NESTED = "        nested: {product: {file: lines, fields: {id: lines.sku, quantity: lines.quantity}}}"
BAR = 2.0
IDENTIFIERS = pa.schema([("value", pa.string()), ("profile_id", pa.string())])


def prepare(folder: Path, rows: int, lines: int) -> None:
    """Files, connection and tenant."""
    (folder / "tenant").mkdir(parents=True, exist_ok=True)
    (folder / "tenant" / "properties.yaml").write_text("properties: {email: {type: email, identifier: unique}}\n")
    parts = {"lines": LINES if lines else "", "nested": NESTED if lines else ""}
    (folder / "events.yaml").write_text(CONNECTION + GOAL % parts)
    profiles = max(1, rows // EVENTS_PER_PROFILE)
    email = f"'person' || (hash(range) % {profiles}) || '@example.org'"
    with duckdb.connect() as engine:
        engine.execute(
            f"COPY (SELECT 'person' || range || '@example.org' AS email FROM range({profiles})) "
            f"TO '{folder}/people.csv' (HEADER, DELIMITER ';')"
        )
        engine.execute(
            f"COPY (SELECT 'order-' || range AS id, {email} AS email, "
            "strftime(TIMESTAMP '2025-01-01' + INTERVAL (range % 31000000) SECOND, '%d/%m/%Y %H:%M:%S') AS ordered_at, "
            "(range % 100000)::VARCHAR || ',' || lpad((range % 100)::VARCHAR, 2, '0') AS total, "
            f"'Shop ' || (range % 97) AS shop, range % 9 + 1 AS quantity FROM range({rows})) "
            f"TO '{folder}/events.csv' (HEADER, DELIMITER ';')"
        )
        if lines:
            engine.execute(
                f"COPY (SELECT 'order-' || range // {lines} AS id, 'sku-' || (hash(range) % 50000) AS sku, "
                f"range % 4 + 1 AS quantity FROM range({rows * lines})) "
                f"TO '{folder}/lines.csv' (HEADER, DELIMITER ';')"
            )


def ours(folder: Path, goal: str, *, full: bool) -> None:
    """A whole run of one goal."""
    from tests.simulators.folder_connector import FolderConnector

    import crosswalk.connectors
    from crosswalk.connectors import base
    from crosswalk.steps.context import RunRequest, open_run
    from crosswalk.steps.pipeline import run_all

    crosswalk.connectors.create = lambda kind, details: FolderConnector(folder)
    run_id = f"{goal}-{time.time_ns()}"
    request = RunRequest(
        str(folder / "events.yaml"), run_id, goals=(goal,), full=full, tenant_folder=str(folder / "tenant")
    )
    details = base.ConnectionDetails(conn_id="bench", host="localhost", port=22, login="x", password=None, extra={})
    with open_run(request, resolve=lambda _: details) as context:
        run_all(context)
        run: Any = context.store.run(run_id)
    result = next(item for item in run["goals"] if item["goal"] == goal)
    if result["state"] not in ("done", "nothing_new"):
        raise SystemExit(json.dumps(result["result"]))
    counts = {key: value for key, value in result["result"]["counts"].items() if key.startswith("events_") and value}
    print(json.dumps({"counts": counts, "seconds": result["result"].get("timings")}))


def floor(folder: Path, uri: str, lines: int) -> None:
    """The same events, by hand."""
    from crosswalk.store import open_store
    from crosswalk.store.events import ADD_EVENT

    store: Any = open_store(uri)
    store.migrate()
    with duckdb.connect(
        config={"memory_limit": "640MB", "threads": 2, "temp_directory": str(folder / "tmp")}
    ) as engine:
        found = store._db.stream("SELECT value, profile_id FROM profile_identifier", IDENTIFIERS)
        engine.register("identifier", found)
        engine.execute("CREATE TABLE owner AS SELECT * FROM identifier")
        engine.execute("SET TimeZone = 'Europe/Brussels'")
        nested, joined = "", ""
        if lines:
            item = "'{\"id\":' || to_json(sku) || ',\"quantity\":\"' || quantity || '\"}'"
            nested = "|| ',\"product\":[' || items || ']'"
            joined = (
                f"LEFT JOIN (SELECT id, string_agg({item}, ',') AS items FROM read_csv('{folder}/lines.csv', "
                "auto_detect=false, header=true, delim=';', columns={'id': 'VARCHAR', 'sku': 'VARCHAR', 'quantity': "
                "'VARCHAR'}) GROUP BY id) USING (id)"
            )
        columns = dict.fromkeys(("id", "email", "ordered_at", "total", "shop", "quantity"), "VARCHAR")
        query = f"""
            SELECT profile_id, 'order' AS type, id AS event_id,
                   epoch_ms(strptime(ordered_at, '%d/%m/%Y %H:%M:%S')::TIMESTAMPTZ) AS date, 1::BIGINT AS priority,
                   NULL::BIGINT AS expires_at,
                   '{{"order_id":' || to_json(id) || ',"affiliation":' || to_json(shop) || ',"total_revenue":"'
                   || replace(total, ',', '.')::DECIMAL(18, 2) || '","quantity":"' || quantity::INTEGER || '"' {nested}
                   || '}}' AS data, '/events.csv' AS file, NULL::BIGINT AS line
            FROM read_csv('{folder}/events.csv', auto_detect=false, header=true, delim=';', columns={columns})
            JOIN owner ON value = email {joined} ORDER BY profile_id
            """
        rows = engine.sql(query).to_arrow_reader(50_000)
        store._db.in_transaction(lambda: store._db.sink(ADD_EVENT, {"batch_no": 1}).write_all(rows))
    store.close()
    print("loaded")


def main() -> int:
    """Generate, run both, print; 1 when the bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path, default=Path("bench-data"))
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--only", choices=("ours", "floor", "both"), default="both")
    parser.add_argument("--repeat", action="store_true")
    parser.add_argument("--side", help="for the child of a run")
    options = parser.parse_args()
    folder = options.folder.resolve()
    os.environ.setdefault("CROSSWALK_STAGING", str(folder / "staging"))
    if options.side:
        uri = os.environ["CROSSWALK_STORE"]
        if options.side == "floor":
            floor(folder, uri, options.lines)
        else:
            ours(folder, options.side.removesuffix("!"), full=options.side.endswith("!"))
        return 0
    prepare(folder, options.rows, options.lines)
    shutil.rmtree(folder / "staging", ignore_errors=True)
    print(machine())
    costs = {}
    arguments = ("-m", "bench.import_events", "--folder", str(folder), "--lines", str(options.lines), "--side")
    for side, name in (("floor", "floor (bare load)"), ("events", "crosswalk")):
        if options.only not in ("both", "floor" if side == "floor" else "ours"):
            continue
        for path in folder.glob("events.db*"):
            path.unlink()
        store = {"CROSSWALK_STORE": f"sqlite:///{folder}/events.db"}
        measure(*arguments, "people", env=store)
        costs[name] = measure(*arguments, side, env=store)
        if side == "events" and options.repeat:
            costs["crosswalk, again"] = measure(*arguments, "events!", env=store)
    for name, cost in costs.items():
        print(name, cost.output.splitlines()[-1])
    show(f"{options.rows:,} events into the store", costs, next(iter(costs)))
    if len(costs) < 2 or options.only != "both":
        return 0
    return int(costs["crosswalk"].cpu > BAR * costs["floor (bare load)"].cpu)


if __name__ == "__main__":
    raise SystemExit(main())
