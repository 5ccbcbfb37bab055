"""The parts of a backend that need no database."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from crosswalk.core.errors import FatalError
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.store.backend import KINDS, ConflictError, RowStatement, Sink, refuse_nul
from crosswalk.store.changes import QUARANTINE_COLUMNS
from crosswalk.store.sqlite import SqliteBackend


class KeepingSink(Sink):
    """Keeps what it is given."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: list[dict[str, Any]] = []

    def _write(self, batch: pa.RecordBatch) -> None:
        self.kept += batch.to_pylist()

    def finish(self) -> int:
        return len(self.kept)


def test_quarantine_has_the_columns_that_the_engine_writes() -> None:
    assert {name: KINDS[kind] for name, kind in QUARANTINE_COLUMNS.items()} == {
        column.name: column.type for column in QUARANTINE_SCHEMA
    }


def test_a_sink_takes_columns_by_name_adds_constants_and_unifies_types() -> None:
    sink = KeepingSink(RowStatement("t", {"run": "text", "a": "text", "n": "int"}, ""), {"run": "run-1"})
    batch = pa.record_batch(
        {"extra": [1, 2], "n": pa.array([1, None], pa.int32()), "a": pa.array(["x", None]).dictionary_encode()}
    )
    assert sink.write_all([batch, batch.slice(0, 0)]) == 2
    assert sink.rows == 2
    assert sink.kept == [{"run": "run-1", "a": "x", "n": 1}, {"run": "run-1", "a": None, "n": None}]


@pytest.mark.parametrize("values", [["a\x00"], ["\x00"], ["ok", None, "b\x00c"]])
def test_a_nul_is_found_wherever_it_stands(values: list[str | None]) -> None:
    with pytest.raises(FatalError, match="NUL"):
        refuse_nul(pa.array(values, pa.string()), "t.a")


def test_a_nul_outside_of_a_slice_or_under_a_null_is_no_error() -> None:
    refuse_nul(pa.array(["\x00", "fine", "\x00"]).slice(1, 1), "t.a")
    hidden = pa.Array.from_buffers(
        pa.string(),
        1,
        [pa.py_buffer(b"\x00"), pa.py_buffer(bytes(4) + (1).to_bytes(4, "little")), pa.py_buffer(b"\x00")],
    )
    refuse_nul(hidden, "t.a")
    refuse_nul(pa.array([], pa.string()), "t.a")
    refuse_nul(pa.array([None, None], pa.string()), "t.a")


class VictimBackend(SqliteBackend):
    """Counts transactions instead of running them."""

    begun = undone = 0

    def begin(self) -> None:
        self.begun += 1

    def rollback(self) -> None:
        self.undone += 1

    def commit(self) -> None:
        """Nothing."""


def test_the_victim_of_a_deadlock_is_run_again_at_most_three_times(tmp_path: Any) -> None:
    backend = VictimBackend(tmp_path / "store.db")

    def deadlock() -> None:
        raise ConflictError("deadlock")

    with pytest.raises(ConflictError):
        backend.in_transaction(deadlock)
    assert (backend.begun, backend.undone) == (3, 3)


def test_a_deadlock_that_passes_is_not_seen_by_the_caller(tmp_path: Any) -> None:
    backend = VictimBackend(tmp_path / "store.db")
    results = iter([ConflictError("deadlock"), "done"])

    def work() -> str:
        result = next(results)
        if isinstance(result, ConflictError):
            raise result
        return result

    assert backend.in_transaction(work) == "done"
    assert (backend.begun, backend.undone) == (2, 1)
