"""What ``make demo`` tells: runs of two connections, each shown with its numbers, an export, an undo, a mail."""

from __future__ import annotations

import os
import shutil
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.simulators.airflow_server import AirflowServer

from crosswalk.config.loader import load_tenant
from demo.place import ROOT, Place
from demo.setting import (
    Setting,
    copy_demo,
    own_settings,
    start_airflow,
    start_servers,
    trust_server,
)
from demo.shop import Shop, break_customers, change, generate, repair_customers
from demo.tables import Screen

DAG_ID = "sftp__webshop"
EXPORT_DAG_ID = "sftp__newsletter"
MAIL_SECONDS = 15


def tell(place: Place) -> int:
    """Run the whole demonstration; leaves everything running when it went well.

    Returns:
        the exit code.
    """
    screen = Screen()
    started = time.monotonic()
    if place.stop():
        screen.say("Stopped the demo that was running.")
    _forget(place)
    place.prepare()
    try:
        setting, shop, server = _set_up(place, screen)
        _first_run(setting, server, screen)
        _export(setting, server, screen)
        _nothing_new(setting, server, screen)
        changed = _changed_file(setting, server, shop, screen)
        _undo(setting, changed, screen)
        _broken_file(setting, server, shop, screen)
        _farewell(setting, server, screen, time.monotonic() - started)
    except BaseException as error:
        place.stop()
        if not isinstance(error, Exception):
            raise
        screen.say(f"\nThe demo stopped: {error}")
        screen.say(f"The output of its servers is in {place.logs} and {place.airflow}.")
        return 1
    return 0


def _forget(place: Place) -> None:
    """Begin anew: each demonstration starts with an empty store."""
    shutil.rmtree(place.path, ignore_errors=True)


def _set_up(place: Place, screen: Screen) -> tuple[Setting, Shop, AirflowServer]:
    screen.step("1. A webshop's files, an SFTP server, a mail server, Airflow")
    setting = Setting(place, {**own_settings(place), **copy_demo(place)})
    shop = generate(place.shop)
    size = sum(path.stat().st_size for path in place.shop.glob("*.csv"))
    screen.say(f"{shop.orders:,} orders of {shop.customers:,} customers, {size / 1e6:.1f} MB in {place.shop}.")
    screen.say("Planted mistakes:")
    screen.say("  " + ", ".join(f"{what} {number}" for what, number in shop.planted.items()) + ".")
    start_servers(setting)
    screen.say(f"SFTP server on 127.0.0.1:{setting.ports['sftp']}, log-in with a private key.")
    screen.say(f"Its host key {trust_server(setting)} was compared and is now trusted.")
    screen.say(f"Mail server on 127.0.0.1:{setting.ports['smtp']}; it keeps what it gets.")
    findings = [item for item in setting.crosswalk("check") if item["severity"] == "error"]
    if findings:
        raise RuntimeError(f"crosswalk check found: {findings}")
    screen.say("crosswalk check: configuration, log-in, rights and columns are good.")
    screen.say("Starting Airflow (half a minute) ...")
    server = start_airflow(place, setting.environment)
    setting.write_environment()
    for dag_id in (DAG_ID, EXPORT_DAG_ID):
        server.wait_for_dag(dag_id, timeout=180)
        server.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
    screen.say(f"Airflow answers on {server.url}; the connection files became DAGs: {DAG_ID}, {EXPORT_DAG_ID}.")
    return setting, shop, server


def _run(setting: Setting, server: AirflowServer, screen: Screen) -> dict[str, Any]:
    """Trigger the DAG through the scheduler, wait, show what happened."""
    began = time.monotonic()
    run = server.run_dag(DAG_ID, timeout=300)
    seconds = time.monotonic() - began
    document = stored_run(setting, "webshop", run)
    screen.run(document, timings_of(setting, document), seconds)
    return document


def stored_run(setting: Setting, connection: str, run: dict[str, Any]) -> dict[str, Any]:
    """A run of Airflow as the store knows it.

    Raises:
        RuntimeError: the store does not know it.
    """
    wanted = f"{connection}__{run['dag_run_id']}"
    for document in setting.crosswalk("runs", connection):
        if document["run_id"] == wanted:
            return dict(document)
    raise RuntimeError(f"Airflow's run {run['dag_run_id']} is {run['state']}, but the store does not know it.")


def timings_of(setting: Setting, document: dict[str, Any]) -> dict[str, float]:
    """Seconds by step of the run's first goal, from the store."""
    from crosswalk.store import open_store

    store = open_store(setting.environment["CROSSWALK_STORE"])
    try:
        run = store.run(document["run_id"]) or {}
    finally:
        store.close()
    found: dict[str, float] = {}
    for goal in run.get("goals", []):
        for step, taken in (goal.get("result") or {}).get("timings", {}).items():
            found[step] = found.get(step, 0.0) + taken
    return found


def _expect(document: dict[str, Any], *states: str) -> None:
    if document["state"] not in states:
        raise RuntimeError(f"run {document['run_id']} ended as {document['state']}, expected {' or '.join(states)}")


def _first_run(setting: Setting, server: AirflowServer, screen: Screen) -> None:
    screen.step("2. The first run: all files, through Airflow's scheduler")
    screen.say("The first task after Airflow's start takes some ten seconds more than later ones.")
    document = _run(setting, server, screen)
    _expect(document, "done_with_rejects")
    screen.rejects(setting.crosswalk("rejects", document["run_id"]))
    profile = _some_profile(setting)
    if profile:
        screen.profile(profile, load_tenant(setting.place.path / "tenant").model)
    screen.products(setting.crosswalk("products", "--by", "count", "--limit", "5"))


def _export(setting: Setting, server: AirflowServer, screen: Screen) -> None:
    screen.step("3. The newsletter list went out by itself: its connection runs after the first one")
    runs = f"/dags/{EXPORT_DAG_ID}/dagRuns"
    started = server.wait_for(lambda: server.call("GET", runs)["dag_runs"], message="the run of the newsletter list")
    run = server.wait_for_run(EXPORT_DAG_ID, started[0]["dag_run_id"])
    document = stored_run(setting, "newsletter", run)
    _expect(document, "done")
    screen.export(document["goals"][0])
    for path in sorted(setting.place.outgoing.iterdir()):
        screen.file(path)


def _some_profile(setting: Setting) -> dict[str, Any] | None:
    """The first customer with an address whom the store knows."""
    text = (setting.place.shop / "customers.csv").read_text(encoding="utf-8")
    for line in text.splitlines()[200:260]:
        email = line.split(";")[1].strip()
        if "@" in email:
            document = setting.crosswalk("profile", "show", f"email={email}", check=False)
            if "properties" in document:
                return document
    return None


def _nothing_new(setting: Setting, server: AirflowServer, screen: Screen) -> None:
    screen.step("4. The same again: nothing to do")
    _expect(_run(setting, server, screen), "nothing_new")


def _changed_file(setting: Setting, server: AirflowServer, shop: Shop, screen: Screen) -> dict[str, Any]:
    screen.step("5. The second day's orders come again, corrected and extended")
    what = change(shop)
    screen.say(f"{what['changed']} orders have another amount, {what['new']} are new. Only their profiles are touched.")
    document = _run(setting, server, screen)
    _expect(document, "done_with_rejects", "done")
    return document


def _undo(setting: Setting, changed: dict[str, Any], screen: Screen) -> None:
    screen.step("6. That file was a mistake: undo its run")
    planned = setting.crosswalk("undo", changed["run_id"])
    screen.say("crosswalk undo RUN shows what would go back and writes nothing:")
    screen.undo(planned)
    done = setting.crosswalk("undo", changed["run_id"], "--apply")
    _expect(done, "done", "done_with_rejects")
    screen.say("crosswalk undo RUN --apply did it:")
    screen.undo(done)


def _broken_file(setting: Setting, server: AirflowServer, shop: Shop, screen: Screen) -> None:
    screen.step("7. A broken file: the shop renamed the column that everything is linked on")
    name = break_customers(shop)
    screen.say(f"{name} has no column customer_id any more.")
    try:
        _expect(_run(setting, server, screen), "failed")
    finally:
        repair_customers(shop)
    message = wait_for_mail(setting.place.path / "mail")
    screen.mail(message)
    screen.say(f"The good {name} is back in place; the store is as it was before the failed run.")


def wait_for_mail(folder: Path, seconds: float = MAIL_SECONDS) -> EmailMessage:
    """The newest mail that was caught.

    Raises:
        RuntimeError: none arrived in time.
    """
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        caught = sorted(folder.glob("*.eml"))
        if caught:
            return message_from_bytes(caught[-1].read_bytes(), policy=policy.default)
        time.sleep(0.1)
    raise RuntimeError("The run failed, but no mail arrived.")


def _farewell(setting: Setting, server: AirflowServer, screen: Screen, seconds: float) -> None:
    screen.step(f"All of it took {seconds / 60:.1f} minutes. Everything is still running")
    near = setting.place.path.relative_to(ROOT) if setting.place.path.is_relative_to(ROOT) else setting.place.path
    screen.say(f"Airflow:     {server.url}/dags/{DAG_ID}")
    screen.say("User:        admin")
    screen.say(f"Password:    {server.password}    (made for this demo, kept in {near}/airflow/passwords.json)")
    screen.say("\nLook further:")
    for command, text in (
        (f"source {near}/env", "use this demo's store, files and servers in your shell"),
        (".venv/bin/crosswalk status", "arrows, last run, unique profiles"),
        (".venv/bin/crosswalk runs webshop", "every run with its counts"),
        (".venv/bin/crosswalk preview webshop", "the files as a run reads them"),
        (".venv/bin/crosswalk trace email=ADDRESS", "which file and line put each value there"),
        (".venv/bin/crosswalk plan webshop --full", "what a run would do, without writing"),
        (f"${{EDITOR:-vi}} {near}/connections/webshop.yaml", "change the connection; the next run reads it"),
        ("make stop", "stop everything"),
    ):
        screen.say(f"  {command:<44} {text}")


def own(place: Place) -> int:
    """Start Airflow on a person's own connections and leave it running.

    Returns:
        the exit code.
    """
    screen = Screen()
    if place.stop():
        screen.say("Stopped the Airflow that was running.")
    place.prepare()
    screen.say("Starting Airflow (half a minute) ...")
    try:
        server = start_airflow(place, _own_environment())
    except Exception as error:  # noqa: BLE001 - said to a person, who finds the details in the logs
        place.stop()
        screen.say(f"Airflow did not start: {error}")
        return 1
    screen.say(f"Airflow:     {server.url}")
    screen.say("User:        admin")
    screen.say(f"Password:    {server.password}    (kept in .airflow/airflow/passwords.json)")
    screen.say("Connections: dags/connections; the store is .crosswalk/store.db, as on the command line.")
    screen.say("Stop it:     make stop")
    return 0


def _own_environment() -> dict[str, str]:
    """What the command line uses when nothing is set, as absolute paths; what is set already stays."""
    usual = {
        "CROSSWALK_STORE": f"sqlite:///{ROOT / '.crosswalk' / 'store.db'}",
        "CROSSWALK_STAGING": str(ROOT / ".crosswalk" / "staging"),
        "CROSSWALK_CONNECTIONS": str(ROOT / "dags" / "connections"),
        "CROSSWALK_TENANT": str(ROOT / "include" / "tenant"),
    }
    return {name: os.environ.get(name) or value for name, value in usual.items()}
