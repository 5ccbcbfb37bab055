"""Rows X-26 to X-28: objectives decide which profiles a connection may touch."""

from __future__ import annotations

import itertools

import pytest

from tests.acceptance.shop import Shop

GOAL = """
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
    consent:
      - {field: people.news, objective: newsletter, granted: ["yes"], refused: ["no"]}
      - {field: people.pers, objective: personalisation, granted: ["yes"], refused: ["no"]}
    mappings: {fields: [{field: people.city, property: city}]}
    """
ANSWERS = ("yes", "no", "")


@pytest.mark.parametrize(("news", "pers"), list(itertools.product(ANSWERS, ANSWERS)))
def test_consent_to_any_linked_objective_is_enough_and_needed(shop: Shop, news: str, pers: str) -> None:
    shop.connection(GOAL, head="objectives: [newsletter, personalisation]")
    shop.put("people.csv", f"email,city,news,pers\nann@example.org,Gent,{news},{pers}\n")
    counts = shop.counts()
    if "yes" in (news, pers):
        assert counts["created"] == 1
        assert shop.values("ann@example.org")["city"] == ["Gent"]
    else:
        assert counts["excluded"] == {"no_consent": 1}
        assert shop.values("ann@example.org") is None


def test_a_refusal_is_written_although_the_rest_of_the_row_is_not(shop: Shop) -> None:
    shop.connection(GOAL, head="objectives: [newsletter]")
    shop.put("people.csv", "email,city,news,pers\nann@example.org,Gent,yes,\n")
    shop.counts()
    shop.put("people.csv", "email,city,news,pers\nann@example.org,Aalst,no,\n")
    counts = shop.counts()
    assert counts["excluded"] == {"no_consent": 1}
    values = shop.values("ann@example.org")
    assert values["city"] == ["Gent"]
    assert values["refused_objectives"] == ["newsletter"]
    assert "consented_objectives" not in values


def test_without_objectives_the_answers_are_stored_and_nobody_is_left_out(shop: Shop) -> None:
    shop.connection(GOAL)
    shop.put("people.csv", "email,city,news,pers\nann@example.org,Gent,no,yes\n")
    shop.counts()
    values = shop.values("ann@example.org")
    assert (values["consented_objectives"], values["refused_objectives"]) == (["personalisation"], ["newsletter"])
    assert values["city"] == ["Gent"]
