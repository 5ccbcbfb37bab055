"""Cut one field into several new ones."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import Field, field_validator
from sqlglot import exp

from crosswalk.engine.functions import clean
from crosswalk.engine.queries import each
from crosswalk.engine.template import number, sql, text
from crosswalk.processors.base import Node, Processor, ProcessorOptions, Rows, Texts, check_made_field


class Split(Processor):
    """Cut at each ``separator``; the first part goes to the first field of ``to``, and so on; parts are trimmed.

    Missing parts are empty. With more parts than fields the last one keeps the remainder (``rest: keep``) or loses it
    (``rest: drop``).

    Example:
        >>> from crosswalk.processors import try_processor
        >>> step = {"split": {"field": "c.name", "separator": ",", "to": ["last", "first"]}}
        >>> try_processor(step, {"c.name": "Maes, An"}, {"c.name": "Maes"})
        [{'c.name': 'Maes, An', 'last': 'Maes', 'first': 'An'}, {'c.name': 'Maes', 'last': 'Maes', 'first': ''}]
    """

    class Options(ProcessorOptions):
        """``field``, ``separator``, ``to``, ``rest``."""

        field: str
        separator: str = Field(min_length=1)
        to: Texts
        rest: Literal["keep", "drop"] = "keep"

        @field_validator("to")
        @classmethod
        def _check_to(cls, value: list[str]) -> list[str]:
            if len(set(value)) != len(value):
                raise ValueError("each new field has a name of its own")
            return [check_made_field(field) for field in value]

    @property
    def inputs(self) -> list[str]:
        """The field that is cut."""
        return [self.options.field]

    @property
    def outputs(self) -> list[str]:
        """The fields that are made."""
        return list(self.options.to)

    def part(self, value: Node, place: int) -> Node:
        """One part, counted from 1."""
        separator = text(self.options.separator)
        parts = sql("string_split($value, $separator)", value=value, separator=separator)
        if place == len(self.options.to) and self.options.rest == "keep":
            found = sql(
                "array_to_string(list_slice($parts, $place, -1), $separator)",
                parts=parts,
                place=number(place),
                separator=separator,
            )
        else:
            found = sql("coalesce(list_extract($parts, $place), '')", parts=parts, place=number(place))
        return clean(found)

    def apply(self, rows: Rows) -> exp.Query:
        """The rows with the parts."""
        value, is_list = rows.value(self.options.field), rows.is_list(self.options.field)
        places = enumerate(self.options.to, start=1)
        return rows.with_values(
            {output: each(value, partial(self.part, place=place), is_list=is_list) for place, output in places}
        )
