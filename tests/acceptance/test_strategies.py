"""Rows S-36 to S-51: linking, creation and the write strategies."""

from __future__ import annotations

import pytest

from tests.acceptance.shop import Shop

LINK = "identifiers: [{field: people.email, property: email}]"


def mapped(*fields: str, create: bool = True, more: str = "") -> str:
    listed = "\n".join(f"    - {{{field}}}" for field in fields)
    return f"{LINK}\ncreate_profiles: {str(create).lower()}\n{more}\nmappings:\n  fields:\n{listed}"


def test_a_row_updates_only_the_profile_with_its_email(shop: Shop) -> None:
    shop.connection(mapped("field: people.city, property: city"))
    shop.put("people.csv", "email,city\nann@example.org,Gent\nbob@example.org,Brugge\n")
    assert shop.counts()["created"] == 2
    shop.put("people.csv", "email,city\nANN@example.org ,Aalst\nbob@example.org,Brugge\n")
    counts = shop.counts()
    assert (counts["updated"], counts["unchanged_rows_skipped"]) == (1, 1)
    assert shop.values("ann@example.org") == {"email": ["ann@example.org"], "city": ["Aalst"]}
    assert shop.values("bob@example.org") == {"email": ["bob@example.org"], "city": ["Brugge"]}


def test_rows_without_identifier_are_excluded_and_counted(shop: Shop) -> None:
    shop.connection(mapped("field: people.city, property: city"))
    shop.put("people.csv", "email,city\n,Gent\n ,Gent\n,Brugge\nann@example.org,Gent\n")
    counts = shop.counts()
    assert counts["excluded"] == {"no_identifier": 3}
    assert counts["created"] == 1
    assert counts["rows_read"] == 4


def test_unmatched_rows_are_ignored_when_creation_is_off(shop: Shop) -> None:
    shop.connection(mapped("field: people.city, property: city", create=False))
    shop.put("people.csv", "email,city\nann@example.org,Gent\n")
    counts = shop.counts()
    assert counts["excluded"] == {"no_match": 1}
    assert counts["created"] == 0
    assert shop.values("ann@example.org") is None


def test_either_of_two_identifiers_finds_the_profile_and_a_conflict_is_set_aside(shop: Shop) -> None:
    goal = """
        identifiers:
          - {field: people.email, property: email}
          - {field: people.id, property: customer_id}
        create_profiles: true
        mappings: {fields: [{field: people.city, property: city}]}
        """
    shop.connection(goal)
    shop.put("people.csv", "email,id,city\nann@example.org,1,Gent\nbob@example.org,2,Brugge\n")
    assert shop.counts()["created"] == 2
    shop.put("people.csv", "email,id,city\nann@example.org,,Aalst\n,2,Ieper\nann@example.org,2,Mons\n")
    run = shop.run()
    counts = run["by_goal"]["people"]["result"]["counts"]
    assert counts["quarantined"] == {"ambiguous_match": 1}
    assert counts["updated"] == 2
    assert shop.values("ann@example.org")["city"] == ["Aalst"]
    assert shop.values("bob@example.org")["city"] == ["Ieper"]
    (reject,) = shop.rejects(run)
    assert (reject["line"], reject["reason"], reject["stage"]) == (4, "ambiguous_match", "link")


def test_match_all_needs_every_identifier_on_the_same_profile(shop: Shop) -> None:
    goal = """
        identifiers:
          - {field: people.email, property: email}
          - {field: people.id, property: customer_id}
        match: all
        create_profiles: true
        mappings: {fields: [{field: people.city, property: city}]}
        """
    shop.connection(goal)
    shop.put("people.csv", "email,id,city\nann@example.org,1,Gent\nbob@example.org,2,Brugge\n")
    assert shop.counts()["created"] == 2
    shop.put("people.csv", "email,id,city\nann@example.org,,Aalst\nann@example.org,2,Mons\nann@example.org,1,Ieper\n")
    counts = shop.counts()
    assert counts["excluded"] == {"no_identifier": 1}
    assert counts["quarantined"] == {"ambiguous_match": 1}
    assert shop.values("ann@example.org")["city"] == ["Ieper"]


@pytest.mark.parametrize(
    ("strategy", "second", "expected"),
    [
        ("set", "B", ["B"]),
        ("set", "", ["A"]),
        ("set_if_empty", "B", ["A"]),
        ("set_or_clear", "B", ["B"]),
        ("set_or_clear", "", None),
        ("add", "B", ["A", "B"]),
        ("add", "A", ["A"]),
        ("add", "", ["A"]),
    ],
)
def test_each_strategy_meets_the_stored_value_as_documented(
    shop: Shop, strategy: str, second: str, expected: list[str] | None
) -> None:
    shop.connection(mapped(f"field: people.city, property: city, strategy: {strategy}"))
    shop.put("people.csv", "email,city\nann@example.org,A\n")
    shop.counts()
    shop.put("people.csv", f"email,city\nann@example.org,{second}\n")
    shop.counts()
    assert shop.values("ann@example.org").get("city") == expected


def test_set_if_empty_fills_an_empty_property_with_the_first_value(shop: Shop) -> None:
    shop.connection(mapped("field: people.city, property: city, strategy: set_if_empty"))
    shop.put("people.csv", "email,city\nann@example.org,\nann@example.org,B\nann@example.org,C\n")
    shop.counts()
    assert shop.values("ann@example.org")["city"] == ["B"]


def test_sum_adds_numbers_and_refuses_text(shop: Shop) -> None:
    shop.connection(mapped("field: people.n, property: visits, strategy: sum", more="row_key: [people.id]"))
    shop.put("people.csv", "id,email,n\n1,ann@example.org,2\n2,ann@example.org,3\n3,ann@example.org,many\n")
    run = shop.run()
    assert shop.values("ann@example.org")["visits"] == ["5"]
    assert run["by_goal"]["people"]["result"]["counts"]["invalid_values"] == 1
    (reject,) = shop.rejects(run)
    assert (reject["line"], reject["field"], reject["scope"], reject["raw"]) == (4, "people.n", "value", "many")


def test_a_changed_row_adds_only_the_difference_to_a_sum(shop: Shop) -> None:
    shop.connection(mapped("field: people.n, property: visits, strategy: sum", more="row_key: [people.id]"))
    shop.put("people.csv", "id,email,n\n1,ann@example.org,2\n2,ann@example.org,3\n")
    shop.counts()
    shop.put("people.csv", "id,email,n\n1,ann@example.org,7\n2,ann@example.org,3\n3,ann@example.org,1\n")
    shop.counts()
    assert shop.values("ann@example.org")["visits"] == ["11"]


def test_a_full_run_and_a_changed_mapping_do_not_add_a_sum_again(shop: Shop) -> None:
    shop.connection(mapped("field: people.n, property: visits, strategy: sum", more="row_key: [people.id]"))
    shop.put("people.csv", "id,email,n,city\n1,ann@example.org,2,Gent\n2,ann@example.org,3,Gent\n")
    shop.counts()
    assert shop.counts(full=True)["state"] == "done"
    shop.connection(
        mapped(
            "field: people.n, property: visits, strategy: sum",
            "field: people.city, property: city",
            more="row_key: [people.id]",
        )
    )
    shop.counts()
    assert shop.values("ann@example.org") == {"email": ["ann@example.org"], "visits": ["5"], "city": ["Gent"]}


def test_rows_of_one_profile_apply_in_file_order(shop: Shop) -> None:
    shop.connection(
        mapped(
            "field: people.city, property: city, strategy: set_or_clear",
            "field: people.tag, property: tags, strategy: add",
        )
    )
    shop.put("people_1.csv", "email,city,tag\nann@example.org,A,x\nann@example.org,B,y\n")
    shop.put("people_2.csv", "email,city,tag\nann@example.org,C,x\nann@example.org,,z\n")
    assert shop.counts()["created"] == 1
    assert shop.values("ann@example.org") == {"email": ["ann@example.org"], "tags": ["x", "y", "z"]}


def test_a_prefix_names_the_target_property_but_not_the_identifier(shop: Shop) -> None:
    shop.connection(
        f"{LINK}\ncreate_profiles: true\nmappings: {{prefix: shop_, fields: [{{field: people.city, property: city}}]}}"
    )
    shop.put("people.csv", "email,city,secret\nann@example.org,Gent,unmapped\n")
    shop.counts()
    assert shop.values("ann@example.org") == {"email": ["ann@example.org"], "shop_city": ["Gent"]}


def test_multi_value_cells_become_lists(shop: Shop) -> None:
    shop.connection(mapped("field: people.tags, property: tags", more='format: {multi_value: "|"}'))
    shop.put("people.csv", "email,tags\nann@example.org,a|b| a ||c\n")
    shop.counts()
    assert shop.values("ann@example.org")["tags"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ('{separator: ";", decimal: ","}', "1.234,56", "1234.56"),
        ('{separator: ";", decimal: "."}', "1.234,56", None),
        ('{separator: ";", decimal: "."}', "1234.5", "1234.50"),
        ('{separator: ";", decimal: ","}', "1.234", None),
        ('{separator: ";", decimal: ",", thousands: "."}', "1.234", "1234.00"),
    ],
)
def test_decimals_are_read_as_declared_or_rejected(shop: Shop, settings: str, text: str, expected: str | None) -> None:
    shop.connection(mapped("field: people.total, property: revenue", more=f"format: {settings}"))
    shop.put("people.csv", f"email;total\nann@example.org;{text}\n")
    counts = shop.counts()
    assert shop.values("ann@example.org").get("revenue") == ([expected] if expected else None)
    assert counts["invalid_values"] == (0 if expected else 1)


def test_dates_are_read_in_the_declared_zone_across_a_clock_change(shop: Shop) -> None:
    more = 'format: {date: "%d-%m-%Y %H:%M", timezone: Europe/Brussels}'
    shop.connection(mapped("field: people.born, property: born", more=more))
    rows = [
        ("winter@example.org", "31-12-2024 23:59", "1735685940000"),
        ("summer@example.org", "01-07-2024 12:00", "1719828000000"),
        ("gap@example.org", "31-03-2024 02:30", "1711848600000"),
        ("fold@example.org", "27-10-2024 02:30", "1729989000000"),
    ]
    shop.put(
        "people.csv",
        "email,born\n" + "".join(f"{email},{text}\n" for email, text, _ in rows) + "bad@example.org,2024-12-31\n",
    )
    assert shop.counts()["invalid_values"] == 1
    assert {email: shop.values(email)["born"] for email, _, _ in rows} == {email: [ms] for email, _, ms in rows}
    assert "born" not in shop.values("bad@example.org")


def test_an_invalid_value_can_reject_the_row(shop: Shop) -> None:
    shop.connection(
        mapped(
            "field: people.n, property: visits", "field: people.city, property: city", more="invalid_values: reject_row"
        )
    )
    shop.put("people.csv", "email,n,city\nann@example.org,x,Gent\nbob@example.org,1,Gent\n")
    counts = shop.counts()
    assert counts["quarantined"] == {"invalid_number": 1}
    assert shop.values("ann@example.org") is None
    assert shop.values("bob@example.org")["city"] == ["Gent"]


def test_a_row_key_that_two_people_share_does_not_move_its_sum_at_each_run(shop: Shop) -> None:
    goal = """
    row_key: [people.order]
    identifiers:
      - {field: people.email, property: email}
      - {field: people.card, property: customer_id}
    create_profiles: true
    mappings: {fields: [{field: people.points, property: score, strategy: sum}]}
    """
    rows = "order,email,card,points\nk1,ann@example.org,,1\nk1,,C5,\nk2,,,5\nk1,ann@example.org,,1\nk2,,C5,2\n"
    shop.connection(goal)
    for number in range(3):
        shop.put("people.csv", rows + f"n{number},other{number}@example.org,,1\n")
        assert shop.counts()["excluded"] == {"no_identifier": 1}
        found = [shop.profile("email", "ann@example.org"), shop.profile("customer_id", "C5")]
        assert [profile and profile["properties"]["score"] for profile in found] == [["1"], ["2"]]
