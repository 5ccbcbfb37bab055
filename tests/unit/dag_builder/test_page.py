"""What the page of a DAG says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crosswalk.config.loader import load_connection
from crosswalk.core.errors import ConfigError, Finding
from crosswalk.dag_builder.page import document, document_broken

Write = Callable[..., Path]


def test_the_page_shows_schedule_system_owner_goals_and_the_file(write: Write) -> None:
    loaded = load_connection(write("shop"))
    page = document(loaded, [])
    assert "every 15 minutes" in page
    assert "`webshop_sftp`" in page
    assert "ops@example.org" in page
    assert "| orders | import | on | " in page
    assert "/in/orders" in page
    assert loaded.text.strip() in page
    assert "Errors" not in page
    assert "Warnings" not in page


def test_warnings_and_errors_stand_on_the_page_with_line_and_code(write: Write) -> None:
    path = write("shop")
    findings = [
        Finding("warning", "existing_property", "Property city is also written by goal b.", str(path), 14),
        Finding("error", "unknown_property", "There is no property x.", str(path), 15),
    ]
    page = document(load_connection(path), findings)
    assert "shop.yaml line 14: Property city is also written by goal b. `[existing_property]`" in page.replace("\\", "")
    assert page.index("Errors") < page.index("Warnings")


def test_text_of_the_file_is_shown_and_never_interpreted(write: Write) -> None:
    path = write("shop", ("Orders of the webshop", '"<img src=x onerror=alert(1)> [a](javascript:b) `c`"'))
    page = document(load_connection(path), [])
    before_file = page.split("### The file")[0]
    assert "<img" not in before_file.replace("\\<", "")
    assert "[a]" not in before_file


def test_a_fence_in_the_file_does_not_end_the_shown_file(write: Write) -> None:
    path = write("shop")
    path.write_text(path.read_text() + "# ``` and ````\n")
    page = document(load_connection(path), [])
    assert page.rstrip().endswith("`````")


def test_the_page_of_a_broken_file_shows_findings_but_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("password: hunter2\n")
    error = ConfigError("2 errors", findings=[Finding("error", "secret_in_file", "A secret.", str(path), 1)])
    page = document_broken(path, error)
    assert "bad.yaml line 1: A secret." in page
    assert "hunter2" not in page
