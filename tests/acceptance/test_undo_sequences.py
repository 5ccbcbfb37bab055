"""Imports and undos in any order: whatever happened, the parts of the store agree with each other."""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from tests.acceptance.shop import Shop
from tests.acceptance.test_undo import CONNECTION, OTHERS, PEOPLE, state_of, undo
from tests.faults.store_dump import dump, fetch, held_leases

HEADERS = {"people": PEOPLE, "others": OTHERS}
ANSWERS = "SELECT profile_id, objective, state FROM consent_log ORDER BY batch_no"
UNIQUE = ("email", "customer_id")


def some_rows(dice: random.Random, goal: str) -> str:
    """A file of a few rows whose addresses and cards often belong to another row's profile."""
    count = dice.choice([3, 6, 10])
    choose, lines = dice.choice, [HEADERS[goal]]
    for number in dice.sample(range(count), dice.randint(1, count)):
        email, card = f"p{choose([number, number, dice.randrange(count)])}@x.org", f"k{dice.randrange(count)}"
        amount, answer = choose(["", "1", "7", "-3", "x"]), choose(["", "yes", "no"])
        if goal == "people":
            cells = [choose([email, email, ""]), choose(["", card]), choose(["", "Gent", "Aalst"]), amount]
            cells += [choose(["", "2.5", "-3"]), choose(["", "a", "b"]), answer]
        else:
            cells = [email, choose(["", "Ann", "Bob"]), choose(["", "Gent", "Ieper"]), choose(["", "", card]), amount]
            cells += [choose(["", "yes", "no"]), answer]
        lines.append(",".join([str(number), *cells]) + "\n")
    return "".join(lines)


def check(shop: Shop) -> dict[str, Any]:
    """Identifiers, sums, row state, change log and answers say the same as the documents; returns the dump."""
    found = dump(shop.store_uri)
    documents = {row[0]: row[2] for row in found["profiles"]}
    owned = [[key, value, no] for no, doc in documents.items() for key in UNIQUE for value in doc.get(key, [])]
    assert found["identifiers"] == sorted(owned)
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for *_, profile_id, amounts in found["row_state"]:
        assert profile_id in documents
        for key, amount in (amounts or {}).items():
            sums[profile_id, key] += Decimal(amount)
    for profile_id, document in documents.items():
        for key in ("visits", "revenue"):
            assert Decimal(document.get(key, ["0"])[0]) == sums[profile_id, key], (profile_id, key)
    assert replayed(found["changes"]) == documents
    check_answers(shop, documents)
    assert held_leases(shop.store_uri) == 0
    return found


def replayed(changes: list[list[Any]]) -> dict[str, dict[str, list[str]]]:
    """The documents as the change log alone tells them; each entry begins where the one before it ended."""
    documents: dict[str, dict[str, list[str]]] = {}
    for _, profile_id, _, _, entry in changes:
        document = documents.setdefault(profile_id, {})
        for key, change in entry.items():
            assert document.get(key) == change["before"] != change["after"], (profile_id, key)
            document[key] = change["after"]
        documents[profile_id] = {key: values for key, values in document.items() if values}
    return {profile_id: document for profile_id, document in documents.items() if document}


def check_answers(shop: Shop, documents: dict[str, Any]) -> None:
    """The last answer in the log is the one that counts."""
    last = {(row[0], row[1]): row[2] for row in fetch(shop.store_uri, ANSWERS)}
    for (profile_id, objective), state in last.items():
        document = documents.get(profile_id, {})
        granted, refused = (objective in document.get(f"{kind}_objectives", []) for kind in ("consented", "refused"))
        assert state == ("refused" if refused else "granted" if granted else "unknown"), (profile_id, objective)


@pytest.mark.parametrize("seed", range(3))
def test_imports_and_undos_in_any_order_leave_a_store_that_agrees_with_itself(shop: Shop, seed: int) -> None:
    dice = random.Random(seed)
    shop.connection(text=CONNECTION)
    shop.store().migrate()
    runs: list[str] = []
    for _ in range(7):
        if runs and dice.random() < 0.4:
            undo(shop, dice.choice(runs))
            check(shop)
            continue
        goals = dice.choice([("people",), ("others",), ("people", "others")])
        for goal in goals:
            shop.put(f"{goal}.csv", some_rows(dice, goal))
        before = state_of(shop)
        runs.append(shop.run(goals=goals, full=dice.random() < 0.2)["run_id"])
        check(shop)
        if dice.random() < 0.3:
            assert undo(shop, runs[-1]).state in ("done", "nothing_new")
            check(shop)
            assert state_of(shop) == before
    for run_id in reversed(runs):
        undo(shop, run_id)
        check(shop)
    assert state_of(shop)["row_state"] == []
