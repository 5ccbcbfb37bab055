"""For tests of your own processors: rows in, rows and rejects out, with the checks of a run.

Example:
    >>> from crosswalk.processors.testing import run_processors
    >>> outcome = run_processors({"trim": {"field": "p.name"}}, rows=[{"p.name": " An "}])
    >>> outcome.rows
    [{'p.name': 'An'}]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosswalk.core.errors import ConfigError
from crosswalk.processors import PROCESSORS, FrameProcessor
from crosswalk.processors.own import own_processors
from crosswalk.processors.trial import Trial, build_steps, run_steps

__all__ = ["Outcome", "Reject", "run_processors"]

Step = Mapping[str, Any]


@dataclass(frozen=True)
class Reject:
    """A row that a processor raised on; a run puts it into quarantine.

    Attributes:
        row: its position among the rows given, from 0.
        reason: ``processor_failed``.
        message: the class of the exception and the line of your file; never the exception's text.
    """

    row: int
    reason: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """What became of the rows.

    Attributes:
        rows: those that are left, in the order given: all fields, with the made ones.
        kept: their positions among the rows given.
        rejects: those that a processor raised on.
        filtered: how many rows each processor left out.
    """

    rows: list[dict[str, Any]]
    kept: list[int]
    rejects: list[Reject]
    filtered: dict[str, int]


def run_processors(
    *steps: Step,
    rows: Sequence[Mapping[str, str | list[str] | None]],
    folder: str | Path | None = None,
    now_ms: int = 0,
) -> Outcome:
    """Run steps as a connection writes them over a few rows, through the code of a run.

    When all steps are processors of your own they run three times: on all rows, in reverse order, and on each row
    alone. A run cuts the rows into chunks and may repeat them, so all three must agree.

    Args:
        steps: ``{"initials": {"field": "customers.first_name"}}``, one for each processor, in their order.
        rows: fields by name; None is absent, '' an empty cell, a list belongs to a nested file.
        folder: where your processors lie; unset: ``CROSSWALK_PROCESSORS`` or ``include/processors``.
        now_ms: the moment of the run, epoch milliseconds.

    Raises:
        ConfigError: what would stop a run: an unknown processor, wrong settings, a broken contract; or a result that
            depends on other rows (``row_dependent``).
    """
    processors = build_steps(steps, PROCESSORS, own_processors(Path(folder).resolve() if folder else None))
    _refuse_lists(processors, rows)
    trial = run_steps(processors, rows, now_ms)
    if rows and processors and all(isinstance(item, FrameProcessor) for item in processors):
        _refuse_dependence(processors, rows, trial, now_ms)
    rejects = [Reject(*item) for item in trial.rejects]
    return Outcome(list(trial.rows.values()), list(trial.rows), rejects, trial.filtered)


def _refuse_lists(processors: Sequence[Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """What ``check`` says of a processor that cannot take fields of nested files."""
    lists = {name for row in rows for name, cell in row.items() if isinstance(cell, list)}
    problems = [text for item in processors for text in item.problems(lists & set(item.inputs))]
    if problems:
        raise ConfigError("; ".join(problems), code="nested_field")


def _refuse_dependence(processors: Sequence[Any], rows: Sequence[Mapping[str, Any]], whole: Trial, now_ms: int) -> None:
    """Compare with the rows in reverse order, and with each row alone."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    full = [{name: row.get(name) for name in names} for row in rows]
    backwards = run_steps(processors, full[::-1], now_ms)
    last = len(full) - 1
    for position in range(len(full)):
        alone = (
            None
            if position in {item[0] for item in whole.rejects}
            else run_steps(processors, full[position : position + 1], now_ms)
        )
        others = [backwards.rows.get(last - position)] + ([alone.rows.get(0)] if alone else [])
        if any(other != whole.rows.get(position) for other in others):
            raise ConfigError(
                f"Row {position} comes out differently when the other rows are missing or in another order.",
                remedy="Let the result of a row depend on that row alone: a run cuts the rows into chunks.",
                code="row_dependent",
            )
