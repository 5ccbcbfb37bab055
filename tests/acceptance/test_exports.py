"""Rows S-62 to S-82, X-28: who is exported, what the file holds, and that a run exports only what is new."""

from __future__ import annotations

import csv
import gzip
import json
import re
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crosswalk.core.errors import RetryableError
from crosswalk.steps import STEPS
from crosswalk.steps.context import open_run
from crosswalk.steps.pipeline import run_all
from crosswalk.store import open_store
from tests.acceptance.shop import Shop
from tests.simulators.folder_connector import FolderConnector

SEGMENTS = """
segments:
  gent: {name: People of Ghent, all: [{property: city, any_of: gent}]}
  somebody: {any: [{property: email, has_value: true}]}
  others: {inverse_of: gent}
"""
CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
timezone: Europe/Brussels
HEAD
goals:
  - import_profiles: people
    enabled: IMPORTS
    stable_seconds: 0
    files: [{name: people, path: /in/people*.csv}]
    row_key: [people.email]
    format: {multi_value: "|"}
    identifiers: [{field: people.email, property: email}]
    create_profiles: true
    consent: [{field: people.news, objective: newsletter, granted: ["yes"], refused: ["no"]}]
    mappings:
      fields:
        - {field: people.city, property: city, strategy: set_or_clear}
        - {field: people.tags, property: tags}
        - {field: people.revenue, property: revenue}
        - {field: people.born, property: born}
  - export_profiles: out
"""
PEOPLE = """
email,news,city,tags,revenue,born
ann@example.org,yes,Gent,red|blue,12.5,2026-07-01T12:00
bob@example.org,yes,Brugge,,,
cis@example.org,no,Gent,,,
dan@example.org,yes,GENT,"a,b",-3,
eve@example.org,,gent,,,
"""
USUAL = """
segment: gent
directory: /out
file_name: {segment_and_timestamp: true}
columns: [{property: email}, {property: city, as: town}]
"""


def set_up(shop: Shop, goal: str = USUAL, *, head: str = "objectives: [newsletter]", people: str = PEOPLE) -> None:
    """A shop that imported people (consent counts for the export only) and has one export goal."""
    (shop.root / "tenant" / "segments.yaml").write_text(SEGMENTS)
    shop.put("people.csv", people)
    connect(shop, goal, head="", imports=True)
    shop.run(goals=("people",))
    connect(shop, goal, head=head)


def connect(shop: Shop, goal: str, *, head: str = "objectives: [newsletter]", imports: bool = False) -> None:
    text = CONNECTION.replace("HEAD", head).replace("IMPORTS", str(imports).lower())
    shop.connection(text=text + textwrap.indent(textwrap.dedent(goal).strip(), "    "))


def export(shop: Shop, **changes: Any) -> dict[str, Any]:
    """Run the export; its state with its counts."""
    goal = shop.run(goals=("out",), **changes)["by_goal"]["out"]
    assert goal["state"] != "failed", goal["result"]["error"]
    return {"state": goal["state"], "reason": goal["result"].get("reason"), **goal["result"].get("counts", {})}


def files(shop: Shop, folder: str = "out") -> list[Path]:
    found = sorted((shop.source / folder).glob("*")) if (shop.source / folder).exists() else []
    assert not [path for path in found if path.name.endswith(".part")]
    return found


def rows(path: Path, **dialect: Any) -> list[dict[str, str]]:
    """The file's rows, in the order of the first column, as another program reads them."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    listed = list(csv.DictReader(data.decode().splitlines(), **dialect))
    return sorted(listed, key=lambda row: next(iter(row.values())))


def test_only_consented_members_of_the_segment_are_exported_and_the_difference_is_told(shop: Shop) -> None:
    set_up(shop)
    counts = export(shop)
    assert (counts["profiles"], counts["available"], counts["exported"]) == (5, 2, 2)
    assert counts["excluded"] == {"no_consent": 2}
    assert counts["reason"].startswith("2 of 2 available profiles go into the file.")
    (path,) = files(shop)
    assert re.fullmatch(r"gent_\d{14}\.csv", path.name)
    assert rows(path) == [
        {"email": "ann@example.org", "town": "Gent"},
        {"email": "dan@example.org", "town": "GENT"},
    ]


def test_a_second_run_writes_nothing_and_a_changed_profile_comes_alone(shop: Shop) -> None:
    set_up(shop)
    export(shop)
    assert export(shop)["state"] == "nothing_new"
    assert len(files(shop)) == 1
    connect(shop, USUAL, imports=True)
    shop.put("people.csv", PEOPLE.replace("dan@example.org,yes,GENT", "dan@example.org,yes,gent"))
    shop.run(goals=("people",))
    counts = export(shop)
    assert (counts["available"], counts["exported"], counts["excluded"]) == (2, 1, {"no_consent": 2, "not_changed": 1})
    assert "1 are unchanged since the last good export" in counts["reason"]
    assert len(files(shop)) == 2
    assert [row["town"] for path in files(shop) for row in rows(path) if row["email"] == "dan@example.org"] == [
        "GENT",
        "gent",
    ]


def test_a_full_run_and_a_changed_column_export_everybody_once(shop: Shop) -> None:
    set_up(shop)
    export(shop)
    assert export(shop, full=True)["exported"] == 2
    connect(shop, USUAL.replace("as: town", "as: place"))
    assert export(shop)["exported"] == 2
    assert export(shop)["state"] == "nothing_new"


def test_two_runs_in_one_second_leave_two_files(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(shop)
    monkeypatch.setattr("crosswalk.steps.render.begin_moment", lambda context: datetime(2026, 1, 1, tzinfo=UTC))
    for _ in range(3):
        export(shop, full=True)
    names = [path.name for path in files(shop)]
    assert names == ["gent_20260101000000.csv", "gent_20260101000000_1.csv", "gent_20260101000000_2.csv"]


def test_a_custom_file_is_replaced_on_every_run_also_by_an_empty_one(shop: Shop) -> None:
    goal = USUAL.replace("{segment_and_timestamp: true}", "{custom: mail.csv}")
    set_up(shop, goal)
    assert export(shop)["exported"] == 2
    assert export(shop)["exported"] == 2
    connect(shop, goal.replace("segment: gent", "segment: others").replace("{property: email}", "{property: score}"))
    counts = export(shop)
    assert (counts["state"], counts["exported"]) == ("done", 1)
    connect(shop, goal, head="objectives: [personalisation]")
    assert export(shop)["exported"] == 0
    (path,) = files(shop)
    assert path.read_text() == "email,town\n"


def test_a_plan_counts_and_writes_nothing(shop: Shop) -> None:
    set_up(shop)
    counts = export(shop, mode="plan")
    assert (counts["state"], counts["available"], counts["exported"]) == ("planned", 2, 2)
    assert files(shop) == []
    assert export(shop)["exported"] == 2


def test_a_member_without_any_mapped_value_is_left_out(shop: Shop) -> None:
    set_up(shop, USUAL.replace("{property: email}, {property: city, as: town}", "{profile_id: true}, {property: tags}"))
    counts = export(shop)
    assert (counts["available"], counts["exported"]) == (2, 2)
    connect(
        shop, USUAL.replace("{property: email}, {property: city, as: town}", "{profile_id: true}, {property: born}")
    )
    counts = export(shop)
    assert (counts["available"], counts["exported"]) == (2, 1)
    assert counts["excluded"] == {"no_consent": 2, "no_mapped_value": 1}


def test_nothing_to_export_leaves_no_file_unless_asked_for(shop: Shop) -> None:
    set_up(shop, head="objectives: [personalisation]")
    assert export(shop)["state"] == "nothing_new"
    assert files(shop) == []
    connect(shop, USUAL + "always_write: true\n", head="objectives: [personalisation]")
    assert export(shop)["state"] == "done"
    (path,) = files(shop)
    assert path.read_text() == "email,town\n"


COLUMNS = """
segment: somebody
directory: /out/deep
file_name: {custom: all.csv}
format: {separator: ";", decimal: ",", multi_value: "|", date: "%d/%m/%Y %H:%M %z", compress: gzip, ids: IDS}
columns:
  - {text: webshop, as: source}
  - {property: email}
  - {property: tags}
  - {property: revenue}
  - {property: born}
  - {segments: all}
  - {segments: [others, all_profiles], as: chosen}
  - {property: consented_objectives, as: consent}
  - {permission_level: true}
  - {profile_id: true}
"""


@pytest.mark.parametrize(
    ("ids", "ghent", "newsletter"), [("id", "gent", "newsletter"), ("name", "People of Ghent", "Newsletter")]
)
def test_every_kind_of_column_in_its_format(shop: Shop, ids: str, ghent: str, newsletter: str) -> None:
    set_up(shop, COLUMNS.replace("IDS", ids), head="")
    assert export(shop)["exported"] == 5
    (path,) = files(shop, "out/deep")
    assert path.name == "all.csv.gz"
    found = {row["email"]: row for row in rows(path, delimiter=";")}
    ann, bob, dan = (found[f"{name}@example.org"] for name in ("ann", "bob", "dan"))
    profile = shop.profile("email", "ann@example.org")
    assert profile is not None
    assert ann == {
        "source": "webshop",
        "email": "ann@example.org",
        "tags": "red|blue",
        "revenue": "12,50",
        "born": "01/07/2026 12:00 +0200",
        "segments": f"{ghent}|somebody",
        "chosen": "all_profiles",
        "consent": newsletter,
        "permission_level": "2",
        "profile_id": profile["profile_id"],
    }
    assert (bob["segments"], bob["chosen"], bob["tags"]) == ("somebody|others", "others|all_profiles", "")
    assert (dan["tags"], dan["revenue"]) == ("a,b", "-3,00")


def test_swapping_two_columns_swaps_them_and_nothing_else(shop: Shop) -> None:
    custom = USUAL.replace("{segment_and_timestamp: true}", "{custom: mail.csv}")
    set_up(shop, custom)
    export(shop)
    before = files(shop)[0].read_text().splitlines()
    connect(
        shop,
        custom.replace(
            "{property: email}, {property: city, as: town}", "{property: city, as: town}, {property: email}"
        ),
    )
    export(shop)
    after = files(shop)[0].read_text().splitlines()
    assert after == [",".join(reversed(line.split(","))) for line in before]


def test_a_level_one_profile_shows_no_personal_value_and_level_zero_nothing(shop: Shop) -> None:
    goal = USUAL.replace("{segment_and_timestamp: true}", "{custom: mail.csv}")
    set_up(shop, goal)
    set_level(shop, "ann@example.org", 1)
    set_level(shop, "dan@example.org", 0)
    counts = export(shop)
    assert (counts["exported"], counts["excluded"]) == (1, {"no_consent": 3})
    assert rows(files(shop)[0]) == [{"email": "", "town": "Gent"}]


def set_level(shop: Shop, email: str, level: int) -> None:
    """Nothing sets permission levels yet; the store keeps them."""
    store: Any = open_store(shop.store_uri)
    found = store.find_profile("email", email)
    store._db.execute("UPDATE profile SET permission_level = $1 WHERE profile_id = $2", (level, found["profile_id"]))
    store.close()


def test_what_a_format_cannot_carry_is_replaced_and_counted(shop: Shop) -> None:
    goal = USUAL.replace("{segment_and_timestamp: true}", "{custom: mail.csv}\nformat: {quote: '', encoding: latin-1}")
    people = PEOPLE.replace("dan@example.org,yes,GENT", 'dan@example.org,yes,"Łódź, Gent"')
    set_up(shop, goal.replace("segment: gent", "segment: somebody"), people=people)
    assert export(shop)["replaced_characters"] == 3
    assert "dan@example.org,?ód?  Gent" in files(shop)[0].read_text("latin-1")


def test_formulas_are_guarded_in_texts_only(shop: Shop) -> None:
    columns = "columns: [{property: email}, {property: city}, {property: revenue}]"
    goal = USUAL.replace("columns: [{property: email}, {property: city, as: town}]", columns)
    goal = goal.replace("{segment_and_timestamp: true}", "{custom: mail.csv}\nformat: {formula_guard: true}")
    people = PEOPLE.replace("dan@example.org,yes,GENT", "dan@example.org,yes,=1+1")
    set_up(shop, goal.replace("segment: gent", "segment: somebody"), people=people)
    export(shop)
    assert {"email": "dan@example.org", "city": "'=1+1", "revenue": "-3.00"} in rows(files(shop)[0])


def test_consent_that_is_withdrawn_after_the_selection_counts_before_sending(shop: Shop) -> None:
    set_up(shop)
    request = shop.request(goals=("out",))
    with open_run(request, resolve=shop.resolve) as context:
        for step, goal in (("authenticate", None), ("select", "out"), ("render", "out")):
            STEPS[step](context, goal)
    withdraw(shop, "ann@example.org")
    with open_run(request, resolve=shop.resolve) as context:
        STEPS["export"](context, "out")
        STEPS["report"](context, None)
    (path,) = files(shop)
    assert [row["email"] for row in rows(path)] == ["dan@example.org"]


def withdraw(shop: Shop, email: str) -> None:
    """Another connection of the same store imports a refusal."""
    other = shop.root / "connections" / "other.yaml"
    other.write_text(CONNECTION.replace("HEAD", "").replace("IMPORTS", "true").partition("  - export_profiles")[0])
    shop.put("people.csv", f"email,news,city,tags,revenue,born\n{email},no,Gent,,,\n")
    with open_run(shop.request(connection_file=str(other)), resolve=shop.resolve) as context:
        run_all(context)


def test_a_cut_delivery_is_tried_again_and_what_arrived_is_not_sent_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(shop)
    deliver, sent = FolderConnector.deliver, []

    def cut(self: FolderConnector, local: Path, path: str, *, replace: bool) -> None:
        if sent:  # the second one arrives, and the line breaks before the answer
            deliver(self, local, path, replace=replace)
        sent.append(path)
        raise RetryableError("The line broke.", code="connection_lost")

    monkeypatch.setattr(FolderConnector, "deliver", cut)
    request = shop.request(goals=("out",))
    states = []
    for step, goal in (("authenticate", None), ("select", "out"), ("render", "out"), *[("export", "out")] * 3):
        with open_run(request, resolve=shop.resolve) as context:
            try:
                STEPS[step](context, goal)
            except RetryableError:
                states.append((context.store.run(request.run_id) or {})["goals"][0]["state"])
    with open_run(request, resolve=shop.resolve) as context:
        STEPS["report"](context, None)
        run = context.store.run(request.run_id) or {}
    assert (states, len(sent)) == (["failed", "failed"], 2)
    assert (run["state"], [goal["state"] for goal in run["goals"]]) == ("done", ["done"])
    assert [len(rows(path)) for path in files(shop)] == [2]
    assert export(shop)["state"] == "nothing_new"


def test_unique_profiles_sent_are_counted_once_and_the_arrow_shows_it(shop: Shop) -> None:
    set_up(shop)
    export(shop)
    export(shop, full=True)
    store = shop.store()
    assert store.unique_profiles("shop") == {"in": 5, "out": 2}
    store.close()


def test_a_switched_off_goal_is_skipped(shop: Shop) -> None:
    set_up(shop, USUAL + "enabled: false\n")
    assert shop.run()["state"] == "skipped"
    assert files(shop) == []


def test_the_counts_are_plain_data(shop: Shop) -> None:
    set_up(shop)
    assert json.loads(json.dumps(export(shop)))["files_written"] == 1
