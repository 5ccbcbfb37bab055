"""Exports through a real scheduler to a real OpenSSH server: profiles and events, then only what is new."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.simulators import openssh

from .conftest import Installation

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not openssh.is_available(), reason=openssh.MISSING),
]
# Lines of the import goal, then a goal of its own.
MORE = """\
    events:
      - {type: order, id: orders.order_id, date: orders.ordered_at, fields: {total_revenue: orders.total}}
  - export_profiles: mailing
    segment: ostend
    directory: ROOT/out
    file_name: {segment_and_timestamp: true}
    columns: [{profile_id: true}, {property: email}, {property: revenue}]
    events: {types: order}
"""
HEADER = "order_id;email;city;total;ordered_at\n"
ROWS = """\
1;ann@ostend.example;Ostend;10;2026-01-02
2;bob@ostend.example;Ostend;5;2026-01-03
3;cis@x.example;Ghent;1;2026-01-04
"""
STEPS = ["mailing.select", "mailing.render", "mailing.export"]


def sent(root: Path, name: str) -> list[list[dict[str, str]]]:
    """The rows of each file of that name and a timestamp, oldest first."""
    found = sorted((root / "out").glob(f"{name}_2*.csv"), key=lambda path: path.name)
    return [list(csv.DictReader(path.read_text().splitlines())) for path in found]


def test_profiles_and_their_events_leave_and_then_only_the_changed_ones(installation: Installation) -> None:
    server = installation.openssh
    assert server is not None
    dag_id = installation.add(
        "outbound",
        ("conn_id: shop_sftp", "conn_id: openssh_sftp"),
        ("path: /outbound/orders*.csv", f"path: {server.root}/orders*.csv"),
        ("directory: ROOT", f"directory: {server.root}"),
        more=MORE,
    )
    (server.root / "orders_1.csv").write_text(HEADER + ROWS)
    run = installation.airflow.run_dag(dag_id)
    states = installation.states(dag_id, run)
    assert (run["state"], {states[step] for step in STEPS}) == ("success", {"success"})
    (profiles,), (events,) = sent(server.root, "ostend"), sent(server.root, "order")
    assert sorted(row["email"] for row in profiles) == ["ann@ostend.example", "bob@ostend.example"]
    owners = {row["profile_id"]: row["email"] for row in profiles}
    told = sorted((owners[row["profile_id"]], row["event_id"], row["total_revenue"]) for row in events)
    assert told == [("ann@ostend.example", "1", "10"), ("bob@ostend.example", "2", "5")]
    assert len(list((server.root / "out").iterdir())) == 3  # with order_product, which is empty

    (server.root / "orders_2.csv").write_text(HEADER + "4;bob@ostend.example;Ostend;7;2026-02-01\n")
    again = installation.airflow.run_dag(dag_id)
    assert again["state"] == "success"
    assert [[row["revenue"] for row in rows] for rows in sent(server.root, "ostend")[1:]] == [["12.00"]]
    assert sorted(row["event_id"] for row in sent(server.root, "order")[1]) == ["2", "4"]
    stored = installation.stored_run("outbound", again)
    (goal,) = [item for item in stored["goals"] if item["goal"] == "mailing"]
    assert goal["result"]["counts"]["events_exported"] == {"order": 2}
    log = installation.airflow.task_log(dag_id, again["dag_run_id"], "report")
    assert "Goal mailing: done" in log
    assert "events exported: 2 order" in log
