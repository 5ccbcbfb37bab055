"""Remove blanks around values."""

from __future__ import annotations

from typing import Literal

from crosswalk.engine.functions import clean
from crosswalk.engine.template import sql
from crosswalk.processors.base import FieldOptions, Node, ValueProcessor


class Trim(ValueProcessor):
    r"""Without the blanks (also no-break spaces) at both ends.

    ``inner: single`` makes one space of each run of blanks within.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> try_processor({"trim": {"field": ["c.first", "c.last"]}}, {"c.first": " An ", "c.last": "De  Wit\t"})
        [{'c.first': 'An', 'c.last': 'De  Wit'}]
        >>> try_processor({"trim": {"field": "c.last", "inner": "single"}}, {"c.last": "De  Wit"})
        [{'c.last': 'De Wit'}]
    """

    class Options(FieldOptions):
        """``inner``: what happens to blanks within the value."""

        inner: Literal["keep", "single"] = "keep"

    def change(self, value: Node) -> Node:
        """The trimmed text."""
        bare = clean(value)
        if self.options.inner == "keep":
            return bare
        return sql(r"regexp_replace($bare, '[\s\x{a0}]+', ' ', 'g')", bare=bare)
