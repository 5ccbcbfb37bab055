"""Undo: a run is taken back, what came after it stays."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from crosswalk.cli.main import main
from crosswalk.core.errors import ConfigError, FatalError, LeaseTakenError
from crosswalk.steps import undo as undo_steps
from crosswalk.steps.result import StepResult
from crosswalk.steps.undo import apply_undo, open_undo, plan_undo
from crosswalk.store.base import Applied, Lease, Moved
from tests.acceptance.shop import Shop
from tests.faults.store_dump import dump, held_leases
from tests.simulators.postgres import PostgresServer

CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
goals:
  - import_profiles: people
    stable_seconds: 0
    files: [{name: people, path: /in/people*.csv}]
    row_key: [people.id]
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
    consent: [{field: people.news, objective: newsletter, granted: ["yes"], refused: ["no"]}]
    mappings:
      fields:
        - {field: people.card, property: customer_id, strategy: set_or_clear}
        - {field: people.city, property: city, strategy: set_or_clear}
        - {field: people.n, property: visits, strategy: sum}
        - {field: people.paid, property: revenue, strategy: sum}
        - {field: people.tag, property: tags, strategy: add}
  - import_profiles: others
    stable_seconds: 0
    files: [{name: others, path: /in/others*.csv}]
    row_key: [others.id]
    identifiers: [{field: others.email, property: email}]
    create_profiles: true
    consent: [{field: others.offers, objective: personalisation, granted: ["yes"], refused: ["no"]},
              {field: others.news, objective: newsletter, granted: ["yes"], refused: ["no"]}]
    mappings:
      fields:
        - {field: others.name, property: first_name}
        - {field: others.city, property: city}
        - {field: others.card, property: customer_id}
        - {field: others.n, property: visits, strategy: sum}
"""
PEOPLE, OTHERS = "id,email,card,city,n,paid,tag,news\n", "id,email,name,city,card,n,offers,news\n"


@pytest.fixture
def shop(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop.connection(text=CONNECTION)
    monkeypatch.setattr("crosswalk.engine.undo_since.PROFILES_AT_HAND", 3)
    return shop


def people(shop: Shop, *rows: str) -> str:
    """Import these people; returns the run's id."""
    return _run(shop, "people", PEOPLE, rows)


def others(shop: Shop, *rows: str) -> str:
    return _run(shop, "others", OTHERS, rows)


def _run(shop: Shop, goal: str, header: str, rows: tuple[str, ...]) -> str:
    shop.put(f"{goal}.csv", header + "".join(f"{row}\n" for row in rows))
    run = shop.run(goals=(goal,))
    assert run["state"] in ("done", "done_with_rejects"), run["by_goal"][goal]
    return str(run["run_id"])


def undo(shop: Shop, run_id: str, *, write: bool = True, goals: tuple[str, ...] = ()) -> StepResult:
    with open_undo(run_id, goals=goals, tenant_folder=str(shop.root / "tenant")) as context:
        return apply_undo(context) if write else plan_undo(context)


def state_of(shop: Shop) -> dict[str, Any]:
    """What undo must bring back: everything but versions and what only grows."""
    found = dump(shop.store_uri)
    return {
        "profiles": [[row[0], *row[2:]] for row in found["profiles"]],
        "identifiers": found["identifiers"],
        "row_state": found["row_state"],
    }


def left_alone(result: StepResult) -> dict[tuple[str, str], int]:
    return {(line["property"], line["reason"]): line["profiles"] for line in result.summary["left_alone"]}


# -- back to what was -------------------------------------------------------------------------------------------------


def random_people(dice: random.Random, count: int) -> list[str]:
    rows = []
    for number in dice.sample(range(count), dice.randint(count // 2, count)):
        card = dice.choice(["", f"k{number}", f"k{number}b"])
        cells = [dice.choice(["", "Gent", "Aalst"]), dice.choice(["", "1", "7"]), dice.choice(["", "2.5", "3"])]
        cells += [dice.choice(["", "a", "b"]), dice.choice(["", "yes", "no"])]
        rows.append(",".join([str(number), f"p{dice.choice([number, 0])}@x.org", card, *cells]))
    return rows


def once_by_card(rows: list[str]) -> list[str]:
    """A profile takes one row only, so that no card comes to two profiles."""
    return list({row.split(",")[1]: row for row in rows}.values())


@pytest.mark.parametrize("seed", range(6))
def test_an_undone_run_leaves_the_store_as_it_was(shop: Shop, seed: int) -> None:
    dice = random.Random(seed)
    people(shop, *once_by_card(random_people(dice, 12)))
    before = state_of(shop)
    run_id = people(shop, *once_by_card(random_people(dice, 20)))
    assert state_of(shop) != before
    result = undo(shop, run_id)
    assert (result.state, state_of(shop)) == ("done", before)


@pytest.mark.parametrize("seed", range(4))
def test_what_another_run_wrote_in_between_stays(
    shop: Shop, seed: int, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    first, second = (once_by_card(random_people(dice, count)) for count in (12, 12))
    known = {row.split(",")[1] for row in first}
    third = [f"{no},{email},N{no},,,{dice.randint(1, 9)},yes," for no, email in enumerate(sorted(known))]
    uri = f"sqlite:///{tmp_path}/twin.db"
    if shop.store_uri.startswith("postgresql"):
        server: PostgresServer = request.getfixturevalue("postgres_server")
        uri = server.new_database()
    people(shop, *first)
    run_id = people(shop, *second)
    others(shop, *third)
    undo(shop, run_id)
    monkeypatch.setenv("CROSSWALK_STORE", uri)
    twin = Shop(tmp_path / "twin", uri, runs=100)
    twin.connection(text=CONNECTION)
    monkeypatch.setattr("crosswalk.connectors.create", lambda kind, details: _folder(twin))
    people(twin, *first)
    others(twin, *third)
    assert _without_keys(state_of(shop)) == _without_keys(state_of(twin))


def _folder(shop: Shop) -> Any:
    from tests.simulators.folder_connector import FolderConnector

    return FolderConnector(shop.source)


def _without_keys(state: dict[str, Any]) -> dict[str, Any]:
    """Without the ids, which hold the time of the files; answers have no order."""
    documents = [
        {key: sorted(values) if key.endswith("_objectives") else values for key, values in row[1].items()}
        for row in state["profiles"]
    ]
    return {
        "profiles": sorted(json.dumps(document, sort_keys=True) for document in documents),
        "identifiers": [row[:2] for row in state["identifiers"]],
        "amounts": [row[4] for row in state["row_state"]],
    }


def test_runs_undone_from_the_last_to_the_first_leave_nothing(shop: Shop) -> None:
    runs = [
        people(shop, "1,ann@x.org,k1,Gent,2,1.50,a,yes", "2,bob@x.org,,Gent,1,,a,no"),
        people(shop, "1,ann@x.org,k2,Aalst,5,2.50,b,no", "3,cy@x.org,k1,Gent,1,,a,no"),
        others(shop, "9,ann@x.org,Ann,Ieper,,4,yes,yes"),
    ]
    for run_id in reversed(runs):
        assert undo(shop, run_id).state == "done"
    assert state_of(shop) == {"profiles": [], "identifiers": [], "row_state": []}


def test_a_run_of_two_goals_is_undone_as_one(shop: Shop) -> None:
    people(shop, "1,ann@x.org,k1,Gent,2,,a,yes")
    before = state_of(shop)
    shop.put("people.csv", PEOPLE + "1,ann@x.org,k2,Aalst,5,,b,no\n2,bob@x.org,,Gent,1,,,\n")
    shop.put("others.csv", OTHERS + "8,ann@x.org,Ann,Ieper,,4,yes,yes\n9,bob@x.org,Bob,,,1,,\n")
    run_id = shop.run()["run_id"]
    assert undo(shop, run_id).state == "done"
    assert state_of(shop) == before


def test_one_goal_of_a_run_can_be_undone_and_the_other_one_later(shop: Shop) -> None:
    shop.put("people.csv", PEOPLE + "1,ann@x.org,k2,Aalst,5,,b,no\n")
    shop.put("others.csv", OTHERS + "8,ann@x.org,Ann,Ieper,,4,yes,\n")
    run_id = shop.run()["run_id"]
    result = undo(shop, run_id, goals=("people",))
    assert left_alone(result) == {
        ("city", "changed_since"): 1,
        ("email", "identifier_in_use"): 1,
        ("customer_id", "identifier_in_use"): 1,
    }
    assert shop.values("ann@x.org") == {
        "email": ["ann@x.org"],
        "customer_id": ["k2"],
        "first_name": ["Ann"],
        "city": ["Ieper"],
        "visits": ["4"],
        "consented_objectives": ["personalisation"],
    }
    assert undo(shop, run_id).state == "done"
    assert undo(shop, run_id).state == "nothing_new"


# -- what was changed since -------------------------------------------------------------------------------------------


def test_a_property_that_another_run_changed_since_is_left_alone_and_said_so(shop: Shop, capsys: Any) -> None:
    people(shop, "1,ann@x.org,,Gent,,,a,")
    run_id = people(shop, "1,ann@x.org,,Aalst,,,b,")
    others(shop, "9,ann@x.org,Ann,Ieper,,,,")
    result = undo(shop, run_id)
    assert (result.state, left_alone(result)) == ("done_with_rejects", {("city", "changed_since"): 1})
    assert shop.values("ann@x.org") == {"email": ["ann@x.org"], "city": ["Ieper"], "tags": ["a"], "first_name": ["Ann"]}
    store = shop.store()
    (reject,) = store.quarantine(f"undo-{run_id}")
    (identifier,) = {row[2] for row in dump(shop.store_uri)["identifiers"]}
    assert (reject["field"], reject["reason"]) == ("city", "changed_since")
    assert identifier in reject["message"]
    run = store.run(f"undo-{run_id}")
    assert (run["mode"], run["state"], run["goals"][0]["result"]["counts"]["left_alone"]) == (
        "undo",
        "done_with_rejects",
        {"city": 1},
    )
    assert store.run(run_id)["goals"][0]["result"]["undone_by"] == f"undo-{run_id}"
    store.close()


def test_a_value_that_was_changed_and_changed_back_is_left_alone(shop: Shop) -> None:
    run_id = people(shop, "1,ann@x.org,,Gent,,,,")
    others(shop, "9,ann@x.org,,Ieper,,,,")
    others(shop, "9,ann@x.org,,Gent,,,,")
    assert left_alone(undo(shop, run_id))["city", "changed_since"] == 1
    assert shop.values("ann@x.org")["city"] == ["Gent"]


def test_what_an_undo_took_back_does_not_count_as_changed_since(shop: Shop) -> None:
    people(shop, "1,ann@x.org,,Gent,,,,")
    run_id = people(shop, "1,ann@x.org,,Aalst,,,,")
    later = others(shop, "9,ann@x.org,,Ieper,,,,")
    assert undo(shop, later).state == "done"
    assert undo(shop, run_id).state == "done"
    assert shop.values("ann@x.org")["city"] == ["Gent"]


def test_a_sum_loses_what_the_run_added_even_when_later_runs_added_more(shop: Shop) -> None:
    people(shop, "1,ann@x.org,,,2,1.50,,")
    run_id = people(shop, "1,ann@x.org,,,5,2.75,,", "2,ann@x.org,,,10,,,")
    others(shop, "9,ann@x.org,,,,100,,")
    assert undo(shop, run_id).state == "done"
    found = shop.values("ann@x.org")
    assert (found["visits"], found["revenue"]) == (["102"], ["1.50"])
    assert shop.run(full=True, goals=("people",))["state"] == "done"
    found = shop.values("ann@x.org")
    assert (found["visits"], found["revenue"]) == (["115"], ["2.75"])


def test_a_row_that_a_later_run_replaced_keeps_what_it_adds_now(shop: Shop) -> None:
    wrong = people(shop, "1,ann@x.org,,,200,,,", "2,ann@x.org,,,1,,,")
    right = people(shop, "1,ann@x.org,,,20,,,", "2,ann@x.org,,,1,,,")
    undo(shop, wrong)
    assert shop.values("ann@x.org")["visits"] == ["20"]
    assert undo(shop, right).state in ("done", "done_with_rejects")
    assert shop.values("ann@x.org").get("visits") in (None, ["0"])


def test_a_sum_that_another_run_overwrote_is_left_alone(shop: Shop) -> None:
    run_id = people(shop, "1,ann@x.org,,,2,,,")
    shop.connection(text=CONNECTION.replace("others.n, property: visits, strategy: sum", "others.n, property: visits"))
    others(shop, "9,ann@x.org,,,,50,,")
    assert left_alone(undo(shop, run_id))["visits", "changed_since"] == 1
    assert shop.values("ann@x.org")["visits"] == ["50"]


def test_a_row_that_moved_to_another_profile_moves_back(shop: Shop) -> None:
    people(shop, "1,ann@x.org,,,2,,,", "2,bob@x.org,,,3,,,")
    before = state_of(shop)
    run_id = people(shop, "1,bob@x.org,,,2,,,", "2,bob@x.org,,,3,,,")
    assert shop.values("bob@x.org")["visits"] == ["5"]
    undo(shop, run_id)
    assert state_of(shop) == before


def test_a_profile_that_others_know_stays_and_keeps_its_identifier(shop: Shop) -> None:
    run_id = people(shop, "1,ann@x.org,,Gent,2,,a,yes", "2,bob@x.org,,Gent,,,,")
    others(shop, "9,ann@x.org,Ann,,,,,")
    result = undo(shop, run_id)
    assert left_alone(result) == {("email", "identifier_in_use"): 1}
    assert shop.values("ann@x.org") == {"email": ["ann@x.org"], "first_name": ["Ann"]}
    assert shop.values("bob@x.org") is None


def test_a_profile_that_a_row_of_others_matched_without_changing_it_stays(shop: Shop) -> None:
    run_id = people(shop, "1,ann@x.org,,Gent,,,,")
    others(shop, "9,ann@x.org,,Gent,,,,")
    undo(shop, run_id)
    assert shop.values("ann@x.org") == {"email": ["ann@x.org"]}


def test_an_identifier_that_another_profile_took_meanwhile_stays_there(shop: Shop) -> None:
    people(shop, "1,ann@x.org,k1,Gent,,,,")
    run_id = people(shop, "1,ann@x.org,k2,Aalst,,,,")
    others(shop, "9,bob@x.org,Bob,,k1,,,")
    result = undo(shop, run_id)
    assert left_alone(result) == {("customer_id", "identifier_taken"): 1}
    assert shop.values("ann@x.org") == {"email": ["ann@x.org"], "customer_id": ["k2"], "city": ["Gent"]}
    assert shop.profile("customer_id", "k1")["properties"]["email"] == ["bob@x.org"]


def test_consent_goes_back_answer_by_answer(shop: Shop) -> None:
    people(shop, "1,ann@x.org,,,,,,yes", "2,bob@x.org,,,,,,")
    run_id = people(shop, "1,ann@x.org,,,,,,no", "2,bob@x.org,,,,,,no")
    others(shop, "8,ann@x.org,,,,,yes,", "9,bob@x.org,,,,,yes,yes")
    result = undo(shop, run_id)
    assert left_alone(result) == {("consented_objectives", "answered_since"): 1}
    ann, bob = shop.values("ann@x.org"), shop.values("bob@x.org")
    assert ann["consented_objectives"] == ["personalisation", "newsletter"]
    assert bob["consented_objectives"] == ["personalisation", "newsletter"]
    assert "refused_objectives" not in ann
    assert "refused_objectives" not in bob
    log = [row[2:4] for row in dump(shop.store_uri)["consent"]]
    assert log.count(["newsletter", "granted"]) == 3  # ann at first, bob since, ann by the undo


# -- planning, running again, refusing --------------------------------------------------------------------------------


def test_a_plan_writes_nothing_and_is_what_is_applied(shop: Shop) -> None:
    people(shop, "1,ann@x.org,,Gent,,,,")
    run_id = people(shop, "1,ann@x.org,,Aalst,,,,")
    before = dump(shop.store_uri)
    assert undo(shop, run_id, write=False).state == "planned"
    assert dump(shop.store_uri) == before
    others(shop, "9,ann@x.org,Ann,,,,,")
    moved = dump(shop.store_uri)
    result = undo(shop, run_id)
    assert (result.state, dump(shop.store_uri)) == ("stale", moved)
    assert "version" in result.reason or "goal_state" in result.reason
    assert undo(shop, run_id, write=False).state == "planned"
    assert undo(shop, run_id).state == "done"
    assert shop.values("ann@x.org") == {"email": ["ann@x.org"], "city": ["Gent"], "first_name": ["Ann"]}


def test_undoing_twice_does_nothing_and_an_undo_is_not_undone(shop: Shop) -> None:
    run_id = people(shop, "1,ann@x.org,,Gent,,,,")
    undo(shop, run_id)
    after = dump(shop.store_uri)
    again = undo(shop, run_id)
    assert (again.state, again.reason) == ("nothing_new", f"It was undone by undo-{run_id}.")
    assert dump(shop.store_uri) == after
    with pytest.raises(ConfigError, match="--full") as refused:
        undo(shop, f"undo-{run_id}")
    assert refused.value.code == "undo_of_undo"


def test_undone_files_come_again_only_when_changed_or_on_a_full_run(shop: Shop) -> None:
    run_id = people(shop, "1,ann@x.org,,Gent,2,,,")
    undo(shop, run_id)
    run = shop.run(goals=("people",))
    assert (run["state"], "full run" in run["by_goal"]["people"]["result"]["reason"]) == ("nothing_new", True)
    shop.connection(text=CONNECTION.replace("property: tags, strategy: add", "property: tags"))
    assert shop.run(goals=("people",))["state"] == "nothing_new"
    assert shop.run(goals=("people",), full=True)["state"] == "done"
    assert shop.values("ann@x.org")["visits"] == ["2"]
    undo(shop, f"run-{shop.runs}")
    people(shop, "1,ann@x.org,,Gent,2,,,", "2,bob@x.org,,Gent,,,,")
    assert shop.values("ann@x.org")["visits"] == ["2"]


def test_an_undo_waits_for_nobody_and_leaves_no_lease(shop: Shop) -> None:
    run_id = people(shop, "1,ann@x.org,,Gent,2,,,")
    store = shop.store()
    store.take_lease("shop", "somebody", 60)
    with pytest.raises(LeaseTakenError):
        undo(shop, run_id)
    assert store.run(f"undo-{run_id}")["state"] == "busy"
    store.release_lease("shop", "somebody")
    assert undo(shop, run_id).state == "done"
    assert held_leases(shop.store_uri) == 0
    store.close()


def test_a_goal_that_is_named_twice_is_the_same_undo(shop: Shop) -> None:
    run_id = people(shop, "1,ann@x.org,,Gent,2,,,")
    undo(shop, run_id, write=False, goals=("people",))
    assert undo(shop, run_id, goals=("people", "people")).state == "done"
    store = shop.store()
    assert store.run(f"undo-{run_id}-people")["state"] == "done"
    store.close()


def test_an_undo_that_is_called_twice_at_once_is_done_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = people(shop, "1,ann@x.org,,Gent,2,,,")
    commit = undo_steps._commit

    def late(context: undo_steps.UndoContext, lease: Lease) -> Applied | Moved:
        monkeypatch.setattr(undo_steps, "_commit", commit)
        assert undo(shop, run_id).state == "done"
        return commit(context, lease)

    monkeypatch.setattr(undo_steps, "_commit", late)
    assert undo(shop, run_id).state == "nothing_new"
    store = shop.store()
    assert store.run(f"undo-{run_id}")["state"] == "done"
    store.close()
    assert held_leases(shop.store_uri) == 0


def test_a_run_whose_log_was_purged_is_refused(shop: Shop) -> None:
    run_id = people(shop, "1,ann@x.org,,Gent,2,,,")
    store = shop.store()
    store._db.execute("UPDATE batch SET applied_at = applied_at - 31 * CAST(86400000 AS BIGINT)")
    store.purge(30)
    store.close()
    with pytest.raises(FatalError) as refused:
        undo(shop, run_id)
    assert refused.value.code == "log_purged"


def test_the_command_plans_writes_and_says_so_in_its_exit_code(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CROSSWALK_TENANT", str(shop.root / "tenant"))
    people(shop, "1,ann@x.org,,Gent,2,,,")
    run_id = people(shop, "1,ann@x.org,,Aalst,3,,,")
    others(shop, "9,ann@x.org,,Ieper,,,,")

    def command(*words: str) -> tuple[int, dict[str, Any]]:
        code = main([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    code, document = command("undo", run_id)
    assert (code, document["state"], document["mode"], document["undoes"]) == (0, "planned", "undo", run_id)
    assert document["goals"][0]["counts"]["left_alone"] == {"city": 1}
    code, document = command("undo", run_id, "--apply")
    assert (code, document["state"], document["left_alone"][0]["property"]) == (3, "done_with_rejects", "city")
    code, document = command("undo", run_id, "--apply")
    assert (code, document["state"]) == (0, "nothing_new")
    assert command("undo", "nobody")[0] == 2
    code, document = command("rejects", f"undo-{run_id}")
    assert document[0]["reason"] == "changed_since"
    assert main(["undo", run_id]) == 0
    assert "undone by" in capsys.readouterr().out
