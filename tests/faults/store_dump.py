"""The whole content of a store as plain data, for comparing two stores; times and run ids are left out."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import adbc_driver_postgresql.dbapi

QUERIES = {
    "profiles": "SELECT profile_id, version, CAST(properties AS TEXT), permission_level FROM profile ORDER BY 1",
    "merged": "SELECT profile_id, replaced_by FROM profile WHERE replaced_by IS NOT NULL ORDER BY 1",
    "identifiers": "SELECT property_id, value, profile_id FROM profile_identifier ORDER BY 1, 2",
    "groups": "SELECT group_id, version, CAST(properties AS TEXT) FROM group_ ORDER BY 1",
    "group_identifiers": "SELECT property_id, value, group_id FROM group_identifier ORDER BY 1, 2",
    "row_state": "SELECT goal_id, row_key, row_hash, profile_id, amounts FROM row_state ORDER BY 1, 2",
    "files": "SELECT goal_id, path, size, modified, sha256, role FROM source_file ORDER BY 1, 2",
    "goals": "SELECT goal_id, connection, goal, state_version, config_hash FROM goal ORDER BY 1",
    "batches": "SELECT batch_id, goal_id, config_hash FROM batch ORDER BY batch_no",
    "changes": (
        "SELECT b.batch_id, c.profile_id, c.version, c.kind, CAST(c.changes AS TEXT) FROM change_log c "
        "JOIN batch b ON b.batch_no = c.batch_no ORDER BY b.batch_no, c.profile_id"
    ),
    "consent": (
        "SELECT b.batch_id, c.profile_id, c.objective, c.state, c.file, c.line FROM consent_log c "
        "JOIN batch b ON b.batch_no = c.batch_no ORDER BY 1, 2, 3"
    ),
    "events": (
        "SELECT e.profile_id, e.type, e.event_id, e.date, e.priority, e.expires_at, b.batch_id, CAST(e.data AS TEXT), "
        "e.file, e.line FROM event e JOIN batch b ON b.batch_no = e.batch_no ORDER BY 1, 2, 3"
    ),
    "purchases": "SELECT profile_id, type, event_id, product_id, bought_at, items FROM purchase ORDER BY 1, 2, 3, 4",
    "products": (
        "SELECT product_id, name, described_at, bought_count, last_bought_at, CAST(details AS TEXT) FROM product "
        "ORDER BY 1"
    ),
    **{
        f"{table}_log": (
            f"SELECT b.batch_id, w.batch_id, {columns} FROM {table}_log l JOIN batch b ON b.batch_no = l.batch_no "
            "LEFT JOIN batch w ON w.batch_no = l.written_by ORDER BY 1, 3, 4, 5, 6"
        )
        for table, columns in (
            ("event", "profile_id, type, event_id, date, CAST(data AS TEXT), expires_at, file, line"),
            ("purchase", "profile_id, type, event_id, product_id, bought_at, items"),
            ("product", "product_id, name, described_at, CAST(details AS TEXT)"),
        )
    },
    "quarantine": (
        "SELECT run_id, goal, file, line, field, stage, scope, reason, raw, replayed_by FROM quarantine "
        "ORDER BY run_id, goal, file, line, field, reason"
    ),
}
EXPORT_QUERIES = {
    "sent": (
        "SELECT o.goal_id, o.batch_no, o.counts, f.size FROM outbox o JOIN outbox_file f ON f.outbox_no = o.outbox_no "
        "WHERE o.state = 'sent' ORDER BY o.outbox_no, f.path"
    ),
    "open": "SELECT count(*) FROM outbox WHERE state NOT IN ('sent', 'failed')",
    "cursors": "SELECT goal_id, batch_no, config_hash FROM export_cursor ORDER BY 1",
    "exported": (
        "SELECT e.goal_id, e.profile_id FROM exported_profile e JOIN outbox o ON o.outbox_no = e.outbox_no "
        "AND o.state = 'sent' ORDER BY 1, 2"
    ),
    "not_sent": (
        "SELECT count(*) FROM exported_profile e JOIN outbox o ON o.outbox_no = e.outbox_no AND o.state <> 'sent'"
    ),
}
HELD_LEASES = "SELECT count(*) FROM lease WHERE run_id IS NOT NULL"


def fetch(uri: str, query: str) -> list[list[Any]]:
    if uri.startswith("sqlite:///"):
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as connection:
            rows = connection.execute(query).fetchall()
    else:
        with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            rows = cursor.fetchall()
    return [[_plain(value) for value in row] for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, str) and value[:1] == "{":
        return json.loads(value)  # documents are compared by content, never as text
    return value


def dump(uri: str) -> dict[str, list[list[Any]]]:
    """Every table that a run's result consists of."""
    return {name: fetch(uri, query) for name, query in QUERIES.items()}


def dump_exports(uri: str) -> dict[str, list[list[Any]]]:
    """What the store knows of exports; the names of files differ with the time of a run."""
    found = {name: fetch(uri, query) for name, query in EXPORT_QUERIES.items()}
    for row in found["sent"]:
        row[2]["rows_by_file"] = sorted(row[2].get("rows_by_file", {}).values())
    return found


def held_leases(uri: str) -> int:
    """How many leases are still in somebody's hands."""
    return int(fetch(uri, HELD_LEASES)[0][0])


def integrity(uri: str) -> str:
    """SQLite's own check of the file; ``ok`` on PostgreSQL, which checks at recovery."""
    if not uri.startswith("sqlite:///"):
        return "ok"
    return str(fetch(uri, "PRAGMA quick_check")[0][0])
