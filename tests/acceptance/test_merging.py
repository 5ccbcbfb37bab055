"""Merging: profiles that merge rules say are one become one, inside the run that makes them meet."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from crosswalk.steps.result import StepResult
from crosswalk.steps.undo import apply_undo, open_undo
from tests.acceptance.shop import Shop
from tests.faults.store_dump import dump

PROPERTIES = """
    properties:
      email: {type: email, identifier: unique}
      card: {type: text, identifier: unique}
      phone: {type: text, identifier: unique}
      city: {type: text}
      name: {type: text, merge: keep}
      visits: {type: number, merge: sum}
      best: {type: number, merge: highest}
      worst: {type: decimal, merge: lowest}
      first: {type: text, merge: oldest}
      last: {type: text, merge: latest}
      paid: {type: currency, currency: EUR, merge: sum}
"""
GOAL = """
    row_key: [people.id]
    identifiers:
      - {field: people.email, property: email}
      - {field: people.card, property: card}
      - {field: people.phone, property: phone}
    create_profiles: true
    consent: [{field: people.news, objective: newsletter, granted: ["yes"], refused: ["no"]}]
    mappings:
      fields:
        - {field: people.city, property: city, strategy: add}
        - {field: people.name, property: name}
        - {field: people.visits, property: visits, strategy: sum}
        - {field: people.best, property: best}
        - {field: people.worst, property: worst}
        - {field: people.first, property: first}
        - {field: people.last, property: last}
        - {field: people.paid, property: paid, strategy: sum}
"""
FIELDS = ["id", "email", "card", "phone", "news", "city", "name", "visits", "best", "worst", "first", "last", "paid"]
ANN, SAME_ANN = "ann@x.org", "K-ANN"


@pytest.fixture
def shop(shop: Shop) -> Shop:
    (shop.root / "tenant" / "properties.yaml").write_text(PROPERTIES.replace("\n    ", "\n"))
    rules(shop, "{identifier: card}")
    shop.connection(GOAL)
    return shop


def rules(shop: Shop, *listed: str) -> None:
    text = "merge_rules:\n" + "".join(f"  - {rule}\n" for rule in listed)
    (shop.root / "tenant" / "merge_rules.yaml").write_text(text)


_names = itertools.count()


def rows(shop: Shop, *listed: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Import these rows in a file of their own; returns the counts."""
    lines = [",".join(str(row.get(field, "")) for field in FIELDS) for row in listed]
    shop.put(f"people{next(_names):04}.csv", "\n".join([",".join(FIELDS), *lines]) + "\n")
    return shop.counts(**changes)


def both(shop: Shop, older: dict[str, Any] | None = None, newer: dict[str, Any] | None = None) -> tuple[str, str]:
    """Two profiles, known by a card and by an address; returns their ids."""
    rows(shop, {"id": 1, "card": SAME_ANN, **(older or {})})
    rows(shop, {"id": 2, "email": ANN, **(newer or {})})
    return str(found(shop, "card", SAME_ANN)["profile_id"]), str(found(shop, "email", ANN)["profile_id"])


def found(shop: Shop, property_id: str, value: str) -> dict[str, Any]:
    profile = shop.profile(property_id, value)
    assert profile is not None
    return profile


MEET = {"id": 3, "email": ANN, "card": SAME_ANN}


def test_a_row_that_names_two_profiles_makes_them_one(shop: Shop) -> None:
    older, newer = both(shop, {"city": "Gent"}, {"city": "Aalst"})
    counts = rows(shop, {**MEET, "city": "Lier"})
    assert (counts["merged"], counts["updated"], counts["quarantined"], counts["state"]) == (1, 1, {}, "done")
    living = found(shop, "card", SAME_ANN)
    assert living["profile_id"] == found(shop, "email", ANN)["profile_id"] == newer != older
    assert living["properties"] == {"email": [ANN], "city": ["Aalst", "Gent", "Lier"], "card": [SAME_ANN]}


def undo(shop: Shop, number: int) -> StepResult:
    with open_undo(f"run-{number}", tenant_folder=str(shop.root / "tenant")) as context:
        return apply_undo(context)


def test_undo_brings_both_profiles_back(shop: Shop) -> None:
    older, newer = both(
        shop,
        {"city": "Gent", "visits": 3, "name": "Old", "paid": "1.50", "news": "no", "phone": "12345"},
        {"city": "Aalst", "visits": 4, "name": "New", "paid": "2.50", "news": "yes"},
    )
    before = profiles(shop)
    rows(shop, {**MEET, "city": "Lier", "visits": 10, "phone": "67890"})
    assert found(shop, "phone", "12345")["profile_id"] == newer
    assert found(shop, "email", ANN)["properties"]["visits"] == ["17"]
    assert undo(shop, 3).state == "done"
    assert profiles(shop) == before
    assert found(shop, "phone", "12345")["profile_id"] == older
    assert shop.profile("phone", "67890") is None


def test_undo_leaves_a_merge_alone_that_was_built_on_since(shop: Shop) -> None:
    _, newer = both(shop, {"city": "Gent"}, {"city": "Aalst"})
    rows(shop, {**MEET, "city": "Lier"})
    rows(shop, {"id": 4, "email": ANN, "city": "Ronse"})
    result = undo(shop, 3)
    assert result.state == "done_with_rejects"
    assert [item["reason"] for item in result.summary["left_alone"]] == ["changed_since", "merged_since"]
    living = found(shop, "card", SAME_ANN)
    assert (living["profile_id"], living["properties"]["city"]) == (newer, ["Aalst", "Gent", "Lier", "Ronse"])


def profiles(shop: Shop) -> Any:
    """All profiles without their versions, who owns what and whom, and the row state."""
    kept = dump(shop.store_uri)
    documents = [[row[0], *row[2:]] for row in kept["profiles"]]
    return documents, kept["identifiers"], kept["merged"], kept["row_state"]


# -- strategies ----------------------------------------------------------------------------------------------------


def test_each_property_comes_together_by_its_strategy(shop: Shop) -> None:
    both(
        shop,
        {"name": "Old", "visits": 3, "best": 9, "worst": "1.5", "first": "a", "last": "b", "paid": "1.50", "city": "X"},
        {"name": "New", "visits": 4, "best": 10, "worst": "2", "first": "c", "last": "d", "paid": "2.25", "city": "Y"},
    )
    rows(shop, MEET)
    assert found(shop, "email", ANN)["properties"] == {
        "card": [SAME_ANN],
        "email": [ANN],
        "name": ["New"],
        "visits": ["7"],
        "best": ["10"],
        "worst": ["1.5"],
        "first": ["a"],
        "last": ["d"],
        "paid": ["3.75"],
        "city": ["Y", "X"],
    }


def test_values_of_one_profile_only_are_kept_whatever_the_strategy(shop: Shop) -> None:
    both(shop, {"name": "Old", "visits": 3, "best": 9, "worst": "1.5", "first": "a", "last": "b", "paid": "1.50"})
    rows(shop, MEET)
    kept = found(shop, "email", ANN)["properties"]
    assert {key: kept[key] for key in ("name", "visits", "best", "worst", "first", "last", "paid")} == {
        "name": ["Old"],
        "visits": ["3"],
        "best": ["9"],
        "worst": ["1.5"],
        "first": ["a"],
        "last": ["b"],
        "paid": ["1.50"],
    }


def test_a_sum_that_does_not_fit_leaves_the_living_value(shop: Shop) -> None:
    both(shop, {"visits": 2_000_000_000}, {"visits": 1_500_000_000})
    rows(shop, MEET)
    assert found(shop, "email", ANN)["properties"]["visits"] == ["1500000000"]


@pytest.mark.parametrize(("older", "newer"), [("yes", "no"), ("no", "yes")])
def test_a_refusal_wins(shop: Shop, older: str, newer: str) -> None:
    both(shop, {"news": older}, {"news": newer})
    rows(shop, MEET)
    kept = found(shop, "email", ANN)["properties"]
    assert ("consented_objectives" in kept, kept["refused_objectives"]) == (False, ["newsletter"])


# -- rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "older", "newer", "merged"),
    [
        ("{identifier: email}", {}, {}, False),  # the row's lead is the owner of the address: nobody else has it
        ("{identifier: card, conditions: [{property: city, same: true}]}", {"city": "A"}, {"city": "A"}, True),
        ("{identifier: card, conditions: [{property: city, same: true}]}", {"city": "A"}, {"city": "B"}, False),
        ("{identifier: card, conditions: [{property: city, same: true}]}", {"city": "A"}, {}, False),
        ("{identifier: card, conditions: [{property: city, equals: A}]}", {"city": "A"}, {"city": "A"}, True),
        ("{identifier: card, conditions: [{property: city, equals: A}]}", {"city": "B"}, {"city": "B"}, False),
        ("{identifier: card, blocked_values: [k-ann]}", {}, {}, False),
        ("{identifier: card, blocked_values: [other]}", {}, {}, True),
    ],
)
def test_only_a_rule_that_holds_for_both_merges(
    shop: Shop, rule: str, older: dict[str, Any], newer: dict[str, Any], merged: bool
) -> None:
    rules(shop, rule)
    both(shop, older, newer)
    counts = rows(shop, MEET)
    assert counts.get("merged", 0) == int(merged)
    assert counts["quarantined"] == ({} if merged else {"ambiguous_match": 1})


def test_a_short_value_merges_nobody(shop: Shop) -> None:
    rows(shop, {"id": 1, "card": "K1"})
    rows(shop, {"id": 2, "email": ANN})
    counts = rows(shop, {"id": 3, "email": ANN, "card": "K1"})
    assert (counts.get("merged", 0), counts["quarantined"]) == (0, {"ambiguous_match": 1})


def test_two_profiles_that_meet_at_a_value_of_nobody_become_one(shop: Shop) -> None:
    rules(shop, "{identifier: phone}")
    older, newer = both(shop)
    counts = rows(shop, {"id": 3, "email": ANN, "phone": "12345"}, {"id": 4, "card": SAME_ANN, "phone": "12345"})
    assert (counts["merged"], counts["quarantined"]) == (1, {})
    assert found(shop, "card", SAME_ANN)["profile_id"] == found(shop, "phone", "12345")["profile_id"] == newer != older


def test_a_value_at_which_too_many_profiles_meet_merges_nobody(shop: Shop) -> None:
    rules(shop, "{identifier: phone}")
    rows(shop, *({"id": number, "email": f"p{number}@x.org"} for number in range(21)))
    meet = [{"id": number, "email": f"p{number}@x.org", "phone": "00000"} for number in range(21)]
    counts = rows(shop, *meet)
    assert (counts.get("merged", 0), counts["quarantined"]) == (0, {"ambiguous_match": 21})
    counts = rows(shop, *({**row, "phone": "11111", "id": 100 + number} for number, row in enumerate(meet[:20])))
    assert (counts["merged"], counts["quarantined"]) == (19, {})


def chain(shop: Shop) -> list[dict[str, Any]]:
    """Three profiles A, B and C, and the rows that say A is B and B is C."""
    rules(shop, "{identifier: card}", "{identifier: phone}")
    rows(shop, {"id": 1, "email": "a@x.org"}, {"id": 2, "card": "CARD-B"}, {"id": 3, "phone": "PHONE-C"})
    return [{"id": 4, "email": "a@x.org", "card": "CARD-B"}, {"id": 5, "card": "CARD-B", "phone": "PHONE-C"}]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_is_settled_whole_whatever_the_order_of_rows(shop: Shop, backwards: bool) -> None:
    listed = chain(shop)
    assert rows(shop, *reversed(listed) if backwards else listed)["merged"] == 2
    owners = {
        found(shop, *pair)["profile_id"] for pair in [("email", "a@x.org"), ("card", "CARD-B"), ("phone", "PHONE-C")]
    }
    kept = dump(shop.store_uri)
    assert owners == {max(row[0] for row in kept["profiles"])}  # created at once: the larger id lives on
    assert [row[1] for row in kept["merged"]] == [*owners, *owners]


def test_a_chain_over_several_runs_leads_to_the_living_profile(shop: Shop) -> None:
    first, second = chain(shop)
    rows(shop, first)
    rows(shop, second)
    assert len(dump(shop.store_uri)["merged"]) == 2
    living = found(shop, "email", "a@x.org")["profile_id"]
    counts = rows(shop, {"id": 3, "phone": "PHONE-C", "visits": 5})
    assert (counts["updated"], counts["created"]) == (1, 0)
    assert found(shop, "phone", "PHONE-C")["profile_id"] == living


def test_a_row_against_the_rules_keeps_a_chain_from_merging(shop: Shop) -> None:
    listed = chain(shop)
    rules(shop, "{identifier: card}", "{identifier: phone, conditions: [{property: city, same: true}]}")
    rows(shop, {"id": 6, "card": "CARD-B", "city": "Gent"}, {"id": 7, "phone": "PHONE-C", "city": "Gent"})
    against = {"id": 8, "email": "a@x.org", "phone": "PHONE-C"}
    counts = rows(shop, *listed, against)
    assert (counts.get("merged", 0), counts["quarantined"]) == (0, {"ambiguous_match": 3})


def test_too_many_merges_hold_the_plan(shop: Shop) -> None:
    both(shop)
    shop.connection(GOAL, head="guards: {max_merged: 0}")
    before = dump(shop.store_uri)
    counts = rows(shop, MEET)
    assert (counts["state"], counts["merged"]) == ("held", 1)
    assert dump(shop.store_uri)["profiles"] == before["profiles"]


def test_a_plan_counts_merges_and_writes_nothing(shop: Shop) -> None:
    both(shop)
    before = dump(shop.store_uri)
    counts = rows(shop, MEET, mode="plan")
    assert (counts["state"], counts["merged"]) == ("planned", 1)
    assert dump(shop.store_uri) == before


# -- afterwards ----------------------------------------------------------------------------------------------------


def test_the_same_rows_again_change_nothing(shop: Shop) -> None:
    both(shop, {"visits": 3}, {"visits": 4})
    rows(shop, MEET)
    before = profiles(shop)
    counts = rows(shop, MEET, {"id": 1, "card": SAME_ANN, "visits": 3}, {"id": 2, "email": ANN, "visits": 4}, full=True)
    assert (counts.get("merged", 0), counts["updated"], counts["unchanged"]) == (0, 0, 1)
    assert profiles(shop)[:3] == before[:3]


def test_a_changed_row_of_the_replaced_profile_adds_its_difference_to_the_living_one(shop: Shop) -> None:
    both(shop, {"visits": 3}, {"visits": 4})
    rows(shop, {**MEET, "visits": 10})
    rows(shop, {"id": 1, "card": SAME_ANN, "visits": 5})
    assert found(shop, "email", ANN)["properties"]["visits"] == ["19"]


def test_a_row_of_the_replaced_profile_in_the_same_run_adds_its_difference_too(shop: Shop) -> None:
    both(shop, {"visits": 3}, {"visits": 4})
    rows(shop, {**MEET, "visits": 10}, {"id": 1, "card": SAME_ANN, "visits": 5})
    assert found(shop, "email", ANN)["properties"]["visits"] == ["19"]


EVENT_GOAL = (
    GOAL.rstrip()
    + """
    events:
      - {type: order, id: people.first, date: people.last, when: {field: people.name, any_of: [sale]}}
"""
)


def orders(shop: Shop, profile_id: str) -> list[tuple[str, str]]:
    with shop.store() as store:
        return sorted((item["event_id"], item["date"][:10]) for item in store.profile_events(profile_id))


def test_events_follow_and_the_living_profile_wins_and_undo_takes_them_back(shop: Shop) -> None:
    shop.connection(EVENT_GOAL)
    sale = {"name": "sale"}
    older, newer = both(shop)
    rows(
        shop,
        {"id": 5, "card": SAME_ANN, **sale, "first": "o1", "last": "2026-01-01"},
        {"id": 6, "card": SAME_ANN, **sale, "first": "o2", "last": "2026-01-02"},
        {"id": 7, "email": ANN, **sale, "first": "o2", "last": "2026-01-03"},
        {"id": 8, "card": SAME_ANN, **sale, "first": "o3", "last": "2026-01-04"},
    )
    before = orders(shop, older), orders(shop, newer)
    counts = rows(shop, {**MEET, **sale, "first": "o3", "last": "2026-01-05"})
    assert counts["merged"] == 1
    assert orders(shop, newer) == [("o1", "2026-01-01"), ("o2", "2026-01-03"), ("o3", "2026-01-05")]
    undo(shop, 4)
    after = orders(shop, older), orders(shop, newer)
    assert (after[0], after[1][:1]) == (before[0], before[1])


def test_an_incremental_export_sees_the_living_profile_and_never_the_replaced_one(shop: Shop) -> None:
    older, newer = both(shop)
    with shop.store() as store:
        since = store.position()
    rows(shop, MEET)
    with shop.store() as store:
        changed = store.stored_profiles(since).read_all().to_pylist()
        assert store.replaced_profiles(newer) == [older]
    assert [item["profile_id"] for item in changed if item["changed"]] == [newer]
    assert older not in {item["profile_id"] for item in changed}
