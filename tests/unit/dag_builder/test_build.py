"""From YAML files to DAGs: shape, settings, isolation, speed of a single parse."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG, CronTriggerTimetable, DeltaTriggerTimetable, MultipleCronTriggerTimetable
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from crosswalk.core.errors import (
    AuthenticationError,
    ConfigError,
    FatalError,
    LeaseTakenError,
    RejectedError,
    RetryableError,
)
from crosswalk.dag_builder import build, build_dags, connections_folder
from crosswalk.dag_builder.build import expected_id, retry_policy

from .conftest import EXPORT_GOAL, GROUP_GOAL, SECOND_GOAL

Write = Callable[..., Path]
STEPS = ["scan", "join", "link", "map", "apply", "finish"]
ROOT = Path(__file__).resolve().parents[3]


def only_dag(folder: Path) -> DAG:
    dags = build_dags(folder)
    assert len(dags) == 1
    return next(iter(dags.values()))


def chain_of(dag: DAG) -> list[str]:
    return [task.task_id for task in dag.topological_sort()]


def test_a_connection_of_one_goal_becomes_a_chain_of_eight_tasks(folder: Path, write: Write) -> None:
    write("shop")
    dag = only_dag(folder)
    assert dag.dag_id == "sftp__shop"
    assert chain_of(dag) == ["authenticate", *(f"orders.{step}" for step in STEPS), "report"]
    for before, after in zip(chain_of(dag), chain_of(dag)[1:], strict=False):
        assert dag.get_task(before).downstream_task_ids == {after}


def test_a_goal_with_processors_has_a_process_task_between_join_and_link(folder: Path, write: Write) -> None:
    write("shop", goals=SECOND_GOAL)
    dag = only_dag(folder)
    assert dag.get_task("returns.join").downstream_task_ids == {"returns.process"}
    assert dag.get_task("returns.process").downstream_task_ids == {"returns.link"}
    assert "orders.process" not in dag.task_ids


def test_goals_run_in_order_but_do_not_depend_on_each_other(folder: Path, write: Write) -> None:
    write("shop", goals=SECOND_GOAL)
    dag = only_dag(folder)
    later = dag.get_task("returns.scan")
    assert later.upstream_task_ids == {"authenticate", "orders.finish"}
    assert later.trigger_rule == "all_done"
    assert later.authenticated_by == "authenticate"
    assert later.stop_after == ()
    assert dag.get_task("orders.scan").trigger_rule == "all_success"
    assert dag.get_task("report").upstream_task_ids == {"orders.finish", "returns.finish"}
    assert dag.get_task("report").trigger_rule == "all_done"


def test_each_kind_of_goal_becomes_a_task_group_with_its_own_steps(folder: Path, write: Write) -> None:
    write("shop", goals=GROUP_GOAL + EXPORT_GOAL.lstrip("\n"))
    dag = only_dag(folder)
    households = ["scan", "join", "process", "link", "map", "apply", "finish"]
    assert chain_of(dag) == [
        "authenticate",
        *(f"orders.{step}" for step in STEPS),
        *(f"households.{step}" for step in households),
        *(f"newsletter.{step}" for step in ("select", "render", "export")),
        "report",
    ]
    assert {task.step for task in dag.tasks if task.task_id.startswith("newsletter.")} == {"select", "render", "export"}
    select = dag.get_task("newsletter.select")
    assert (select.trigger_rule, select.authenticated_by, select.goal) == ("all_done", "authenticate", "newsletter")
    assert dag.tags >= {"import", "export"}


def test_an_export_may_be_the_first_goal(folder: Path, write: Write) -> None:
    write("shop", ("goals:\n", f"goals:{EXPORT_GOAL.rstrip()}\n"))
    dag = only_dag(folder)
    assert dag.get_task("newsletter.select").trigger_rule == "all_success"
    assert dag.get_task("orders.scan").upstream_task_ids == {"authenticate", "newsletter.export"}


def test_stop_on_failure_names_the_earlier_goals(folder: Path, write: Write) -> None:
    write("shop", ("schedule:", "stop_on_failure: true\nschedule:"), goals=SECOND_GOAL)
    assert only_dag(folder).get_task("returns.scan").stop_after == ("orders",)


def test_a_goal_may_be_called_like_a_task(folder: Path, write: Write) -> None:
    write("shop", ("import_profiles: orders", "import_profiles: report"))
    dag = only_dag(folder)
    assert {"report", "report_goal.scan"} <= set(dag.task_ids)
    assert dag.get_task("report_goal.scan").goal == "report"


def test_title_owner_labels_and_description_are_shown(folder: Path, write: Write) -> None:
    write("shop")
    dag = only_dag(folder)
    assert dag.dag_display_name == "Webshop orders"
    assert dag.description == "Orders of the webshop"
    assert dag.tags == {"sftp", "import", "webshop"}
    assert {task.owner for task in dag.tasks} == {"Marketing operations"}
    assert dag.owner_links == {"Marketing operations": "mailto:ops@example.org"}


def test_one_run_at_a_time_and_no_catching_up(folder: Path, write: Write) -> None:
    write("shop")
    dag = only_dag(folder)
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert dag.is_paused_upon_creation is False


def test_retries_come_from_the_connection_and_back_off(folder: Path, write: Write) -> None:
    write("shop", ("schedule:", "retries: 5\nschedule:"))
    task = only_dag(folder).get_task("orders.join")
    assert task.retries == 5
    assert task.retry_delay == timedelta(seconds=30)
    assert task.retry_exponential_backoff == 2
    assert task.max_retry_delay == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (ConfigError("x"), "fail"),
        (AuthenticationError("x"), "fail"),
        (FatalError("x"), "fail"),
        (RejectedError("x"), "fail"),
        (RetryableError("x"), "retry"),
        (LeaseTakenError("x"), "retry"),
        (ConnectionResetError("x"), "retry"),
        (TimeoutError("x"), "retry"),
        (KeyError("x"), "default"),
    ],
)
def test_only_what_can_pass_by_itself_is_retried(error: Exception, action: str) -> None:
    assert retry_policy().evaluate(error, 1, 3).action.value == action


def test_a_connection_that_is_off_has_no_schedule_and_starts_paused(folder: Path, write: Write) -> None:
    write("shop", ("schedule:", "enabled: false\nschedule:"))
    dag = only_dag(folder)
    assert dag.is_paused_upon_creation is True
    assert dag.schedule is None
    assert "off" in dag.tags
    assert "switched off" in dag.doc_md


@pytest.mark.parametrize(
    ("schedule", "crons"),
    [
        ("{every_minutes: 15}", {"*/15 * * * *"}),
        ("{times_per_day: 3}", {"0 */8 * * *"}),
        ('{days_of_week: [mon, thu], at: "07:30"}', {"30 7 * * MON,THU"}),
        ('{days_of_month: [1, 15, last], at: "06:00"}', {"0 6 1,15,L * *"}),
        ('{weekday_of_month: {second: tue}, at: "06:00"}', {"0 6 * * TUE#2"}),
        ('{cron: "5 4 * * *"}', {"5 4 * * *"}),
        ('{at: ["06:00", "12:30"]}', {"0 6 * * *", "30 12 * * *"}),
    ],
)
def test_each_kind_of_schedule_becomes_a_timetable_in_the_connections_zone(
    folder: Path, write: Write, schedule: str, crons: set[str]
) -> None:
    write("shop", ("{every_minutes: 15}", schedule))
    timetable = only_dag(folder).timetable
    single = timetable.timetables if isinstance(timetable, MultipleCronTriggerTimetable) else [timetable]
    assert all(isinstance(one, CronTriggerTimetable) for one in single)
    assert {one.expression for one in single} == crons
    assert {str(getattr(one.timezone, "name", one.timezone)) for one in single} == {"Europe/Brussels"}


def test_an_uneven_interval_runs_from_run_to_run(folder: Path, write: Write) -> None:
    write("shop", ("{every_minutes: 15}", "{every_minutes: 45}"))
    timetable = only_dag(folder).timetable
    assert isinstance(timetable, DeltaTriggerTimetable)
    assert timetable.delta == timedelta(minutes=45)


def test_a_manual_connection_has_no_schedule(folder: Path, write: Write) -> None:
    write("shop", ("{every_minutes: 15}", "manual"))
    assert only_dag(folder).schedule is None


def test_a_connection_after_another_waits_for_what_the_others_report_announces(folder: Path, write: Write) -> None:
    write("shop")
    write("mail", ("{every_minutes: 15}", "{after: [shop]}"))
    dags = build_dags(folder)
    announced = {alias.name for alias in dags["sftp__shop"].get_task("report").outlets}
    assert {asset.uri for asset in dags["sftp__mail"].schedule} == announced == {"x-crosswalk://connection/shop"}


def test_the_trigger_form_has_seven_params_whose_defaults_are_a_scheduled_run(folder: Path, write: Write) -> None:
    write("shop", goals=SECOND_GOAL)
    params = only_dag(folder).params
    assert params.dump() == {
        "mode": "apply",
        "goals": [],
        "full": False,
        "since": None,
        "replay": None,
        "until": None,
        "limit": None,
    }
    assert params.get_param("mode").schema["enum"] == ["apply", "plan"]
    assert params.get_param("goals").schema["examples"] == ["orders", "returns"]
    params.validate()


@pytest.mark.parametrize(
    "wrong", [{"mode": "delete"}, {"goals": ["nobody"]}, {"limit": 0}, {"since": "yesterday"}, {"full": "perhaps"}]
)
def test_the_trigger_form_refuses_values_without_meaning(folder: Path, write: Write, wrong: dict[str, object]) -> None:
    write("shop")
    params = only_dag(folder).params
    with pytest.raises(ParamValidationError):
        params.update(wrong)


def test_tasks_carry_no_copy_of_the_params(folder: Path, write: Write) -> None:
    write("shop")
    dag = only_dag(folder)
    assert all(not task.params for task in dag.tasks)
    serialised = json.dumps(DagSerialization.to_dict(dag))
    assert serialised.count("Only with mode Plan: at most") == 1


def test_the_same_files_give_the_same_dags_and_survive_serialisation(folder: Path, write: Write) -> None:
    write("shop", goals=SECOND_GOAL)
    first, second = (DagSerialization.to_dict(only_dag(folder)) for _ in range(2))
    assert first == second
    back = DagSerialization.from_dict(first)
    assert sorted(back.task_ids) == sorted(only_dag(folder).task_ids)


def test_no_task_renders_a_field_and_no_constructor_argument_is_serialised(folder: Path, write: Write) -> None:
    write("shop")
    dag = only_dag(folder)
    assert all(list(task.template_fields) == [] for task in dag.tasks)
    tasks = json.dumps(DagSerialization.to_dict(dag)["dag"]["tasks"])
    assert str(folder) not in tasks
    assert "webshop_sftp" not in tasks


# -- broken files ------------------------------------------------------------------------------------------------------


def test_a_broken_file_becomes_a_dag_that_shows_every_finding_and_hides_no_other(folder: Path, write: Write) -> None:
    write("good")
    write("bad", ("title: Webshop orders\n", ""), ("labels:", "labbels:"))
    dags = build_dags(folder)
    assert set(dags) == {"sftp__good", "sftp__bad"}
    bad = dags["sftp__bad"]
    assert "broken" in bad.tags
    assert bad.schedule is None
    assert bad.task_ids == ["check"]
    assert "labbels" in bad.doc_md
    assert "title" in bad.doc_md
    assert "bad.yaml line" in bad.doc_md


def test_the_only_task_of_a_broken_file_fails_with_all_findings(folder: Path, write: Write) -> None:
    write("bad", ("title: Webshop orders\n", ""), ("labels:", "labbels:"))
    task = only_dag(folder).get_task("check")
    assert task.retries == 0
    with pytest.raises(ConfigError) as caught:
        task.execute({})
    assert "labbels" in str(caught.value)
    assert "title" in str(caught.value)


def test_a_file_that_is_no_yaml_at_all_is_shown_too(folder: Path) -> None:
    (folder / "noise.yaml").write_bytes(b"\x00\xff{{{{")
    dag = only_dag(folder)
    assert dag.dag_id.endswith("__noise")
    assert "broken" in dag.tags


def test_two_files_with_the_same_id_are_both_visible(folder: Path, write: Write) -> None:
    write("one", ("kind: sftp", "kind: sftp\nid: shop"))
    write("two", ("kind: sftp", "kind: sftp\nid: shop"))
    dags = build_dags(folder)
    assert len(dags) == 2
    assert [dag.dag_id for dag in dags.values() if "broken" not in dag.tags] == ["sftp__shop"]


def test_a_fault_of_ours_while_building_hides_no_other_connection(
    folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("good")
    write("odd", ("title: Webshop orders", "title: Odd one"))
    real = build.document

    def fails(loaded, findings):
        if loaded.name == "odd":
            raise KeyError("a value that must not be shown")
        return real(loaded, findings)

    monkeypatch.setattr(build, "document", fails)
    dags = build_dags(folder)
    assert "broken" not in dags["sftp__good"].tags
    assert "broken" in dags["sftp__odd"].tags
    assert "KeyError" in dags["sftp__odd"].doc_md
    assert "must not be shown" not in dags["sftp__odd"].doc_md


def test_a_broken_tenant_model_is_shown_on_every_dag(folder: Path, write: Write, tenant: Path) -> None:
    (tenant / "properties.yaml").write_text("properties: {email: {tipe: email}}\n")
    write("shop")
    dag = only_dag(folder)
    assert dag.dag_id == "sftp__shop"
    assert "tipe" in dag.doc_md
    assert "broken" in dag.tags


def test_an_empty_folder_has_no_dags(folder: Path) -> None:
    assert build_dags(folder) == {}


# -- parsing one DAG ---------------------------------------------------------------------------------------------------


def test_a_task_parses_only_its_own_file(folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "three"):
        write(name)
    read: list[str] = []
    real = build.load_connection
    monkeypatch.setattr(build, "load_connection", lambda path: read.append(Path(path).name) or real(path))
    monkeypatch.setattr(build, "load_connections", lambda folder: pytest.fail("read everything"))
    assert set(build_dags(folder, only="sftp__two")) == {"sftp__two"}
    assert read == ["two.yaml"]


def test_a_task_of_a_file_that_broke_meanwhile_still_finds_a_dag(folder: Path, write: Write) -> None:
    write("one")
    write("two", ("labels:", "labbels:"))
    dags = build_dags(folder, only="sftp__two")
    assert set(dags) == {"sftp__two"}
    assert "broken" in dags["sftp__two"].tags


def test_an_id_in_quotes_is_found_without_parsing(folder: Path, write: Write) -> None:
    path = write("file", ("kind: sftp", "kind: 'sftp'\nid: \"shop\""))
    assert expected_id(path) == "sftp__shop"
    assert set(build_dags(folder, only="sftp__shop")) == {"sftp__shop"}


def test_the_folder_is_beside_the_loader_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CROSSWALK_CONNECTIONS", raising=False)
    assert connections_folder(str(tmp_path / "connections.py")) == tmp_path.resolve() / "connections"
    monkeypatch.setenv("CROSSWALK_CONNECTIONS", str(tmp_path / "mine"))
    assert connections_folder("anything") == tmp_path.resolve() / "mine"


def test_parsing_the_dag_file_imports_nothing_heavy(folder: Path, write: Write) -> None:
    """In a process of its own, as the DAG processor does it."""
    write("shop", goals=SECOND_GOAL)
    program = (
        "import sys, runpy\n"
        f"found = runpy.run_path({str(ROOT / 'dags' / 'connections.py')!r})\n"
        "assert 'sftp__shop' in found, list(found)\n"
        "assert 'broken' not in found['sftp__shop'].tags\n"
        "heavy = {'duckdb', 'pandas', 'numpy', 'pyarrow', 'asyncssh', 'sqlglot', 'adbc_driver_manager', 'paramiko'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    import os

    environment = {**os.environ, "CROSSWALK_CONNECTIONS": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
