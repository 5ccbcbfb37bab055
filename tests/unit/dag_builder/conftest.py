"""A folder of connection files and a tenant model beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

CONNECTION = """
kind: sftp
title: Webshop orders
owner: {name: Marketing operations, email: ops@example.org}
description: Orders of the webshop
labels: [webshop]
conn_id: webshop_sftp
timezone: Europe/Brussels
schedule: {every_minutes: 15}
goals:
  - import_profiles: orders
    files: [{name: orders, path: /in/orders.csv}]
    identifiers: [{field: orders.email, property: email}]
"""
SECOND_GOAL = """
  - import_profiles: returns
    enabled: false
    files: [{name: returns, path: /in/returns.csv}]
    processors: [{trim: {field: returns.email}}]
    identifiers: [{field: returns.email, property: email}]
"""
GROUP_GOAL = """
  - import_groups: households
    group_type: household
    files: [{name: households, path: /in/households/}]
    processors: [{trim: {field: households.id}}]
    identifiers: [{field: households.id, property: household_id}]
"""
EXPORT_GOAL = """
  - export_profiles: newsletter
    segment: all_profiles
    directory: /out
    file_name: {custom: newsletter.csv}
    columns: [{property: email}]
"""
PROPERTIES = """
properties:
  email: {type: email, identifier: unique}
"""


@pytest.fixture
def tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tenant"
    folder.mkdir()
    (folder / "properties.yaml").write_text(PROPERTIES)
    monkeypatch.setenv("CROSSWALK_TENANT", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path, tenant: Path) -> Path:
    path = tmp_path / "connections"
    path.mkdir()
    return path


@pytest.fixture
def write(folder: Path) -> Callable[..., Path]:
    """Write a connection file: ``write("shop")``, with replacements of its text as pairs."""

    def _write(name: str, *changes: tuple[str, str], goals: str = "") -> Path:
        text = CONNECTION.lstrip() + goals.lstrip("\n")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = folder / f"{name}.yaml"
        path.write_text(text)
        return path

    return _write
