"""An example of a processor of your own: it takes the house number out of a street.

Use it in a goal as::

    processors:
      - house_numbers: {field: customers.street, street: street, number: house_number}
"""

from __future__ import annotations

import pandas as pd

from crosswalk.processors import FrameProcessor, ProcessorOptions

# The last number of the line, with what belongs to it: "12", "12A", "12 bus 3", "12-14".
NUMBER = r"^(?P<street>.*?\S)\s*,?\s+(?P<number>\d+\s?[A-Za-z]?(?:[-/]\d+)?(?:\s+(?:bus|box|bte)\s*\w+)?)\s*$"


class HouseNumbers(FrameProcessor):
    """Two new fields: the street without the number, and the number. A street without one keeps its text."""

    class Options(ProcessorOptions):
        """``field`` is read; ``street`` and ``number`` name the new fields."""

        field: str
        street: str = "street"
        number: str = "house_number"

    @property
    def inputs(self) -> list[str]:
        """Fields that the frame holds."""
        return [self.options.field]

    @property
    def outputs(self) -> list[str]:
        """Fields that the returned frame must hold."""
        return [self.options.street, self.options.number]

    def process(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Cut each street; an absent one stays absent."""
        value = frame[self.options.field]
        parts = value.astype("str").str.extract(NUMBER)
        frame[self.options.street] = parts["street"].str.rstrip(" ,").where(parts["street"].notna(), value)
        frame[self.options.number] = parts["number"].fillna("").where(value.notna(), None)
        return frame
