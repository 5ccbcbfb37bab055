"""What *link* sets aside: rows it cannot decide about, and identifier values that do not fit their type."""

from __future__ import annotations

from sqlglot import exp

from crosswalk.engine.link_task import LinkTask
from crosswalk.engine.reasons import message_of
from crosswalk.engine.row_keys import Cells, place_file, place_line, used_fields
from crosswalk.engine.session import write_parquet
from crosswalk.engine.template import Node, call, name, number, parquet, render, sql, text, union_all

MAX_RAW = 16_000


def raw_row(cells: Cells, fields: list[str]) -> Node:
    """The used cells of a row as JSON, at most 64 KiB."""
    arguments: list[Node] = []
    for field in fields:
        arguments += [text(field), cells.cell(field)]
    return sql("left(json_object($cells)::VARCHAR, $limit)", cells=arguments, limit=number(MAX_RAW))


def write_quarantine(task: LinkTask) -> None:
    """``quarantine/link.parquet``."""
    place = name("place", "r")
    parts = [
        sql(
            """
            SELECT r.row_id, $file AS file, $line AS line, NULL::VARCHAR AS field, 'link' AS stage, 'row' AS scope,
                   r.reason,
                   concat($message, r.detail) AS message, $raw AS raw
            FROM routed AS r JOIN $rows AS source USING (row_id) WHERE r.outcome = 'quarantined'
            """,
            file=place_file(place, task.sources),
            line=place_line(place),
            message=message_of(name("reason", "r")),
            raw=raw_row(task.cells, used_fields(task.goal)),
            rows=parquet(task.rows),
        )
    ]
    for index, link in enumerate(task.goal.identifiers):
        cell = task.cells.cell(link.field)
        shown = sql("$cell::JSON::VARCHAR", cell=call("to_json", cell)) if task.cells.is_nested(link.field) else cell
        values = sql(
            """
            SELECT r.row_id, $file AS file, $line AS line, $field AS field, 'link' AS stage, 'value' AS scope,
                   $problem AS reason,
                   $message AS message, left($shown, $limit) AS raw
            FROM routed AS r JOIN (SELECT tuple_no, $problem FROM tuple_reads WHERE $problem IS NOT NULL) AS p
                   USING (tuple_no)
            JOIN $rows AS source USING (row_id) WHERE NOT $rejected
            """,
            file=place_file(place, task.sources),
            line=place_line(place),
            field=text(link.field),
            problem=name(f"problem_{index}"),
            message=message_of(name(f"problem_{index}")),
            shown=shown,
            limit=number(MAX_RAW),
            rows=parquet(task.rows),
            rejected=exp.convert(task.rejects_rows),
        )
        parts.append(values)
    write_parquet(task.session, render(union_all(parts)), task.out.quarantine / "link.parquet")
