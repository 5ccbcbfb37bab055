"""The profiles that an undo cannot simply put back, property by property.

What counts as *changed since* is an entry of the change log by a batch that is not undone now. Entries that an earlier
undo took back count as little as that undo's own: together they left the value as it was.

- A property goes back to what it was before the run's first entry after the last foreign one. Where there is no such
  entry, the foreign value stays (``changed_since``).
- A sum is the stored value minus what the rows of the run have added; foreign sums do not matter, any other foreign
  entry does. A row that a later run replaced has added nothing any more: what it adds now is that run's.
- Consent goes back answer by answer, unless a later answer came.
- A profile that the run created goes when nobody else knows it. Otherwise it stays and keeps its unique identifiers,
  for the others know it by them (``identifier_in_use``).
"""

from __future__ import annotations

from crosswalk.config.tenant import CONSENTED, REFUSED
from crosswalk.engine.template import Node, call, number, render, sql, text, union_all
from crosswalk.engine.undo_task import AMOUNT, ENTRIES, UndoTask, amount_of, log_entry, removal_log

PROFILES_AT_HAND = 200_000
_NOT_SETTLED = (
    "SELECT 0::BIGINT AS batch_no, '' AS profile_id, '' AS action, 0::BIGINT AS version, '' AS properties, "
    "'' AS changes LIMIT 0"
)


def find_involved(task: UndoTask) -> None:
    """``involved``: profile and the batch that its entry goes with; ``present``: the profile as it is now."""
    task.tables.make(
        "involved",
        sql(
            """
            SELECT profile_id, coalesce(max(batch_no), $last) AS batch_no FROM (
              SELECT profile_id, max(batch_no) AS batch_no FROM undone WHERE stored_version IS NOT NULL
              GROUP BY profile_id HAVING count(*) > 1 OR bool_or(stored_version <> version)
              UNION ALL
              SELECT profile_id, batch_no FROM undone SEMI JOIN shared USING (profile_id) WHERE kind = 'created'
              UNION ALL
              SELECT profile_id, NULL FROM (SELECT * FROM logged EXCEPT SELECT * FROM delta)
              UNION ALL
              SELECT profile_id, NULL FROM (SELECT * FROM delta EXCEPT SELECT * FROM logged)
              UNION ALL
              SELECT profile_id, batch_no FROM undone SEMI JOIN held USING (profile_id))
            GROUP BY profile_id
            """,
            last=number(max(task.numbers)),
        ),
    )


def decide_involved(task: UndoTask) -> None:
    """``settled``: PLANNED_UNDO_SCHEMA of involved profiles; ``kept``: what is left alone, and why.

    So many profiles at a time as fit into memory with their history.
    """
    task.tables.make("settled", _NOT_SETTLED)
    task.tables.make("kept", "SELECT 0::BIGINT AS batch_no, '' AS profile_id, '' AS property_id, '' AS reason LIMIT 0")
    buckets = max(1, -(-task.tables.count("involved") // PROFILES_AT_HAND))
    for bucket in range(buckets):
        task.tables.make("at_hand", f"SELECT * FROM involved WHERE hash(profile_id) % {buckets} = {bucket}")
        # The profiles first: a change that comes in between then shows as a version that moved.
        ids = "SELECT profile_id FROM at_hand"
        task.tables.take_in("present", task.read_profiles(task.tables.stream(ids)), "profile_id, version, properties")
        task.tables.take_in("later", task.read_later(task.tables.stream(ids)), "*")
        _decide_at_hand(task)


def _decide_at_hand(task: UndoTask) -> None:
    _find_foreign(task)
    task.tables.make(
        "leaving",
        """
        SELECT profile_id FROM undone SEMI JOIN at_hand USING (profile_id) WHERE kind = 'created'
        EXCEPT SELECT profile_id FROM shared EXCEPT SELECT profile_id FROM foreign_entry
        """,
    )
    task.tables.make(
        "mine",
        f"SELECT batch_no, profile_id, {_COLUMNS} FROM (SELECT batch_no, profile_id, unnest({ENTRIES}) AS e "
        "FROM undone SEMI JOIN at_hand USING (profile_id) ANTI JOIN leaving USING (profile_id))",
    )
    task.tables.make(
        "mixed",
        sql(
            "SELECT DISTINCT profile_id FROM foreign_entry WHERE property_id IN ($asked)",
            asked=[text(CONSENTED), text(REFUSED)],
        ),
    )
    _decide_properties(task)
    _decide_answers(task)
    kept = sql(
        """
        SELECT batch_no, profile_id, property_id, reason FROM at_hand JOIN (
          SELECT profile_id, property_id, reason FROM verdict WHERE reason <> 'answers'
          UNION ALL
          SELECT DISTINCT profile_id, $consented, 'answered_since' FROM answer SEMI JOIN mixed USING (profile_id)
          WHERE answered_since = 1) USING (profile_id)
        """,
        consented=text(CONSENTED),
    )
    task.session.execute(f"INSERT INTO kept {render(kept)}").fetchall()
    _settle(task)


_COLUMNS = (
    "e.key AS property_id, coalesce(e.value.before::VARCHAR, 'null') AS before, coalesce(e.value.sum, false) AS is_sum"
)


def _find_foreign(task: UndoTask) -> None:
    """``foreign_entry``: what others changed since, by property, as far as it still counts."""
    task.tables.make(
        "theirs",
        "SELECT batch_no, run_id, kind, undone_by, profile_id, e.key AS property_id, "
        f"coalesce(e.value.sum, false) AS is_sum FROM (SELECT *, unnest({ENTRIES}) AS e FROM later)",
    )
    task.tables.make(
        "foreign_entry",
        """
        SELECT f.batch_no, f.profile_id, f.property_id, f.is_sum FROM theirs AS f
        JOIN (SELECT profile_id, min(batch_no) AS first FROM undone GROUP BY profile_id) AS m USING (profile_id)
        ANTI JOIN (SELECT run_id, profile_id, property_id FROM theirs WHERE kind = 'undone') AS u
        ON u.run_id = f.undone_by AND u.profile_id = f.profile_id AND u.property_id = f.property_id
        WHERE f.kind <> 'undone' AND f.batch_no > m.first
        """,
    )
    task.tables.drop("theirs")


def _decide_properties(task: UndoTask) -> None:
    """``verdict``: each property that the run or its rows changed: its value now, its target, or why it stays."""
    task.tables.make(
        "weighed",
        f"""
        SELECT *, (sum_now - coalesce(amount, 0))::{AMOUNT} AS sum_after, {amount_of("first_before")} AS sum_before
        FROM (SELECT *, {amount_of("now")} AS sum_now FROM (
          SELECT profile_id, property_id, coalesce(is_sum, true) AS is_sum, foreign_sets, first_before, target_before,
                 amount, coalesce(json_extract(properties, '/' || property_id)::VARCHAR, 'null') AS now
          FROM ({_SUMMARY}) FULL JOIN delta USING (profile_id, property_id)
          JOIN present USING (profile_id) ANTI JOIN leaving USING (profile_id)))
        """,
    )
    task.tables.make(
        "verdict",
        sql(
            """
            SELECT profile_id, property_id, now, is_sum,
                   CASE WHEN NOT is_sum THEN target_before
                        WHEN sum_after = sum_before THEN coalesce(first_before, 'null')
                        ELSE concat('["', $written, '"]') END AS target,
                   CASE WHEN is_held THEN 'identifier_taken'
                        WHEN is_ours AND property_id IN ($unique) THEN 'identifier_in_use'
                        WHEN property_id IN ($answers) AND profile_id IN (SELECT profile_id FROM mixed) THEN 'answers'
                        WHEN is_sum AND (foreign_sets OR $written IS NULL) THEN 'changed_since'
                        WHEN is_sum AND amount IS NULL AND sum_now <> sum_before THEN 'changed_since'
                        WHEN NOT is_sum AND target_before IS NULL THEN 'changed_since' END AS reason
            FROM weighed LEFT JOIN (SELECT *, true AS is_held FROM held) USING (profile_id, property_id)
            LEFT JOIN (SELECT DISTINCT profile_id, true AS is_ours FROM undone WHERE kind = 'created')
            USING (profile_id)
            """,
            written=_written(task),
            unique=[text(item) for item in task.unique] or [text("")],
            answers=[text(CONSENTED), text(REFUSED)],
        ),
    )


_SUMMARY = """
    SELECT profile_id, property_id, bool_and(m.is_sum) AS is_sum, arg_min(before, batch_no) AS first_before,
           arg_min(before, batch_no) FILTER (WHERE batch_no > coalesce(last_foreign, -1)) AS target_before,
           bool_or(coalesce(sets, false)) AS foreign_sets
    FROM mine AS m LEFT JOIN (
      SELECT profile_id, property_id, max(batch_no) AS last_foreign, bool_or(NOT is_sum) AS sets FROM foreign_entry
      GROUP BY ALL) USING (profile_id, property_id)
    GROUP BY ALL
    """


def _written(task: UndoTask) -> Node:
    """``sum_after`` as the text of its property; NULL where the property is no number any more."""
    listed = task.tables.all("SELECT DISTINCT property_id FROM weighed WHERE is_sum ORDER BY 1")
    shown = [(str(row[0]), task.number_text(str(row[0]), sql("sum_after"))) for row in listed]
    whens = [
        sql("CASE WHEN property_id = $key THEN $shown END", key=text(key), shown=node)
        for key, node in shown
        if node is not None
    ]
    return call("coalesce", *whens, sql("NULL::VARCHAR"))


def _decide_answers(task: UndoTask) -> None:
    """``answer_verdict``: the lists of answers of profiles in which others answered since.

    Each answer of the run without a later one goes back to what its objective was before; the others stay.
    """
    asked = [text(CONSENTED), text(REFUSED)]
    lists = sql(
        "SELECT profile_id, objective, $refused AS was_refused, $granted AS was_granted FROM answer "
        "SEMI JOIN mixed USING (profile_id) LEFT JOIN mine USING (profile_id) "
        "WHERE answered_since = 0 AND property_id IN ($asked) GROUP BY profile_id, objective",
        refused=_held_before(REFUSED),
        granted=_held_before(CONSENTED),
        asked=asked,
    )
    back = "coalesce(list(objective ORDER BY objective) FILTER (WHERE {}), []::VARCHAR[])"
    task.tables.make(
        "answers_back",
        sql(
            f"SELECT profile_id, list(objective) AS gone, {back.format('was_refused')} AS refused, "
            f"{back.format('was_granted AND NOT was_refused')} AS granted FROM ($lists) GROUP BY profile_id",
            lists=lists,
        ),
    )
    task.tables.make("answer_verdict", union_all([_list_after(CONSENTED, "granted"), _list_after(REFUSED, "refused")]))


def _held_before(property_id: str) -> Node:
    """Whether a list of answers held the objective before the run."""
    first = sql("arg_min(before, batch_no) FILTER (WHERE property_id = $id)", id=text(property_id))
    return sql("coalesce(list_contains(from_json($first, '[\"VARCHAR\"]'), objective), false)", first=first)


def _list_after(property_id: str, column: str) -> Node:
    """One of both lists now and after, for each profile with answers that go back."""
    found = sql("json_extract(properties, $path)", path=text(f"/{property_id}"))
    return sql(
        f"SELECT profile_id, $id AS property_id, coalesce($found::VARCHAR, 'null') AS now, "
        f"list_concat(list_filter(coalesce(from_json($found, '[\"VARCHAR\"]'), []::VARCHAR[]), "
        f"LAMBDA item : NOT list_contains(gone, item)), {column}) AS after "
        f"FROM answers_back JOIN present USING (profile_id)",
        id=text(property_id),
        found=found,
    )


def _settle(task: UndoTask) -> None:
    """Add to ``settled``: one entry per profile that changes."""
    entry = log_entry("property_id", "now", "target", "is_sum")
    task.session.execute(
        f"""
        INSERT INTO settled
        SELECT i.batch_no, p.profile_id, 'restored' AS action, p.version,
               json_merge_patch(p.properties, c.patch)::VARCHAR AS properties, c.changes
        FROM (SELECT profile_id,
                     concat('{{', string_agg(concat(to_json(property_id)::VARCHAR, ':', target), ','
                                             ORDER BY property_id), '}}') AS patch,
                     concat('{{', string_agg({entry}, ',' ORDER BY property_id), '}}') AS changes
              FROM (SELECT profile_id, property_id, now, is_sum, target FROM verdict WHERE reason IS NULL
                    UNION ALL
                    SELECT profile_id, property_id, now, false,
                           CASE WHEN len(after) > 0 THEN to_json(after)::VARCHAR ELSE 'null' END FROM answer_verdict)
              WHERE from_json(now, '["VARCHAR"]') IS DISTINCT FROM from_json(target, '["VARCHAR"]')
              GROUP BY profile_id) AS c
        JOIN present AS p USING (profile_id) JOIN at_hand AS i USING (profile_id)
        UNION ALL
        SELECT i.batch_no, p.profile_id, 'removed', p.version, NULL, {removal_log("p.properties")}
        FROM leaving JOIN present AS p USING (profile_id) JOIN at_hand AS i USING (profile_id)
        """
    ).fetchall()
