"""Put the moment of the run into a new field."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator

from crosswalk.engine.template import text
from crosswalk.processors.base import FieldMaker, Node, ProcessorOptions, Rows, check_made_field
from crosswalk.processors.patterns import check_date_pattern


class CurrentDate(FieldMaker):
    """The time of the run, written by ``pattern`` in ``timezone``.

    Mapped to a property it makes every row a changed row on every run; map it with ``set_if_empty`` or leave it to the
    store's own dates where that is not meant.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> step = {"current_date": {"to": "imported", "pattern": "%d/%m/%Y %H:%M", "timezone": "Europe/Brussels"}}
        >>> try_processor(step, {"c.id": "1"}, now_ms=1_767_225_600_000)
        [{'c.id': '1', 'imported': '01/01/2026 01:00'}]
    """

    class Options(ProcessorOptions):
        """``to``, ``pattern``, ``timezone``."""

        to: str
        pattern: str = "%Y-%m-%d"
        timezone: str = "UTC"

        @field_validator("to")
        @classmethod
        def _check_to(cls, value: str) -> str:
            return check_made_field(value)

        @field_validator("pattern")
        @classmethod
        def _check_pattern(cls, value: str) -> str:
            return check_date_pattern(value)

        @field_validator("timezone")
        @classmethod
        def _check_timezone(cls, value: str) -> str:
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f'"{value}" is not a time zone such as Europe/Brussels') from None
            return value

    def make(self, rows: Rows) -> dict[str, Node]:
        """The moment as text."""
        moment = datetime.fromtimestamp(rows.now_ms / 1000, UTC).astimezone(ZoneInfo(self.options.timezone))
        return {self.options.to: text(moment.strftime(self.options.pattern))}
