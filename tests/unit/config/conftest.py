from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crosswalk.config.checks import check_connection
from crosswalk.config.loader import LoadedConnection, LoadedTenant, load_connection, load_tenant
from crosswalk.core.errors import ConfigError, Finding

FIXTURES = Path(__file__).parents[2] / "fixtures"
GOOD = FIXTURES / "connections" / "good"

BASE = """\
kind: sftp
title: Orders
conn_id: shop_sftp
notifications: {emails: [ops@example.org]}
SETTINGS
goals:
  - import_profiles: orders
    files:
      - {name: orders, path: /in/orders.csv}
      - {name: lines, path: /in/lines.csv, link: {order_id: orders.id}, nested: true}
      - {name: customers, path: /in/customers.csv, link: {id: orders.customer}}
    identifiers: [{field: customers.email, property: email}]
    row_key: [orders.id]
GOAL
"""


@pytest.fixture(scope="session")
def tenant() -> LoadedTenant:
    return load_tenant(FIXTURES / "tenant")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a connection file of the base text with extra settings and extra lines in its goal."""

    def make(settings: str = "", goal: str = "", name: str = "orders", text: str | None = None) -> Path:
        indented = "\n".join(f"    {line}" for line in goal.splitlines())
        content = text if text is not None else BASE.replace("SETTINGS", settings).replace("GOAL", indented)
        path = tmp_path / f"{name}.yaml"
        path.write_text(content, encoding="utf-8")
        return path

    return make


@pytest.fixture
def load(write: Callable[..., Path]) -> Callable[..., LoadedConnection]:
    return lambda *args, **kwargs: load_connection(write(*args, **kwargs))


@pytest.fixture
def refused(write: Callable[..., Path]) -> Callable[..., list[Finding]]:
    """Loads a file that must be refused; gives the findings."""

    def run(*args: str, **kwargs: str) -> list[Finding]:
        with pytest.raises(ConfigError) as raised:
            load_connection(write(*args, **kwargs))
        assert raised.value.findings
        return raised.value.findings

    return run


@pytest.fixture
def check(load: Callable[..., LoadedConnection], tenant: LoadedTenant) -> Callable[..., list[Finding]]:
    """Checks a connection of the base text with extra settings and lines."""

    def run(settings: str = "", goal: str = "", others: tuple = (), **options: object) -> list[Finding]:
        return check_connection(load(settings, goal), tenant, others, **options)

    return run


def codes(findings: list[Finding], severity: str | None = None) -> list[str]:
    return [finding.code for finding in findings if severity in (None, finding.severity)]
