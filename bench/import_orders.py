"""Files to plan: Crosswalk against hand-written SQL and against pandas.

``python -m bench.import_orders [--rows 5000000] [--folder bench-data] [--only ours] [--memory 400]``
Each step of ours is a process of its own, forked from one that has loaded the libraries, as Airflow's LocalExecutor
does it; the loading counts once, as the row ``start``. CPU seconds are summed, memory is the largest step's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench.measure import Cost, machine, measure, measure_forked, show
from bench.orders_data import generate
from crosswalk.airflow_settings import preload

CONNECTION = """\
kind: sftp
title: Orders
conn_id: bench
timezone: Europe/Brussels
goals:
  - import_profiles: orders
    stable_seconds: 0
    files:
      - {name: orders, path: /orders.csv}
      - {name: profiles, path: /profiles.csv, link: {email: orders.email}}
      - {name: products, path: /products.csv, link: {sku: orders.sku}}
      - {name: postal, path: /postal.csv, link: {zip: profiles.zip}, format: {separator: ","}}
    format: {separator: ";", decimal: ",", date: "%d/%m/%Y %H:%M:%S"}
    row_key: [orders.order_id]
    identifiers: [{field: orders.email, property: email}]
    create_profiles: true
    mappings:
      fields:
        - {field: orders.ordered_at, property: last_order_at}
        - {field: orders.unit_price, property: revenue, strategy: sum}
        - {field: orders.status, property: last_status}
        - {field: profiles.first_name, property: first_name}
        - {field: products.category, property: last_category}
        - {field: postal.city, property: city, strategy: set_if_empty}
"""
TENANT = """\
properties:
  email: {type: email, identifier: unique}
  last_order_at: {type: datetime}
  revenue: {type: currency, currency: EUR}
  last_status: {type: text}
  first_name: {type: text}
  last_category: {type: text}
  city: {type: text}
"""
STEPS = ("scan", "join", "link", "map")


def prepare(folder: Path) -> Path:
    """Connection and tenant files of the benchmark; returns the connection file."""
    (folder / "tenant").mkdir(parents=True, exist_ok=True)
    (folder / "tenant" / "properties.yaml").write_text(TENANT)
    path = folder / "orders.yaml"
    path.write_text(CONNECTION)
    return path


def run_step(folder: Path, step: str, run_id: str, mode: str) -> str:
    """One step of ours in this process, over a local folder instead of SFTP; its state and counts as JSON."""
    from tests.simulators.folder_connector import FolderConnector

    import crosswalk.connectors
    from crosswalk.connectors import base
    from crosswalk.steps import STEPS as ALL
    from crosswalk.steps import RunRequest, open_run

    crosswalk.connectors.create = lambda kind, details: FolderConnector(folder)
    request = RunRequest(str(folder / "orders.yaml"), run_id, mode=mode, tenant_folder=str(folder / "tenant"))
    details = base.ConnectionDetails(conn_id="bench", host="localhost", port=22, login="x", password=None, extra={})
    with open_run(request, resolve=lambda _: details) as context:
        result = ALL[step](context, None if step in ("authenticate", "report") else "orders")
        return json.dumps({"state": result.state, **result.summary}, default=str)


def ours(folder: Path, run_id: str = "plan", mode: str = "plan", steps: tuple[str, ...] = STEPS) -> dict[str, Cost]:
    """The start and all steps."""
    prepare(folder)
    listed = ",".join(("authenticate", *steps))
    arguments = ("--folder", str(folder), "--step", listed, "--run-id", run_id, "--mode", mode)
    printed = json.loads(measure("-m", "bench.import_orders", *arguments).output.splitlines()[-1])
    return {name: Cost(**cost) for name, cost in printed.items()}


def run_steps(folder: Path, steps: list[str], run_id: str, mode: str) -> dict[str, Cost]:
    """Load what the scheduler loads, then fork a child for each step."""
    started = time.monotonic()
    preload(["scheduler"])
    used = resource.getrusage(resource.RUSAGE_SELF)
    costs = {"start": Cost(used.ru_utime + used.ru_stime, time.monotonic() - started, 0.0, "")}
    for step in steps:
        costs[step] = measure_forked(partial(run_step, folder, step, run_id, mode))
    return costs


def total(costs: dict[str, Cost]) -> Cost:
    """The steps together: CPU and wall summed, the largest memory."""
    listed = list(costs.values())
    memory = max(cost.memory_mb for cost in listed)
    return Cost(sum(c.cpu for c in listed), sum(c.wall for c in listed), memory, listed[-1].output)


def main() -> None:
    """Generate, run all three, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path, default=Path("bench-data"))
    parser.add_argument("--only", choices=("ours", "all"), default="all")
    parser.add_argument("--memory", help="engine limit in MB for ours")
    parser.add_argument("--step", help="only these steps, in this process and its children; for the child of a run")
    parser.add_argument("--run-id", default="plan")
    parser.add_argument("--mode", default="plan")
    options = parser.parse_args()
    folder = options.folder.resolve()
    os.environ.setdefault("CROSSWALK_STORE", f"sqlite:///{folder}/store.db")
    os.environ.setdefault("CROSSWALK_STAGING", str(folder / "staging"))
    if options.memory:
        os.environ["CROSSWALK_ENGINE_MEMORY_MB"] = options.memory
    if options.step:
        costs = run_steps(folder, options.step.split(","), options.run_id, options.mode)
        print(json.dumps({name: asdict(cost) for name, cost in costs.items()}))
        return
    generate(folder, options.rows)
    shutil.rmtree(folder / "staging", ignore_errors=True)
    (folder / "store.db").unlink(missing_ok=True)
    print(machine())
    steps = ours(folder)
    show(f"Crosswalk, {options.rows:,} orders, by step", steps, "join")
    costs = {"crosswalk": total(steps)}
    if options.only == "all":
        costs["floor (SQL by hand)"] = measure("-m", "bench.import_floor", str(folder))
        costs["pandas"] = measure("-m", "bench.import_pandas", str(folder))
        show("Files to plan", costs, "floor (SQL by hand)")
    print(steps["map"].output)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
