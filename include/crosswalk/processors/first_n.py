"""Keep only the first rows."""

from __future__ import annotations

from pydantic import Field
from sqlglot import exp

from crosswalk.engine.queries import over
from crosswalk.engine.template import Node, sql
from crosswalk.processors.base import ProcessorOptions, RowFilter, Rows


class FirstN(RowFilter):
    """The first ``rows`` rows that have come this far, in the order file time, file name, record.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> try_processor({"first_n": {"rows": 2}}, {"c.id": "1"}, {"c.id": "2"}, {"c.id": "3"})
        [{'c.id': '1'}, {'c.id': '2'}]
    """

    class Options(ProcessorOptions):
        """``rows``: how many."""

        rows: int = Field(ge=1)

    def keeps(self, rows: Rows) -> Node:
        """The row is not behind the last wanted one."""
        ordered = rows.select().select(exp.column("row_id", table="r"), copy=False)
        first = ordered.order_by("r.row_id", copy=False).limit(self.options.rows, copy=False)
        last = over("SELECT max(f.row_id) FROM f", first)
        return sql("r.row_id <= coalesce($last, 0)", last=last.subquery(copy=False))
