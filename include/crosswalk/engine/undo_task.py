"""What one undo works on: its inputs, and the words of the change log as the engine reads and writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from crosswalk.config.tenant import Tenant
from crosswalk.engine import functions
from crosswalk.engine.session import Session
from crosswalk.engine.tables import Tables
from crosswalk.engine.template import Node

Lookup = Callable[[pa.RecordBatchReader], pa.RecordBatchReader]

ENTRIES = """map_entries(from_json(changes, '"MAP(VARCHAR, STRUCT(before JSON, after JSON, sum BOOLEAN))"'))"""
AMOUNT = "DECIMAL(38, 4)"


@dataclass(frozen=True)
class LoggedRows:
    """A table whose rows name the batch that wrote them last, as far as an undo concerns it.

    Attributes:
        name: the table.
        key: its key columns.
        values: the columns that come back.
        made: Parquet of the rows that the undone batches made: key, ``batch_no``.
        history: Parquet of what became of the others: key, ``batch_no``, ``written_by``, ``stored``, ``is_over`` and
            the values.
    """

    name: str
    key: tuple[str, ...]
    values: tuple[str, ...]
    made: Path
    history: Path


@dataclass
class UndoTask:
    """Inputs of an undo.

    Attributes:
        session: the engine.
        tenant: the tenant model: identifiers and types.
        numbers: the batches to undo.
        changes: Parquet of UNDONE_SCHEMA.
        amounts: Parquet of AMOUNTS_SCHEMA.
        shared: Parquet of PROFILE_IDS_SCHEMA.
        answers: Parquet of ANSWERS_SCHEMA.
        merged: Parquet of MERGED_SCHEMA.
        read_profiles: profiles by id.
        read_later: LATER_SCHEMA of profiles by id.
        owners: owners of identifier values.
        out: folder for the result: Parquet files ``profiles``, ``identifiers``, ``consent``, and one for each table of
            ``logged``.
        logged: events, purchases and products.
        find_crowd: all events of profiles that would have too many (EVENT_GROWTH_SCHEMA in, EVENT_HEAD_SCHEMA out).
    """

    session: Session
    tenant: Tenant
    numbers: list[int]
    changes: Path
    amounts: Path
    shared: Path
    answers: Path
    merged: Path
    read_profiles: Lookup
    read_later: Lookup
    owners: Lookup
    out: Path
    logged: tuple[LoggedRows, ...]
    find_crowd: Callable[[pa.RecordBatchReader, int], pa.RecordBatchReader]

    @cached_property
    def tables(self) -> Tables:
        """The engine's working tables."""
        return Tables(self.session)

    @property
    def unique(self) -> list[str]:
        """Properties that are unique identifiers."""
        return sorted(key for key, item in self.tenant.properties.items() if item.identifier == "unique")

    def number_text(self, property_id: str, value: Node) -> Node | None:
        """Canonical text of a number of that property; None when it is not declared as one."""
        declared = self.tenant.properties.get(property_id)
        if declared is None or declared.type not in ("number", "decimal", "currency"):
            return None
        fixed = declared.type == "currency"
        return functions.number_text(value, declared.stored_decimals, fixed=fixed, precision=38)


def amount_of(values: str) -> str:
    """SQL for the number that a list of one text holds; 0 for no list."""
    return f"coalesce(TRY_CAST(json_extract_string({values}, '$[0]') AS {AMOUNT}), 0)"


def log_entry(key: str, before: str, after: str, is_sum: str) -> str:
    """SQL for one property of an entry of the change log."""
    return (
        f"concat(to_json({key})::VARCHAR, ':{{\"before\":', {before}, ',\"after\":', {after}, "
        f"',\"file\":null,\"line\":null', CASE WHEN {is_sum} THEN ',\"sum\":true' ELSE '' END, '}}')"
    )


def removal_log(properties: str) -> str:
    """SQL for the log of a profile that goes: every value it had."""
    entry = log_entry("e.key", "e.value::VARCHAR", "'null'", "false")
    entries = f"map_entries(from_json({properties}, '\"MAP(VARCHAR, JSON)\"'))"
    return f"concat('{{', array_to_string(list_transform({entries}, LAMBDA e : {entry}), ','), '}}')"
