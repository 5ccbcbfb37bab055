"""What one goal's linking works on: its inputs and how its identifiers are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from crosswalk.config.connection import ImportProfiles
from crosswalk.config.tenant import Tenant
from crosswalk.core.staging import GoalFolder
from crosswalk.engine.row_keys import Cells
from crosswalk.engine.session import Session
from crosswalk.engine.tables import Tables
from crosswalk.engine.template import Node, name, parquet, sql
from crosswalk.engine.values import ValueReader, cleaned_cell

Lookup = Callable[[pa.RecordBatchReader], pa.RecordBatchReader]


@dataclass
class LinkTask:
    """Inputs of *link*; the tables that its modules make are named where they are made."""

    session: Session
    rows: Path
    sources: Sequence[str]
    goal: ImportProfiles
    tenant: Tenant
    batch_id: str
    row_state: Path
    take_all: bool
    lookup: Lookup
    read_profiles: Lookup
    out: GoalFolder
    replayed: Path | None = None  # Parquet of file and line: rows to take whatever row state says of them
    read_merging: Lookup | None = None
    merged: int = 0

    @cached_property
    def tables(self) -> Tables:
        """The engine's working tables."""
        return Tables(self.session)

    @cached_property
    def has_state(self) -> bool:
        """Whether the goal has applied rows before."""
        return bool(self.tables.one(sql("SELECT count(*) FROM $state", state=parquet(self.row_state))))

    @property
    def everything(self) -> bool:
        """Whether every row is taken, changed or not."""
        return self.take_all or not self.has_state

    @cached_property
    def cells(self) -> Cells:
        """The columns of the staged rows."""
        return Cells.of(self.session, self.rows)

    @cached_property
    def readers(self) -> list[ValueReader]:
        """How each identifier's cells are read."""
        return identifier_readers(self.goal, self.tenant, self.cells)

    @cached_property
    def properties(self) -> list[str]:
        """The identifier properties, by their number in the tables."""
        return sorted({link.property for link in self.goal.identifiers})

    @property
    def raw(self) -> list[str]:
        """The raw identifier columns of ``keyed`` and ``tuples``."""
        return [f"id_{index}" for index in range(len(self.goal.identifiers))]

    @property
    def scratch(self) -> Path:
        """Keys and identifiers of every row, while linking."""
        return self.out.path / "link_keys.parquet"

    @property
    def rejects_rows(self) -> bool:
        """Whether an invalid value sets its whole row aside."""
        return self.goal.invalid_values == "reject_row"


def identifier_readers(goal: ImportProfiles, tenant: Tenant, cells: Cells) -> list[ValueReader]:
    """How each identifier of a goal is read; local times, should anyone link on them, are in the format's zone."""
    readers = [
        ValueReader.of_field(
            goal,
            link.field,
            tenant.properties[link.property],
            zone="UTC",
            nested=cells.is_nested(link.field),
        )
        for link in goal.identifiers
    ]
    return readers if goal.splits_identifiers else [replace(reader, separator=None) for reader in readers]


def identifier_values(readers: Sequence[ValueReader], raw: Sequence[str]) -> list[tuple[Node, Node]]:
    """Per identifier: its normalised values as a list (NULL: none), and why something in the cell was refused.

    The columns are named ``raw``; both are single expressions, for they run once per tuple, not once per row.
    """
    found = []
    for reader, column in zip(readers, raw, strict=True):
        cell = cleaned_cell(name(column), nested=reader.nested)
        column_of = reader.at_once(cell)
        values, refused = reader.texts(cell, column_of), reader.is_refused(cell, column_of)
        shown = sql("list_aggregate($cell, 'string_agg', ' ')", cell=cell) if reader.nested else cell
        problem = sql("CASE WHEN $refused THEN $problem END", refused=refused, problem=reader.problem_of(shown))
        found.append((values, problem))
    return found
