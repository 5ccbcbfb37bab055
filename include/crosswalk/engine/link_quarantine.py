"""What *link* sets aside: rows it cannot decide about, and identifier values that do not fit their type."""

from __future__ import annotations

from sqlglot import exp

from crosswalk.engine.link_task import LinkTask
from crosswalk.engine.reasons import message_of
from crosswalk.engine.row_keys import Cells, place_file, place_line, used_fields
from crosswalk.engine.session import write_parquet
from crosswalk.engine.template import Node, all_of, any_of, name, number, parquet, render, sql, text, union_all

MAX_RAW = 16_000


def raw_row(cells: Cells, fields: list[str]) -> Node:
    """The used cells of a row as JSON, at most 64 KiB."""
    arguments: list[Node] = []
    for field in fields:
        arguments += [text(field), cells.cell(field)]
    return sql("left(json_object($cells)::VARCHAR, $limit)", cells=arguments, limit=number(MAX_RAW))


def write_quarantine(task: LinkTask) -> None:
    """``quarantine/link.parquet``."""
    problems = [name(f"problem_{index}") for index in range(len(task.readers))]
    tuples = task.tables.make(
        "refused_fate",
        sql(
            "SELECT f.*, $problems FROM fate AS f JOIN tuple_reads USING (tuple_no) WHERE outcome = 'quarantined' "
            "OR $refused",
            problems=problems,
            refused=any_of([sql("$problem IS NOT NULL", problem=problem) for problem in problems]),
        ),
    )
    same = [sql("$left IS NOT DISTINCT FROM $right", left=name(raw, "k"), right=name(raw, "t")) for raw in task.raw]
    task.tables.make(
        "set_aside",
        sql(
            "SELECT k.row_id, k.place, t.* EXCLUDE (place) FROM identified AS k JOIN refused_fate AS t ON $same "
            "WHERE $any",
            same=all_of(same),
            any=exp.convert(tuples > 0),
        ),
    )
    parts = [_rows_set_aside(task), *(_values_set_aside(task, index) for index in range(len(task.readers)))]
    write_parquet(task.session, render(union_all(parts)), task.out.quarantine / "link.parquet")


def _rows_set_aside(task: LinkTask) -> Node:
    place = name("place", "r")
    return sql(
        """
        SELECT r.row_id, $file AS file, $line AS line, NULL::VARCHAR AS field, 'link' AS stage, 'row' AS scope,
               r.reason,
               concat($message, r.detail) AS message, $raw AS raw
        FROM set_aside AS r JOIN $rows AS source USING (row_id) WHERE r.outcome = 'quarantined'
        """,
        file=place_file(place, task.sources),
        line=place_line(place),
        message=message_of(name("reason", "r")),
        raw=raw_row(task.cells, used_fields(task.goal)),
        rows=parquet(task.rows),
    )


def _values_set_aside(task: LinkTask, index: int) -> Node:
    field = task.goal.identifiers[index].field
    place, cell = name("place", "r"), task.cells.cell(field)
    shown = sql("to_json($cell)::VARCHAR", cell=cell) if task.cells.is_nested(field) else cell
    return sql(
        """
        SELECT r.row_id, $file AS file, $line AS line, $field AS field, 'link' AS stage, 'value' AS scope,
               $problem AS reason, $message AS message, left($shown, $limit) AS raw
        FROM set_aside AS r JOIN $rows AS source USING (row_id) WHERE $problem IS NOT NULL AND NOT $rejected
        """,
        file=place_file(place, task.sources),
        line=place_line(place),
        field=text(field),
        problem=name(f"problem_{index}"),
        message=message_of(name(f"problem_{index}")),
        shown=shown,
        limit=number(MAX_RAW),
        rows=parquet(task.rows),
        rejected=exp.convert(task.rejects_rows),
    )
