"""The chained join: the primary file's rows, each with what the linked files say about it.

The primary rows set the grain: none is lost, none is doubled. Every further file is LEFT JOINed to a column of any
earlier one. Link values are compared as trimmed text; an empty one matches nothing. A file that is not nested counts
once per link value (``duplicates``); a nested one becomes lists, and files linked to it are joined inside those lists.

Reasons: the join sets no single row aside; what stops it is a ``ConfigError`` (see ``join_plan.py``, and here
``duplicate_links`` and ``join_explosion``).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlglot import exp

from crosswalk.config.connection import ImportGoal
from crosswalk.core.errors import ConfigError, FatalError
from crosswalk.core.names import display
from crosswalk.core.staging import durable
from crosswalk.engine.join_plan import Block, JoinPlan, Source, plan_join
from crosswalk.engine.join_sql import Facts, JoinSql
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.engine.queries import over, parquet_columns, select
from crosswalk.engine.session import Session, write_parquet
from crosswalk.engine.template import Node, render

__all__ = ["JoinResult", "Source", "join_files"]

# Lists do not spill: so many cells are gathered at a time.
CELLS_PER_BUCKET = 3_000_000


@dataclass
class JoinResult:
    """What the join did.

    Attributes:
        rows: joined rows, as many as the primary files have records.
        counts: by name of the file block: ``unmatched`` (rows for which it has nothing), ``orphans`` (its records that
            no row uses), ``duplicates`` (its records that repeat a link value and do not count).
        warnings: for a person, without values.
        link_states: ``clear`` or ``no_match`` (a link that is valid but matched no row at all) by file block.
    """

    rows: int = 0
    counts: dict[str, dict[str, int]] = field(
        default_factory=lambda: {"unmatched": {}, "orphans": {}, "duplicates": {}}
    )
    warnings: list[str] = field(default_factory=list)
    link_states: dict[str, str] = field(default_factory=dict)


def join_files(
    session: Session,
    *,
    goal: ImportGoal,
    sources: list[Source],
    fields: list[str],
    out: Path,
    quarantine: Path,
    max_rows_per_match: int,
    max_rows: int = 50_000_000,
) -> JoinResult:
    """Join the staged files of a goal into one Parquet file of rows.

    Args:
        session: the engine.
        goal: the import goal.
        sources: staged files in the order in which their rows count (oldest first within a block).
        fields: ``file.column`` names to write; names without a dot are made by processors and left out.
        out: where the rows go.
        quarantine: where rows set aside go; always written, always empty so far.
        max_rows_per_match: the most records that a nested file may have for one row of the file it hangs off.
        max_rows: the most rows, and the most list elements of one nested file over all rows.

    Raises:
        ConfigError: a column or a link does not fit the files, a link value repeats where ``duplicates: fail`` is set,
            or the join would explode; nothing was written.
    """
    plan = plan_join(goal, sources, [name for name in fields if "." in name])
    facts = {block.name: _measure(session, block) for block in plan.blocks}
    sql = JoinSql(plan, facts, max_rows_per_match)
    primary = plan.blocks[0]
    result = JoinResult(rows=facts[primary.name].rows, warnings=list(plan.warnings))
    if result.rows > max_rows:
        raise ConfigError(
            f'The files of "{primary.name}" hold {result.rows} rows; the most for one run is {max_rows}.',
            remedy="Import them in several runs.",
            code="join_explosion",
        )
    work = out.with_name(f"{out.stem}.join")
    try:
        for block in plan.blocks[1:]:
            _check_repeats(session, sql, block, result)
            _guard_matches(session, sql, block)
            _balance(session, sql, block, result, max_rows)
            if block.is_nested and sql.list_columns(block):
                _gather(session, sql, block, work)
        written = write_parquet(session, render(sql.rows()), out, quick=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for block in plan.blocks[1:]:
        if block.name not in result.counts["unmatched"]:
            result.counts["unmatched"][block.name] = _count_absent(session, plan, block, out)
    if written != result.rows:
        raise FatalError(
            f"{result.rows} primary rows became {written} joined rows; nothing was handed on.",
            remedy="This is a fault of Crosswalk: keep the files and report it.",
            code="join_grain",
        )
    with durable(quarantine) as temporary:
        pq.write_table(QUARANTINE_SCHEMA.empty_table(), temporary)
    return result


def _measure(session: Session, block: Block) -> Facts:
    """Count the records of each source, from the files' own metadata."""
    facts = Facts()
    for source in block.sources:
        found = pq.read_metadata(source.path)
        if found.num_columns != len(source.columns) + 2:
            raise FatalError(
                f"{display(source.name)} was staged with {found.num_columns - 2} columns, not {len(source.columns)}.",
                code="staged_columns",
            )
        facts.starts[str(source.path)] = facts.rows
        facts.rows += found.num_rows
    return facts


def _one(session: Session, node: Node) -> tuple[Any, ...]:
    row = session.execute(render(node)).fetchone()
    return row if row is not None else ()


def _check_repeats(session: Session, sql: JoinSql, block: Block, result: JoinResult) -> None:
    """Count link values; settle what happens to those that repeat in a block that must be unique."""
    facts = sql.facts[block.name]
    text = "SELECT count(*), coalesce(sum(g.n), 0), coalesce(max(g.n), 0) FROM g"
    values, linked, most = _one(session, over(text, sql.groups(block)))
    facts.linked, facts.most = int(linked), int(most)
    result.counts["duplicates"][block.name] = 0
    if block.is_nested or values == linked:
        return
    facts.repeats = facts.linked - int(values)
    times = "1 row" if facts.repeats == 1 else f"{facts.repeats} rows"
    what = f'{times} of file "{block.name}" repeating a value of {_own_columns(block)}'
    if block.file.duplicates == "fail":
        source, line = _one(session, sql.second_record(block))
        name = next(item.name for item in block.sources if item.index == source)
        raise ConfigError(
            f"There are {what}, for example line {line} of {display(name)}.",
            remedy="Make the link unique, set nested: true, or duplicates: first or last.",
            code="duplicate_links",
        )
    result.counts["duplicates"][block.name] = facts.repeats
    result.warnings.append(f"{what}: the {block.file.duplicates} of each value counts.")


def _guard_matches(session: Session, sql: JoinSql, block: Block) -> None:
    """Stop before a link value with too many records is gathered; one that no row uses is left out instead."""
    facts = sql.facts[block.name]
    if not block.is_nested or facts.most <= sql.max_rows_per_match:
        return
    (most,) = _one(session, sql.heaviest_used(block))
    if most is None:
        total = over("SELECT CAST(sum(h.n) AS BIGINT) FROM h", sql.heavy(block))
        (facts.heavy,) = _one(session, total)
        return
    allowed = sql.max_rows_per_match
    raise ConfigError(
        f'One value of {_pairs(block)} has {most} rows in "{block.name}"; at most {allowed} may match one row.',
        remedy="Check that the link joins the right columns, or raise guards.max_rows_per_match.",
        code="join_explosion",
    )


def _balance(session: Session, sql: JoinSql, block: Block, result: JoinResult, max_rows: int) -> None:
    """Count what does not match, both ways, and how many list elements the rows would hold."""
    facts = sql.facts[block.name]
    unmatched, unused, elements = _one(session, sql.balance(block, by_rows=False))
    used = facts.linked - facts.repeats - facts.heavy - int(unused)
    result.counts["orphans"][block.name] = facts.rows - facts.repeats - used
    result.link_states[block.name] = "clear"
    if facts.rows and result.rows and not used:
        result.link_states[block.name] = "no_match"
        result.warnings.append(f'No row matches file "{block.name}" on {_pairs(block)}.')
    if not sql.hangs_off_root(block):
        if not block.is_nested and block.host is None and block.complete_output:
            return  # counted in what is written
        unmatched, _, elements = _one(session, sql.balance(block, by_rows=True))
    result.counts["unmatched"][block.name] = int(unmatched)
    if block.is_nested and elements > max_rows:
        raise ConfigError(
            f'Joining "{block.name}" on {_pairs(block)} yields {elements} rows; at most {max_rows} fit one run.',
            remedy="Check that the link joins the right columns, or import in several runs.",
            code="join_explosion",
        )


def _count_absent(session: Session, plan: JoinPlan, block: Block, out: Path) -> int:
    """Rows without a match: those where a column is NULL that every record of the block has."""
    place = plan.fields.index((block, str(block.complete_output)))
    columns = ["row_id", "file_index", "line", *(f"x{number}" for number in range(len(plan.fields)))]
    count = select("SELECT count(*) - count($column) FROM t", column=exp.column(f"x{place}"))
    (absent,) = _one(session, count.from_(parquet_columns([str(out)], "t", columns)))
    return int(absent)


def _gather(session: Session, sql: JoinSql, block: Block, work: Path) -> None:
    """Write a nested block's lists, in so many parts that each fits the memory."""
    facts = sql.facts[block.name]
    buckets = 1 + facts.linked * (len(sql.list_columns(block)) + 1) // CELLS_PER_BUCKET
    for bucket in range(buckets):
        path = work / f"{block.position}_{bucket}.parquet"
        write_parquet(session, render(sql.gather(block, bucket, buckets)), path)
        facts.gathered.append(path)


def _own_columns(block: Block) -> str:
    return " and ".join(f'"{display(link.column)}"' for link in block.links)


def _pairs(block: Block) -> str:
    own = [f"{block.name}.{display(link.column)} = {link.target}.{display(link.target_column)}" for link in block.links]
    return " and ".join(own)
