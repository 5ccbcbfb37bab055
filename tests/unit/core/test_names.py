from __future__ import annotations

import pytest

from crosswalk.core.names import display, safe_file_name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("orders.csv", "orders.csv"),
        ("Zoë 漢字.csv", "Zoë 漢字.csv"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("orders\u202evsc.csv", "orders\\u202evsc.csv"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("bell\x07 nul\x00 del\x7f", "bell\\x07 nul\\x00 del\\x7f"),
        ("sep\u2028arator", "sep\\u2028arator"),
        ("lone\udc80", "lone\\udc80"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("no\xa0break", "no break"),
        (12, "12"),
    ],
)
def test_a_hostile_name_is_shown_on_one_line_with_hidden_characters_written_out(name, shown):
    assert display(name) == shown
    display(name).encode("utf-8")


def test_a_long_name_is_cut():
    assert display("x" * 1000, limit=10) == "x" * 9 + "…"


HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    "",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "a/b/c.csv",
    ".hidden",
    "nul\x00byte.csv",
    "line\nbreak.csv",
    "~root",
    "-rf",
    "$(reboot).csv",
    "x" * 5000 + ".csv",
    "漢字.csv",
    "a b.csv",
    "lone\udc80.csv",
    "x." + "y" * 500,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_local_file_name_never_leaves_its_folder(tmp_path, name):
    local = safe_file_name(name)
    path = tmp_path / local
    path.write_text("x")
    assert path.resolve().parent == tmp_path.resolve()
    assert local[0] not in ".-~"
    assert local.isascii()
    assert len(local) <= 120


def test_different_remote_names_never_share_a_local_one():
    names = [*HOSTILE, "a_b.csv", "Orders.csv", "orders.csv", "ORDERS.csv", "a b.csv ", "漢.csv", "字.csv"]
    local = [safe_file_name(name).lower() for name in names]
    assert len(set(local)) == len(set(names))


def test_plain_names_and_their_endings_stay():
    assert safe_file_name("orders_20260101.csv.gz") == "orders_20260101.csv.gz"
    assert safe_file_name("Orders 2026.csv.gz").endswith(".csv.gz")
