"""Write dates in another form."""

from __future__ import annotations

from pydantic import Field, field_validator

from crosswalk.engine.functions import clean
from crosswalk.engine.template import sql, text, texts
from crosswalk.processors.base import FieldOptions, Node, Texts, ValueProcessor
from crosswalk.processors.patterns import check_date_pattern


class DateFormat(ValueProcessor):
    """Read by ``from`` (one pattern, or several tried in order) and written by ``into``.

    A value that fits no pattern stays as it is; the mapping says what is wrong with it. Zones are not changed.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> step = {"date_format": {"field": "o.day", "from": ["%d/%m/%Y", "%d-%m-%y"], "into": "%Y-%m-%d"}}
        >>> try_processor(step, {"o.day": "31/12/2025"}, {"o.day": "31-12-25"}, {"o.day": "soon"})
        [{'o.day': '2025-12-31'}, {'o.day': '2025-12-31'}, {'o.day': 'soon'}]
    """

    class Options(FieldOptions):
        """``from``, ``into``."""

        from_: Texts = Field(alias="from")
        into: str = "%Y-%m-%d"

        @field_validator("from_")
        @classmethod
        def _check_from(cls, value: list[str]) -> list[str]:
            return [check_date_pattern(pattern) for pattern in value]

        @field_validator("into")
        @classmethod
        def _check_into(cls, value: str) -> str:
            return check_date_pattern(value)

    def change(self, value: Node) -> Node:
        """The date in its new form."""
        moment = sql("try_strptime($v, $patterns)", v=clean(value), patterns=texts(self.options.from_))
        return sql("coalesce(strftime($moment, $into), $v)", moment=moment, into=text(self.options.into), v=value)
