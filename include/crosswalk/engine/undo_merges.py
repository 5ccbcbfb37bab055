"""Undo of merges: which of them come apart, and what stays one.

A merge comes apart when its profiles are still as the run left them: the living one at the run's last version, the
others replaced by it and untouched, their identifiers free. The living profile then goes back like any other, and the
others are *revived*. Else the merge stays as a whole (``merged_since``): its entries take no part in the undo, and only
what the run's own rows wrote is weighed.
"""

from __future__ import annotations

from crosswalk.engine.template import parquet, render, sql
from crosswalk.engine.undo_task import ENTRIES, UndoTask, log_entry


def split_merges(task: UndoTask) -> None:
    """``undone`` without the entries of replaced profiles; ``apart`` and ``stays_merged``: the merges by outcome."""
    tables = task.tables
    if not tables.one(sql("SELECT count(*) FROM $merged", merged=parquet(task.merged))):
        tables.view("undone", sql("SELECT * FROM $changes", changes=parquet(task.changes)))
        return
    tables.make(
        "merge_fate",
        sql(
            """
            SELECT m.batch_no, m.profile_id, m.living_id,
                   min(m.is_whole) OVER same = 1 AND coalesce(min(l.is_last) OVER same, false)
                   AND coalesce(min(h.held) OVER same, 1) = 1 AS is_apart
            FROM $merged AS m LEFT JOIN (
                SELECT profile_id, bool_and(stored_version IS NOT NULL AND stored_version = latest) AS is_last
                FROM (SELECT profile_id, stored_version, max(version) OVER (PARTITION BY profile_id) AS latest
                      FROM $changes) GROUP BY profile_id) AS l ON l.profile_id = m.living_id
            LEFT JOIN (SELECT DISTINCT profile_id, 0 AS held FROM held) AS h
            ON h.profile_id = m.profile_id OR h.profile_id = m.living_id
            WINDOW same AS (PARTITION BY m.batch_no, m.living_id)
            """,
            merged=parquet(task.merged),
            changes=parquet(task.changes),
        ),
    )
    tables.make("apart", "SELECT DISTINCT batch_no, profile_id, living_id FROM merge_fate WHERE is_apart")
    tables.make("stays_merged", "SELECT DISTINCT batch_no, profile_id, living_id FROM merge_fate WHERE NOT is_apart")
    tables.view(
        "undone",
        sql(
            "SELECT c.* FROM $changes AS c ANTI JOIN stays_merged AS s ON c.kind = 'merged' "
            "AND s.batch_no = c.batch_no AND s.living_id = c.profile_id WHERE c.kind <> 'replaced'",
            changes=parquet(task.changes),
        ),
    )


def has_merges(task: UndoTask) -> bool:
    """Whether the run merged anyone."""
    return bool(task.tables.one("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'apart'"))


def revived(task: UndoTask) -> str:
    """SQL for the entries of the profiles that come back (PLANNED_UNDO_SCHEMA)."""
    before, after = "coalesce(e.value.before::VARCHAR, 'null')", "coalesce(e.value.after::VARCHAR, 'null')"
    entry = log_entry("e.key", after, before, "false")
    changes = f"concat('{{', array_to_string(list_transform(entries, LAMBDA e : {entry}), ','), '}}')"
    found = sql(
        "SELECT c.* FROM $changes AS c SEMI JOIN apart USING (batch_no, profile_id) WHERE kind = 'replaced'",
        changes=parquet(task.changes),
    )
    return (
        "SELECT batch_no, profile_id, 'revived' AS action, stored_version AS version, properties, "
        f"{changes} AS changes FROM (SELECT *, {ENTRIES} AS entries FROM ({render(found)}))"
    )


def keep_merges(task: UndoTask) -> None:
    """Adds to ``kept`` the profiles that stay merged."""
    task.session.execute(
        "INSERT INTO kept SELECT batch_no, profile_id, 'replaced_by', 'merged_since' FROM stays_merged"
    ).fetchall()
