"""``approve``: a person agrees before anything is written or sent (features section 2 no. 1 and 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crosswalk.cli.main import main
from crosswalk.core.staging import read_json
from crosswalk.steps import STEPS, RunContext, StepResult, record_outcome
from crosswalk.steps.apply import apply_kept
from crosswalk.steps.approve import answer
from crosswalk.steps.context import open_run
from crosswalk.steps.pipeline import run_all
from tests.acceptance.shop import Shop
from tests.faults.store_dump import held_leases

GOAL = """
identifiers: [{field: people.email, property: email}]
create_profiles: true
mappings: {fields: [{field: people.city, property: city}]}
"""
EXPORT = """
  - export_profiles: out
    segment: all_profiles
    directory: /out
    file_name: {custom: people.csv}
    columns: [{property: email}]
"""
PEOPLE = "email,city\nann@example.org,Gent\nbob@example.org,Brugge\n"


@pytest.fixture
def asking(shop: Shop) -> Shop:
    shop.connection(GOAL, head="approve: true\nguards: {max_created: 1}")
    shop.put("people.csv", PEOPLE)
    return shop


def people(run: dict[str, Any]) -> dict[str, Any]:
    goal = run["by_goal"]["people"]
    return {"state": goal["state"], **goal["result"]}


def go_on(shop: Shop, run_id: str, *, by: str | None, agrees: bool) -> dict[str, Any]:
    """What Airflow does when the answer is there: take it, then run the rest."""
    request = shop.request(run_id=run_id)
    with open_run(request, resolve=shop.resolve) as context:
        record_outcome(context, "approve", "people", lambda run, goal: answer(run, goal, by=by, agrees=agrees))
        if agrees:
            rest(context)
        run = context.store.run(run_id)
    assert run is not None
    return {**run, "by_goal": {item["goal"]: item for item in run["goals"]}}


def rest(context: RunContext) -> None:
    if STEPS["apply"](context, "people").state is None:
        STEPS["finish"](context, "people")
    STEPS["report"](context, None)


def test_a_plan_waits_without_the_lease_and_says_why(asking: Shop) -> None:
    waiting = people(asking.run(run_id="asks"))
    assert waiting["state"] == "held"
    assert "max_created allows 1" in waiting["reason"]
    assert waiting["counts"]["created"] == 2
    assert asking.values("ann@example.org") is None
    store = asking.store()
    try:
        store.release_lease("shop", store.take_lease("shop", "another", 60).run_id)
    finally:
        store.close()


def test_a_plan_that_somebody_agreed_to_is_written_and_says_who_did(asking: Shop) -> None:
    asking.run(run_id="asks")
    done = people(go_on(asking, "asks", by="ann", agrees=True))
    assert (done["state"], done["approved_by"]) == ("done", "ann")
    assert asking.values("ann@example.org") == {"email": ["ann@example.org"], "city": ["Gent"]}


@pytest.mark.parametrize(("by", "reason"), [("ann", "ann rejected the plan"), (None, "Nobody answered in time")])
def test_a_plan_that_nobody_agreed_to_is_not_written(asking: Shop, by: str | None, reason: str) -> None:
    asking.run(run_id="asks")
    rejected = people(go_on(asking, "asks", by=by, agrees=False))
    assert rejected["state"] == "held"
    assert reason in rejected["reason"]
    assert asking.values("ann@example.org") is None


def test_a_plan_is_not_made_anew_after_somebody_saw_it(asking: Shop) -> None:
    asking.run(run_id="asks")
    asking.put("people.csv", "email,city\nann@example.org,Aalst\n")
    asking.connection(GOAL)
    assert asking.run(run_id="meanwhile")["state"] == "done"
    moved = people(go_on(asking, "asks", by="ann", agrees=True))
    assert moved["state"] == "stale"
    assert asking.values("ann@example.org") == {"email": ["ann@example.org"], "city": ["Aalst"]}
    assert asking.values("bob@example.org") is None


def test_an_answer_counts_for_the_plan_that_was_seen_only(asking: Shop) -> None:
    asking.run(run_id="asks")
    approval = next(Path(asking.root).rglob("plan.json")).parent.parent / "approval.json"
    approval.write_text('{"by": "ann", "at": "2026-01-01T00:00:00+00:00", "plan": "of another day"}')
    with open_run(asking.request(run_id="asks"), resolve=asking.resolve) as context:
        run_all(context)
    assert asking.values("ann@example.org") is None


def test_agreeing_beforehand_needs_no_second_step(asking: Shop) -> None:
    done = people(asking.run(approved_by="ann"))
    assert (done["state"], done["approved_by"]) == ("done", "ann")


def test_held_asks_only_when_a_guard_does(asking: Shop) -> None:
    asking.connection(GOAL, head="approve: held\nguards: {max_created: 1}")
    assert people(asking.run())["state"] == "held"
    asking.connection(GOAL, head="approve: held\nguards: {max_created: 2}")
    assert people(asking.run())["state"] == "done"


def test_a_plan_that_changes_nothing_asks_nobody(asking: Shop) -> None:
    asking.run(approved_by="ann")
    asking.connection(GOAL, head="approve: true")
    again = people(asking.run(full=True, approved_by="ann"))
    assert again["state"] == "done"
    assert "approved_by" not in again  # nobody was asked, so the plan may be made anew when the store moves
    assert again["counts"]["unchanged"] == 2


def test_an_export_is_sent_only_when_somebody_agrees(asking: Shop) -> None:
    asking.run(approved_by="ann")
    path = asking.root / "connections" / "shop.yaml"
    path.write_text(path.read_text() + EXPORT.lstrip("\n"))
    waiting = asking.run(goals=("out",))["by_goal"]["out"]
    assert waiting["state"] == "held"
    assert waiting["result"]["counts"]["exported"] == 2
    assert not (asking.source / "out" / "people.csv").exists()
    sent = asking.run(goals=("out",), approved_by="ann")["by_goal"]["out"]
    assert (sent["state"], sent["result"]["approved_by"]) == ("done", "ann")
    assert (asking.source / "out" / "people.csv").read_text().split() == ["email", "ann@example.org", "bob@example.org"]


def test_a_question_is_not_asked_again_when_nothing_is_left_to_send(asking: Shop) -> None:
    consent = 'consent: [{field: people.news, objective: newsletter, granted: ["yes"], refused: ["no"]}]'
    export = EXPORT.lstrip("\n").replace("{custom: people.csv}", "{segment_and_timestamp: true}")
    path = asking.connection(f"{GOAL}{consent}\n", head="objectives: [newsletter]")
    silent = path.read_text() + export
    asks = silent.replace("objectives:", "approve: true\nobjectives:", 1)
    path.write_text(silent)
    asking.put("people.csv", "email,city,news\nann@example.org,Gent,yes\n")
    asking.run(goals=("people",))
    path.write_text(asks)
    assert asking.run(goals=("out",), run_id="asks")["state"] == "held"
    path.write_text(silent)
    asking.put("people.csv", "email,city,news\nann@example.org,Gent,no\n")
    asking.run(goals=("people",))
    path.write_text(asks)
    with open_run(asking.request(run_id="asks", goals=("out",)), resolve=asking.resolve) as context:
        record_outcome(context, "approve", "out", lambda run, goal: answer(run, goal, by="ann", agrees=True))
        assert STEPS["export"](context, "out").state == "nothing_new"
        assert STEPS["approve"](context, "out") == StepResult()
    assert not list((asking.source / "out").glob("*"))


@pytest.fixture
def commands(asking: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop as the command line finds it."""
    monkeypatch.setenv("CROSSWALK_CONNECTIONS", str(asking.root / "connections"))
    monkeypatch.setenv("CROSSWALK_TENANT", str(asking.root / "tenant"))
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_SFTP", '{"conn_type": "sftp", "host": "localhost"}')
    return asking


def test_a_kept_plan_outlives_a_try_that_found_the_connection_busy(commands: Shop) -> None:
    commands.run(run_id="asks")
    store = commands.store()
    store.take_lease("shop", "another", 60)
    assert main(["apply", "asks"]) == 5
    store.release_lease("shop", "another")
    store.close()
    assert main(["apply", "asks"]) == 0
    assert commands.values("ann@example.org") is not None
    assert main(["apply", "asks"]) == 2


def test_a_kept_plan_whose_writing_was_cut_off_is_finished_by_the_same_command(commands: Shop) -> None:
    commands.run(run_id="asks")
    with open_run(commands.request(run_id="asks"), resolve=commands.resolve) as context:
        record_outcome(context, "apply", "people", apply_kept)
    assert main(["apply", "asks"]) == 0
    store = commands.store()
    assert store.run("asks")["state"] == "done"
    assert held_leases(commands.store_uri) == 0
    store.close()
    assert not list((commands.root / "staging").rglob("plan.json"))


def test_what_a_run_did_not_write_is_named(commands: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    path = commands.connection(GOAL, head="guards: {max_created: 1}")
    path.write_text(path.read_text() + EXPORT.lstrip("\n"))
    assert main(["run", "shop", "--goal", "people", "--run-id", "one"]) == 4
    assert "Nothing was written. To write exactly this plan: crosswalk apply one" in capsys.readouterr().out
    assert main(["run", "shop", "--run-id", "both"]) == 4
    assert "Nothing of people was written. To write exactly this plan: crosswalk apply both" in capsys.readouterr().out


def test_a_run_says_why_no_goal_began_who_approved_and_who_undid_it(
    commands: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "shop", "--goal", "nope"]) == 2
    assert 'Error [unknown_goal]: Connection "shop": There is no goal "nope".' in capsys.readouterr().out
    commands.run(run_id="asks", approved_by="ann")
    assert main(["undo", "asks", "--apply"]) == 0
    assert main(["runs", "asks"]) == 0
    shown = capsys.readouterr().out
    assert "Approved by: ann" in shown
    assert "Undone by: undo-asks" in shown


def test_a_plan_run_asks_nobody(asking: Shop) -> None:
    planned = people(asking.run(mode="plan"))
    assert planned["state"] in ("planned", "held")
    assert not list(Path(asking.root).rglob("approval.json"))
    assert read_json(next(Path(asking.root).rglob("plan.json")))["held"]
