"""The first half of *link*: row keys, changed rows, and the tuples of identifiers to decide about.

Where the goal has row state, keys and hashes are computed once and kept beside; else only when the links are written.
"""

from __future__ import annotations

from crosswalk.engine.link_task import LinkTask, identifier_values
from crosswalk.engine.row_keys import keyed_rows, place_column, place_file, place_line
from crosswalk.engine.session import write_parquet
from crosswalk.engine.template import all_of, name, named, number, parquet, render, sql, union_all


def stage_keys(task: LinkTask) -> None:
    """``keyed``: per row its place, key, hash and raw identifiers; repeated keys are told apart or marked."""
    rows = parquet(task.rows)
    identifiers = [
        named(task.cells.cell(link.field), raw) for link, raw in zip(task.goal.identifiers, task.raw, strict=True)
    ]
    keyed = keyed_rows(task.goal, task.cells, task.sources, rows, identifiers)
    plain = sql("SELECT *, row_hash AS state_hash, false AS special FROM staged_keys")
    if not task.has_state:
        place = place_column()
        task.tables.view(
            "identified",
            sql("SELECT row_id, $place AS place, $ids FROM $rows", place=place, ids=identifiers, rows=rows),
        )
        task.tables.view("staged_keys", keyed)
        task.tables.view("keyed", plain)
        return
    write_parquet(task.session, render(keyed), task.scratch, quick=True)
    task.tables.view("staged_keys", sql("SELECT * FROM $keys", keys=parquet(task.scratch)))
    task.tables.view("identified", sql("SELECT * FROM staged_keys"))
    if find_repeated(task, "staged_keys"):
        plain = sql(
            "SELECT k.* REPLACE (coalesce(a.row_key, k.row_key) AS row_key), "
            "coalesce(a.state_hash, k.row_hash) AS state_hash, coalesce(a.special, false) AS special "
            "FROM staged_keys AS k LEFT JOIN adjusted AS a USING (row_id)"
        )
    task.tables.view("keyed", plain)


def find_repeated(task: LinkTask, rows: str) -> bool:
    """``adjusted``: rows whose key occurs several times. By content: numbered. By name: compared by the hash of all.

    Args:
        task: the task.
        rows: a table or view with row_id, row_key, row_hash and by_content.

    Returns:
        Whether there are any.
    """
    keys = task.tables.make(
        "repeated",
        sql(
            f"SELECT row_key FROM {rows} WHERE hash(row_key) IN (SELECT h FROM (SELECT hash(row_key) AS h FROM {rows}) "
            "GROUP BY h HAVING count(*) > 1) GROUP BY row_key HAVING count(*) > 1"
        ),
    )
    if not keys:
        return False
    task.tables.make(
        "adjusted",
        sql(
            f"""
            SELECT row_id, NOT by_content AS special,
                   CASE WHEN by_content AND occurrence > 1 THEN unhex(md5(concat(hex(row_key), '#', occurrence)))
                        ELSE row_key END AS row_key,
                   CASE WHEN by_content THEN row_hash ELSE all_hash END AS state_hash
            FROM (
                SELECT row_id, row_key, row_hash, by_content,
                       row_number() OVER (PARTITION BY row_key ORDER BY row_id) AS occurrence
                FROM {rows} SEMI JOIN repeated USING (row_key)
            ) LEFT JOIN (
                SELECT row_key, unhex(md5(string_agg(hex(row_hash), '' ORDER BY row_id))) AS all_hash
                FROM {rows} SEMI JOIN repeated USING (row_key) WHERE NOT by_content GROUP BY row_key
            ) USING (row_key)
            """
        ),
    )
    return True


def find_changed(task: LinkTask) -> None:
    """``changed``: rows that row state does not know as they are; not made when every row is taken."""
    if task.everything:
        return
    task.tables.make(
        "changed",
        sql(
            "SELECT k.row_id FROM keyed AS k ANTI JOIN $state AS s "
            "ON hash(k.row_key) = hash(s.row_key) AND hash(k.state_hash) = hash(s.row_hash)",
            state=parquet(task.row_state),
        ),
    )
    if task.replayed is not None:
        again = sql(
            "SELECT row_id FROM keyed SEMI JOIN (SELECT file, line FROM $places) AS p "
            "ON p.file = $file AND p.line = $line EXCEPT SELECT row_id FROM changed",
            places=parquet(task.replayed),
            file=place_file(name("place"), task.sources),
            line=place_line(name("place")),
        )
        task.tables.session.execute(f"INSERT INTO changed {render(again)}").fetchall()


def build_tuples(task: LinkTask) -> None:
    """``tuples`` (distinct raw identifiers), ``tuple_reads`` (their values) and ``hot``: the tuples to decide about."""
    raw = [name(column) for column in task.raw]
    touched = sql("true") if task.everything else sql("bool_or(row_id IN (SELECT row_id FROM changed))")
    task.tables.make(
        "tuples",
        sql(
            "SELECT row_number() OVER () AS tuple_no, * FROM (SELECT $raw, min(row_id) AS first_row, "
            "arg_min(place, row_id) AS place, $touched AS touched FROM identified GROUP BY $raw)",
            raw=raw,
            touched=touched,
        ),
    )
    found = identifier_values(task.readers, task.raw)
    columns = [named(values, f"values_{index}") for index, (values, _) in enumerate(found)]
    columns += [named(problem, f"problem_{index}") for index, (_, problem) in enumerate(found)]
    task.tables.make("tuple_reads", sql("SELECT tuple_no, $columns FROM tuples", columns=columns))
    parts = [
        sql(
            "SELECT tuple_no, $identifier AS identifier, $property AS property_no, unnest($values) AS value, "
            "generate_subscripts($values, 1) AS position FROM tuple_reads",
            identifier=number(index),
            property=number(task.properties.index(link.property)),
            values=name(f"values_{index}"),
        )
        for index, link in enumerate(task.goal.identifiers)
    ]
    task.tables.make("tuple_values", union_all(parts))
    task.tables.make("hot", sql("SELECT tuple_no FROM tuples WHERE touched"))
    if not task.everything:
        _spread(task)


def _spread(task: LinkTask) -> None:
    """Bring along every tuple that shares a linking value or a repeated row key with a hot one, to the fixed point.

    Rows of one key are one row that changed several times, possibly of several profiles: only all of them together
    tell where it ends.
    """
    known = task.tables.count("hot")
    query = """
        SELECT tuple_no FROM hot UNION SELECT tuple_no FROM tuple_values SEMI JOIN (
            SELECT DISTINCT property_no, value FROM tuple_values SEMI JOIN hot USING (tuple_no)
        ) AS shared USING (property_no, value)
        """
    if known and task.tables.one("SELECT count(*) FROM keyed WHERE special"):
        same = [sql(f"k.{raw} IS NOT DISTINCT FROM t.{raw}") for raw in task.raw]
        rows = sql(
            "SELECT DISTINCT row_key, tuple_no FROM (SELECT * FROM keyed WHERE special) AS k JOIN tuples AS t ON $same",
            same=all_of(same),
        )
        task.tables.make("repeated_tuple", rows)
        query += """
            UNION SELECT tuple_no FROM repeated_tuple SEMI JOIN (
                SELECT DISTINCT row_key FROM repeated_tuple SEMI JOIN hot USING (tuple_no)
            ) AS repeats USING (row_key)
            """
    while known:
        task.tables.make("hot", sql(query))
        grown = task.tables.count("hot")
        if grown == known:
            return
        known = grown
