"""The demo's connection on a small shop, without a scheduler: each count is compared with one made in plain Python."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from demo.shop import COMPANIES, Shop, break_customers, change, generate, repair_customers

from crosswalk.cli import main
from tests.simulators import sftp_server, smtp_catcher

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., Any]

pytestmark = pytest.mark.system


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[tuple[Shop, Command, smtp_catcher.SmtpCatcher]]:
    """A shop of 2,000 orders, its servers, and a function that runs commands of ``crosswalk``."""
    shop = generate(tmp_path / "root" / "in", seed=3, orders=2_000, customers=800)
    shutil.copytree(ROOT / "demo" / "connections", tmp_path / "connections")

    def command(*arguments: str) -> Any:
        capsys.readouterr()
        main([*arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    with sftp_server.running(tmp_path / "root", tmp_path / "state") as sftp, smtp_catcher.running() as smtp:
        monkeypatch.setenv("AIRFLOW_CONN_WEBSHOP_SFTP", sftp.connection_json())
        monkeypatch.setenv("AIRFLOW_CONN_CROSSWALK_SMTP", smtp.connection_json())
        monkeypatch.setenv("CROSSWALK_STORE", f"sqlite:///{tmp_path / 'store.db'}")
        monkeypatch.setenv("CROSSWALK_STAGING", str(tmp_path / "staging"))
        monkeypatch.setenv("CROSSWALK_CONNECTIONS", str(tmp_path / "connections"))
        monkeypatch.setenv("CROSSWALK_TENANT", str(ROOT / "demo" / "tenant"))
        yield shop, command, smtp


def orders_of(shop: Shop) -> list[list[str]]:
    """The readable orders; the planted broken records are left out by their number."""
    rows: list[list[str]] = []
    for path in sorted(shop.folder.glob("orders_*.csv")):
        text = path.read_text(encoding="utf-8").splitlines()[1:]
        rows += csv.reader([line for line in text if not line.startswith("W9")], delimiter=";")
    return rows


def customers_of(shop: Shop) -> dict[str, list[str]]:
    """The first record of each customer."""
    found: dict[str, list[str]] = {}
    text = (shop.folder / "customers.csv").read_text(encoding="utf-8").splitlines()[1:]
    for row in csv.reader(text, delimiter=";"):
        found.setdefault(row[0], row)
    return found


def buckets_of(shop: Shop) -> Counter[str]:
    """In which bucket each readable order belongs."""
    customers = customers_of(shop)
    found: Counter[str] = Counter()
    for order in orders_of(shop):
        customer = customers[order[1]]
        if order[3] not in {"paid", "shipped"}:
            found["filtered"] += 1
        elif "@" not in customer[1]:
            found["no_identifier"] += 1
        elif customer[7] != "yes":
            found["no_consent"] += 1
        else:
            found["applied"] += 1
            found[f"profile {customer[1].strip().lower()}"] += 1
    readers = {customers[order[1]][1] for order in applied_orders(shop) if customers[order[1]][6] == "yes"}
    found["newsletter"] = len(readers)
    return found


def applied_orders(shop: Shop) -> list[list[str]]:
    """The orders that become part of a profile."""
    customers = customers_of(shop)
    return [
        order
        for order in orders_of(shop)
        if order[3] in {"paid", "shipped"} and "@" in customers[order[1]][1] and customers[order[1]][7] == "yes"
    ]


def most_bought(shop: Shop) -> int:
    """How often the product that is bought most often was bought, by orders with a date."""
    dated = {order[0] for order in applied_orders(shop) if re.fullmatch(r"0[12]/11/2026 [0-9:]{8}", order[2])}
    text = (shop.folder / "order_lines.csv").read_text(encoding="utf-8").splitlines()[1:]
    lines = [cells for cells in csv.reader(text, delimiter=";") if cells[0] in dated]
    return Counter(cells[2] for cells in lines).most_common(1)[0][1]


def test_each_run_of_the_demo_does_what_its_files_say(world: Any) -> None:
    shop, crosswalk, smtp = world
    wanted = buckets_of(shop)

    first = crosswalk("run", "webshop")
    companies, counts = (goal["counts"] for goal in first["goals"])
    assert (companies["created"], companies["excluded"]) == (COMPANIES, {"no_identifier": 1})
    assert "groups_created" not in counts
    assert first["state"] == "done_with_rejects", first
    assert counts["rows_read"] == 2_000 + 3
    assert counts["quarantined"] == {"too_few_columns": 1, "too_many_columns": 1, "unclosed_quote": 1}
    assert counts["filtered"] == wanted["filtered"]
    assert counts["excluded"] == {"no_identifier": wanted["no_identifier"], "no_consent": wanted["no_consent"]}
    assert counts["applied"] == wanted["applied"]
    rejects = crosswalk("rejects", first["run_id"])
    assert {"too_few_columns", "too_many_columns", "unclosed_quote"} <= {row["reason"] for row in rejects}

    assert counts["events_created"] == counts["applied"] - counts["events_rejected"]
    assert [row["bought_count"] for row in crosswalk("products", "--limit", "1")] == [most_bought(shop)]

    exported = crosswalk("run", "newsletter")["goals"][0]["counts"]
    files = list((shop.folder.parent / "out").glob("newsletter_readers_*.csv"))
    assert [len(path.read_text().splitlines()) - 1 for path in files] == [exported["exported"]]
    assert exported["exported"] == wanted["newsletter"]

    assert crosswalk("run", "webshop")["state"] == "nothing_new"

    change(shop, changed=5, new=3)
    third = crosswalk("run", "webshop")
    counts = third["goals"][1]["counts"]
    assert third["state"] in {"done", "done_with_rejects"}, json.dumps(third)
    assert counts["created"] + counts["updated"] <= 8
    assert counts["unchanged_rows_skipped"] > 500

    planned = next(goal for goal in crosswalk("undo", third["run_id"])["goals"] if goal["goal"] == "orders")["counts"]
    assert (planned["profiles_removed"], planned["profiles_restored"]) == (counts["created"], counts["updated"])
    assert crosswalk("undo", third["run_id"], "--apply")["state"] == "done"

    break_customers(shop)
    fourth = crosswalk("run", "webshop")
    repair_customers(shop)
    assert fourth["state"] == "failed", fourth
    mail = smtp.wait_for(1)[0]
    assert mail.subject == "[Crosswalk] Webshop orders: failed"
    assert "customer_id" in mail.text
    assert "@example" not in mail.text.replace("ops@example.org", "")
