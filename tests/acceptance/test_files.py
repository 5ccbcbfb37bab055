"""Rows S-18 to S-23, S-33, S-34, S-59 to S-61: which files, how they join, when they are read again."""

from __future__ import annotations

import os
from pathlib import Path

from tests.acceptance.shop import Shop

PLAIN = """
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
    mappings: {fields: [{field: people.city, property: city}]}
"""


def rows(count: int, changed: int | None = None) -> str:
    lines = [f"p{n}@example.org,{'Aalst' if n == changed else 'Gent'}" for n in range(count)]
    return "email,city\n" + "\n".join(lines) + "\n"


def test_an_unchanged_file_is_not_read_again(shop: Shop) -> None:
    shop.connection(PLAIN)
    shop.put("people.csv", rows(10))
    assert shop.counts()["created"] == 10
    run = shop.run()
    assert run["state"] == "nothing_new"
    assert "unchanged" in run["by_goal"]["people"]["result"]["reason"]


def test_a_touched_file_with_equal_content_is_not_imported_again(shop: Shop) -> None:
    shop.connection(PLAIN)
    path = shop.put("people.csv", rows(10))
    shop.counts()
    os.utime(path, (1_800_000_000, 1_800_000_000))
    assert shop.run()["state"] == "nothing_new"


def test_one_changed_row_of_a_thousand_is_the_only_one_processed(shop: Shop) -> None:
    shop.connection(PLAIN)
    shop.put("people.csv", rows(1000))
    shop.counts()
    shop.put("people.csv", rows(1000, changed=500))
    counts = shop.counts()
    assert (counts["applied"], counts["updated"], counts["unchanged_rows_skipped"]) == (1, 1, 999)


def test_a_changed_mapping_imports_the_file_again_and_says_why(shop: Shop) -> None:
    shop.connection(PLAIN)
    shop.put("people.csv", rows(3))
    shop.counts()
    shop.connection(PLAIN.replace("property: city", "property: shop_city"))
    run = shop.run()
    assert run["by_goal"]["people"]["result"]["counts"]["updated"] == 3
    assert shop.values("p1@example.org")["shop_city"] == ["Gent"]


def test_a_changed_title_does_not_import_anything_again(shop: Shop) -> None:
    shop.connection(PLAIN)
    shop.put("people.csv", rows(3))
    shop.counts()
    shop.connection(PLAIN, head="description: another text")
    assert shop.run()["state"] == "nothing_new"


def test_wildcard_and_regular_expression_pick_the_same_files(shop: Shop) -> None:
    for name in ("orders_20240101.csv", "orders_20240102.csv", "orders_x.csv", "other.csv"):
        shop.put(name, f"email,city\n{name[:-4]}@example.org,Gent\n")
    text = """
    kind: sftp
    title: Shop
    conn_id: shop_sftp
    goals:
      - import_profiles: people
        stable_seconds: 0
        files: [{name: people, path: /in/, regex: 'orders_[0-9]{8}\\.csv'}]
    """
    import textwrap

    shop.connection(PLAIN, text=textwrap.dedent(text).strip())
    assert shop.counts()["files_read"] == 2


def test_imported_files_get_the_done_suffix_and_are_never_read_again(shop: Shop) -> None:
    shop.connection(PLAIN + "    mark_done: true\n")
    shop.put("people.csv", rows(3))
    shop.counts()
    assert sorted(path.name for path in (shop.source / "in").iterdir()) == ["people.csv.done"]
    assert shop.run()["state"] == "nothing_new"


def test_a_failed_file_keeps_its_name(shop: Shop) -> None:
    shop.connection(PLAIN + "    mark_done: true\n")
    shop.put("people.csv", "mail,town\nx,y\n")
    assert shop.run()["state"] == "failed"
    assert [path.name for path in (shop.source / "in").iterdir()] == ["people.csv"]


CHAIN = """
kind: sftp
title: Shop
conn_id: shop_sftp
goals:
  - import_profiles: people
    stable_seconds: 0
    files:
      - {name: orders, path: /in/orders.csv}
      - {name: lines, path: /in/lines.csv, link: {order_id: orders.order_id}, nested: true}
      - {name: products, path: /in/products.csv, link: {sku: lines.sku}}
      - {name: customers, path: /in/customers.csv, link: {id: orders.customer}}
      - {name: zips, path: /in/zips.csv, link: {zip: customers.zip}, format: {separator: ";", encoding: windows-1252}}
    row_key: [orders.order_id]
    identifiers: [{field: customers.email, property: email}]
    create_profiles: true
    mappings:
      fields:
        - {field: orders.total, property: revenue, strategy: sum}
        - {field: products.name, property: tags, strategy: add}
        - {field: zips.city, property: city}
"""


def chain(shop: Shop) -> None:
    shop.connection(text=CHAIN.strip())
    shop.put("orders.csv", "order_id,customer,total\no1,c1,10.50\no2,c1,4\no3,c2,1\no4,c9,7\n")
    shop.put("lines.csv", "order_id,sku\no1,s1\no1,s2\no2,s1\no7,s1\n")
    shop.put("products.csv", "sku,name\ns1,Shoe\ns2,Sock\n")
    shop.put("customers.csv", "id,email,zip\nc1,ann@example.org,9000\nc2,bob@example.org,1000\n")
    shop.put("zips.csv", "zip;city\n9000;Gênt\n".encode("windows-1252"))


def test_five_files_join_in_a_chain_with_nested_products(shop: Shop) -> None:
    chain(shop)
    counts = shop.counts()
    assert shop.values("ann@example.org") == {
        "email": ["ann@example.org"],
        "revenue": ["14.50"],
        "tags": ["Shoe", "Sock"],
        "city": ["Gênt"],
    }
    assert shop.values("bob@example.org") == {"email": ["bob@example.org"], "revenue": ["1.00"]}
    assert counts["excluded"] == {"no_identifier": 1}
    assert counts["rows_read"] == 4


def test_a_changed_linked_file_joins_again_without_adding_sums_twice(shop: Shop) -> None:
    chain(shop)
    shop.counts()
    shop.put("zips.csv", "zip;city\n9000;Aalst\n")
    counts = shop.counts()
    assert shop.values("ann@example.org")["city"] == ["Aalst"]
    assert shop.values("ann@example.org")["revenue"] == ["14.50"]
    assert counts["updated"] == 1


def test_a_processor_runs_before_linking(shop: Shop) -> None:
    shop.connection(
        PLAIN
        + """
    processors:
      - normalize_email: {field: people.email}
      - filter: {field: people.city, keep: [Gent]}
    """
    )
    shop.put("people.csv", "email,city\n ANN@Example.ORG,Gent\nbob@example.org,Brugge\n")
    counts = shop.counts()
    assert (counts["filtered"], counts["created"], counts["rows_read"]) == (1, 1, 2)
    assert shop.values("ann@example.org")["city"] == ["Gent"]


def test_a_file_that_cannot_be_read_is_rejected_alone(shop: Shop) -> None:
    shop.connection(PLAIN + "    mark_done: true\n")
    shop.put("people_1.csv.gz", b"this is no gzip file")
    shop.put("people_2.csv", rows(2))
    text = (shop.root / "connections" / "shop.yaml").read_text().replace("/in/people*.csv", "/in/people*")
    (shop.root / "connections" / "shop.yaml").write_text(text)
    counts = shop.counts()
    assert (counts["files_rejected"], counts["created"], counts["state"]) == (1, 2, "done_with_rejects")
    assert sorted(path.name for path in (shop.source / "in").iterdir()) == ["people_1.csv.gz", "people_2.csv.done"]


def test_every_record_of_a_dirty_file_ends_in_one_bucket(shop: Shop) -> None:
    shop.connection(PLAIN)
    good = "ann@example.org,Gent\n"
    shop.put(
        "people.csv",
        "email,city\n" + good + "too,many,cells\nfew\n" + 'x@example.org,"open\n' + "bob@example.org,Aalst\n",
    )
    run = shop.run()
    counts = run["by_goal"]["people"]["result"]["counts"]
    assert counts["created"] == 2
    assert sum(counts["quarantined"].values()) == 3
    assert [reject["line"] for reject in shop.rejects(run)] == [3, 4, 5]
    assert run["state"] == "done_with_rejects"
    bare = counts["filtered"] + counts["unchanged_rows_skipped"] + counts["applied"]
    assert counts["rows_read"] == bare + sum(counts["excluded"].values()) + sum(counts["quarantined"].values())


def test_a_plan_writes_nothing_and_can_be_applied_as_it_was_shown(shop: Shop, tmp_path: Path) -> None:
    shop.connection(PLAIN)
    shop.put("people.csv", rows(5))
    run = shop.run(mode="plan")
    assert run["state"] == "planned"
    assert run["by_goal"]["people"]["result"]["counts"]["created"] == 5
    assert shop.values("p1@example.org") is None
    assert shop.counts()["created"] == 5


def test_a_filter_without_a_plan_fails_the_run_on_record(shop: Shop) -> None:
    shop.connection(PLAIN)
    shop.put("people.csv", rows(5))
    run = shop.run(limit=1)
    assert run["state"] == "failed"
    assert run["by_goal"]["people"]["result"]["error"]["code"] == "filter_needs_plan"
    assert shop.values("p1@example.org") is None


def test_a_guard_holds_the_whole_goal(shop: Shop) -> None:
    shop.connection(PLAIN, head="guards: {max_created: 4}")
    shop.put("people.csv", rows(5))
    run = shop.run()
    assert run["state"] == "held"
    assert "max_created allows 4" in run["by_goal"]["people"]["result"]["reason"]
    assert shop.values("p1@example.org") is None


def test_a_goal_or_connection_that_is_off_is_left_alone_with_the_reason(shop: Shop) -> None:
    shop.put("people.csv", rows(2))
    shop.connection(PLAIN + "    enabled: false\n")
    assert shop.run()["state"] == "skipped"
    shop.connection(PLAIN, head="enabled: false")
    run = shop.run()
    assert run["state"] == "skipped"
    assert shop.values("p1@example.org") is None
