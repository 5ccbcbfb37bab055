"""Bring e-mail addresses into one form."""

from __future__ import annotations

from crosswalk.engine.functions import clean
from crosswalk.engine.template import sql, text
from crosswalk.processors.base import Node, ValueProcessor

# The usual case, which needs nothing but lower case; telling it first saves most of the work.
PLAIN = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]*[A-Za-z0-9]"


class NormalizeEmail(ValueProcessor):
    """Lower case, without blanks, ``mailto:``, a name before angle brackets, or marks behind it.

    What is no address afterwards stays as it is; the property's type decides about it.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> step = {"normalize_email": {"field": "c.email"}}
        >>> try_processor(step, {"c.email": " Ann Peeters <Ann@Example.ORG>; "})
        [{'c.email': 'ann@example.org'}]
        >>> try_processor(step, {"c.email": "mailto:ann@example.org"}, {"c.email": None})
        [{'c.email': 'ann@example.org'}, {'c.email': None}]
    """

    def change(self, value: Node) -> Node:
        """The address in its plain form."""
        bare = sql("rtrim($value, '.,; ')", value=clean(value))
        inside = sql("regexp_replace($bare, '^[^<>]*<([^<>]*)>$', '\\1')", bare=bare)
        return sql(
            "lower(CASE WHEN regexp_full_match($value, $plain) THEN $value "
            "ELSE regexp_replace($inside, '^(?i)mailto:', '') END)",
            value=value,
            plain=text(PLAIN),
            inside=clean(inside),
        )
