"""Put one value into a field of every row."""

from __future__ import annotations

from pydantic import field_validator

from crosswalk.engine.template import sql, text
from crosswalk.processors.base import FieldMaker, Node, ProcessorOptions, Rows, check_made_field


class FixedValue(FieldMaker):
    """``to`` is a new field, or a field of a file whose values are replaced; there, absent stays absent.

    ``only_if_empty: true`` leaves filled values alone.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> try_processor({"fixed_value": {"to": "source", "value": "webshop"}}, {"c.id": "1"})
        [{'c.id': '1', 'source': 'webshop'}]
        >>> step = {"fixed_value": {"to": "c.country", "value": "BE", "only_if_empty": True}}
        >>> try_processor(step, {"c.country": ""}, {"c.country": "NL"}, {"c.country": None})
        [{'c.country': 'BE'}, {'c.country': 'NL'}, {'c.country': None}]
    """

    class Options(ProcessorOptions):
        """``to``, ``value``, ``only_if_empty``."""

        to: str
        value: str
        only_if_empty: bool = False

        @field_validator("to")
        @classmethod
        def _check_to(cls, value: str) -> str:
            return value if "." in value else check_made_field(value)

    @property
    def inputs(self) -> list[str]:
        """The field itself where it belongs to a file."""
        return [self.options.to] if "." in self.options.to else []

    @property
    def outputs(self) -> list[str]:
        """The field."""
        return [self.options.to]

    def make(self, rows: Rows) -> dict[str, Node]:
        """The value."""
        options = self.options
        fixed = text(options.value)
        if options.to not in rows.columns:
            return {options.to: fixed}
        before = rows.value(options.to)
        if options.only_if_empty:
            fixed = sql("CASE WHEN trim($before) = '' THEN $fixed ELSE $before END", before=before, fixed=fixed)
        if "." in options.to:
            fixed = sql("CASE WHEN $before IS NOT NULL THEN $fixed END", before=before, fixed=fixed)
        return {options.to: fixed}
