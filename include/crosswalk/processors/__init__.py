"""Layer 3: built-in processors (SQL), and the base of a user's own (frames).

A new one is one file here and one line below.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crosswalk.config.connection import ImportGoal
from crosswalk.core.registry import Registry
from crosswalk.processors.base import FieldOptions, FrameProcessor, Processor, ProcessorOptions
from crosswalk.processors.own import own_processors
from crosswalk.processors.parse import Step, needed_fields, parse_steps
from crosswalk.processors.trial import try_steps

__all__ = [
    "PROCESSORS",
    "FieldOptions",
    "FrameProcessor",
    "Processor",
    "ProcessorOptions",
    "Step",
    "needed_fields",
    "parse_processors",
    "processor_names",
    "try_processor",
]

PROCESSORS = Registry(
    "processor",
    [
        ("case", "crosswalk.processors.case:Case"),
        ("concatenate", "crosswalk.processors.concatenate:Concatenate"),
        ("convert", "crosswalk.processors.convert:Convert"),
        ("current_date", "crosswalk.processors.current_date:CurrentDate"),
        ("date_format", "crosswalk.processors.date_format:DateFormat"),
        ("deduplicate", "crosswalk.processors.deduplicate:Deduplicate"),
        ("filter", "crosswalk.processors.filter:Filter"),
        ("first_n", "crosswalk.processors.first_n:FirstN"),
        ("fixed_value", "crosswalk.processors.fixed_value:FixedValue"),
        ("hash", "crosswalk.processors.hash:Hash"),
        ("normalize_email", "crosswalk.processors.normalize_email:NormalizeEmail"),
        ("phone", "crosswalk.processors.phone:Phone"),
        ("remove_nulls", "crosswalk.processors.remove_nulls:RemoveNulls"),
        ("replace", "crosswalk.processors.replace:Replace"),
        ("split", "crosswalk.processors.split:Split"),
        ("trim", "crosswalk.processors.trim:Trim"),
    ],
)


def parse_processors(goal: ImportGoal, folder: Path | None = None) -> list[Step]:
    """The goal's processors, in order.

    Args:
        goal: the import goal.
        folder: the user's own processors; unset: ``CROSSWALK_PROCESSORS``, else ``include/processors``.

    Raises:
        ConfigError: with every problem found.
    """
    return parse_steps(goal, PROCESSORS, own_processors(folder))


def processor_names(folder: Path | None = None) -> list[str]:
    """Names of the built-in processors and of the user's own; nothing is imported."""
    return sorted({*PROCESSORS.names, *own_processors(folder)})


def try_processor(step: dict[str, Any], *rows: dict[str, Any], now_ms: int = 0) -> list[dict[str, Any]]:
    """Run one processor over a few rows of fields, as a run would; for tests and for the curious."""
    return try_steps([step], list(rows), PROCESSORS, own_processors(None), now_ms)
