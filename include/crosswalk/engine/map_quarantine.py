"""What *map* sets aside.

Values that do not fit (or their rows), taken identifiers, sums out of range, too many values.
"""

from __future__ import annotations

from crosswalk.engine import consent
from crosswalk.engine.link_quarantine import MAX_RAW, raw_row
from crosswalk.engine.map_task import MapTask
from crosswalk.engine.reasons import message_of
from crosswalk.engine.row_keys import place_file, place_line, used_fields
from crosswalk.engine.session import write_parquet
from crosswalk.engine.targets import MappedField
from crosswalk.engine.template import Node, name, number, parquet, render, sql, text, union_all


def write_quarantine(task: MapTask) -> None:
    """``quarantine/map.parquet``."""
    parts = [_refused_values(task)] if task.has_bad else []
    if task.has_taken:
        for target in task.claimed:
            value = sql("left(value, $limit)", limit=number(MAX_RAW))
            fields = text(target.mappings[0].field)
            parts.append(
                set_aside(
                    task,
                    sql(
                        "SELECT ord // 1000000 AS row_id, place, value FROM taken WHERE target = $no",
                        no=number(target.index),
                    ),
                    field=fields,
                    reason=text("identifier_taken"),
                    raw=value,
                )
            )
    if task.tables.count("noted"):
        parts.append(
            set_aside(
                task,
                sql("SELECT NULL::BIGINT AS row_id, place, property_id, reason FROM noted"),
                field=name("property_id"),
                reason=name("reason"),
                raw=sql("NULL::VARCHAR"),
            )
        )
    parts = parts or [
        set_aside(
            task,
            sql("SELECT NULL::BIGINT AS row_id, NULL::BIGINT AS place WHERE false"),
            field=text(""),
            reason=text(""),
            raw=text(""),
        )
    ]
    write_parquet(task.session, render(union_all(parts)), task.folder.quarantine / "map.parquet")


def set_aside(task: MapTask, rows: Node, *, field: Node, reason: Node, raw: Node, scope: Node | None = None) -> Node:
    """QUARANTINE_SCHEMA over rows that have ``row_id`` and ``place``."""
    place = name("place")
    return sql(
        """
        SELECT row_id, $file AS file, $line AS line, $field AS field, 'map' AS stage, $scope AS scope, $reason AS
               reason,
               $message AS message, $raw AS raw FROM ($rows)
        """,
        rows=rows,
        file=place_file(place, task.sources),
        line=place_line(place),
        field=field,
        scope=scope if scope is not None else text("value"),
        reason=reason,
        message=message_of(reason),
        raw=raw,
    )


def _refused_values(task: MapTask) -> Node:
    """Every value that does not fit; with ``reject_row`` the first one of a row stands for the row."""
    frame = task.frame
    mappings = [mapping for mapping in frame.mappings if not mapping.reported]
    consent_fields = [column.field for column in task.goal.consent]
    rows = frame.query(
        task.linked_rows(sql("row_id IN (SELECT row_id FROM bad_row)")),
        ["row_id", "place"],
        mappings,
        consent_fields,
        moments=False,
    )
    parts = [refused_values_of(mapping, mapping.is_refused) for mapping in mappings]
    for index, column in enumerate(task.goal.consent):
        cell = frame.cell_of(column.field)
        parts.append(
            sql(
                "SELECT row_id, place, $order AS position, $field AS field, 'unknown_answer' AS reason, $cell AS raw "
                "FROM bad WHERE $refused",
                order=number(len(task.goal.mappings.fields) + index),
                field=text(column.field),
                cell=cell,
                refused=consent.column_is_refused(frame, column),
            )
        )
    listed = sql("WITH bad AS ($rows) SELECT * FROM ($parts)", rows=rows, parts=union_all(parts))
    raw: Node = sql("left(raw, $limit)", limit=number(MAX_RAW))
    scope: Node = text("value")
    if task.rejects_rows:
        listed = sql(
            "SELECT l.*, row_number() OVER (PARTITION BY l.row_id ORDER BY position, raw) = 1 AS is_first, "
            "source.whole "
            "FROM ($listed) AS l JOIN (SELECT row_id, $whole AS whole FROM $rows) AS source USING (row_id)",
            listed=listed,
            whole=raw_row(frame.cells, used_fields(task.goal)),
            rows=parquet(task.rows),
        )
        raw = sql("CASE WHEN is_first THEN whole ELSE $raw END", raw=raw)
        scope = sql("CASE WHEN is_first THEN 'row' ELSE 'value' END")
    return set_aside(task, listed, field=name("field"), reason=name("reason"), raw=raw, scope=scope)


def refused_values_of(mapping: MappedField, is_refused: Node) -> Node:
    """The values of a field that do not fit, in the rows of ``bad``: row_id, place, position, field, reason, raw."""
    reader = mapping.reader
    if not reader.many:
        return sql(
            "SELECT row_id, place, $order AS position, $field AS field, $problem AS reason, $cell AS raw FROM bad "
            "WHERE $refused",
            order=number(mapping.index),
            field=text(mapping.field),
            problem=reader.problem_of(mapping.cell),
            cell=mapping.cell,
            refused=is_refused,
        )
    value = reader.number_of(sql("part")) if reader.is_numeric else reader.text_of(sql("part"))
    return sql(
        "SELECT row_id, place, $order AS position, $field AS field, $problem AS reason, raw FROM (SELECT row_id, "
        "place, "
        "unnest(list_filter($parts, LAMBDA part : $value IS NULL)) AS raw FROM bad WHERE $refused)",
        order=number(mapping.index),
        field=text(mapping.field),
        problem=reader.problem_of(name("raw")),
        parts=reader.parts(mapping.cell),
        value=value,
        refused=is_refused,
    )


def rejected_rows(task: MapTask) -> dict[str, int]:
    """Rows set aside by reason."""
    listed = task.tables.all(
        sql(
            "SELECT reason, count(*) FROM $file WHERE scope = 'row' GROUP BY reason ORDER BY reason",
            file=parquet(task.folder.quarantine / "map.parquet"),
        )
    )
    return {str(reason): int(count) for reason, count in listed}


def noted_problems(task: MapTask) -> Node:
    """Sums that were refused and values that were too many, in the bucket at hand: place, property_id, reason."""
    parts: list[Node] = []
    for no, property_id in enumerate(task.properties):
        parts.append(
            sql(
                f"SELECT p{no} AS place, $id AS property_id, 'too_many_values' AS reason FROM doc WHERE t{no}",
                id=text(property_id),
            )
        )
    for target in task.sums:
        no = task.properties.index(target.property_id)
        parts.append(
            sql(
                f"SELECT p{no} AS place, $id AS property_id, 'sum_out_of_range' AS reason FROM doc WHERE o{no}",
                id=text(target.property_id),
            )
        )
    return (
        union_all(parts) if parts else sql("SELECT NULL::BIGINT AS place, '' AS property_id, '' AS reason WHERE false")
    )


def refused_sums(task: MapTask) -> Node:
    """Profiles whose sum was refused, in the bucket at hand: profile_no, target."""
    parts = [
        sql(
            f"SELECT profile_no, $no AS target FROM doc WHERE o{task.properties.index(target.property_id)}",
            no=number(target.index),
        )
        for target in task.sums
    ]
    return union_all(parts) if parts else sql("SELECT NULL::BIGINT AS profile_no, 0 AS target WHERE false")
