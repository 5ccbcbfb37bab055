"""Replace values by their hash."""

from __future__ import annotations

from crosswalk.engine.template import sql
from crosswalk.processors.base import Node, ValueProcessor


class Hash(ValueProcessor):
    """SHA-256 of the UTF-8 text, 64 hexadecimal digits; an empty value stays empty.

    Trim and lower-case before it: the hash of another spelling is another hash. A hash of an e-mail address can be
    guessed back; treat it as personal data.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> rows = [{"c.email": "abc"}, {"c.email": ""}]
        >>> [row["h"][:8] for row in try_processor({"hash": {"field": "c.email", "to": "h"}}, *rows)]
        ['ba7816bf', '']
    """

    def change(self, value: Node) -> Node:
        """The hash."""
        return sql("CASE WHEN $value = '' THEN '' ELSE sha256($value) END", value=value)
