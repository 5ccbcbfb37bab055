"""Put several fields together in a new one."""

from __future__ import annotations

from pydantic import Field, field_validator

from crosswalk.engine.functions import clean
from crosswalk.engine.template import sql, text
from crosswalk.processors.base import FieldMaker, Node, ProcessorOptions, Rows, check_made_field, first_filled


class Concatenate(FieldMaker):
    """The fields in their order, ``separator`` (a space) between them; absent and empty ones are left out.

    With ``skip_empty: false`` an empty cell leaves its separator. Where all are absent, so is the result.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> step = {"concatenate": {"fields": ["c.first", "c.middle", "c.last"], "to": "name"}}
        >>> try_processor(step, {"c.first": "An", "c.middle": "", "c.last": "Maes"})
        [{'c.first': 'An', 'c.middle': '', 'c.last': 'Maes', 'name': 'An Maes'}]
    """

    class Options(ProcessorOptions):
        """``fields``, ``to``, ``separator``, ``skip_empty``."""

        fields: list[str] = Field(min_length=2)
        to: str
        separator: str = " "
        skip_empty: bool = True

        @field_validator("to")
        @classmethod
        def _check_to(cls, value: str) -> str:
            return check_made_field(value)

    @property
    def inputs(self) -> list[str]:
        """The parts."""
        return list(self.options.fields)

    def make(self, rows: Rows) -> dict[str, Node]:
        """The whole."""
        values = [rows.value(field) for field in self.options.fields]
        empty = "AND part <> ''" if self.options.skip_empty else ""
        whole = sql(
            "CASE WHEN $first IS NOT NULL THEN "
            f"array_to_string(list_filter([$parts], lambda part: part IS NOT NULL {empty}), $separator) END",
            first=first_filled(values),
            parts=[clean(value) for value in values],
            separator=text(self.options.separator),
        )
        return {self.options.to: whole}
