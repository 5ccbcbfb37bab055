"""A small installation for tests: a folder of files, a tenant model, one connection, one store."""

from __future__ import annotations

import itertools
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crosswalk.connectors.base import ConnectionDetails
from crosswalk.steps.context import RunRequest, open_run
from crosswalk.steps.pipeline import run_all
from crosswalk.store import open_store
from crosswalk.store.base import Store

TENANT = {
    "properties.yaml": """
        properties:
          email: {type: email, identifier: unique}
          customer_id: {type: text, identifier: unique}
          city: {type: text}
          first_name: {type: text, sensitivity: pii}
          tags: {type: text}
          visits: {type: number}
          revenue: {type: currency, currency: EUR}
          score: {type: decimal}
          born: {type: datetime}
          shop_city: {type: text}
        """,
    "objectives.yaml": """
        objectives:
          newsletter: {name: Newsletter}
          personalisation: {name: Personalisation}
        """,
}
CONNECTION = """
kind: sftp
title: Shop
conn_id: shop_sftp
goals:
  - import_profiles: people
    stable_seconds: 0
    files: [{name: people, path: /in/people*.csv}]
"""
_clock = itertools.count(1_700_000_000, 60)


@dataclass
class Shop:
    """Everything a test needs to put files in, run, and look at the store.

    Attributes:
        root: a folder of the test's own.
        store_uri: which store.
    """

    root: Path
    store_uri: str
    runs: int = 0
    mails: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.root / "source" / "in").mkdir(parents=True)
        (self.root / "tenant").mkdir()
        for name, text in TENANT.items():
            (self.root / "tenant" / name).write_text(textwrap.dedent(text))

    @property
    def source(self) -> Path:
        return self.root / "source"

    def connection(self, goal: str = "", *, head: str = "", text: str | None = None) -> Path:
        """Write the connection: the usual head, plus lines of the only goal (indented by the caller's dedent)."""
        path = self.root / "connections" / "shop.yaml"
        path.parent.mkdir(exist_ok=True)
        body = text if text is not None else CONNECTION.replace("goals:", f"{textwrap.dedent(head).strip()}\ngoals:")
        path.write_text(body.rstrip() + "\n" + textwrap.indent(textwrap.dedent(goal).strip("\n"), "    ") + "\n")
        return path

    def put(self, name: str, text: str | bytes, *, folder: str = "in") -> Path:
        """Lay a file on the source, each later than the one before."""
        path = self.source / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(textwrap.dedent(text).lstrip("\n").encode() if isinstance(text, str) else text)
        moment = next(_clock)
        os.utime(path, (moment, moment))
        return path

    def request(self, **changes: Any) -> RunRequest:
        self.runs += 1
        return RunRequest(
            **{
                "connection_file": str(self.root / "connections" / "shop.yaml"),
                "run_id": f"run-{self.runs}",
                "tenant_folder": str(self.root / "tenant"),
                **changes,
            }
        )

    def run(self, **changes: Any) -> dict[str, Any]:
        """Run all steps; returns the stored run with ``goals`` by name added as ``by_goal``."""
        request = self.request(**changes)
        with open_run(request, resolve=self.resolve) as context:
            run_all(context)
            run = context.store.run(request.run_id)
        assert run is not None
        run["by_goal"] = {item["goal"]: item for item in run["goals"]}
        return run

    def counts(self, **changes: Any) -> dict[str, Any]:
        """Run and return the counts of the goal ``people``; the run must not fail."""
        run = self.run(**changes)
        goal = run["by_goal"]["people"]
        assert run["state"] != "failed", goal["result"].get("error")
        return {"state": goal["state"], **goal["result"].get("counts", {})}

    @staticmethod
    def resolve(conn_id: str) -> ConnectionDetails:
        return ConnectionDetails(conn_id=conn_id, host="localhost", port=22, login="test", password=None, extra={})

    def store(self) -> Store:
        return open_store(self.store_uri)

    def profile(self, property_id: str, value: str) -> dict[str, Any] | None:
        store = self.store()
        try:
            return store.find_profile(property_id, value)
        finally:
            store.close()

    def values(self, email: str) -> dict[str, list[str]] | None:
        """The document of the profile with this e-mail address."""
        found = self.profile("email", email)
        return None if found is None else found["properties"]

    def rejects(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        store = self.store()
        try:
            return store.quarantine(run["run_id"])
        finally:
            store.close()
