"""Empty the cells that say in words that there is no value."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from crosswalk.engine.functions import clean
from crosswalk.engine.template import sql, texts
from crosswalk.processors.base import FieldOptions, Node, ValueProcessor, as_list

NULL_TEXTS = ["null", "(null)", "none", "nil", "nan", "n/a", "#n/a", "\\n", "undefined"]


def _read(value: Any) -> Any:
    """A bare null in YAML means the text."""
    return ["null" if item is None else item for item in as_list(value)]


class RemoveNulls(ValueProcessor):
    r"""Cells such as ``NULL``, ``n/a``, ``none`` or ``\N`` become empty; ``texts`` says which, case does not count.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> try_processor({"remove_nulls": {"field": ["c.city", "c.zip"]}}, {"c.city": " NULL", "c.zip": "9000"})
        [{'c.city': '', 'c.zip': '9000'}]
    """

    class Options(FieldOptions):
        """``texts``: what means nothing."""

        texts: Annotated[list[str], BeforeValidator(_read), Field(min_length=1)] = NULL_TEXTS

    def change(self, value: Node) -> Node:
        """Empty, or the value."""
        wanted = texts([item.strip().lower() for item in self.options.texts])
        return sql(
            "CASE WHEN list_contains($wanted, lower($bare)) THEN '' ELSE $v END",
            wanted=wanted,
            bare=clean(value),
            v=value,
        )
