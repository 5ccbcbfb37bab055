"""Working tables of one step in the engine: made by queries, seen by every cursor, gone with the session."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from crosswalk.engine.session import BATCH_ROWS, Session
from crosswalk.engine.template import Node, render


def _text(query: Node | str) -> str:
    return query if isinstance(query, str) else render(query)


class Tables:
    """The engine as a step uses it.

    Tables are plain ones, not temporary: a temporary table belongs to one cursor, and streams to the store run on a
    cursor of their own.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    def make(self, table: str, query: Node | str) -> int:
        """Make a table of a query; returns its rows."""
        self.session.execute(f"CREATE OR REPLACE TABLE {table} AS {_text(query)}")
        return self.count(table)

    def view(self, view: str, query: Node) -> None:
        """Make a view of a query."""
        self.session.execute(f"CREATE OR REPLACE VIEW {view} AS {render(query)}")

    def drop(self, *tables: str) -> None:
        """Give back the memory of tables."""
        for table in tables:
            self.session.execute(f"DROP TABLE IF EXISTS {table}")

    def count(self, table: str) -> int:
        """Rows of a table."""
        return int(self.one(f"SELECT count(*) FROM {table}"))

    def one(self, query: Node | str) -> Any:
        """The only value of a query."""
        rows = self.all(query)
        return rows[0][0] if rows else None

    def all(self, query: Node | str) -> list[tuple[Any, ...]]:
        """Every row of a small result."""
        return self.session.execute(_text(query)).fetchall()

    def stream(self, query: Node | str) -> pa.RecordBatchReader:
        """The rows of a query in Arrow batches, on a cursor of its own so that other statements may run meanwhile."""
        return self.session.cursor().sql(_text(query)).to_arrow_reader(BATCH_ROWS)

    def take_in(self, table: str, incoming: pa.RecordBatchReader, columns: str) -> int:
        """Make a table of columns of an Arrow stream; returns its rows."""
        self.session.register("incoming_rows", incoming)
        try:
            self.session.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT {columns} FROM incoming_rows")
        finally:
            self.session.unregister("incoming_rows")
        return self.count(table)
