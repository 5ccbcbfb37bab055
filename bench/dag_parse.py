"""How long Airflow takes to parse 200 connections of one goal (8 tasks, 6 params each); the bar is 10 s.

``python -m bench.dag_parse [--connections 200] [--rounds 3]``

Each round is a process of its own that does what the DAG processor does with ``dags/connections.py``: import, build all
DAGs, serialise all. The import of Airflow itself is timed apart, since the DAG processor pays it once at its start and
then forks. The last line is what a task pays: the same file, pruned to its own DAG.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BAR_SECONDS = 10.0
CONNECTION = """\
kind: sftp
title: Webshop {number}
owner: {{name: Marketing operations, email: ops@example.org}}
description: Orders of webshop {number}
labels: [webshop, bench]
conn_id: webshop_{number}
objectives: [newsletter]
timezone: Europe/Brussels
schedule: {{days_of_week: [mon, thu], at: "07:30"}}
notifications: {{emails: [ops@example.org]}}
goals:
  - import_profiles: orders
    files:
      - {{name: orders, path: /in/{number}/orders_*.csv}}
      - {{name: customers, path: /in/{number}/customers.csv, link: {{customer_id: orders.customer_id}}}}
    format: {{separator: ";", decimal: ","}}
    row_key: [orders.order_id]
    identifiers: [{{field: customers.email, property: email}}]
    create_profiles: true
    mappings:
      prefix: shop{number}_
      fields:
        - {{field: customers.city, property: city}}
        - {{field: orders.total, property: revenue, strategy: sum}}
"""
PROGRAM = """
import json, os, sys, time
clock = lambda: (time.monotonic(), time.process_time())
points = [clock()]
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
points.append(clock())
bag = DagBag(sys.argv[1], load_op_links=False)
points.append(clock())
size = sum(len(json.dumps(DagSerialization.to_dict(dag))) for dag in bag.dags.values())
points.append(clock())
assert not bag.import_errors, bag.import_errors
broken = [dag.dag_id for dag in bag.dags.values() if "broken" in dag.tags]
assert not broken, broken[:3]
import crosswalk.dag_builder, pathlib
crosswalk.dag_builder.build_dags(pathlib.Path(os.environ["CROSSWALK_CONNECTIONS"]), only="sftp__webshop_7")
points.append(clock())
names = ["import of Airflow", "build", "serialise", "one DAG, as a task parses it"]
laps = {n: [b[0] - a[0], b[1] - a[1]] for n, a, b in zip(names, points, points[1:])}
tasks = sum(len(dag.tasks) for dag in bag.dags.values())
print(json.dumps({"dags": len(bag.dags), "tasks": tasks, "size": size, "laps": laps}))
"""


def write_connections(folder: Path, number: int) -> tuple[Path, Path]:
    """Make the connection files and the tenant model; returns both folders."""
    connections, tenant = folder / "connections", folder / "tenant"
    connections.mkdir()
    tenant.mkdir()
    lines = ["properties:", "  email: {type: email, identifier: unique}"]
    for index in range(number):
        (connections / f"webshop_{index}.yaml").write_text(CONNECTION.format(number=index))
        lines += [f"  shop{index}_city: {{type: text}}", f"  shop{index}_revenue: {{type: currency, currency: EUR}}"]
    (tenant / "properties.yaml").write_text("\n".join(lines) + "\n")
    (tenant / "objectives.yaml").write_text("objectives:\n  newsletter: {name: Newsletter, description: Weekly mail}\n")
    return connections, tenant


def measure(folder: Path, connections: Path, tenant: Path) -> dict:
    """One round in a fresh process with compiled bytecode."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_", "CROSSWALK_"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment |= {
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "CROSSWALK_CONNECTIONS": str(connections),
        "CROSSWALK_TENANT": str(tenant),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "dags" / "connections.py")],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Measure, print the table, fail when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        connections, tenant = write_connections(folder, options.connections)
        rounds = [measure(folder, connections, tenant) for _ in range(options.rounds + 1)][1:]  # the first one warms up
    first = rounds[0]
    print(f"{first['dags']} DAGs, {first['tasks']} tasks, {first['size'] / 1e6:.1f} MB serialised")
    print(f"{'':32}{'wall s':>8}{'CPU s':>8}   median of {len(rounds)}")
    medians = {}
    for lap in first["laps"]:
        wall, cpu = (statistics.median(each["laps"][lap][which] for each in rounds) for which in (0, 1))
        medians[lap] = wall
        print(f"{lap:32}{wall:8.2f}{cpu:8.2f}")
    total = medians["build"] + medians["serialise"]
    verdict = "met" if total < BAR_SECONDS else "MISSED"
    print(f"{'parsed (build + serialise)':32}{total:8.2f}{'':8}   bar {BAR_SECONDS:.0f} s: {verdict}")
    return 0 if total < BAR_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
