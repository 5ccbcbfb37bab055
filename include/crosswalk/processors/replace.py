"""Replace a text, or what a pattern finds, within values."""

from __future__ import annotations

import re2
from pydantic import Field, model_validator

from crosswalk.engine.template import sql, text
from crosswalk.processors.base import FieldOptions, Node, ValueProcessor
from crosswalk.processors.patterns import check_pattern, check_rewrite


class Replace(ValueProcessor):
    r"""Every occurrence of ``find`` becomes ``with``; ``regex: true`` makes it an RE2 pattern.

    In ``with``, ``\1`` is then the first group of the pattern.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> try_processor({"replace": {"field": "o.total", "find": "EUR ", "with": ""}}, {"o.total": "EUR 12.50"})
        [{'o.total': '12.50'}]
        >>> step = {"replace": {"field": "c.zip", "find": "^([A-Z]+)-?(\\d+)$", "with": "\\2", "regex": True}}
        >>> try_processor(step, {"c.zip": "B-9000"}, {"c.zip": "9000"})
        [{'c.zip': '9000'}, {'c.zip': '9000'}]
    """

    class Options(FieldOptions):
        """``find``, ``with``, ``regex``, ``ignore_case``."""

        find: str = Field(min_length=1)
        with_: str = Field("", alias="with")
        regex: bool = False
        ignore_case: bool = False

        @model_validator(mode="after")
        def _check(self) -> Replace.Options:
            if self.regex:
                check_rewrite(check_pattern(self.find), self.with_)
            return self

    def change(self, value: Node) -> Node:
        """The text with its replacements."""
        options = self.options
        if not options.regex and not options.ignore_case:
            return sql("replace($value, $find, $by)", value=value, find=text(options.find), by=text(options.with_))
        find = options.find if options.regex else re2.escape(options.find)
        by = options.with_ if options.regex else options.with_.replace("\\", "\\\\")
        flags = "gi" if options.ignore_case else "g"
        return sql(
            "regexp_replace($value, $find, $by, $flags)", value=value, find=text(find), by=text(by), flags=text(flags)
        )
