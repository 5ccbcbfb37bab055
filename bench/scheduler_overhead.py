"""A small file through the scheduler against a chain of 8 empty tasks; the bar is 2 s more, after warm-up.

``python -m bench.scheduler_overhead [--rounds 7]``

One Airflow as the demo runs it, an SFTP server on loopback, a store on SQLite. Each round runs the empty chain and then
a connection of one goal (8 tasks) with a new file of 100 rows; medians of the runs' own durations are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.simulators import sftp_server
from tests.simulators.airflow_server import AirflowServer

ROOT = Path(__file__).resolve().parents[1]
BAR_SECONDS = 2.0
ROWS = 100
EMPTY = """
from airflow.sdk import DAG, BaseOperator

class Nothing(BaseOperator):
    def execute(self, context):
        return {}

with DAG("empty", schedule=None, is_paused_upon_creation=False) as dag:
    before = None
    for number in range(8):
        task = Nothing(task_id=f"task_{number}")
        if before:
            before >> task
        before = task
"""
CONNECTION = """\
kind: sftp
title: Small files
conn_id: small_sftp
goals:
  - import_profiles: orders
    files: [{name: orders, path: /in/orders_*.csv}]
    row_key: [orders.order_id]
    stable_seconds: 0
    identifiers: [{field: orders.email, property: email}]
    create_profiles: true
    mappings: {fields: [{field: orders.city, property: city}]}
"""
PROPERTIES = """\
properties:
  email: {type: email, identifier: unique}
  city: {type: text}
"""


def write_file(folder: Path, number: int) -> None:
    """A new file of orders."""
    rows = [f"{number}-{row},person{number}.{row}@example.org,City {row}" for row in range(ROWS)]
    (folder / f"orders_{number}.csv").write_text("\n".join(["order_id,email,city", *rows]) + "\n")


def lay_out(folder: Path) -> None:
    """DAG files, a connection, the tenant model, the source."""
    for name in ("dags/connections", "tenant", "source/in"):
        (folder / name).mkdir(parents=True)
    (folder / "dags" / "empty.py").write_text(EMPTY)
    (folder / "dags" / "connections.py").write_text((ROOT / "dags" / "connections.py").read_text())
    (folder / "dags" / "connections" / "small.yaml").write_text(CONNECTION)
    (folder / "tenant" / "properties.yaml").write_text(PROPERTIES)


def seconds(run: dict[str, Any]) -> float:
    """The run's duration as Airflow has it."""
    start, end = (datetime.fromisoformat(run[key].replace("Z", "+00:00")) for key in ("start_date", "end_date"))
    return (end - start).total_seconds()


def task_table(airflow: AirflowServer, run: dict[str, Any]) -> list[tuple[str, float]]:
    """Where the time of a run went."""
    tasks = airflow.tasks("sftp__small", run["dag_run_id"]).values()
    ordered = sorted(tasks, key=lambda task: task["start_date"])
    return [(task["task_id"], seconds(task)) for task in ordered]


def measure(folder: Path, rounds: int) -> tuple[list[float], list[float], list[tuple[str, float]]]:
    """Durations of the empty chain, of the small file, and the tasks of the last small file."""
    empty, small, table = [], [], []
    with sftp_server.running(folder / "source", folder / "keys") as sftp:
        environment = {
            "AIRFLOW_CONN_SMALL_SFTP": sftp.connection_json(),
            "CROSSWALK_STORE": f"sqlite:///{folder}/store.db",
            "CROSSWALK_STAGING": str(folder / "staging"),
            "CROSSWALK_TENANT": str(folder / "tenant"),
        }
        with AirflowServer(folder / "home", dags=folder / "dags", environment=environment) as airflow:
            for dag_id in ("empty", "sftp__small"):
                airflow.wait_for_dag(dag_id)
            for number in range(rounds + 2):
                write_file(folder / "source" / "in", number)
                first = airflow.run_dag("empty")
                second = airflow.run_dag("sftp__small")
                if (first["state"], second["state"]) != ("success", "success"):
                    raise SystemExit(f"a run failed: {first['state']}, {second['state']}")
                if number >= 2:  # the first ones warm up
                    empty.append(seconds(first))
                    small.append(seconds(second))
                table = task_table(airflow, second)
    return empty, small, table


def main() -> int:
    """Measure, print, fail when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder)
        empty, small, table = measure(folder, options.rounds)
    print(f"{'median of ' + str(len(empty)) + ' runs':28}{'seconds':>8}")
    print(f"{'8 empty tasks':28}{statistics.median(empty):8.2f}   {min(empty):.2f} to {max(empty):.2f}")
    print(f"{f'a file of {ROWS} rows':28}{statistics.median(small):8.2f}   {min(small):.2f} to {max(small):.2f}")
    more = statistics.median(small) - statistics.median(empty)
    print(f"{'more':28}{more:8.2f}   bar {BAR_SECONDS:.0f} s: {'met' if more <= BAR_SECONDS else 'MISSED'}")
    for task, duration in table:
        print(f"  {task:26}{duration:8.2f}")
    return 0 if more <= BAR_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
