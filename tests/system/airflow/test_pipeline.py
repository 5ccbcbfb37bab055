"""The whole way through a real scheduler: files, tasks, store, mails, and what people see in Airflow."""

from __future__ import annotations

import pytest

from .conftest import PASSWORD, PERSON, Installation, as_text

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
STEPS = ["scan", "join", "link", "map", "apply", "finish"]
TASKS = ["authenticate", *(f"orders.{step}" for step in STEPS), "report"]


def test_a_file_travels_into_the_store_and_an_unchanged_one_does_not_travel_again(installation: Installation) -> None:
    dag_id = installation.add("first", ("mark_done: true", "mark_done: false"))
    installation.put("first/orders.csv", f"1;{PERSON};Gent;10,50", "2;ann@example.org;Brugge;3", "3;;Aalst;4")

    run = installation.airflow.run_dag(dag_id)
    assert run["state"] == "success"
    assert installation.states(dag_id, run) == dict.fromkeys(TASKS, "success")
    stored = installation.stored_run("first", run)
    counts = stored["goals"][0]["result"]["counts"]
    assert (counts["rows_read"], counts["created"]) == (3, 2)
    assert counts["excluded"] == {"no_identifier": 1}
    assert installation.profile(PERSON)["properties"]["city"] == ["Gent"]

    again = installation.airflow.run_dag(dag_id)
    assert again["state"] == "success"
    states = installation.states(dag_id, again)
    assert {task for task, state in states.items() if state == "success"} == {"authenticate", "report"}
    assert {state for task, state in states.items() if task.startswith("orders.")} == {"skipped"}
    log = installation.airflow.task_log(dag_id, again["dag_run_id"], "orders.scan")
    assert "nothing_new: all files are unchanged" in log


def test_a_plan_writes_nothing_and_the_form_limits_what_can_be_asked(installation: Installation) -> None:
    from tests.simulators.airflow_api import ApiError

    dag_id = installation.add("planned")
    file = installation.put("planned/orders.csv", "1;plan@example.org;Gent;1", "2;plan2@example.org;Gent;1")
    run = installation.airflow.run_dag(dag_id, {"mode": "plan", "limit": 1})
    assert run["state"] == "success"
    states = installation.states(dag_id, run)
    assert states["orders.map"] == "skipped"
    assert states["orders.apply"] == states["orders.finish"] == "skipped"
    stored = installation.stored_run("planned", run)
    assert (stored["mode"], stored["state"]) == ("plan", "planned")
    assert installation.profile("plan@example.org") is None
    assert file.exists()
    log = installation.airflow.task_log(dag_id, run["dag_run_id"], "report")
    assert "Goal orders: planned; nothing was written" in log
    assert "rows read 1, created 1" in log
    for wrong in ({"mode": "delete"}, {"goals": ["nobody"]}, {"limit": 0}):
        with pytest.raises(ApiError, match="400"):
            installation.airflow.trigger(dag_id, wrong)


def test_a_wrong_password_fails_once_with_a_cause_a_remedy_and_one_mail(installation: Installation) -> None:
    dag_id = installation.add("wrong", ("shop_sftp", "wrong_sftp"))
    installation.put("wrong/orders.csv", "1;a@example.org;Gent;1")
    before = len(installation.mails.mails)
    run = installation.airflow.run_dag(dag_id)
    assert run["state"] == "failed"
    tasks = installation.airflow.tasks(dag_id, run["dag_run_id"])
    assert (tasks["authenticate"]["state"], tasks["authenticate"]["try_number"]) == ("failed", 1)
    assert {tasks[f"orders.{step}"]["state"] for step in STEPS} == {"upstream_failed"}
    assert tasks["report"]["state"] == "failed"
    log = installation.airflow.task_log(dag_id, run["dag_run_id"], "authenticate")
    assert "docs/troubleshooting.md#" in log
    assert "crosswalk/steps/" not in log  # the message is the whole story
    assert PASSWORD not in log
    mails = installation.mails.wait_for(before + 1, timeout_seconds=60)[before:]
    assert len(mails) == 1
    assert "Orders of wrong" in mails[0].subject
    assert run["dag_run_id"] in mails[0].text


def test_a_goal_that_fails_does_not_stop_the_next_one_but_fails_the_run(installation: Installation) -> None:
    second = """\
  - import_profiles: returns
    files: [{name: returns, path: /two/returns.csv}]
    stable_seconds: 0
    identifiers: [{field: returns.email, property: email}]
    create_profiles: true
"""
    linked = "/two/orders*.csv}, {name: cities, path: /two/cities.csv, link: {zip: orders.city}}"
    dag_id = installation.add("two", ("/two/orders*.csv}", linked), more=second)
    installation.put("two/orders.csv", "1;two@example.org;Gent;1")
    installation.put("two/returns.csv", "returned@example.org", header="email")
    run = installation.airflow.run_dag(dag_id)
    states = installation.states(dag_id, run)
    assert run["state"] == "failed"
    assert states["orders.scan"] == "failed"
    assert {states[f"orders.{step}"] for step in STEPS[1:]} == {"upstream_failed"}
    assert states["returns.finish"] == "success"
    assert states["report"] == "failed"
    assert installation.profile("returned@example.org") is not None
    log = installation.airflow.task_log(dag_id, run["dag_run_id"], "report")
    assert "/two/cities.csv" in log  # the failed run opens to the error itself


def test_a_goal_that_is_switched_off_is_skipped_with_the_reason(installation: Installation) -> None:
    dag_id = installation.add("part", ("- import_profiles: orders", "- import_profiles: orders\n    enabled: false"))
    run = installation.airflow.run_dag(dag_id)
    assert run["state"] == "success"
    states = installation.states(dag_id, run)
    assert {state for task, state in states.items() if task.startswith("orders.")} == {"skipped"}


def test_a_run_that_ends_well_starts_the_connection_after_it_but_a_plan_does_not(installation: Installation) -> None:
    before = installation.add("before")
    after = installation.add("after", ("schedule: manual", "schedule: {after: [before]}"))
    runs = f"/dags/{after}/dagRuns"
    installation.put("before/orders.csv", "1;chain@example.org;Gent;1")
    assert installation.airflow.run_dag(before, {"mode": "plan"})["state"] == "success"
    assert installation.airflow.run_dag(before)["state"] == "success"
    started = installation.airflow.wait_for(lambda: installation.airflow.call("GET", runs)["dag_runs"])
    assert [run["run_type"] for run in started] == ["asset_triggered"]
    ended = installation.airflow.wait_for_run(after, started[0]["dag_run_id"])
    assert ended["state"] == "success"
    assert installation.stored_run("after", ended)["trigger"] == "asset"


def test_a_run_whose_report_died_is_still_mailed_once(installation: Installation) -> None:
    linked = "/died/orders*.csv}, {name: cities, path: /died/cities.csv, link: {zip: orders.city}}"
    dag_id = installation.add("died", ("/died/orders*.csv}", linked))
    installation.put("died/orders.csv", "1;died@example.org;Gent;1")
    before = len(installation.mails.mails)
    run_id = installation.airflow.trigger(dag_id)
    task = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/report"
    # As if the report's process had been lost before it did anything.
    installation.airflow.wait_for(lambda: installation.airflow.call("PATCH", task, {"new_state": "failed"}))
    assert installation.airflow.wait_for_run(dag_id, run_id)["state"] == "failed"
    mails = installation.mails.wait_for(before + 1, timeout_seconds=60)[before:]
    assert len(mails) == 1
    assert "Orders of died" in mails[0].subject
    assert "/died/cities.csv" in mails[0].text


def test_a_broken_file_is_visible_hides_nothing_and_comes_back_when_corrected(installation: Installation) -> None:
    dag_id = installation.add("breaks")
    path = installation.connections / "breaks.yaml"
    good = path.read_text()
    path.write_text(good.replace("title:", "titel:"))

    installation.wait_for_page(dag_id, "cannot be used")
    page = installation.airflow.call("GET", f"/dags/{dag_id}/details")["doc_md"]
    assert "titel" in page
    assert "breaks.yaml line 2" in page
    assert installation.airflow.call("GET", "/importErrors")["total_entries"] == 0
    assert "sftp__warm" in installation.airflow.dag_ids()
    run = installation.airflow.run_dag(dag_id)
    assert run["state"] == "failed"
    assert "titel" in installation.airflow.task_log(dag_id, run["dag_run_id"], "check")

    path.write_text(good)
    installation.wait_for_page(dag_id, "only by hand")
    tags = {tag["name"] for tag in installation.airflow.call("GET", f"/dags/{dag_id}")["tags"]}
    assert "broken" not in tags


def test_a_removed_file_removes_its_dag(installation: Installation) -> None:
    dag_id = installation.add("gone")
    assert dag_id in installation.airflow.dag_ids()
    (installation.connections / "gone.yaml").unlink()

    def is_gone() -> bool:
        installation.airflow.parse_again("sftp__warm")  # a DAG is stale when its file was read again without it
        return dag_id not in installation.airflow.dag_ids()

    installation.airflow.wait_for(is_gone, message="removing the DAG", pause=1)


def test_the_dag_list_shows_title_owner_labels_and_schedule(installation: Installation) -> None:
    dag_id = installation.add("shown", ("schedule: manual", 'schedule: {days_of_week: [mon], at: "07:30"}'))
    dag = installation.airflow.call("GET", f"/dags/{dag_id}/details")
    assert dag["dag_display_name"] == "Orders of shown"
    assert {tag["name"] for tag in dag["tags"]} == {"sftp", "import", "webshop"}
    assert dag["owners"] == ["Marketing operations"]
    assert dag["timetable_summary"] == "30 7 * * MON"
    assert dag["is_paused"] is False
    assert dag["max_active_runs"] == 1
    assert set(dag["params"]) == {"mode", "goals", "full", "since", "until", "limit", "replay"}


def test_runs_wait_for_each_other(installation: Installation) -> None:
    dag_id = installation.add("busy")
    first, second = (installation.airflow.trigger(dag_id) for _ in range(2))
    ended = [installation.airflow.wait_for_run(dag_id, run_id) for run_id in (first, second)]
    assert [run["state"] for run in ended] == ["success", "success"]
    assert ended[1]["start_date"] >= ended[0]["end_date"]


def test_secrets_and_personal_values_are_nowhere_in_logs_xcoms_and_mails(installation: Installation) -> None:
    """Over everything that the tests of this session left behind, a failing run with a bad row among them."""
    dag_id = installation.add("secrets", ("strategy: sum", "strategy: sum"))
    installation.put("secrets/orders.csv", f"1;{PERSON};Gent;ten", f"2;{PERSON}x@@;Gent;1", f'3;"{PERSON};Gent;1')
    run = installation.airflow.run_dag(dag_id)
    for task in installation.airflow.tasks(dag_id, run["dag_run_id"]).values():
        assert task["rendered_fields"] == {}
    handed_on = as_text(installation.airflow.xcoms(dag_id, run["dag_run_id"]))
    installation.airflow.wait_for(
        lambda: "Pushing xcom" in installation.airflow.task_log(dag_id, run["dag_run_id"], "report"),
        message="the last lines of the log",
    )
    logs = [path for path in installation.airflow.home.rglob("*.log") if path.is_file()]
    assert len(logs) > 20
    for planted in (PASSWORD, PERSON):
        assert planted not in handed_on
        assert [str(path) for path in logs if planted in path.read_text(errors="replace")] == []
        assert [mail.subject for mail in installation.mails.mails if planted in mail.text] == []


def test_a_person_agrees_to_a_plan_or_rejects_it(installation: Installation) -> None:
    dag_id = installation.add("asks", ("schedule: manual", "schedule: manual\napprove: held\nguards: {max_created: 1}"))
    installation.put("asks/orders.csv", "1;yes@example.org;Gent;1", "2;yes2@example.org;Gent;1")
    before = len(installation.mails.mails)
    run_id = installation.airflow.trigger(dag_id)
    question = installation.answer(dag_id, run_id, "Reject")
    assert "created 2" in question
    assert "allows 1" in question
    mail = installation.mails.wait_for(before + 1, timeout_seconds=60)[before]
    assert "a person must agree" in mail.subject
    assert f"/dags/{dag_id}/runs/{run_id}/tasks/orders.approve/required_actions" in mail.text.replace("%3A", ":")
    rejected = installation.airflow.wait_for_run(dag_id, run_id)
    assert rejected["state"] == "success"
    assert installation.states(dag_id, rejected)["orders.apply"] == "skipped"
    stored = installation.stored_run("asks", rejected)
    assert (stored["state"], stored["goals"][0]["state"]) == ("held", "held")
    assert "rejected the plan" in stored["goals"][0]["result"]["reason"]
    assert installation.profile("yes@example.org") is None

    run_id = installation.airflow.trigger(dag_id)
    installation.answer(dag_id, run_id, "Agree")
    agreed = installation.airflow.wait_for_run(dag_id, run_id)
    assert set(installation.states(dag_id, agreed).values()) == {"success"}
    stored = installation.stored_run("asks", agreed)
    assert stored["state"] == "done"
    assert stored["goals"][0]["result"]["approved_by"] == "admin"
    assert installation.profile("yes@example.org") is not None
