"""Events that rows change instead of replacing them: ``update_or_create`` and ``update_only``.

The rows of an event are taken in order. A row of ``replace`` makes the event anew; the others change the fields that
they have. Before anything has made the event, rows of ``update_only`` do nothing. Items of a nested field are joined by
their identifier, in the order in which they first came; without a mapped identifier they are replaced as a whole.
"""

from __future__ import annotations

import json

from crosswalk.config.event_types import EventField
from crosswalk.engine.event_task import EventTask
from crosswalk.engine.template import Node, call, name, number, sql, text, union_all

_KEY = "profile_no, type_no, event_id"


def make_patched(task: EventTask, patched: Node) -> None:
    """``patched_event``, as ``good_event``: one row per event; ``unfound_event``: how many rows found nothing."""
    task.tables.make(
        "patch_start",
        sql(
            f"""
            SELECT {_KEY}, count(*) AS row_count, max(ord) FILTER (WHERE $whole) AS base,
                   min(ord) FILTER (WHERE $creates) AS first_made, any_value(s.batch_no) IS NOT NULL AS is_stored
            FROM good_event LEFT JOIN (SELECT {_KEY}, batch_no FROM stored_event) AS s USING ({_KEY})
            WHERE $patched GROUP BY {_KEY}
            """,
            whole=task.flag([entry.mapping.strategy == "replace" for entry in task.entries]),
            creates=task.flag([entry.mapping.strategy != "update_only" for entry in task.entries]),
            patched=patched,
        ),
    )
    task.tables.make(
        "patch_row",
        sql(
            f"""
            SELECT g.* FROM good_event AS g JOIN patch_start AS p USING ({_KEY})
            WHERE g.ord >= coalesce(base, -1) AND (is_stored OR g.ord >= first_made)
            UNION ALL
            SELECT s.profile_no, s.type_no, -1 AS ord, NULL AS place, s.event_id, s.date, s.data
            FROM stored_event AS s JOIN patch_start AS p USING ({_KEY}) WHERE base IS NULL
            """
        ),
    )
    task.tables.make(
        "unfound_event",
        sql(
            f"""
            SELECT count(*) AS row_count FROM good_event AS g JOIN patch_start AS p USING ({_KEY})
            WHERE NOT is_stored AND (first_made IS NULL OR g.ord < first_made)
            """
        ),
    )
    task.tables.make("patched_event", union_all([_patched(task, no) for no in task.patched_types]))


def _patched(task: EventTask, type_no: int) -> Node:
    """The events of one type: each field is what the last row with it says."""
    fields = task.declared[type_no].fields
    rows = sql("SELECT * FROM patch_row WHERE type_no = $no", no=number(type_no))
    kept = []
    for no, (key, shape) in enumerate(fields.items()):
        if not _is_keyed(task, type_no, key, shape):
            kept.append(
                sql(
                    f"arg_max($value, ord) FILTER (WHERE $value IS NOT NULL) AS f{no}",
                    value=sql("json_extract(data, $path)::VARCHAR", path=_pointer(key)),
                )
            )
    values: list[Node] = [
        sql("$key || $value", key=text(_key(key)), value=name(f"f{no}")) for no, key in enumerate(fields)
    ]
    plain = sql(
        f"SELECT {_KEY}, max(ord) AS ord, arg_max(place, ord) AS place, arg_max(date, ord) AS date, $kept "
        f"FROM ($rows) GROUP BY {_KEY}",
        kept=kept or [sql("1")],
        rows=rows,
    )
    for no, (key, shape) in enumerate(fields.items()):
        if _is_keyed(task, type_no, key, shape):
            plain = sql(
                f"SELECT p.*, i.items AS f{no} FROM ($plain) AS p LEFT JOIN ($items) AS i USING ({_KEY})",
                plain=plain,
                items=_joined_items(rows, key, shape),
            )
    return sql(
        "SELECT profile_no, type_no, ord, place, event_id, date, '{' || $members || '}' AS data FROM ($plain) "
        "WHERE ord >= 0",
        members=call("concat_ws", text(","), *values),
        plain=plain,
    )


def _pointer(key: str) -> Node:
    return text(f"/{key}")


def _is_keyed(task: EventTask, type_no: int, key: str, shape: EventField) -> bool:
    """Whether items of a field are joined: every mapping of it has their identifier."""
    if shape.identifier is None:
        return False
    mapped = [
        entry.mapping.nested[key].fields
        for entry in task.entries
        if entry.mapping.type == task.types[type_no] and key in entry.mapping.nested
    ]
    return bool(mapped) and all(shape.identifier in fields for fields in mapped)


def _joined_items(rows: Node, key: str, shape: EventField) -> Node:
    """The items of a field: for each identifier what the last row with a value says; others stay apart."""
    fields = list(shape.fields or {})
    items = sql(
        f"""
        SELECT {_KEY}, item, ord * 100000 + position AS at
        FROM (SELECT {_KEY}, ord, unnest(items) AS item, generate_subscripts(items, 1) AS position
              FROM (SELECT {_KEY}, ord, from_json(json_extract(data, $path), '["JSON"]') AS items FROM ($rows)))
        """,
        path=_pointer(key),
        rows=rows,
    )
    values = [
        sql(
            f"arg_max($value, at) FILTER (WHERE $value IS NOT NULL) AS g{no}",
            value=sql("json_extract(item, $path)::VARCHAR", path=_pointer(field)),
        )
        for no, field in enumerate(fields)
    ]
    members = [sql("$key || $value", key=text(_key(field)), value=name(f"g{no}")) for no, field in enumerate(fields)]
    identifier = sql("json_extract_string(item, $path)", path=_pointer(shape.identifier or ""))
    grouped = sql(
        f"SELECT {_KEY}, min(at) AS at, $values FROM ($items) GROUP BY {_KEY}, $identifier, "
        "CASE WHEN $identifier IS NULL THEN at END",
        values=values,
        items=items,
        identifier=identifier,
    )
    return sql(
        f"SELECT {_KEY}, '[' || string_agg('{{' || $members || '}}', ',' ORDER BY at) || ']' AS items FROM ($grouped) "
        f"GROUP BY {_KEY}",
        members=call("concat_ws", text(","), *members),
        grouped=grouped,
    )


def _key(key: str) -> str:
    return f"{json.dumps(key, ensure_ascii=False)}:"
