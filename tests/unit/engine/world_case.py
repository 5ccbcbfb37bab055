"""Short ways to write goals and rows for tests of *link* and *map*."""

from __future__ import annotations

from typing import Any

from crosswalk.config.connection import Connection, ImportProfiles
from crosswalk.config.tenant import Tenant
from tests.properties.world import SOURCES
from tests.reference_model import Row

TENANT = Tenant.model_validate(
    {
        "properties": {
            "email": {"type": "email", "identifier": "unique"},
            "card": {"type": "text", "identifier": "unique"},
            "customer": {"type": "number", "identifier": "unique"},
            "city": {"type": "text"},
            "City": {"type": "text"},
            "tags": {"type": "text"},
            "visits": {"type": "number"},
            "score": {"type": "decimal"},
            "spent": {"type": "currency", "currency": "EUR"},
            "born": {"type": "datetime"},
        },
        "objectives": {"news": {}, "offers": {}},
    }
)
EMAIL = {"field": "p.email", "property": "email"}
CARD = {"field": "p.card", "property": "card"}


def goal(*fields: str | dict[str, Any], identifiers: list[dict[str, str]] | None = None, **more: Any) -> ImportProfiles:
    """A goal; ``"p.city city set"`` is a mapping."""
    mappings = []
    for item in fields:
        if isinstance(item, str):
            field, property_id, *strategy = item.split()
            item = {"field": field, "property": property_id, **({"strategy": strategy[0]} if strategy else {})}
        mappings.append(item)
    return ImportProfiles.model_validate(
        {
            "import_profiles": "g",
            "files": [{"name": "p", "path": "/p"}, {"name": "q", "path": "/q", "link": {"x": "p.x"}}],
            "identifiers": identifiers or [EMAIL],
            "create_profiles": True,
            "mappings": {"fields": mappings},
            **more,
        }
    )


def connection(made: ImportProfiles, **more: Any) -> Connection:
    """The goal's connection."""
    return Connection(kind="sftp", title="t", conn_id="c", goals=[made], **more)


def rows(header: str, *lines: str, file: int = 0) -> list[Row]:
    """Rows of text cells: ``rows("email city", "a@x.org|Gent")``; ``-`` is an absent cell."""
    names = [f"p.{name}" for name in header.split()]
    made = []
    for number, line in enumerate(lines, start=2):
        cells: list[Any] = [None if cell == "-" else cell for cell in line.split("|")]
        made.append(Row(SOURCES[file], number, dict(zip(names, cells, strict=True))))
    return made
