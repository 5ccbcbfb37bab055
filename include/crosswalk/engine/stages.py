"""Intermediate results of *map* that are read back per bucket of profiles.

Profiles have dense numbers, and a bucket is a range of them; so buckets come in the order of the numbers and the
result does not depend on how many there are. With one bucket a stage is a table, else a folder of Parquet files per
bucket.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from crosswalk.engine.session import QUICK, literal
from crosswalk.engine.tables import Tables
from crosswalk.engine.template import Node, name, number, render, sql, text, texts


class Buckets:
    """Ranges of profile numbers.

    Args:
        tables: the engine.
        folder: scratch space.
        profiles: how many profiles there are.
        count: how many buckets.
    """

    def __init__(self, tables: Tables, folder: Path, profiles: int, count: int) -> None:
        self.tables, self.folder = tables, folder
        self.size = max(1, -(-profiles // count))
        self.count = max(1, -(-profiles // self.size))

    def within(self, bucket: int) -> Node:
        """Whether ``profile_no`` is in a bucket."""
        low, high = bucket * self.size, (bucket + 1) * self.size
        return sql("profile_no >= $low AND profile_no < $high", low=number(low), high=number(high))

    def stage(self, stage: str, query: Node, by: str = "profile_no") -> None:
        """Compute a result that has a ``profile_no``, or another dense number of profiles to share it out by."""
        if self.count == 1:
            self.tables.make(stage, query)
            return
        target = self.folder / stage
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        split = sql("SELECT *, $by // $size AS bucket FROM ($query)", by=name(by), size=number(self.size), query=query)
        self.tables.session.execute(
            f"COPY ({render(split)}) TO {literal(target)} ({QUICK}, PARTITION_BY (bucket), OVERWRITE_OR_IGNORE true)"
        ).fetchall()
        if not any(target.rglob("*.parquet")):
            self.tables.make(stage, sql("SELECT * FROM ($query) LIMIT 0", query=query))
            shutil.rmtree(target)

    def whole(self, stage: str) -> Node:
        """All rows of a stage."""
        target = self.folder / stage
        if self.count > 1 and target.exists():
            pattern = text(str(target / "*" / "*.parquet"))
            return sql(
                "SELECT * EXCLUDE (bucket) FROM read_parquet($pattern, hive_partitioning = true)", pattern=pattern
            )
        return sql(f"SELECT * FROM {stage}")

    def part(self, stage: str, bucket: int) -> Node:
        """The rows of one bucket."""
        target = self.folder / stage
        if self.count > 1 and target.exists():
            files = sorted((target / f"bucket={bucket}").glob("*.parquet"))
            if files:
                return sql(
                    "SELECT * FROM read_parquet($files, hive_partitioning = false)",
                    files=texts([str(file) for file in files]),
                )
            return sql("SELECT * FROM ($whole) LIMIT 0", whole=self.whole(stage))
        return sql(f"SELECT * FROM {stage}")

    def drop(self, *stages: str) -> None:
        """Give back the space of stages."""
        for stage in stages:
            self.tables.drop(stage)
            shutil.rmtree(self.folder / stage, ignore_errors=True)
