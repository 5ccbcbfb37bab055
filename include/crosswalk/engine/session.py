"""One DuckDB session per task, with its limits; the only file that imports the engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from crosswalk.core.errors import FatalError, RetryableError
from crosswalk.core.staging import durable

Session = duckdb.DuckDBPyConnection
BadInput = duckdb.InvalidInputException  # the engine's reader met text that it cannot take
BATCH_ROWS = 50_000


@contextmanager
def open_session(
    temporary: Path, *, memory_mb: int | None = None, threads: int | None = None, ordered: bool = True
) -> Iterator[Session]:
    """Open an in-memory engine that spills into ``temporary`` and never reaches the network.

    Args:
        temporary: folder for spilled data; made when absent.
        memory_mb: limit of the engine's memory (default ``CROSSWALK_ENGINE_MEMORY_MB``, else 640), so that a task stays
            under 1 GiB.
        threads: default ``CROSSWALK_ENGINE_THREADS``, else the number of processors.
        ordered: keep insertion order (needed wherever rows are numbered).

    Raises:
        RetryableError: out of memory or disk; says which limit to raise.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    memory = memory_mb or int(os.environ.get("CROSSWALK_ENGINE_MEMORY_MB", "640"))
    workers = threads or int(os.environ.get("CROSSWALK_ENGINE_THREADS", str(os.cpu_count() or 2)))
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory}MB",
            "threads": workers,
            "temp_directory": str(temporary),
            "preserve_insertion_order": ordered,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")  # it would write to standard output amid JSON
        # It first puts all levels of a query into one expression, whose planning time grows with the square of the
        # number of mapped columns: 200 of them cost 6 s instead of 0.2 s, whatever the number of rows.
        connection.execute("SET disabled_optimizers = 'partial_aggregate_pushdown'")
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise RetryableError(
            f"The engine ran out of its {memory} MB of memory.",
            remedy="Raise CROSSWALK_ENGINE_MEMORY_MB or give the staging folder more free space.",
            code="engine_memory",
        ) from error
    except duckdb.IOException as error:
        if "space" in str(error).lower() or "write" in str(error).lower():
            raise RetryableError(
                f"The engine could not write below {temporary}.",
                remedy="Free space there, or point CROSSWALK_STAGING at a larger disk, and run again.",
                code="disk_full",
            ) from error
        raise FatalError(f"The engine could not read or write a staged file: {type(error).__name__}.") from error
    finally:
        connection.close()


def literal(value: str | Path) -> str:
    """A SQL text literal, for the few places (file paths) that take no parameter."""
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted SQL name."""
    return '"' + name.replace('"', '""') + '"'


# Staged files are read once, soon, and by us: without compression, and with dictionaries only for columns of few
# values, they take half the processor time.
QUICK = "FORMAT parquet, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 16"


def write_parquet(session: Session, query: str, path: Path, *, quick: bool = False) -> int:
    """Write a query's rows to a Parquet file that is whole or absent; returns how many rows.

    Args:
        session: the engine.
        query: the rows.
        path: the file.
        quick: spend disk space instead of processor time.
    """
    options = QUICK if quick else "FORMAT parquet, COMPRESSION snappy"
    with durable(path) as temporary:
        session.execute(f"COPY ({query}) TO {literal(temporary)} ({options})")
        row = session.fetchone()
    return int(row[0]) if row else 0
