"""No personal value and no secret in what a run tells: logs, results, mail. Store, quarantine and source set aside."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from crosswalk.connectors.base import ConnectionDetails
from crosswalk.core.redaction import Secret
from crosswalk.steps import STEPS
from crosswalk.steps.context import open_run
from crosswalk.steps.mail import run_message
from tests.acceptance.shop import Shop
from tests.simulators.folder_connector import FolderConnector

GOAL = """
    row_key: [people.id]
    identifiers:
      - {field: people.email, property: email}
      - {field: people.id, property: customer_id}
    create_profiles: true
    mappings:
      fields:
        - {field: people.name, property: first_name}
        - {field: people.n, property: visits, strategy: sum}
        - {field: people.born, property: born}
"""
CANARIES = {
    "e-mail": "canary.mail.7731@example.org",
    "name": "Canarybird-Surname-5512",
    "bad number": "canary-number-9921",
    "bad date": "canary-date-3381",
    "bad e-mail": "canary-broken-address-1177",
    "ragged": "canary-ragged-6642",
    "identifier": "canaryid4471",
}
PASSWORD = "canary p@ss/word+8853"
FILE = f"""id,email,name,n,born
{CANARIES["identifier"]},{CANARIES["e-mail"]},{CANARIES["name"]},{CANARIES["bad number"]},{CANARIES["bad date"]}
2,{CANARIES["bad e-mail"]},x,1,2024-01-01
3,bob@example.org,y,1
4,{CANARIES["ragged"]},too,many,cells,here
2,{CANARIES["e-mail"]},conflict,1,2024-01-01
"""


def forms(value: str) -> list[str]:
    """A value as it might slip out: raw, base64, hexadecimal, as JSON text."""
    raw = value.encode()
    return [value, base64.b64encode(raw).decode(), raw.hex(), json.dumps(value)[1:-1]]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    uri = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("CROSSWALK_STORE", uri)
    monkeypatch.setenv("CROSSWALK_STAGING", str(tmp_path / "staging"))
    made = Shop(tmp_path, uri)
    monkeypatch.setattr("crosswalk.connectors.create", lambda kind, details: FolderConnector(made.source))
    return made


def details(conn_id: str) -> ConnectionDetails:
    secret = Secret(PASSWORD)
    return ConnectionDetails(conn_id, host="localhost", login="shop", password=secret, extra={"passphrase": secret})


def told_by(
    shop: Shop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], str]:
    """Run everything at debug level; returns the run and all text that it gave to the outside."""
    told: list[str] = []
    request = shop.request()
    with caplog.at_level(logging.DEBUG), open_run(request, resolve=details, progress=told.append) as context:
        for step in ("authenticate", *context.goal("people").steps, "report"):
            goal = None if step in ("authenticate", "report") else "people"
            try:
                told.append(repr(STEPS[step](context, goal)))
            except Exception as error:  # noqa: BLE001 - whatever is raised is looked at
                told.append(f"{error} {error!r} {error.__cause__!r}")
            if step == "map":
                names = ("scan.json", "sources.json", "link.json", "plan/plan.json")
                paths = [context.goal_folder(context.goal("people")).path / name for name in names]
                told += [path.read_text() for path in paths if path.exists()]
        run = context.store.run(request.run_id)
        assert run is not None
        told.append(json.dumps(run, ensure_ascii=False))
        told.append(run_message(context.connection, context.name, run, "failed", None).as_string())
    told += [record.getMessage() for record in caplog.records] + list(capfd.readouterr())
    return run, "\n".join(told)


def test_a_dirty_run_tells_counts_and_places_but_no_value(
    shop: Shop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    shop.connection(GOAL)
    shop.put("people.csv", FILE)
    run, text = told_by(shop, caplog, capfd)
    assert run["state"] == "done_with_rejects"
    assert "invalid_number" in text
    leaked = [name for name, value in CANARIES.items() for form in forms(value) if form in text]
    assert leaked == []
    assert [form for form in forms(PASSWORD) if form in text] == []


def test_a_run_that_fails_tells_no_value_either(
    shop: Shop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    shop.connection(GOAL.replace("people.email", "people.no_such_column"))
    shop.put("people.csv", FILE)
    run, text = told_by(shop, caplog, capfd)
    assert run["state"] == "failed"
    assert "no_such_column" in text
    assert [name for name, value in CANARIES.items() for form in forms(value) if form in text] == []
    assert [form for form in forms(PASSWORD) if form in text] == []


def test_the_scan_for_leaks_finds_a_planted_one() -> None:
    assert any(form in f"log: {base64.b64encode(PASSWORD.encode()).decode()}" for form in forms(PASSWORD))
