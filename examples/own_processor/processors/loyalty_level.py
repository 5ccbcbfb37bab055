"""A level by points: ``- loyalty_level: {field: members.points, to: level}``; members who left are filtered."""

from __future__ import annotations

import pandas as pd

from crosswalk.processors import FieldOptions, FrameProcessor


class LoyaltyLevel(FrameProcessor):
    """Bronze, silver or gold; no points (an empty cell) means that the member left."""

    class Options(FieldOptions):
        """``silver`` and ``gold`` are the least points of a level."""

        silver: int = 100
        gold: int = 1000

    def process(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Points that are no number raise, so that their rows go to quarantine."""
        (points,), (level,) = self.inputs, self.outputs
        frame = frame[~frame[points].eq("").fillna(False)]
        amounts = frame[points].astype("Int64")
        frame[level] = "bronze"
        frame.loc[amounts >= self.options.silver, level] = "silver"
        frame.loc[amounts >= self.options.gold, level] = "gold"
        frame.loc[amounts.isna(), level] = None
        return frame
