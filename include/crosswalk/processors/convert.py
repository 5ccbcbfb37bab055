"""Translate values by a list."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from sqlglot import exp

from crosswalk.engine.functions import clean
from crosswalk.engine.template import Node, sql, text
from crosswalk.processors.base import FieldOptions, ValueProcessor


class Convert(ValueProcessor):
    """Each value of ``values`` becomes what stands behind it; blanks around do not count.

    Others stay (``otherwise: keep``) or become empty (``otherwise: clear``).

    Example:
        >>> from crosswalk.processors import try_processor
        >>> step = {"convert": {"field": "c.sex", "values": {"M": "male", "V": "female"}, "otherwise": "clear"}}
        >>> try_processor(step, {"c.sex": "V"}, {"c.sex": "?"})
        [{'c.sex': 'female'}, {'c.sex': ''}]
    """

    class Options(FieldOptions):
        """``values``, ``otherwise``, ``ignore_case``."""

        values: dict[str, str] = Field(min_length=1, max_length=10_000)
        otherwise: Literal["keep", "clear"] = "keep"
        ignore_case: bool = False

    def change(self, value: Node) -> Node:
        """The translation."""
        bare = clean(value)
        if self.options.ignore_case:
            bare = sql("lower($bare)", bare=bare)
        wanted = {
            key.strip().lower() if self.options.ignore_case else key.strip(): to
            for key, to in self.options.values.items()
        }
        pairs = [exp.Array(expressions=[text(item) for item in side]) for side in (wanted.keys(), wanted.values())]
        found = sql("list_extract($after, list_position($before, $bare))", before=pairs[0], after=pairs[1], bare=bare)
        other = value if self.options.otherwise == "keep" else text("")
        return sql(
            "CASE WHEN list_contains($before, $bare) THEN $found ELSE $other END",
            before=pairs[0],
            bare=bare,
            found=found,
            other=other,
        )
