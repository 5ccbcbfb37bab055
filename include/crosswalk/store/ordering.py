"""Rows in the order of their keys, however many there are.

Keys are scattered (hashes): in any other order each row would fetch and rewrite another page of its index. What exceeds
one piece is sorted piece by piece into a file without a name and merged from there range by range, so that memory stays
bounded.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
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
            self.last_keys.append(self._key(leaf, leaf.num_rows - 1))
            file.write(content)

    def up_to(self, bound: tuple[Any, ...]) -> Iterator[pa.RecordBatch]:
        """The next rows, as far as that key, which is among them."""
        while self._rest is not None or self._places:
            leaf = self._rest if self._rest is not None else self._read()
            cut = bisect_right(range(leaf.num_rows), bound, key=partial(self._key, leaf))
            if cut:
                yield leaf.slice(0, cut)
            self._rest = leaf.slice(cut) if cut < leaf.num_rows else None
            if self._rest is not None:
                return

    def _read(self) -> pa.RecordBatch:
        start, size = self._places.popleft()
        self._file.seek(start)
        return pa.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), self._schema)

    def _key(self, rows: pa.RecordBatch, row: int) -> tuple[Any, ...]:
        return tuple(rows.column(key)[row].as_py() for key in self._keys)


def _merged(pieces: list[_Piece], keys: Sequence[str]) -> Iterator[pa.Table]:
    last_keys = sorted(key for piece in pieces for key in piece.last_keys)
    for bound in last_keys[RANGE_LEAVES - 1 :: RANGE_LEAVES] + last_keys[-1:]:
        rows = [batch for piece in pieces for batch in piece.up_to(bound)]
        if rows:
            yield _sorted(rows, keys)


def _sorted(batches: list[pa.RecordBatch], keys: Sequence[str]) -> pa.Table:
    table = pa.Table.from_batches(batches).combine_chunks()
    return table.take(pc.sort_indices(table.select(keys), sort_keys=[(key, "ascending") for key in keys]))
