"""The chained join, case by case; the model in tests/properties/test_join.py covers the combinations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crosswalk.core.errors import ConfigError, FatalError
from crosswalk.engine import join as join_module
from crosswalk.engine.join import Source, join_files
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.engine.session import open_session
from tests.unit.engine.join_case import goal_of, join, stage

ORDERS: dict[str, Any] = {"name": "orders"}
CUSTOMERS: dict[str, Any] = {"name": "customers", "link": {"id": "orders.customer"}}
LINES: dict[str, Any] = {"name": "lines", "link": {"order": "orders.id"}, "nested": True}
PRODUCTS: dict[str, Any] = {"name": "products", "link": {"sku": "lines.sku"}}
ORDER_ROWS = (["id", "customer"], [["o1", "c1"], ["o2", "c2"], ["o3", ""]])


def values(rows: list[dict[str, Any]], *fields: str) -> list[Any]:
    found = [tuple(row[field] for field in fields) for row in rows]
    return [row[0] for row in found] if len(fields) == 1 else found


def test_one_file_alone_is_handed_on_as_it_is(tmp_path: Path) -> None:
    result, rows = join(tmp_path, goal_of([ORDERS]), {"orders": [ORDER_ROWS]}, ["orders.id", "orders.customer"])
    assert rows[0] == {"row_id": 1, "file_index": 0, "line": 2, "orders.id": "o1", "orders.customer": "c1"}
    assert result.rows == 3
    assert result.counts == {"unmatched": {}, "orphans": {}, "duplicates": {}}
    assert pq.read_schema(tmp_path / "quarantine.parquet").equals(QUARANTINE_SCHEMA)


def test_several_primary_files_are_numbered_one_after_the_other(tmp_path: Path) -> None:
    other = (["customer", "id"], [["c9", "o9"], ["c8", "o8"]])
    _, rows = join(tmp_path, goal_of([ORDERS]), {"orders": [ORDER_ROWS, other, ORDER_ROWS]}, ["orders.id"])
    assert values(rows, "row_id", "file_index", "line", "orders.id") == [
        (1, 0, 2, "o1"),
        (2, 0, 3, "o2"),
        (3, 0, 4, "o3"),
        (4, 1, 2, "o9"),
        (5, 1, 3, "o8"),
        (6, 2, 2, "o1"),
        (7, 2, 3, "o2"),
        (8, 2, 4, "o3"),
    ]


def test_absent_and_empty_are_told_apart(tmp_path: Path) -> None:
    tables = {"orders": [ORDER_ROWS], "customers": [(["id", "city"], [["c1", ""], ["", "nowhere"]])]}
    result, rows = join(tmp_path, goal_of([ORDERS, CUSTOMERS]), tables, ["orders.id", "customers.city"])
    assert values(rows, "customers.city") == ["", None, None]
    assert result.counts["unmatched"] == {"customers": 2}
    assert result.counts["orphans"] == {"customers": 1}


@pytest.mark.parametrize(("policy", "city"), [("first", "Gent"), ("last", "Brugge")])
def test_the_first_or_last_of_several_rows_counts(tmp_path: Path, policy: str, city: str) -> None:
    one = (["id", "city"], [["c1", "Gent"], ["c2", "Aalst"]])
    two = (["city", "id"], [["Kortrijk", "c1"], ["Brugge", " c1 "]])
    goal = goal_of([ORDERS, {**CUSTOMERS, "duplicates": policy}])
    result, rows = join(tmp_path, goal, {"orders": [ORDER_ROWS], "customers": [one, two]}, ["customers.city"])
    assert values(rows, "customers.city") == [city, "Aalst", None]
    assert result.counts["duplicates"] == {"customers": 2}
    assert result.warnings == [
        f'2 rows of file "customers" repeating a value of "id": the {policy} of each value counts.'
    ]


def test_a_repeated_link_value_can_fail_the_goal_with_its_line_and_without_the_value(tmp_path: Path) -> None:
    customers = (["id", "city"], [["c1", "Gent"], ["c2", "Aalst"], ["c1", "Brugge"]])
    goal = goal_of([ORDERS, {**CUSTOMERS, "duplicates": "fail"}])
    with pytest.raises(ConfigError) as caught:
        join(tmp_path, goal, {"orders": [ORDER_ROWS], "customers": [customers]}, ["customers.city"])
    assert caught.value.code == "duplicate_links"
    assert "1 row " in str(caught.value)
    assert "line 4 of /in/customers_0.csv" in str(caught.value)
    assert "c1" not in str(caught.value)


def test_nested_rows_become_aligned_lists_with_what_is_joined_inside(tmp_path: Path) -> None:
    lines = [
        (["order", "sku", "qty"], [["o1", "s2", "2"], ["o2", "s1", ""], ["", "s1", "9"]]),
        (["qty", "order", "sku"], [["1", "o1", "s9"], ["3", "o1", "s1"]]),
    ]
    products = (["sku", "name"], [["s1", "Pen"], ["s2", ""]])
    goal = goal_of([ORDERS, LINES, PRODUCTS])
    fields = ["lines.qty", "products.name"]
    result, rows = join(tmp_path, goal, {"orders": [ORDER_ROWS], "lines": lines, "products": [products]}, fields)
    assert values(rows, *fields) == [(["2", "1", "3"], ["", None, "Pen"]), ([""], ["Pen"]), (None, None)]
    assert result.counts == {
        "unmatched": {"lines": 1, "products": 1},
        "orphans": {"lines": 1, "products": 0},
        "duplicates": {"lines": 0, "products": 0},
    }


def test_two_nested_files_do_not_multiply(tmp_path: Path) -> None:
    notes = {"name": "notes", "link": {"order": "orders.id"}, "nested": True}
    tables = {
        "orders": [ORDER_ROWS],
        "lines": [(["order", "sku"], [["o1", "a"], ["o1", "b"], ["o1", "c"]])],
        "notes": [(["order", "text"], [["o1", "x"], ["o1", "y"]])],
    }
    _, rows = join(tmp_path, goal_of([ORDERS, LINES, notes]), tables, ["lines.sku", "notes.text"])
    assert values(rows, "lines.sku", "notes.text")[0] == (["a", "b", "c"], ["x", "y"])
    assert len(rows) == 3


def test_lists_gathered_in_several_buckets_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = (["id"], [[f"o{number}"] for number in range(50)])
    lines = (["order", "n"], [[f"o{number % 50}", str(number)] for number in range(300)])
    tables = {"orders": [orders], "lines": [lines]}
    _, whole = join(tmp_path / "whole", goal_of([ORDERS, LINES]), tables, ["lines.n"])
    monkeypatch.setattr(join_module, "CELLS_PER_BUCKET", 40)
    _, parts = join(tmp_path / "parts", goal_of([ORDERS, LINES]), tables, ["lines.n"])
    assert parts == whole
    assert parts[7]["lines.n"] == ["7", "57", "107", "157", "207", "257"]


def test_all_pairs_of_a_link_must_hold(tmp_path: Path) -> None:
    prices = {"name": "prices", "link": {"sku": "orders.sku", "country": "orders.country"}}
    tables = {
        "orders": [(["id", "sku", "country"], [["1", "a", "BE"], ["2", "a", "NL"], ["3", "a", ""], ["4", "", "BE"]])],
        "prices": [
            (["sku", "country", "price"], [["a", "BE", "5"], ["a", "", "6"], ["", "BE", "7"], ["b", "NL", "8"]])
        ],
    }
    result, rows = join(tmp_path, goal_of([ORDERS, prices]), tables, ["prices.price"])
    assert values(rows, "prices.price") == ["5", None, None, None]
    assert result.counts["orphans"] == {"prices": 3}


def test_a_file_that_only_connects_two_others_is_joined_without_being_written(tmp_path: Path) -> None:
    zips = {"name": "zips", "link": {"zip": "customers.zip"}}
    tables = {
        "orders": [ORDER_ROWS],
        "customers": [(["id", "zip"], [["c1", "9000"], ["c2", "1"]])],
        "zips": [(["zip", "city"], [["9000", "Gent"]])],
    }
    result, rows = join(tmp_path, goal_of([ORDERS, CUSTOMERS, zips]), tables, ["zips.city"])
    assert values(rows, "zips.city") == ["Gent", None, None]
    assert set(rows[0]) == {"row_id", "file_index", "line", "zips.city"}
    assert result.counts["unmatched"] == {"customers": 1, "zips": 2}


def test_a_link_that_matches_nothing_at_all_is_pointed_out(tmp_path: Path) -> None:
    tables = {"orders": [ORDER_ROWS], "customers": [(["id", "city"], [["x", "Gent"]])]}
    result, _ = join(tmp_path, goal_of([ORDERS, CUSTOMERS]), tables, ["customers.city"])
    assert result.link_states == {"customers": "no_match"}
    assert result.warnings == ['No row matches file "customers" on customers.id = orders.customer.']


def test_header_only_and_empty_files_join_to_nothing(tmp_path: Path) -> None:
    tables = {"orders": [ORDER_ROWS], "customers": [(["id", "city"], []), ([], [])]}
    result, rows = join(tmp_path, goal_of([ORDERS, CUSTOMERS]), tables, ["orders.id", "customers.city"])
    assert values(rows, "customers.city") == [None] * 3
    assert result.warnings == []
    result, rows = join(tmp_path / "b", goal_of([ORDERS, CUSTOMERS]), {**tables, "orders": [([], [])]}, ["orders.id"])
    assert (result.rows, rows) == (0, [])


# -- columns that are not there --


def test_a_missing_mapped_column_is_absent_and_warned_about_by_file(tmp_path: Path) -> None:
    tables = {"orders": [ORDER_ROWS, (["id", "Customer ", "sum"], [["o4", "c1", "5"]])]}
    result, rows = join(tmp_path, goal_of([ORDERS]), tables, ["orders.customer", "orders.sum"])
    assert values(rows, "orders.customer", "orders.sum")[0] == ("c1", None)
    assert values(rows, "orders.customer", "orders.sum")[3] == (None, "5")
    assert len(result.warnings) == 2
    assert '/in/orders_0.csv has no column "sum"' in result.warnings[0]
    assert 'Did you mean "Customer "?' in result.warnings[1]


@pytest.mark.parametrize("role", ["link", "linked_to", "identifier", "row_key", "consent"])
def test_a_missing_column_that_the_goal_cannot_do_without_is_an_error(tmp_path: Path, role: str) -> None:
    headers = {"orders": ["id", "customer", "answer"], "customers": ["id", "city"]}
    lost = {
        "link": ("customers", "id"),
        "linked_to": ("orders", "customer"),
        "identifier": ("orders", "id"),
        "row_key": ("orders", "id"),
        "consent": ("orders", "answer"),
    }[role]
    headers[lost[0]] = [f"{column}s" if column == lost[1] else column for column in headers[lost[0]]]
    goal = goal_of(
        [ORDERS, CUSTOMERS],
        row_key=["orders.id"],
        consent=[{"field": "orders.answer", "objective": "news"}],
    )
    tables = {name: [(header, [["x"] * len(header)])] for name, header in headers.items()}
    with pytest.raises(ConfigError) as caught:
        join(tmp_path, goal, tables, ["orders.id", "orders.answer", "customers.city"])
    text = str(caught.value)
    assert caught.value.code == "missing_column"
    assert f'/in/{lost[0]}_0.csv has no column "{lost[1]}"' in text
    assert f'Did you mean "{lost[1]}s"?' in text
    assert "Its columns: " in text


def test_all_findings_come_at_once(tmp_path: Path) -> None:
    files = [
        ORDERS,
        {"name": "alone"},
        {"name": "back", "link": {"a": "later.b"}},
        LINES,
        {"name": "deep", "link": {"a": "lines.b"}, "nested": True},
        {"name": "both", "link": {"a": "lines.b", "c": "orders.d"}},
    ]
    with pytest.raises(ConfigError) as caught:
        join(tmp_path, goal_of(files), {"orders": [ORDER_ROWS]}, ["nowhere.x", "orders.id", "orders.ID"])
    codes = {finding.code for finding in caught.value.findings}
    assert codes == {
        "file_not_linked",
        "incorrect_link",
        "missing_column",
        "missing_file",
        "same_name",
        "unknown_file",
    }
    messages = " ".join(finding.message for finding in caught.value.findings)
    for said in ('"alone" is not linked', '"later.b"', "nested and hangs off a nested file", "different levels"):
        assert said in messages


# -- guards --


def fan(count: int, key: str = "o1") -> tuple[list[str], list[list[str]]]:
    return ["order", "sku"], [[key, str(number)] for number in range(count)]


def test_an_explosion_stops_before_anything_is_written_and_names_both_columns(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        join(
            tmp_path,
            goal_of([ORDERS, LINES]),
            {"orders": [ORDER_ROWS], "lines": [fan(11)]},
            ["lines.sku"],
            max_rows_per_match=10,
        )
    assert caught.value.code == "join_explosion"
    assert "lines.order = orders.id has 11 rows" in str(caught.value)
    assert not (tmp_path / "rows.parquet").exists()


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    tables = {"orders": [ORDER_ROWS], "lines": [fan(10)]}
    _, rows = join(tmp_path, goal_of([ORDERS, LINES]), tables, ["lines.sku"], max_rows_per_match=10)
    assert len(rows[0]["lines.sku"]) == 10


def test_a_value_with_too_many_rows_that_no_row_asks_for_does_no_harm(tmp_path: Path) -> None:
    columns, records = fan(50, "unknown")
    tables = {"orders": [ORDER_ROWS], "lines": [(columns, [*records, ["o1", "a"]])]}
    result, rows = join(tmp_path, goal_of([ORDERS, LINES]), tables, ["lines.sku"], max_rows_per_match=10)
    assert rows[0]["lines.sku"] == ["a"]
    assert result.counts["orphans"] == {"lines": 50}


def test_many_rows_times_many_matches_are_stopped_by_the_total(tmp_path: Path) -> None:
    orders = (["id"], [["o1"]] * 20)
    with pytest.raises(ConfigError, match=r"lines.order = orders.id yields 200 rows; at most 199"):
        join(tmp_path, goal_of([ORDERS, LINES]), {"orders": [orders], "lines": [fan(10)]}, ["lines.sku"], max_rows=199)


def test_too_many_primary_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hold 3 rows; the most for one run is 2"):
        join(tmp_path, goal_of([ORDERS]), {"orders": [ORDER_ROWS]}, ["orders.id"], max_rows=2)


def test_a_staged_file_of_another_shape_is_never_misread(tmp_path: Path) -> None:
    goal = goal_of([ORDERS])
    path = stage(tmp_path / "0.parquet", ["id", "customer"], [["1", "2"]])
    with (
        open_session(tmp_path / "tmp", memory_mb=100) as session,
        pytest.raises(FatalError, match="staged with 2 columns"),
    ):
        join_files(
            session,
            goal=goal,
            sources=[Source(goal.files[0], 0, "/in/orders.csv", path, ["id"])],
            fields=["orders.id"],
            out=tmp_path / "rows.parquet",
            quarantine=tmp_path / "q.parquet",
            max_rows_per_match=10,
        )


def test_a_hundred_thousand_rows_and_many_row_groups_keep_their_number(tmp_path: Path) -> None:
    """The row number is the place in the file, whatever the threads and row groups."""
    count = 100_000
    orders = (["id"], [[f"o{number}"] for number in range(count)])
    customers = (["id", "n"], [[f"o{number}", str(number)] for number in range(0, count, 3)])
    goal = goal_of([ORDERS, {"name": "customers", "link": {"id": "orders.id"}}])
    result, rows = join(tmp_path, goal, {"orders": [orders], "customers": [customers]}, ["orders.id", "customers.n"])
    assert [row["row_id"] for row in rows] == list(range(1, count + 1))
    assert all(row["orders.id"] == f"o{row['row_id'] - 1}" for row in rows)
    assert all((row["customers.n"] is None) == ((row["row_id"] - 1) % 3 != 0) for row in rows)
    assert result.counts["unmatched"] == {"customers": count - len(customers[1])}


def test_a_fan_out_of_a_million_is_stopped_by_counting(tmp_path: Path) -> None:
    goal = goal_of([ORDERS, LINES])
    count = 1_000_000
    lines = pa.table(
        {
            "record": pa.array(range(1, count + 1), pa.int64()),
            "line": pa.array(range(2, count + 2), pa.int64()),
            "order": pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["o1"]).cast(pa.string()),
        }
    )
    pq.write_table(lines, tmp_path / "lines.parquet")
    sources = [
        Source(goal.files[0], 0, "/in/orders.csv", stage(tmp_path / "orders.parquet", *ORDER_ROWS), ORDER_ROWS[0]),
        Source(goal.files[1], 1, "/in/lines.csv", tmp_path / "lines.parquet", ["order"]),
    ]
    with (
        open_session(tmp_path / "tmp", memory_mb=100) as session,
        pytest.raises(ConfigError, match="1000000 rows"),
    ):
        join_files(
            session,
            goal=goal,
            sources=sources,
            fields=["lines.order"],
            out=tmp_path / "rows.parquet",
            quarantine=tmp_path / "q.parquet",
            max_rows_per_match=10_000,
        )
