"""Change upper and lower case."""

from __future__ import annotations

from typing import Literal

from crosswalk.engine.template import call, sql, text
from crosswalk.processors.base import FieldOptions, Node, ValueProcessor

# A word keeps its apostrophe, straight or curly (U+2019).
_WORDS = r"[\p{L}\p{M}\p{N}'\x{2019}]+|[^\p{L}\p{M}\p{N}'\x{2019}]+"


class Case(ValueProcessor):
    """``style: lower``, ``upper`` or ``title`` (each word with a capital, the remainder in lower case).

    Example:
        >>> from crosswalk.processors import try_processor
        >>> try_processor({"case": {"field": "c.city", "style": "title"}}, {"c.city": "SAINT-GILLES élan"})
        [{'c.city': 'Saint-Gilles Élan'}]
        >>> try_processor({"case": {"field": "c.code", "style": "upper", "to": "code"}}, {"c.code": "be1"})
        [{'c.code': 'be1', 'code': 'BE1'}]
    """

    class Options(FieldOptions):
        """``style``: which case."""

        style: Literal["lower", "upper", "title"]

    def change(self, value: Node) -> Node:
        """The text in that case."""
        if self.options.style != "title":
            return call(self.options.style, value)
        words = sql("regexp_extract_all($value, $words)", value=value, words=text(_WORDS))
        return sql(
            "array_to_string(list_transform($words, lambda word: upper(word[1]) || lower(word[2:])), '')", words=words
        )
