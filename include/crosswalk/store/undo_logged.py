"""Undo of what is written beside profiles: events, purchases, and the descriptions of products."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from crosswalk.store.backend import Backend, RowStatement
from crosswalk.store.changes import OvertakenError
from crosswalk.store.events import DELETE_EXPIRED
from crosswalk.store.logged import EVENTS, LOGGED, PRODUCTS, PURCHASES, LoggedTable, listed
from crosswalk.store.ordering import in_order
from crosswalk.store.products import COUNT_AGAIN
from crosswalk.store.undo_base import Undo

# A product that others bought too stays, with the description that it has, for as long as they did.
REMOVE_UNBOUGHT = (
    "DELETE FROM product WHERE bought_count = 0 "
    "AND batch_no IN (SELECT batch_no FROM batch WHERE undone_by IS NOT NULL)"
)
UNCOUNT = RowStatement(
    "product_uncount",
    {"product_id": "text"},
    "UPDATE product SET bought_count = NULL {from} WHERE product.product_id = {product_id}",
)
_ONE = pa.schema([("one", pa.int64())])


class UndoingLogged:
    """Taking back rows of logged tables; see ``Store`` for what each method promises."""

    _db: Backend

    def made_rows(self, table: LoggedTable, numbers: list[int]) -> pa.RecordBatchReader:
        """Rows that these batches made."""
        return table.made(self._db, self._without_merges(numbers))

    def row_history(self, table: LoggedTable, numbers: list[int]) -> pa.RecordBatchReader:
        """What became of rows that these batches wrote, overwrote or removed."""
        return table.history(self._db, self._without_merges(numbers))

    def _without_merges(self, numbers: list[int]) -> list[int]:
        """The batches that wrote rows of their own: what a merge moved goes back with it (``merges.py``)."""
        found = self._db.query(
            f"SELECT DISTINCT batch_no AS one FROM merge_log WHERE batch_no IN {listed(numbers)}", (), _ONE
        )
        merges = {row["one"] for row in found}
        return [number for number in numbers if number not in merges]

    def sent_files(self, run_id: str) -> int:
        """How many files a run's exports have sent, or may have sent."""
        found = self._db.query(
            "SELECT count(*) AS one FROM outbox o JOIN outbox_file f ON f.outbox_no = o.outbox_no "
            "WHERE o.run_id = $1 AND o.state IN ('sent', 'sending', 'unknown')",
            (run_id,),
            _ONE,
        )
        return int(found[0]["one"])

    def _take_back_logged(self, undo: Undo) -> None:
        numbers = sorted(self._without_merges([batch.batch_no for batch in undo.batches]), reverse=True)
        for table in LOGGED:
            for number in numbers:
                table.pass_over(self._db, number)
        for table in (EVENTS, PURCHASES):
            if table.name in undo.logged:
                missed = self._restore(table, undo) + self._write(table.remove, self._planned(table, undo, "removed"))
                if missed:
                    raise OvertakenError(table.name, missed)
        if PRODUCTS.name in undo.logged:
            self._count_products(undo)
        self._db.execute(DELETE_EXPIRED)  # nothing comes back whose time is over

    def _restore(self, table: LoggedTable, undo: Undo) -> int:
        """Rows that get back what they were, and rows that come again; returns how many moved meanwhile."""
        return self._write(table.put_back, self._planned(table, undo, "restored", gone=False)) + self._write(
            table.bring_back, self._planned(table, undo, "restored", gone=True)
        )

    def _count_products(self, undo: Undo) -> None:
        if PURCHASES.name in undo.logged:
            bought = (rows.select(["product_id"]) for rows in undo.logged[PURCHASES.name]())
            sink = self._db.sink(UNCOUNT)
            sink.write_all(in_order(bought, "product_id", scratch=undo.scratch))
            if sink.rows:
                self._db.execute(COUNT_AGAIN)
        missed = self._restore(PRODUCTS, undo)
        if missed:
            raise OvertakenError(PRODUCTS.name, missed)
        self._db.execute(REMOVE_UNBOUGHT)

    def _write(self, statement: RowStatement, rows: Iterable[pa.RecordBatch]) -> int:
        """Write rows; how many of them were not as the plan saw them."""
        sink = self._db.sink(statement)
        changed = sink.write_all(rows)
        return sink.rows - changed

    def _planned(
        self, table: LoggedTable, undo: Undo, action: str, *, gone: bool | None = None
    ) -> Iterable[pa.RecordBatch]:
        """The rows of the plan with that action, in the order of the table's key."""

        def chosen() -> Iterable[pa.RecordBatch]:
            for rows in undo.logged[table.name]():
                found = rows.filter(pc.equal(rows.column("action"), action))
                if gone is not None:
                    is_gone = pc.equal(found.column("stored"), 0)
                    found = found.filter(is_gone if gone else pc.invert(is_gone))
                yield found

        return in_order(chosen(), *table.key, scratch=undo.scratch)
