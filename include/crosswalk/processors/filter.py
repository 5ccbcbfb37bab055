"""Keep or drop rows by the value of a field."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator
from sqlglot import exp

from crosswalk.engine.functions import clean
from crosswalk.engine.template import sql, text
from crosswalk.processors.base import Node, ProcessorOptions, RowFilter, Rows, as_list
from crosswalk.processors.patterns import check_pattern

_Values = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)] | None


class Filter(RowFilter):
    """Keep or drop rows by exactly one of ``keep``, ``drop`` (values), ``keep_regex`` and ``drop_regex`` (a pattern).

    Blanks around values do not count, and ``''`` stands for an empty cell. An absent value is never kept and never
    dropped. A pattern (RE2) may match anywhere in the value; ``^`` and ``$`` tie it to the ends.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> rows = [{"o.status": "paid"}, {"o.status": "open"}, {"o.status": None}]
        >>> try_processor({"filter": {"field": "o.status", "keep": ["paid", "shipped"]}}, *rows)
        [{'o.status': 'paid'}]
        >>> try_processor({"filter": {"field": "o.status", "drop_regex": "^o"}}, *rows)
        [{'o.status': 'paid'}, {'o.status': None}]
    """

    class Options(ProcessorOptions):
        """``field``, one of the four conditions, ``ignore_case``."""

        field: str
        keep: _Values = None
        drop: _Values = None
        keep_regex: str | None = None
        drop_regex: str | None = None
        ignore_case: bool = False

        @field_validator("keep_regex", "drop_regex")
        @classmethod
        def _check_regex(cls, value: str | None) -> str | None:
            if value is not None:
                check_pattern(value)
            return value

        @model_validator(mode="after")
        def _check_one(self) -> Filter.Options:
            conditions = (self.keep, self.drop, self.keep_regex, self.drop_regex)
            if sum(condition is not None for condition in conditions) != 1:
                raise ValueError("give exactly one of keep, drop, keep_regex and drop_regex")
            return self

    @property
    def inputs(self) -> list[str]:
        """The one field."""
        return [self.options.field]

    def keeps(self, rows: Rows) -> Node:
        """The condition on the field."""
        options = self.options
        value = rows.value(options.field)
        values = options.keep if options.keep is not None else options.drop
        if values is not None:
            wanted = [item.strip() for item in values]
            found = clean(value)
            if options.ignore_case:
                wanted, found = [item.lower() for item in wanted], sql("lower($found)", found=found)
            met: Node = exp.In(this=exp.paren(found), expressions=[text(item) for item in wanted])
        else:
            pattern = options.keep_regex or options.drop_regex or ""
            flags = "i" if options.ignore_case else "c"
            met = sql("regexp_matches($v, $pattern, $flags)", v=value, pattern=text(pattern), flags=text(flags))
        certain: Node = exp.Coalesce(this=met, expressions=[exp.false()])
        keeps = options.keep is not None or options.keep_regex is not None
        return certain if keeps else exp.not_(certain)
