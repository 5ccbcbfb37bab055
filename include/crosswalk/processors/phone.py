"""Bring telephone numbers into one form."""

from __future__ import annotations

from typing import Literal

import phonenumbers
from pydantic import field_validator

from crosswalk.processors.base import FieldOptions, TextProcessor


class Phone(TextProcessor):
    """E.164 (``+32470123456``); ``country`` is where numbers without a country code belong.

    What is no possible number stays as it is, or becomes empty with ``invalid: clear``.

    Example:
        >>> from crosswalk.processors import try_processor
        >>> step = {"phone": {"field": "c.phone", "country": "BE"}}
        >>> try_processor(step, {"c.phone": "0470/12.34.56"}, {"c.phone": "0031 20 123 4567"}, {"c.phone": "ask Jan"})
        [{'c.phone': '+32470123456'}, {'c.phone': '+31201234567'}, {'c.phone': 'ask Jan'}]
    """

    class Options(FieldOptions):
        """``country``, ``invalid``."""

        country: str | None = None
        invalid: Literal["keep", "clear"] = "keep"

        @field_validator("country")
        @classmethod
        def _check_country(cls, value: str | None) -> str | None:
            if value is not None and value.upper() not in phonenumbers.SUPPORTED_REGIONS:
                raise ValueError(f'"{value}" is not a country code of two letters such as BE')
            return value and value.upper()

    def change_text(self, value: str) -> str:
        """The number in E.164."""
        try:
            number = phonenumbers.parse(value, self.options.country)
        except phonenumbers.NumberParseException:
            number = None
        if number is None or not phonenumbers.is_valid_number(number):
            return value if self.options.invalid == "keep" else ""
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
