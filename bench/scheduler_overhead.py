"""A small file through the scheduler against a chain of 8 empty tasks; the bar is 2 s more, after warm-up.

``python -m bench.scheduler_overhead [--rounds 7]``

One Airflow as the demo runs it, an SFTP server on loopback, a store on SQLite. Each round runs the empty chain and then
a connection of one goal (8 tasks) with a new file of 100 rows; medians of the runs' own durations are compared. The
processor seconds are those of all Airflow processes together: they hold on a machine that does other work, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from tests.simulators import sftp_server
from tests.simulators.airflow_server import AirflowServer

ROOT = Path(__file__).resolve().parents[1]
BAR_SECONDS = 2.0
ROWS = 100
WARM_UP = 2
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


@dataclass(frozen=True)
class Lap:
    """One run: its duration, the processor time it cost, the duration of each task."""

    wall: float
    cpu: float
    tasks: dict[str, float]


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


def processor_seconds(airflow: AirflowServer) -> float:
    """What Airflow's processes have used so far, ended tasks included."""
    used = 0.0
    for pid in airflow.pids().values():
        service = psutil.Process(pid)
        for process in (service, *service.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used += times.user + times.system + times.children_user + times.children_system
    return used


def run(airflow: AirflowServer, dag_id: str) -> Lap:
    """One run, with what it cost."""
    before = processor_seconds(airflow)
    ended = airflow.run_dag(dag_id)
    if ended["state"] != "success":
        raise SystemExit(f"a run of {dag_id} ended as {ended['state']}")
    used = processor_seconds(airflow) - before
    tasks = sorted(airflow.tasks(dag_id, ended["dag_run_id"]).values(), key=lambda task: task["start_date"])
    return Lap(seconds(ended), used, {task["task_id"]: seconds(task) for task in tasks})


def measure(folder: Path, rounds: int) -> tuple[list[Lap], list[Lap]]:
    """The empty chain and the small file, in turn."""
    laps: dict[str, list[Lap]] = {"empty": [], "sftp__small": []}
    with sftp_server.running(folder / "source", folder / "keys") as sftp:
        environment = {
            "AIRFLOW_CONN_SMALL_SFTP": sftp.connection_json(),
            "CROSSWALK_STORE": f"sqlite:///{folder}/store.db",
            "CROSSWALK_STAGING": str(folder / "staging"),
            "CROSSWALK_TENANT": str(folder / "tenant"),
        }
        with AirflowServer(folder / "home", dags=folder / "dags", environment=environment) as airflow:
            for dag_id in laps:
                airflow.wait_for_dag(dag_id)
            for number in range(rounds + WARM_UP):
                write_file(folder / "source" / "in", number)
                for dag_id, taken in laps.items():
                    taken.append(run(airflow, dag_id))
    return laps["empty"][WARM_UP:], laps["sftp__small"][WARM_UP:]


def line(title: str, laps: list[Lap]) -> str:
    """Median, least and most seconds, and the median of the processor seconds."""
    wall = [lap.wall for lap in laps]
    cpu = statistics.median(lap.cpu for lap in laps)
    return f"{title:28}{statistics.median(wall):8.2f}{min(wall):8.2f}{max(wall):8.2f}{cpu:8.2f}"


def main() -> int:
    """Measure, print, fail when the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder)
        empty, small = measure(folder, options.rounds)
    print(f"{f'{len(small)} runs of each, seconds':28}{'median':>8}{'least':>8}{'most':>8}{'CPU':>8}")
    print(line("8 empty tasks", empty))
    print(line(f"a file of {ROWS} rows", small))
    more = statistics.median(lap.wall for lap in small) - statistics.median(lap.wall for lap in empty)
    busy = statistics.median(lap.cpu for lap in small) - statistics.median(lap.cpu for lap in empty)
    verdict = "met" if more <= BAR_SECONDS else "MISSED"
    print(f"{'more':28}{more:8.2f}{'':16}{busy:8.2f}   bar {BAR_SECONDS:.0f} s: {verdict}")
    print(f"load of the machine during the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for task in small[-1].tasks:
        print(f"  {task:26}{statistics.median(lap.tasks[task] for lap in small):8.2f}")
    return 0 if more <= BAR_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
