"""Pictures of a running Airflow for the documentation.

``python -m tests.system.airflow.screenshots --url http://127.0.0.1:8080 --passwords .demo/airflow/passwords.json
--dag sftp__webshop --to docs/images``

Looks at an installation that is there already (the demo leaves one), so that the pictures show what a person gets. The
DAG must have a run that ended well and one that failed; pictures without their run are left out and named.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from urllib.parse import quote

from tests.simulators.airflow_api import AirflowApi
from tests.system.airflow.browser import Page, open_browser

# Where Airflow's page keeps the widths of its two halves: room for the grid's last run.
GRID_AND_LOG = {"details-panel,main-panel": {"expandToSizes": {}, "layout": [25, 75]}}


def newest_run(airflow: AirflowApi, dag_id: str, state: str) -> str | None:
    """Id of the newest run in a state."""
    runs = airflow.call("GET", f"/dags/{quote(dag_id)}/dagRuns?state={state}&order_by=-run_after&limit=1")["dag_runs"]
    return str(runs[0]["dag_run_id"]) if runs else None


def failed_task(airflow: AirflowApi, dag_id: str, run_id: str) -> str:
    """The first task of a run that failed: the one whose log a person opens."""
    failed = [task for task in airflow.tasks(dag_id, run_id).values() if task["state"] == "failed"]
    return str(min(failed, key=lambda task: task["start_date"])["task_id"])


def take(airflow: AirflowApi, page: Page, dag_id: str, folder: Path) -> list[str]:
    """Take all pictures; returns the names of those that could not be taken."""
    dag = airflow.call("GET", f"/dags/{quote(dag_id)}")
    base, missing = f"{airflow.url}/dags/{quote(dag_id)}", []
    page.resize(1440, 460)
    page.open(f"{airflow.url}/dags", dag["dag_display_name"])
    page.picture(folder / "airflow-dags.png")
    good, bad = newest_run(airflow, dag_id, "success"), newest_run(airflow, dag_id, "failed")
    if good:
        page.resize(1440, 620)
        page.evaluate(f"localStorage.setItem('default_dag_view', '{json.dumps('graph')}')")
        page.open(f"{base}/runs/{quote(good)}", "authenticate")
        page.click("Expand all task groups")
        page.click("Collapse Details Panel")
        page.picture(folder / "airflow-graph.png", settle_seconds=3)
    else:
        missing.append("airflow-graph.png: no run ended well")
    page.evaluate(f"localStorage.setItem('default_dag_view', '{json.dumps('grid')}')")
    page.resize(1440, 1240)
    page.open(base, dag["dag_display_name"])
    page.click("Trigger")
    page.wait_for("Mode")
    page.picture(folder / "airflow-trigger-form.png")
    if bad:
        task = failed_task(airflow, dag_id, bad)
        page.resize(1440, 700)
        page.evaluate(f"localStorage.setItem('react-resizable-panels:grid-ltr', '{json.dumps(GRID_AND_LOG)}')")
        page.open(f"{base}/runs/{quote(bad)}/tasks/{quote(task)}", "troubleshooting")
        page.evaluate("document.querySelectorAll('details[open]').forEach(part => { part.open = false })")
        page.picture(folder / "airflow-failed-run.png")
    else:
        missing.append("airflow-failed-run.png: no run failed")
    return missing


def main() -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--passwords", type=Path, required=True, help="the JSON file with the password of admin")
    parser.add_argument("--dag", required=True)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    airflow = AirflowApi(options.url.rstrip("/"), json.loads(options.passwords.read_text())["admin"])
    with open_browser() as page:
        page.sign_in(airflow.url, airflow.token())
        missing = take(airflow, page, options.dag, options.to)
    for line in missing:
        print(line, file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
