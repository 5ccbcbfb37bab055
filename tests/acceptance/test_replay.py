"""Replay: what a run set aside goes through again after a correction, once and no more."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from crosswalk.cli.main import main
from crosswalk.steps.context import open_run
from crosswalk.steps.undo import apply_undo, open_undo
from tests.acceptance.shop import Shop
from tests.faults.store_dump import dump

CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
goals:
  - import_profiles: people
    stable_seconds: 0
    files: [{name: people, path: /in/people*.csv}]
    row_key: [people.id]
    identifiers: [{field: people.email, property: email}, {field: people.card, property: customer_id}]
    create_profiles: true
    mappings:
      fields:
        - {field: people.city, property: city}
        - {field: people.visits, property: visits, strategy: sum}
        - {field: people.tag, property: tags, strategy: add}
    events:
      - {type: visit, id: people.day, date: people.day, fields: {minutes: people.minutes}}
"""
NUMBER, TEXT = "minutes: {type: number, multiple: false}", "minutes: {type: text, multiple: false}"
EVENT_TYPES = "event_types:\n  visit: {fields: {%s}}\n"
HEAD = "id,email,card,city,visits,tag,day,minutes\n"
PROPERTIES = """
properties:
  email: {type: email, identifier: unique}
  customer_id: {type: text, identifier: unique}
  city: {type: text}
  visits: {type: %s}
  tags: {type: text}
"""


@pytest.fixture
def shop(shop: Shop) -> Shop:
    shop.connection(text=CONNECTION)
    model(shop)
    return shop


def model(shop: Shop, *, minutes: str = NUMBER, visits: str = "number") -> None:
    """The tenant model; a correction of it makes rows fit."""
    (shop.root / "tenant" / "event_types.yaml").write_text(EVENT_TYPES % minutes)
    (shop.root / "tenant" / "properties.yaml").write_text(PROPERTIES % visits)


def people(shop: Shop, *rows: str, name: str = "people.csv", **changes: Any) -> dict[str, Any]:
    shop.put(name, HEAD + "".join(f"{row}\n" for row in rows))
    return shop.run(**changes)


def replay(shop: Shop, run: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return shop.run(replay=run["run_id"], **changes)


def counts(run: dict[str, Any]) -> dict[str, Any]:
    return {"state": run["by_goal"]["people"]["state"], **run["by_goal"]["people"]["result"].get("counts", {})}


def content(shop: Shop) -> dict[str, Any]:
    """What a run's result is: without versions, batches and what only grows."""
    found = dump(shop.store_uri)
    return {
        "profiles": sorted(json.dumps(row[2], sort_keys=True) for row in found["profiles"]),
        "events": sorted(json.dumps([row[1:4], row[7:]], sort_keys=True) for row in found["events"]),
        "rows": sorted([row[1], row[2], row[4]] for row in found["row_state"]),
    }


def outcome(shop: Shop, run: dict[str, Any], again: dict[str, Any]) -> dict[str, tuple[int, int]]:
    store = shop.store()
    listed = store.replay_outcome(run["run_id"], again["run_id"])
    store.close()
    return {line["reason"]: (line["replayed"], line["set_aside_again"]) for line in listed}


def test_a_row_that_named_two_profiles_comes_in_after_the_store_was_corrected(shop: Shop) -> None:
    people(shop, "1,ann@x.org,,Gent,1,,,", "2,bo@x.org,k2,Gent,1,,,", name="people_1.csv")
    run = people(shop, "3,ann@x.org,k2,Aalst,5,new,,", "4,cy@x.org,,Ieper,1,,,", name="people_2.csv")
    assert counts(run)["quarantined"] == {"ambiguous_match": 1}
    assert counts(replay(shop, run))["quarantined"] == {"ambiguous_match": 1}, "nothing was corrected yet"
    first = shop.runs
    with open_undo("run-1", tenant_folder=str(shop.root / "tenant")) as context:
        apply_undo(context)
    again = replay(shop, {"run_id": f"run-{first}"})
    assert counts(again)["state"] == "done"
    assert shop.values("ann@x.org") == {
        "email": ["ann@x.org"], "customer_id": ["k2"], "city": ["Aalst"], "visits": ["5"], "tags": ["new"]
    }  # fmt: skip
    assert outcome(shop, {"run_id": f"run-{first}"}, again) == {"ambiguous_match": (1, 0)}


def test_values_and_events_that_did_not_fit_come_in_after_the_model_was_corrected(shop: Shop) -> None:
    run = people(shop, "1,ann@x.org,,Gent,1.5,a,2026-10-01,many", "2,bo@x.org,,Gent,2,a,2026-10-01,7")
    assert counts(run)["invalid_by_reason"] == {"invalid_number": 2}
    assert shop.values("ann@x.org") == {"email": ["ann@x.org"], "city": ["Gent"], "tags": ["a"]}
    model(shop, minutes=TEXT, visits="decimal")
    again = replay(shop, run)
    assert counts(again)["state"] == "done"
    assert outcome(shop, run, again) == {"invalid_number": (2, 0)}
    assert shop.values("ann@x.org")["visits"] == ["1.5"]
    assert shop.values("bo@x.org")["visits"] == ["2"], "a row that was applied adds nothing again"
    found = sorted(row[7]["minutes"] for row in dump(shop.store_uri)["events"])
    assert found == ["7", "many"]


def test_a_replay_twice_does_nothing_and_says_who_did_it(shop: Shop) -> None:
    run = people(shop, "1,ann@x.org,,Gent,1.5,a,,", "2,bo@x.org,,Gent,2,a,,")
    model(shop, visits="decimal")
    again = replay(shop, run)
    before = content(shop)
    third = replay(shop, run)
    assert third["by_goal"]["people"]["state"] == "nothing_new"
    assert f"replayed by {again['run_id']}" in third["by_goal"]["people"]["result"]["reason"]
    assert content(shop) == before


def test_the_ledger_goes_on_saying_which_configuration_the_other_files_have_seen(shop: Shop) -> None:
    people(shop, "1,ann@x.org,,Gent,1,a,,", name="people_1.csv")
    run = people(shop, "2,bo@x.org,,Gent,1.5,a,,", name="people_2.csv")
    shop.connection(text=CONNECTION.replace("property: visits, strategy: sum}", "property: visits, strategy: set}"))
    model(shop, visits="decimal")
    replay(shop, run)
    assert shop.values("bo@x.org")["visits"] == ["1.5"]
    following = shop.run()
    assert counts(following)["files_read"] == 2, "a changed configuration still brings all files"


@pytest.mark.parametrize("moved", ["mark_done: true", "archive: /kept"])
def test_a_file_that_was_renamed_or_archived_is_found_again(shop: Shop, moved: str) -> None:
    shop.connection(text=CONNECTION.replace("row_key", f"{moved}\n    row_key"))
    run = people(shop, "1,ann@x.org,,Gent,1.5,a,,")
    lying = sorted(path.name for path in shop.source.rglob("*") if path.is_file())
    model(shop, visits="decimal")
    assert counts(replay(shop, run))["state"] == "done"
    assert shop.values("ann@x.org")["visits"] == ["1.5"]
    assert sorted(path.name for path in shop.source.rglob("*") if path.is_file()) == lying


def test_a_file_that_changed_since_is_left_to_the_next_run(shop: Shop) -> None:
    run = people(shop, "1,ann@x.org,,Gent,1.5,a,,")
    shop.put("people.csv", HEAD + "1,ann@x.org,,Gent,9,a,,\n")
    again = replay(shop, run)
    assert again["by_goal"]["people"]["state"] == "nothing_new"
    assert "does not lie there any more" in again["by_goal"]["people"]["result"]["reason"]
    shop.run()
    assert shop.values("ann@x.org")["visits"] == ["9"]


def test_lines_that_could_not_be_read_come_in_after_the_format_was_corrected(shop: Shop) -> None:
    run = people(shop, "1,ann@x.org,,Gent,1,a,,", "2,bo@x.org,,Gent,1,a,,,,more", "3,cy@x.org,,Gent,1,a,,")
    assert counts(run)["quarantined"]
    shop.connection(text=CONNECTION.replace("row_key", "format: {extra_columns: ignore}\n    row_key"))
    again = replay(shop, run)
    assert counts(again)["state"] == "done"
    assert (counts(again)["created"], counts(again)["unchanged_rows_skipped"]) == (1, 2)
    assert shop.values("bo@x.org")["visits"] == ["1"]


def test_an_undone_replay_leaves_its_rejects_to_be_replayed_again(shop: Shop) -> None:
    run = people(shop, "1,ann@x.org,,Gent,1.5,a,,", "2,bo@x.org,,Gent,2,a,,")
    before = content(shop)
    model(shop, visits="decimal")
    again = replay(shop, run)
    with open_undo(again["run_id"], tenant_folder=str(shop.root / "tenant")) as context:
        apply_undo(context)
    assert content(shop) == before
    replay(shop, run)
    assert shop.values("ann@x.org")["visits"] == ["1.5"]


@pytest.mark.parametrize("seed", range(4))
def test_a_replay_after_a_correction_ends_where_an_import_with_it_would_have(
    shop: Shop, seed: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    dice = random.Random(seed)
    rows = [
        f"{row},p{dice.randint(0, 8)}@x.org,,{dice.choice('ABC')},"
        f"{dice.choice(['1', '2.5', '4', 'x'])},{dice.choice('ab')},2026-10-0{dice.randint(1, 9)},"
        f"{dice.choice(['1', '2', 'long'])}"
        for row in range(dice.randint(10, 30))
    ]
    run = people(shop, *rows)
    assert counts(run)["state"] == "done_with_rejects"
    model(shop, minutes=TEXT, visits="decimal")
    again = replay(shop, run)
    assert set(outcome(shop, run, again)) <= {"invalid_number"}
    uri = f"sqlite:///{tmp_path}/twin.db"
    if shop.store_uri.startswith("postgresql"):
        uri = request.getfixturevalue("postgres_server").new_database()
    monkeypatch.setenv("CROSSWALK_STORE", uri)
    found, shop.store_uri = content(shop), uri
    for path in (shop.source / "in").iterdir():
        path.unlink()
    people(shop, *rows)
    assert found == content(shop)


def test_the_command_plans_first_and_applies_what_it_showed(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSWALK_CONNECTIONS", str(shop.root / "connections"))
    monkeypatch.setenv("CROSSWALK_TENANT", str(shop.root / "tenant"))
    monkeypatch.setattr("crosswalk.cli.connections.resolve", shop.resolve)
    run = people(shop, "1,ann@x.org,,Gent,1.5,a,,", "2,bo@x.org,,Gent,x,a,,")
    model(shop, visits="decimal")
    assert main(["rejects", run["run_id"], "--replay", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    line = {"goal": "people", "reason": "invalid_number", "replayed": 2, "set_aside_again": 1}
    assert (planned["state"], planned["replayed"]) == ("planned", [line])
    assert "visits" not in shop.values("ann@x.org")
    assert main(["apply", planned["run_id"]]) == 3
    assert shop.values("ann@x.org")["visits"] == ["1.5"]
    assert main(["rejects", run["run_id"], "--replay", "--apply"]) == 0
    assert "were replayed by" in capsys.readouterr().out
    assert main(["rejects", planned["run_id"], "--replay", "--apply", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["replayed"] == [{**line, "reason": "invalid_decimal", "replayed": 1}]


def test_a_replay_of_an_unknown_run_or_with_a_filter_is_refused(shop: Shop) -> None:
    with (
        pytest.raises(Exception, match="nothing else"),
        open_run(shop.request(replay="run-1", full=True), resolve=shop.resolve) as context,
    ):
        context.request.check()
    people(shop, "1,ann@x.org,,Gent,1,a,,")
    failed = shop.run(replay="nowhere")
    assert (failed["state"], failed["by_goal"]["people"]["result"]["error"]["code"]) == ("failed", "unknown_run")


def test_linked_files_that_were_renamed_too_are_found_again(shop: Shop) -> None:
    linked = "[{name: people, path: /in/people*.csv}, {name: cities, path: /in/cities.csv, link: {code: people.city}}]"
    text = CONNECTION.replace("[{name: people, path: /in/people*.csv}]", linked).replace(
        "{field: people.city,", "{field: cities.name,"
    )
    shop.connection(text=text.replace("row_key", "mark_done: all\n    row_key"))
    shop.put("cities.csv", "code,name\n9000,Gent\n")
    run = people(shop, "1,ann@x.org,,9000,1.5,a,,", "2,bo@x.org,,9000,1,a,,")
    assert sorted(path.name for path in (shop.source / "in").iterdir()) == ["cities.csv.done", "people.csv.done"]
    model(shop, visits="decimal")
    again = replay(shop, run)
    assert (counts(again)["state"], counts(again)["unchanged_rows_skipped"]) == ("done", 1)
    assert shop.values("ann@x.org") == {"email": ["ann@x.org"], "city": ["Gent"], "visits": ["1.5"], "tags": ["a"]}


def test_rejects_of_a_linked_file_come_with_that_file(shop: Shop) -> None:
    linked = "[{name: people, path: /in/people*.csv}, {name: cities, path: /in/cities.csv, link: {code: people.city}}]"
    shop.connection(
        text=CONNECTION.replace("[{name: people, path: /in/people*.csv}]", linked).replace(
            "{field: people.city,", "{field: cities.name,"
        )
    )
    shop.put("cities.csv", "code,name\n9000,Gent,more\n")
    run = people(shop, "1,ann@x.org,,9000,1,a,,")
    assert counts(run)["state"] == "done_with_rejects"
    again = replay(shop, run)
    assert again["by_goal"]["people"]["state"] == "nothing_new"
    assert "only rows of primary files" in again["by_goal"]["people"]["result"]["reason"]


def test_a_replay_leaves_goals_without_rejects_and_exports_alone(shop: Shop) -> None:
    other = (
        CONNECTION.split("goals:\n", 1)[1]
        .replace("people", "others")
        .replace("import_profiles: others", "import_profiles: others", 1)
    )
    shop.connection(text=CONNECTION + other)
    shop.put("others.csv", HEAD + "7,cy@x.org,,Ieper,1,a,,\n")
    run = people(shop, "1,ann@x.org,,Gent,1.5,a,,")
    model(shop, visits="decimal")
    shop.put("others.csv", HEAD + "8,di@x.org,,Ieper,1,a,,\n")
    again = replay(shop, run)
    assert {goal: item["state"] for goal, item in again["by_goal"].items() if goal} == {
        "people": "done", "others": "nothing_new"
    }  # fmt: skip
    assert shop.values("di@x.org") is None, "a new file waits for an ordinary run"
