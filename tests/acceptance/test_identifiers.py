"""Rows S-36 to S-40 with identifiers as other people write them."""

from __future__ import annotations

import random

from tests.acceptance.shop import Shop

CARDS = """
    identifiers:
      - {field: people.card, property: customer_id}
      - {field: people.email, property: email}
    create_profiles: true
    mappings: {fields: [{field: people.city, property: city}]}
"""


def test_an_identifier_too_long_for_an_index_is_set_aside_and_the_other_rows_go_on(shop: Shop) -> None:
    shop.connection(CARDS)
    letters = random.Random(7)
    long = "".join(letters.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(5_000))
    longest = "".join(letters.choice("\U00020000\U00020001\U00020002\U00020003") for _ in range(500))
    shop.put("people.csv", f"card,email,city\nK1,,Gent\n{long},,Aalst\n{long},cy@example.org,Ronse\n{longest},,Lier\n")
    run = shop.run()
    counts = run["by_goal"]["people"]["result"]["counts"]
    assert (run["state"], counts["created"], counts["excluded"]) == ("done_with_rejects", 3, {"no_identifier": 1})
    assert [(item["line"], item["field"], item["reason"]) for item in shop.rejects(run)] == [
        (3, "people.card", "too_long"),
        (4, "people.card", "too_long"),
    ]
    assert shop.values("cy@example.org") == {"email": ["cy@example.org"], "city": ["Ronse"]}
    found = shop.profile("customer_id", longest)
    assert found is not None
    assert found["properties"]["city"] == ["Lier"]


def test_an_address_with_an_invisible_character_does_not_make_a_second_profile(shop: Shop) -> None:
    shop.connection(CARDS)
    hidden = ["ann\u200b@example.org", "ann\u00a0@example.org", "an\u00adn@example.org"]
    trimmed = ["\u200bann@example.org", "ann@example.org\u2060", "\ufeffAnn@example.org\u3000"]
    lines = [f",{address},Gent" for address in ["ann@example.org", *hidden, *trimmed]]
    shop.put("people.csv", "card,email,city\n" + "\n".join(lines) + "\n")
    run = shop.run()
    counts = run["by_goal"]["people"]["result"]["counts"]
    assert (counts["created"], counts["applied"], counts["excluded"]) == (1, 4, {"no_identifier": 3})
    assert [(item["line"], item["reason"]) for item in shop.rejects(run)] == [(n, "invalid_email") for n in (3, 4, 5)]
