"""The demonstration's files: the same on every machine, realistic, and wrong exactly where they say so."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
from demo.shop import Shop, amount, break_customers, change, generate, repair_customers


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return generate(tmp_path / "in", seed=7, orders=400, customers=800)


def _digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*"))}


def _orders(shop: Shop) -> list[list[str]]:
    rows = []
    for path in sorted(shop.folder.glob("orders_*.csv")):
        rows += list(csv.reader(path.read_text(encoding="utf-8").splitlines()[1:], delimiter=";"))
    return rows


def test_the_same_seed_gives_the_same_bytes(shop: Shop, tmp_path: Path) -> None:
    again = generate(tmp_path / "again", seed=7, orders=400, customers=800)
    other = generate(tmp_path / "other", seed=8, orders=400, customers=800)
    assert _digest(again.folder) == _digest(shop.folder)
    assert _digest(other.folder) != _digest(shop.folder)


def test_there_are_six_kinds_of_file_and_nothing_half_written(shop: Shop) -> None:
    assert sorted(path.name for path in shop.folder.iterdir()) == [
        "companies.csv",
        "customers.csv",
        "order_lines.csv",
        "orders_20261101.csv",
        "orders_20261102.csv",
        "postal_codes.csv",
        "products.csv",
    ]


def test_the_planted_mistakes_can_be_counted_in_the_files(shop: Shop) -> None:
    rows = _orders(shop)
    whole = [row for row in rows if len(row) == 6 and not row[0].startswith("W9")]
    assert len([row for row in whole if row[2][2:3] != "/" or row[2].startswith("31/02")]) == 18
    assert len([row for row in whole if not row[4].replace(".", "", 1).replace(",", "", 1).isdigit()]) == 14
    text = (shop.folder / "orders_20261101.csv").read_text(encoding="utf-8")
    assert text.count('"') % 2 == 1
    customers = list(
        csv.DictReader((shop.folder / "customers.csv").read_text(encoding="utf-8").splitlines(), delimiter=";")
    )
    assert (
        len([c for c in customers if not c["email"] and c["customer_id"]]) >= shop.planted["customers without e-mail"]
    )
    assert len(customers) == shop.customers + shop.planted["customers twice"]


def test_postal_codes_speak_another_dialect_in_another_encoding(shop: Shop) -> None:
    raw = (shop.folder / "postal_codes.csv").read_bytes()
    assert "Liège".encode("windows-1252") in raw
    with pytest.raises(UnicodeDecodeError):
        raw.decode("utf-8")


def test_a_change_touches_only_the_second_day(shop: Shop) -> None:
    before = _digest(shop.folder)
    orders = len(_orders(shop))
    assert change(shop, changed=5, new=3) == {"changed": 5, "new": 3}
    after = _digest(shop.folder)
    assert [name for name in before if before[name] != after[name]] == ["orders_20261102.csv"]
    assert len(_orders(shop)) == orders + 3


def test_a_broken_customers_file_can_be_repaired(shop: Shop) -> None:
    before = _digest(shop.folder)
    name = break_customers(shop)
    header = (shop.folder / name).read_text(encoding="utf-8").splitlines()[0]
    assert "customer_id" not in header
    repair_customers(shop)
    assert _digest(shop.folder) == before


@pytest.mark.parametrize(
    ("cents", "text"), [(5, "0,05"), (123, "1,23"), (123_456, "1.234,56"), (100_000_000, "1.000.000,00")]
)
def test_amounts_are_written_as_in_belgium(cents: int, text: str) -> None:
    assert amount(cents) == text
