"""A Parquet file of a plan that is written bucket by bucket and appears whole."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq

from crosswalk.core.staging import durable
from crosswalk.engine.tables import Tables


class BucketFile:
    """Takes the rows of one query after another.

    Args:
        tables: the engine.
        path: the file.
    """

    def __init__(self, tables: Tables, path: Path) -> None:
        self.tables, self.path = tables, path
        self.stack = ExitStack()
        self.file: pq.ParquetWriter | None = None

    def __enter__(self) -> BucketFile:
        self.temporary = self.stack.enter_context(durable(self.path))
        return self

    def append(self, query: str) -> None:
        """Add the rows of a query."""
        reader = self.tables.stream(query)
        if self.file is None:
            self.file = pq.ParquetWriter(self.temporary, reader.schema, compression="none", use_dictionary=False)
        for batch in reader:
            self.file.write_batch(batch)

    def __exit__(self, *error: object) -> None:
        if self.file is not None:
            self.file.close()
        self.stack.__exit__(*error)  # type: ignore[arg-type]
