"""Rows in the order of their keys, however many there are.

Keys are scattered (hashes): in any other order each row would fetch and rewrite another page of its index. What exceeds
one piece is sorted piece by piece into a file without a name and merged from there range by range, so that memory stays
bounded.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

PIECE_BYTES = 64 << 20
LEAF_BYTES = 1 << 19
RANGE_LEAVES = 64
WRITE_ROWS = 50_000


def in_order(batches: Iterable[pa.RecordBatch], *keys: str, scratch: Path | None = None) -> Iterator[pa.RecordBatch]:
    """The rows sorted by key; rows of equal keys stay as they came.

    Args:
        batches: the rows.
        keys: columns of text or bytes, without nulls.
        scratch: folder for the file; None: the system's.
    """
    pieces: list[_Piece] = []
    held: list[pa.RecordBatch] = []
    size = 0
    with tempfile.TemporaryFile(dir=scratch) as file:
        for batch in batches:
            held.append(batch)
            size += batch.nbytes
            if size >= PIECE_BYTES:
                pieces.append(_Piece(file, _sorted(held, keys), keys))
                held, size = [], 0
        if held and pieces:
            pieces.append(_Piece(file, _sorted(held, keys), keys))
            held = []
        for table in [_sorted(held, keys)] if held else _merged(pieces, keys):
            yield from table.to_batches(max_chunksize=WRITE_ROWS)


def mostly_in_order(
    batches: Iterable[pa.RecordBatch], *keys: str, scratch: Path | None = None
) -> Iterator[pa.RecordBatch]:
    """Rows that should be sorted already, as they come; from the first batch that breaks the order, the rest sorted.

    For writers to whom the order is speed and no more: checking it costs a tenth of sorting.
    """
    coming = iter(batches)
    first = yield from _as_they_come(coming, keys)
    if first is not None:
        yield from in_order(chain([first], coming), *keys, scratch=scratch)


def _as_they_come(
    coming: Iterator[pa.RecordBatch], keys: Sequence[str]
) -> Generator[pa.RecordBatch, None, pa.RecordBatch | None]:
    """Pass batches on as long as they are in order; returns the first that is not."""
    last: pa.RecordBatch | None = None
    for batch in coming:
        if not batch.num_rows:
            continue
        if not _in_order_after(last, batch, keys):
            return batch
        yield batch
        last = batch.slice(batch.num_rows - 1)
    return None


def _in_order_after(last: pa.RecordBatch | None, batch: pa.RecordBatch, keys: Sequence[str]) -> bool:
    if last is not None and _key(batch, 0, keys) < _key(last, 0, keys):
        return False
    before, after = batch.slice(0, batch.num_rows - 1), batch.slice(1)
    rising = pc.less_equal(before.column(keys[-1]), after.column(keys[-1]))
    for key in reversed(keys[:-1]):
        left, right = before.column(key), after.column(key)
        rising = pc.or_(pc.less(left, right), pc.and_(pc.equal(left, right), rising))
    return bool(pc.all(rising).as_py())


def _key(rows: pa.RecordBatch, row: int, keys: Sequence[str]) -> tuple[Any, ...]:
    return tuple(rows.column(key)[row].as_py() for key in keys)


class _Piece:
    """Sorted rows in the file, cut into leaves; read once, from its beginning."""

    def __init__(self, file: IO[bytes], table: pa.Table, keys: Sequence[str]) -> None:
        self._file, self._schema, self._keys = file, table.schema, keys
        self._places: deque[tuple[int, int]] = deque()
        self._rest: pa.RecordBatch | None = None
        self.last_keys: list[tuple[Any, ...]] = []
        rows = max(1, table.num_rows * LEAF_BYTES // max(1, table.nbytes))
        for leaf in table.to_batches(max_chunksize=rows):
            content = leaf.serialize()
            self._places.append((file.tell(), content.size))
            self.last_keys.append(_key(leaf, leaf.num_rows - 1, keys))
            file.write(content)

    def up_to(self, bound: tuple[Any, ...]) -> Iterator[pa.RecordBatch]:
        """The next rows, as far as that key, which is among them."""
        while self._rest is not None or self._places:
            leaf = self._rest if self._rest is not None else self._read()
            cut = bisect_right(range(leaf.num_rows), bound, key=partial(_key, leaf, keys=self._keys))
            if cut:
                yield leaf.slice(0, cut)
            self._rest = leaf.slice(cut) if cut < leaf.num_rows else None
            if self._rest is not None:
                return

    def _read(self) -> pa.RecordBatch:
        start, size = self._places.popleft()
        self._file.seek(start)
        return pa.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), self._schema)


def _merged(pieces: list[_Piece], keys: Sequence[str]) -> Iterator[pa.Table]:
    last_keys = sorted(key for piece in pieces for key in piece.last_keys)
    for bound in last_keys[RANGE_LEAVES - 1 :: RANGE_LEAVES] + last_keys[-1:]:
        rows = [batch for piece in pieces for batch in piece.up_to(bound)]
        if rows:
            yield _sorted(rows, keys)


def _sorted(batches: list[pa.RecordBatch], keys: Sequence[str]) -> pa.Table:
    rows = pa.concat_batches(batches)  # taking from one batch costs half of what taking from a table does
    order = pc.sort_indices(rows.select(list(keys)), sort_keys=[(key, "ascending") for key in keys])
    return pa.Table.from_batches([rows.take(order)])
