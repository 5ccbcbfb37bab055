"""Rows S-83 to S-88: the timeline events of exactly the exported profiles, a file for each type and nested field."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crosswalk.core.errors import RetryableError
from crosswalk.steps import STEPS
from crosswalk.steps.context import open_run
from tests.acceptance.shop import Shop
from tests.acceptance.test_exports import export, files, rows, set_level
from tests.simulators.folder_connector import FolderConnector

TYPES = """
event_types:
  order:
    extend: false
    fields:
      total: {type: decimal}
      coupon: {type: text}
      note: {type: text, multiple: false, sensitivity: pii}
      event_id: {type: text, multiple: false}
      line: {fields: {sku: {type: text, identifier: true}, quantity: {type: number}}}
      gift: {fields: {sku: {type: text, identifier: true}}}
  visit:
    fields:
      day: {type: date}
      friendly: {type: boolean}
      seen: {type: datetime}
"""
CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
timezone: Europe/Brussels
objectives: [newsletter]
goals:
  - import_profiles: orders
    enabled: IMPORTS
    stable_seconds: 0
    files:
      - {name: orders, path: /in/orders*.csv}
      - {name: lines, path: /in/lines.csv, link: {order: orders.id}, nested: true}
    row_key: [orders.id]
    format: {multi_value: "|"}
    identifiers: [{field: orders.email, property: email}]
    create_profiles: true
    consent: [{field: orders.news, objective: newsletter, granted: ["yes"], refused: ["no"]}]
    mappings: {fields: [{field: orders.city, property: city, strategy: set_or_clear}]}
    events:
      - type: order
        id: orders.id
        date: orders.date
        when: {field: orders.kind, any_of: [order]}
        fields: {total: orders.total, coupon: orders.coupon, note: orders.note, event_id: orders.id}
        nested: {line: {file: lines, fields: {sku: lines.sku, quantity: lines.quantity}}}
      - type: visit
        id: orders.id
        date: orders.date
        when: {field: orders.kind, any_of: [visit]}
        fields: {day: orders.date, friendly: orders.note, seen: orders.date}
  - export_profiles: out
"""
ORDERS = """
id,kind,email,news,city,date,total,coupon,note
1,order,ann@example.org,yes,Gent,2026-01-02T10:00,25.50,"A|B, C",by the door
2,order,ann@example.org,yes,Gent,2026-02-01T00:00,-3,,
3,order,bob@example.org,yes,Brugge,2026-01-03T10:00,7,,
4,order,cis@example.org,no,Gent,2026-01-03T10:00,8,,
5,visit,ann@example.org,yes,Gent,2026-01-02T10:00,,,yes
"""
LINES = """
order,sku,quantity
1,a,2
1,"b,c",
4,a,1
"""
USUAL = """
segment: gent
directory: /out
file_name: {custom: mail.csv}
columns: [{profile_id: true}, {property: email}]
events: {types: [order, visit]}
"""
TIMED = USUAL.replace("{custom: mail.csv}", "{segment_and_timestamp: true}")


def connect(shop: Shop, goal: str = USUAL, *, imports: bool = False) -> None:
    text = CONNECTION.replace("IMPORTS", str(imports).lower())
    text = text if not imports else text.replace("objectives: [newsletter]\n", "")  # consent counts for the export only
    shop.connection(text=text + textwrap.indent(textwrap.dedent(goal).strip(), "    "))


def take_in(shop: Shop, orders: str = ORDERS, goal: str = USUAL) -> None:
    shop.put("orders.csv", orders)
    connect(shop, goal, imports=True)
    assert shop.run(goals=("orders",))["state"] == "done"
    connect(shop, goal)


@pytest.fixture
def filled(shop: Shop) -> Shop:
    (shop.root / "tenant" / "event_types.yaml").write_text(TYPES)
    (shop.root / "tenant" / "segments.yaml").write_text("segments:\n  gent: {all: [{property: city, any_of: gent}]}\n")
    shop.put("lines.csv", LINES)
    take_in(shop)
    return shop


def ann(shop: Shop) -> str:
    profile = shop.profile("email", "ann@example.org")
    assert profile is not None
    return str(profile["profile_id"])


def by_name(shop: Shop) -> dict[str, Path]:
    return {path.name: path for path in files(shop)}


@pytest.mark.parametrize("few", [0, 1], ids=["all events are read", "only those of the exported profiles are read"])
def test_each_type_and_nested_field_of_the_exported_profiles_has_a_file(
    filled: Shop, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosswalk.steps.render.FEW", few)
    counts = export(filled)
    found = by_name(filled)
    assert sorted(found) == ["mail.csv", "order.csv", "order_gift.csv", "order_line.csv", "visit.csv"]
    who = ann(filled)
    assert rows(found["mail.csv"]) == [{"profile_id": who, "email": "ann@example.org"}]
    head = {"profile_id": who, "event_id": "1"}
    assert sorted(rows(found["order.csv"]), key=lambda row: row["event_id"]) == [
        {
            **head,
            "event_date": "2026-01-02T09:00:00.000Z",
            "total": "25.5",
            "coupon": "A|B, C",
            "note": "by the door",
            "order.event_id": "1",
        },
        {
            **head,
            "event_id": "2",
            "event_date": "2026-01-31T23:00:00.000Z",
            "total": "-3",
            "coupon": "",
            "note": "",
            "order.event_id": "2",
        },
    ]
    assert rows(found["order_line.csv"]) == [
        {**head, "sku": "a", "quantity": "2"},
        {**head, "sku": "b,c", "quantity": ""},
    ]
    assert found["order_gift.csv"].read_text() == "profile_id,event_id,sku\n"
    moment = "2026-01-02T09:00:00.000Z"
    assert rows(found["visit.csv"]) == [
        {**head, "event_id": "5", "event_date": moment, "day": "2026-01-02", "friendly": "true", "seen": moment}
    ]
    assert (counts["exported"], counts["files_written"]) == (1, 5)
    assert counts["events_exported"] == {"order": 2, "visit": 1}
    assert counts["rows_by_file"] == {
        "mail.csv": 1,
        "order.csv": 2,
        "order_line.csv": 2,
        "order_gift.csv": 0,
        "visit.csv": 1,
    }


def test_a_plan_counts_events_and_files_and_sends_nothing(filled: Shop) -> None:
    counts = export(filled, mode="plan")
    assert (counts["state"], counts["events_exported"]) == ("planned", {"order": 2, "visit": 1})
    assert (counts["rows_by_file"]["order_line.csv"], files(filled)) == (2, [])


@pytest.mark.parametrize(
    ("period", "exported"),
    [
        ("{from: 2026-01-02T10:00, to: 2026-02-01}", ["1"]),  # both in the connection's zone
        ("{from: 2026-01-02T10:00:00.001}", ["2"]),
        ("{from: 2026-01-02T09:00:00Z, to: 2026-02-01T00:00:00.001+01:00}", ["1", "2"]),
        ("{to: 2026-01-02T09:00:00+00:00}", []),
        ("{last_days: 1}", []),
        ("{last_days: 36500}", ["1", "2"]),
        ("all", ["1", "2"]),
    ],
)
def test_a_period_holds_its_first_moment_and_not_its_last(filled: Shop, period: str, exported: list[str]) -> None:
    connect(filled, USUAL.replace("types: [order, visit]", f"types: order, period: {period}"))
    counts = export(filled)
    assert sorted(row["event_id"] for row in rows(by_name(filled)["order.csv"])) == exported
    assert counts["events_exported"] == ({"order": len(exported)} if exported else {})
    assert "visit.csv" not in by_name(filled)


def test_a_type_without_events_has_no_new_file_unless_empty_ones_are_asked_for(filled: Shop) -> None:
    connect(filled, TIMED.replace("[order, visit]", "[order, visit], period: {from: 2026-01-15}"))
    counts = export(filled)
    stamps = {path.stem.rpartition("_")[2] for path in files(filled)}
    names = [path.name.replace(next(iter(stamps)), "T") for path in files(filled)]
    assert (len(stamps), names) == (1, ["gent_T.csv", "order_T.csv", "order_gift_T.csv", "order_line_T.csv"])
    assert counts["events_exported"] == {"order": 1}
    connect(filled, TIMED.replace("[order, visit]", "[visit], period: {from: 2026-01-15}") + "always_write: true\n")
    assert export(filled, full=True)["events_exported"] == {}
    (visit,) = [path for path in files(filled) if path.name.startswith("visit")]
    assert visit.read_text() == "profile_id,event_id,event_date,day,friendly,seen\n"


def test_an_incremental_run_takes_the_events_of_the_profiles_that_it_exports(filled: Shop) -> None:
    connect(filled, TIMED)
    assert export(filled)["events_exported"] == {"order": 2, "visit": 1}
    more = ORDERS + "6,order,ann@example.org,yes,Gent,2026-03-01,1,,\n"
    take_in(filled, more, TIMED)
    assert export(filled)["state"] == "nothing_new"  # an event alone brings no profile along
    take_in(filled, more.replace("7,,\n", "7,,x\n").replace("Brugge", "Gent"), TIMED)
    assert export(filled)["events_exported"] == {"order": 1}
    assert [len(rows(path)) for path in files(filled) if path.name.startswith("order_2")] == [2, 1]
    assert export(filled, full=True)["events_exported"] == {"order": 4, "visit": 1}


def test_a_changed_event_type_changes_the_columns(filled: Shop) -> None:
    export(filled)
    changed = TYPES.replace("      coupon: {type: text}\n", "").replace(
        "total: {type: decimal}", "shop: {type: text}\n      total: {type: text}"
    )
    (filled.root / "tenant" / "event_types.yaml").write_text(
        changed.replace("{type: date}", "{type: datetime}").replace("{type: boolean}", "{type: datetime}")
    )
    connect(filled, imports=False)
    text = (filled.root / "connections" / "shop.yaml").read_text().replace("coupon: orders.coupon, ", "")
    (filled.root / "connections" / "shop.yaml").write_text(text)
    export(filled)
    header, first, *_ = by_name(filled)["order.csv"].read_text().splitlines()
    assert header == "profile_id,event_id,event_date,shop,total,note,order.event_id"
    assert first.split(",")[3:5] == ["", "25.5"]
    assert rows(by_name(filled)["visit.csv"])[0]["day"] == "2026-01-02"  # as it was stored


def test_levels_and_consent_count_for_events_too(filled: Shop) -> None:
    set_level(filled, "ann@example.org", 1)
    connect(filled, USUAL.replace("{profile_id: true}", "{property: city}, {profile_id: true}"))
    export(filled)
    assert {row["note"] for row in rows(by_name(filled)["order.csv"])} == {""}
    set_level(filled, "ann@example.org", 0)
    assert export(filled)["events_exported"] == {}
    assert rows(by_name(filled)["order.csv"]) == []


def test_events_follow_the_format_of_the_goal(filled: Shop) -> None:
    form = 'format: {separator: ";", decimal: ",", multi_value: "/", date: "%d/%m/%Y %H:%M %z", compress: gzip, '
    connect(filled, USUAL + form + "formula_guard: true, encoding: utf-8}\n")
    export(filled)
    found = by_name(filled)
    assert sorted(found) == [f"{name}.csv.gz" for name in ("mail", "order", "order_gift", "order_line", "visit")]
    first = next(row for row in rows(found["order.csv.gz"], delimiter=";") if row["event_id"] == "1")
    assert (first["event_date"], first["total"], first["coupon"]) == ("02/01/2026 10:00 +0100", "25,5", "A/B, C")
    (visit,) = rows(found["visit.csv.gz"], delimiter=";")
    assert (visit["day"], visit["seen"]) == ("02/01/2026 00:00 +0000", "02/01/2026 10:00 +0100")
    assert next(row["total"] for row in rows(found["order.csv.gz"], delimiter=";") if row["event_id"] == "2") == "-3"


def test_a_new_event_after_the_selection_is_sent_too(filled: Shop) -> None:
    request = filled.request(goals=("out",))
    with open_run(request, resolve=filled.resolve) as context:
        for step, goal in (("authenticate", None), ("select", "out"), ("render", "out")):
            STEPS[step](context, goal)
    other = filled.root / "connections" / "other.yaml"
    connect(filled, imports=True)
    (filled.root / "connections" / "shop.yaml").rename(other)
    connect(filled)
    filled.put("orders.csv", ORDERS + "7,order,ann@example.org,yes,Gent,2026-03-01,1,,\n")
    filled.run(connection_file=str(other), goals=("orders",))
    with open_run(request, resolve=filled.resolve) as context:
        STEPS["export"](context, "out")
        STEPS["report"](context, None)
    assert sorted(row["event_id"] for row in rows(by_name(filled)["order.csv"])) == ["1", "2", "7"]


@pytest.mark.parametrize("goal", [USUAL, TIMED])
def test_none_of_the_files_counts_as_sent_until_all_lie_there(
    filled: Shop, goal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(filled, goal)
    deliver, sent = FolderConnector.deliver, []

    def cut(self: FolderConnector, local: Path, path: str, *, replace: bool) -> None:
        sent.append(path)
        if len(sent) == 4:
            raise RetryableError("The line broke.", code="connection_lost")
        deliver(self, local, path, replace=replace)

    monkeypatch.setattr(FolderConnector, "deliver", cut)
    request = filled.request(goals=("out",))
    for step, name in (("authenticate", None), ("select", "out"), ("render", "out"), ("export", "out")):
        with open_run(request, resolve=filled.resolve) as context:
            if step == "export":
                with pytest.raises(RetryableError):
                    STEPS[step](context, name)
            else:
                STEPS[step](context, name)
    store = filled.store()
    assert (store.unique_profiles("shop")["out"], len(files(filled))) == (0, 3)
    store.close()
    with open_run(request, resolve=filled.resolve) as context:
        counts = STEPS["export"](context, "out").summary
        STEPS["report"](context, None)
    assert (counts["files_written"], len(sent)) == (5, 9)
    assert sent[:4] == sent[4:8]  # under the same names again
    assert Path(sent[-1]).name.startswith(("mail", "gent"))  # the profiles come last
    assert sorted(path.name for path in files(filled)) == sorted(Path(path).name for path in sent[4:])


def test_two_runs_in_one_second_leave_two_sets_of_files(filled: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(filled, TIMED.replace("[order, visit]", "[order]"))
    monkeypatch.setattr("crosswalk.steps.render.begin_moment", lambda context: datetime(2026, 5, 1, tzinfo=UTC))
    export(filled)
    (filled.source / "out" / "order_20260501000000.csv").unlink()  # fetched by a reader
    counts = export(filled, full=True)
    second = [f"{name}_20260501000000_1.csv" for name in ("gent", "order", "order_gift", "order_line")]
    assert [path.name for path in files(filled) if path.name.endswith("_1.csv")] == second
    assert sorted(counts["rows_by_file"]) == second


def test_the_counts_are_small_and_hold_no_value(filled: Shop) -> None:
    counts: dict[str, Any] = export(filled)
    assert set(counts) >= {"events_exported", "rows_by_file", "bytes", "replaced_characters"}
    assert "ann@example.org" not in str(counts)
