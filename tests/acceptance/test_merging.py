"""Merging: profiles that merge rules say are one become one, inside the run that makes them meet."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.acceptance.shop import Shop

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
