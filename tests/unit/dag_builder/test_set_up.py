"""Rows X-04, X-07, X-08, X-19, X-32: what Airflow offers for a connection, as the documentation says it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.routes.public.dags import dags_router

from crosswalk.config.connection import ExportProfiles, ImportGroups, ImportProfiles
from crosswalk.config.loader import load_connection
from crosswalk.connectors.catalogue import CATALOGUE
from crosswalk.dag_builder import build_dags
from crosswalk.dag_builder.page import document

ROOT = Path(__file__).resolve().parents[3]
Write = Callable[..., Path]
SCHEDULES = [
    "manual",
    "{every_minutes: 15}",
    "{times_per_day: 3}",
    '{at: ["06:00", "12:30"]}',
    '{days_of_week: [mon, thu], at: "07:30"}',
    '{days_of_month: [1, 15, last], at: "06:00"}',
    '{weekday_of_month: {second: tue}, at: "06:00"}',
    '{cron: "5 4 * * *"}',
    "{after: [other]}",
]


# -- X-19 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [entry.name for entry in CATALOGUE])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_kind_takes_every_schedule(write: Write, folder: Path, kind: str, schedule: str) -> None:
    path = write("shop")
    text = re.sub(r"(?m)^schedule:.*$", f"schedule: {schedule}", path.read_text())
    path.write_text(re.sub(r"(?m)^kind:.*$", f"kind: {kind}", text))
    dag = build_dags(folder)[f"{kind}__shop"]
    assert "authenticate" in dag.task_ids  # a refused file would be a DAG of one other task
    expected = {"manual": "NullTimetable", "{after: [other]}": "AssetTriggeredTimetable"}.get(schedule)
    assert type(dag.timetable).__name__ == expected if expected else "Trigger" in type(dag.timetable).__name__


# -- X-32 -------------------------------------------------------------------------------------------------------------


def tasks_of(section: str) -> list[str]:
    """The tasks of a table of the page about setting up, each once, in order."""
    page = (ROOT / "docs" / "setting-up.md").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^##+ {section}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    cells = [line.split("|")[3] for line in body.splitlines() if line.startswith("| ")]
    return list(dict.fromkeys(task for cell in cells for task in re.findall(r"`(\w+)`", cell)))


def steps_of(kind: type, **changes: Any) -> tuple[str, ...]:
    return kind.model_construct(**changes).steps  # type: ignore[attr-defined, no-any-return]


def test_the_documented_steps_are_the_tasks_of_the_groups_in_their_order(write: Write, folder: Path) -> None:
    for kind in (ImportProfiles, ImportGroups):
        assert tasks_of("Import goals") == list(steps_of(kind, processors=[{"trim": {}}]))
    assert tasks_of("Export goals") == list(steps_of(ExportProfiles))
    write("shop")
    dag = build_dags(folder)["sftp__shop"]
    outside = [task for task in dag.task_ids if "." not in task]
    assert sorted(tasks_of("Step by step")) == sorted(outside)
    groups = {task.partition(".")[0] for task in dag.task_ids if "." in task}
    assert groups == {goal.name for goal in load_connection(folder / "shop.yaml").model.goals}


# -- X-04, X-08 -------------------------------------------------------------------------------------------------------


def test_airflow_has_a_star_for_each_person_and_a_label_is_a_tag(write: Write, folder: Path) -> None:
    paths = {(route.path, method) for route in dags_router.routes for method in getattr(route, "methods", ())}
    assert {("/dags/{dag_id}/favorite", "POST"), ("/dags/{dag_id}/unfavorite", "POST")} <= paths
    path = write("shop")
    text = re.sub(r"(?m)^labels:.*\n", "", path.read_text())
    path.write_text(text.replace("title:", "labels: [favourite]\ntitle:", 1))
    assert "favourite" in build_dags(folder)["sftp__shop"].tags


def test_metadata_is_a_section_of_its_own_behind_what_a_run_needs(write: Write) -> None:
    path = write("shop")
    text = re.sub(r"(?m)^(labels|description):.*\n", "", path.read_text())
    path.write_text(text.replace("title:", "labels: [spring]\ndescription: What it is for.\ntitle:", 1))
    page = document(load_connection(path), [])
    top, about = page.split("### The file")[0].split("### About this connection")
    assert "every 15 minutes" in top
    for text in ("What it is for.", "spring", "ops@example.org", "shop.yaml"):
        assert text in about
        assert text not in top


# -- X-07 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "may_start"), [("viewer", False), ("user", True)])
def test_the_simple_log_in_gives_rights_by_role_and_not_by_dag(role: str, may_start: bool) -> None:
    manager = SimpleAuthManager()
    person = SimpleAuthManagerUser(username="maria", role=role)
    for dag_id in ("sftp__webshop", "sftp__other"):
        details = DagDetails(id=dag_id)
        assert manager.is_authorized_dag(method="GET", user=person, details=details)
        for method in ("POST", "PUT"):
            assert manager.is_authorized_dag(method=method, user=person, details=details) is may_start
