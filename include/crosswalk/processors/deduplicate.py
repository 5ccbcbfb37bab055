"""Keep one of several rows with the same values."""

from __future__ import annotations

from typing import Literal

from sqlglot import exp

from crosswalk.engine.functions import clean
from crosswalk.engine.queries import over
from crosswalk.engine.template import Node, all_of, any_of, named, sql
from crosswalk.processors.base import ProcessorOptions, RowFilter, Rows, Texts


class Deduplicate(RowFilter):
    """Of the rows with equal ``fields`` (blanks around do not count) the ``first`` or ``last`` is kept.

    Rows come in the order file time, file name, record. Rows whose fields are all empty or absent are no duplicates of
    each other; all are kept.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> rows = [{"c.id": "1", "c.n": "a"}, {"c.id": "1 ", "c.n": "b"}, {"c.id": "", "c.n": "c"}]
        >>> try_processor({"deduplicate": {"fields": ["c.id"], "keep": "last"}}, *rows)
        [{'c.id': '1 ', 'c.n': 'b'}, {'c.id': '', 'c.n': 'c'}]
    """

    class Options(ProcessorOptions):
        """``fields``, ``keep``."""

        fields: Texts
        keep: Literal["first", "last"] = "first"

    @property
    def inputs(self) -> list[str]:
        """The fields that make rows equal."""
        return list(self.options.fields)

    def keeps(self, rows: Rows) -> Node:
        """The row is the first or last of its kind, or has no key."""

        def key(field: str) -> Node:
            return sql("coalesce($value, '')", value=clean(rows.value(field)))

        keys = [named(key(field), f"k{number}") for number, field in enumerate(self.options.fields)]
        groups = rows.select().select(exp.column("row_id", table="r"), *keys, copy=False)
        choice = "min" if self.options.keep == "first" else "max"
        chosen = over(f"SELECT {choice}(g.row_id) AS row_id FROM g", groups)
        chosen = chosen.group_by(*[exp.column(f"k{number}", table="g") for number in range(len(keys))], copy=False)
        is_chosen = exp.In(this=exp.column("row_id", table="r"), query=chosen.subquery(copy=False))
        without_key = all_of([sql("'' = $key", key=key(field)) for field in self.options.fields])
        return any_of([is_chosen, without_key])
