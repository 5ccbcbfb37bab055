"""One identifier value that a person typed, normalised the way linking normalises the values of rows."""

from __future__ import annotations

import tempfile
from pathlib import Path

from crosswalk.config.tenant import Definition
from crosswalk.engine.functions import clean
from crosswalk.engine.session import open_session
from crosswalk.engine.template import render, sql, text
from crosswalk.engine.values import ValueReader


def normalize_identifier(definition: Definition, value: str) -> str:
    """The normalised form of an identifier value a person typed; the trimmed text itself when it is no valid value."""
    reader = ValueReader.of_property(definition)
    with tempfile.TemporaryDirectory() as folder, open_session(Path(folder), threads=1) as session:
        query = sql(
            "SELECT $value, cell FROM (SELECT $clean AS cell)",
            value=reader.text_of(sql("cell")),
            clean=clean(text(value)),
        )
        row = session.execute(render(query)).fetchone()
    return str(row[0] if row and row[0] is not None else row[1] if row else value)
