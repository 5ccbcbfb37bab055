"""Replay: what a run set aside and which of it went through again.

The rejects of a run keep the name of the run that replayed them; that run has rejects of its own, which can be replayed
in turn.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa

from crosswalk.store.backend import Backend
from crosswalk.store.replay_base import PLACES_SCHEMA, OpenFile

_TEXT, _INT = pa.string(), pa.int64()
_FILE = pa.schema(
    [
        ("path", _TEXT),
        ("role", _TEXT),
        ("size", _INT),
        ("modified", _INT),
        ("sha256", _TEXT),
        ("seen_at", pa.float64()),
        ("rejects", _INT),
    ]
)
_RUN = pa.schema([("run_id", _TEXT)])
_OUTCOME = pa.schema(
    [("goal", _TEXT), ("reason", _TEXT), ("file", _TEXT), ("replayed", _INT), ("set_aside_again", _INT)]
)
_REJECT = pa.schema(
    [(name, _TEXT) for name in ("run_id", "connection", "goal", "file")]
    + [("line", _INT)]
    + [(name, _TEXT) for name in ("field", "stage", "scope", "reason", "message", "raw", "replayed_by")]
)


class Replaying:
    """What replays ask; see ``Store`` for what each method promises."""

    _db: Backend

    def open_files(self, run_id: str, goal_id: int) -> list[OpenFile]:
        """The files that a run read for a goal."""
        found = self._db.query(
            "SELECT f.path, f.role, f.size, f.modified, f.sha256, coalesce(s.seen_at, 0.0), coalesce(q.rejects, 0) "
            "FROM batch b JOIN goal g ON g.goal_id = b.goal_id JOIN batch_file f ON f.batch_no = b.batch_no "
            "LEFT JOIN source_file s ON s.goal_id = b.goal_id AND s.path = f.path LEFT JOIN ("
            "SELECT goal, file, count(*) AS rejects FROM quarantine WHERE run_id = $1 AND replayed_by IS NULL "
            "GROUP BY goal, file) q ON q.goal = g.goal AND q.file = f.path "
            "WHERE b.run_id = $1 AND b.goal_id = $2 AND b.undone_by IS NULL ORDER BY f.modified, f.path LIMIT 1000000",
            (run_id, goal_id),
            _FILE,
        )
        return [OpenFile(**row) for row in found]

    def open_places(self, run_id: str, goal_id: int) -> pa.RecordBatchReader:
        """Where a run set aside something that was not replayed since."""
        row = pa.record_batch({"run_id": pa.array([run_id], _TEXT), "goal_id": pa.array([goal_id], _INT)})
        return self._db.stream(
            "SELECT q.file, q.line FROM wanted_run w JOIN goal g ON g.goal_id = w.goal_id "
            "JOIN quarantine q ON q.run_id = w.run_id AND q.goal = g.goal "
            "WHERE q.replayed_by IS NULL AND q.file IS NOT NULL AND q.line IS NOT NULL",
            PLACES_SCHEMA,
            staged=("wanted_run", pa.RecordBatchReader.from_batches(row.schema, [row])),
        )

    def replays(self, run_id: str, goal_id: int) -> list[str]:
        """The runs that replayed rejects of a run."""
        found = self._db.query(
            "SELECT DISTINCT q.replayed_by FROM quarantine q JOIN goal g ON g.goal = q.goal "
            "WHERE q.run_id = $1 AND g.goal_id = $2 AND q.replayed_by IS NOT NULL ORDER BY 1 LIMIT 1000",
            (run_id, goal_id),
            _RUN,
        )
        return [row["run_id"] for row in found]

    def replay_outcome(
        self, run_id: str, replay_id: str, planned: dict[str, list[str]] | None = None
    ) -> list[dict[str, Any]]:
        """What a replay read again and set aside again, by goal and reason."""
        open_ = "" if planned is None else "q.replayed_by IS NULL"
        found = self._db.query(
            "SELECT q.goal, q.reason, q.file, count(*) AS replayed, sum(CASE WHEN a.file IS NULL THEN 0 ELSE 1 END) "
            "FROM quarantine q LEFT JOIN (SELECT DISTINCT goal, file, line, CASE WHEN scope = 'row' THEN '' "
            "ELSE coalesce(field, '') END AS field FROM quarantine WHERE run_id = $2) a "
            "ON a.goal = q.goal AND a.file = q.file AND a.line = q.line AND (a.field = '' "
            f"OR a.field = coalesce(q.field, '')) WHERE q.run_id = $1 AND {open_ or 'q.replayed_by = $2'} "
            "GROUP BY q.goal, q.reason, q.file ORDER BY q.goal, q.reason LIMIT 1000000",
            (run_id, replay_id),
            _OUTCOME,
        )
        totals: dict[tuple[str, str], dict[str, Any]] = {}
        for row in found:
            if planned is None or row["file"] in planned.get(row["goal"], ()):
                key = {"goal": row["goal"], "reason": row["reason"]}
                line = totals.setdefault((row["goal"], row["reason"]), {**key, "replayed": 0, "set_aside_again": 0})
                for count in ("replayed", "set_aside_again"):
                    line[count] += row[count]
        return list(totals.values())

    def rejects_with(self, text: str, limit: int) -> list[dict[str, Any]]:
        """What runs set aside whose raw text holds a text."""
        spellings = [text, json.dumps(text, ensure_ascii=False)[1:-1]]  # a whole row is kept as JSON
        patterns = ["%" + re.sub(r"([\\%_])", r"\\\1", spelling.lower()) + "%" for spelling in spellings]
        return self._db.query(
            "SELECT q.run_id, r.connection, q.goal, coalesce(q.file, ''), coalesce(q.line, 0), coalesce(q.field, ''), "
            "q.stage, q.scope, q.reason, q.message, q.raw, coalesce(q.replayed_by, '') "
            "FROM quarantine q JOIN run r ON r.run_id = q.run_id WHERE r.mode <> 'undo' "
            "AND (lower(q.raw) LIKE $1 ESCAPE '\\' OR lower(q.raw) LIKE $2 ESCAPE '\\') "
            f"ORDER BY r.started_at DESC, q.run_id, q.file, q.line LIMIT {int(limit)}",
            (patterns[0], patterns[1]),
            _REJECT,
        )

    def _mark_replayed(self, run_id: str, goal: str, batch_no: int, replays: str) -> None:
        """Within the transaction of a replay: what it read again of another run's rejects."""
        self._db.execute(
            "UPDATE quarantine SET replayed_by = $1 WHERE run_id = $2 AND goal = $3 AND replayed_by IS NULL "
            "AND file IN (SELECT path FROM batch_file WHERE batch_no = $4 AND role = 'primary')",
            (run_id, replays, goal, batch_no),
        )

    def _forget_replay(self, run_id: str, goal: str) -> None:
        """Within the transaction that undoes a replay: its rejects are open again."""
        self._db.execute(
            "UPDATE quarantine SET replayed_by = NULL WHERE replayed_by = $1 AND goal = $2", (run_id, goal)
        )
