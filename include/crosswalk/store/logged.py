"""Tables whose rows name the batch that wrote them last, beside a log of what batches overwrote or removed.

A row that names a batch, and of which the log of that batch has nothing, was new. So what a batch did to a row can be
taken back for as long as its log is kept: the row gets back what the log has, or goes. Where a later batch wrote the
row again, the row stays, and the log of that later batch passes over to what was there before the undone one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from crosswalk.store.backend import KINDS, Backend, RowStatement


def listed(numbers: list[int]) -> str:
    """Batch numbers for ``IN``."""
    return f"({', '.join(str(int(number)) for number in numbers)})"


@dataclass(frozen=True)
class LoggedTable:
    """One such table; its log is called ``<name>_log`` and has ``written_by`` beside the columns of the table.

    Attributes:
        name: the table.
        key: its key, column name to kind.
        values: the columns that the log keeps, column name to kind.
        logs_where: which rows the log is to take, over the stored row ``o`` and the columns of ``asked``.
        asked: further columns of the rows that are logged.
        is_over: whether a row of the log, ``l``, is past its time and must not come back.
    """

    name: str
    key: Mapping[str, str]
    values: Mapping[str, str]
    logs_where: str = "true"
    asked: Mapping[str, str] | None = None
    is_over: str = ""

    # -- statements over rows -------------------------------------------------------------------------------------
    @property
    def log(self) -> RowStatement:
        """Keep what the batch ``number`` is about to overwrite or remove."""
        key, values = ", ".join(f"o.{name}" for name in self.key), ", ".join(f"o.{name}" for name in self.values)
        same = " AND ".join(f"o.{name} = {{{name}}}" for name in self.key)
        return RowStatement(
            f"{self.name}_log",
            {**self.key, **(self.asked or {}), "number": "int"},
            f"INSERT INTO {self.name}_log (batch_no, {', '.join([*self.key, *self.values])}, written_by) "
            f"SELECT {{number}}, {key}, {values}, o.batch_no FROM {self.name} o {{beside}} "
            f"WHERE {same} AND {self.logs_where}",
        )

    @property
    def put_back(self) -> RowStatement:
        """Give a row what it was before, if it is still as the plan of the undo saw it."""
        values = ", ".join(f"{name} = {{{name}}}" for name in self.values)
        return RowStatement(
            f"{self.name}_back",
            {**self.key, **self.values, "written_by": "int", "stored": "int"},
            f"UPDATE {self.name} SET {values}, batch_no = {{written_by}} {{from}} WHERE {self._same_row}",
        )

    @property
    def bring_back(self) -> RowStatement:
        """Make a row again that is gone."""
        columns = [*self.key, *self.values]
        return RowStatement(
            f"{self.name}_again",
            {**self.key, **self.values, "written_by": "int"},
            f"INSERT INTO {self.name} ({', '.join(columns)}, batch_no) {{select}} "
            f"{', '.join(f'{{{name}}}' for name in columns)}, {{written_by}} {{rows}} "
            f"ON CONFLICT ({', '.join(self.key)}) DO NOTHING",
        )

    @property
    def remove(self) -> RowStatement:
        """Remove a row that was new."""
        return RowStatement(
            f"{self.name}_gone",
            {**self.key, "stored": "int"},
            f"DELETE FROM {self.name} {{using}} WHERE {self._same_row}",
        )

    @property
    def _same_row(self) -> str:
        same = " AND ".join(f"{self.name}.{name} = {{{name}}}" for name in self.key)
        return f"{same} AND {self.name}.batch_no = {{stored}}"

    # -- reading for an undo --------------------------------------------------------------------------------------
    @property
    def made_schema(self) -> pa.Schema:
        """Rows that batches made."""
        return pa.schema([*((name, KINDS[kind]) for name, kind in self.key.items()), ("batch_no", pa.int64())])

    @property
    def history_schema(self) -> pa.Schema:
        """Entries of the log: key, batch, who had written what it overwrote, who wrote the row now, and what it was."""
        columns = [(name, KINDS[kind]) for name, kind in self.key.items()]
        columns += [(name, pa.int64()) for name in ("batch_no", "written_by", "stored", "is_over")]
        return pa.schema(columns + [(name, KINDS[kind]) for name, kind in self.values.items()])

    @property
    def planned_schema(self) -> pa.Schema:
        """What an undo does to rows: ``restored`` (made again where ``stored`` is 0) or ``removed``."""
        columns = [("batch_no", pa.int64()), ("action", pa.string())]
        columns += [(name, KINDS[kind]) for name, kind in {**self.key, **self.values}.items()]
        return pa.schema([*columns, ("written_by", pa.int64()), ("stored", pa.int64())])

    def made(self, db: Backend, numbers: list[int]) -> pa.RecordBatchReader:
        """Rows that these batches wrote last and that were not there before (``made_schema``)."""
        keys = ", ".join(f"t.{name}" for name in self.key)
        return db.stream(
            f"SELECT {keys}, t.batch_no FROM {self.name} t WHERE t.batch_no IN {listed(numbers)} AND NOT EXISTS "
            f"(SELECT 1 FROM {self.name}_log l WHERE l.batch_no IN {listed(numbers)} AND {self._same('l', 't')})",
            self.made_schema,
        )

    def history(self, db: Backend, numbers: list[int]) -> pa.RecordBatchReader:
        """Every entry of the log, since the first of these batches, of rows that one of them wrote or overwrote.

        ``stored`` is 0 where the row is gone.
        """
        first, those = min(numbers), listed(numbers)
        key = ", ".join(self.key)
        columns = [f"l.{name}" for name in self.key]
        columns += ["l.batch_no", "l.written_by", "coalesce(t.batch_no, 0)"]
        columns.append(f"CAST(CASE WHEN {self.is_over or '1 = 0'} THEN 1 ELSE 0 END AS BIGINT)")
        columns += [
            f"CAST(l.{name} AS TEXT)" if kind in ("json", "text") else f"l.{name}" for name, kind in self.values.items()
        ]
        return db.stream(
            f"SELECT {', '.join(columns)} FROM {self.name}_log l LEFT JOIN {self.name} t ON {self._same('t', 'l')} "
            f"WHERE l.batch_no >= {first} AND ({', '.join(f'l.{name}' for name in self.key)}) IN (SELECT {key} "
            f"FROM {self.name}_log WHERE batch_no IN {those} OR (batch_no > {first} AND written_by IN {those}))",
            self.history_schema,
        )

    def purge(self, *conditions: str) -> str:
        """The statement that forgets entries of the log, ``l``: those of any condition and those past their time."""
        chosen = [*conditions, *([self.is_over] if self.is_over else [])]
        return f"DELETE FROM {self.name}_log AS l WHERE {' OR '.join(chosen)}"

    # -- within the transaction of an undo ------------------------------------------------------------------------
    def pass_over(self, db: Backend, number: int) -> None:
        """Later entries of the log, from before this batch on, speak of what was there before it."""
        log, columns = f"{self.name}_log", [*self.values, "written_by"]
        later = f"{log}.batch_no > {number} AND {log}.written_by = {number}"
        mine = f"m.batch_no = {number} AND {self._same('m', log)}"
        db.execute(f"DELETE FROM {log} WHERE {later} AND NOT EXISTS (SELECT 1 FROM {log} m WHERE {mine})")
        self._log_made_again(db, number)
        db.execute(
            f"UPDATE {log} SET {', '.join(f'{name} = m.{name}' for name in columns)} FROM {log} m "
            f"WHERE {later} AND {mine}"
        )
        db.execute(f"DELETE FROM {log} WHERE batch_no = {number}")

    def _log_made_again(self, db: Backend, number: int) -> None:
        """A row that this batch removed and a later one made again was not new then: it replaced what was before."""
        log, columns = f"{self.name}_log", ", ".join([*self.key, *self.values])
        mine = ", ".join(f"m.{name}" for name in [*self.key, *self.values])
        later = f"FROM {log} x WHERE x.batch_no > {number} AND {self._same('x', 'm')}"
        db.execute(
            f"INSERT INTO {log} (batch_no, {columns}, written_by) SELECT made_by, {columns}, written_by FROM ("
            f"SELECT {mine}, m.written_by, coalesce((SELECT min(x.written_by) {later}), (SELECT t.batch_no "
            f"FROM {self.name} t WHERE t.batch_no > {number} AND {self._same('t', 'm')})) AS made_by FROM {log} m "
            f"WHERE m.batch_no = {number} AND NOT EXISTS (SELECT 1 {later} AND x.written_by = {number})) n "
            f"WHERE made_by > {number}"
        )

    def _same(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{name} = {right}.{name}" for name in self.key)


_EVENT_KEY = {"profile_id": "text", "type": "text", "event_id": "text"}
EVENTS = LoggedTable(
    "event",
    _EVENT_KEY,
    {"date": "int", "priority": "int", "expires_at": "int", "data": "json", "file": "text", "line": "int"},
    is_over="l.expires_at <= {now}",
)
PURCHASES = LoggedTable("purchase", {**_EVENT_KEY, "product_id": "text"}, {"bought_at": "int", "items": "int"})
PRODUCTS = LoggedTable(
    "product",
    {"product_id": "text"},
    {"name": "text", "details": "json", "described_at": "int"},
    logs_where="{described_at} >= o.described_at",
    asked={"described_at": "int"},
)
LOGGED = (EVENTS, PURCHASES, PRODUCTS)
