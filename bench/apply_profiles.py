"""Apply a plan to a large store, against the floor of one ADBC load and one upsert of the profile table.

``python -m bench.apply_profiles [--stored 5000000] [--new 1000000] [--changed 1000000] [--backends sqlite]``

Both sides read the same Parquet files through the engine and start from the same copy of the store, each in a
process of its own. Ours writes everything that a batch commits (profiles, identifiers, row state, change log,
ledger); the floor writes the profile table only, in the order in which the plan lists the profiles. The *sorted floor*
is a harder one that no bar asks for: the same, with our own sorting in front, so that the ratio to it shows what the
rest costs. CPU is the client's, plus that of the server process that served it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from bench.measure import machine, measure
from crosswalk.engine.quarantine import QUARANTINE_SCHEMA
from crosswalk.store import open_store
from crosswalk.store.base import CONSENT_SCHEMA, Batch, FileRecord, Moved
from crosswalk.store.ordering import in_order

BARS = {"sqlite": 1.5, "postgres": 2.0}
SIDES = ("floor", "sorted floor", "ours")
BATCH_ROWS = 50_000
SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB", "fsync": "on", "full_page_writes": "on"}
SERVER |= {"synchronous_commit": "on"}
# An id that is scattered like a UUIDv5; a document of 20 properties, about 680 bytes; a diff of about 165 bytes.
ID = "md5('p' || {n})[1:8] || '-' || md5('p' || {n})[9:12] || '-' || md5('p' || {n})[13:16] || '-' || md5('p' || {n})[17:20] || '-' || md5('p' || {n})[21:32]"  # noqa: E501
DOCUMENT = "'{' || array_to_string(list_transform(range(20), lambda k: '\"property_' || lpad(k::VARCHAR, 2, '0') || '\":[\"' || substr(md5({salt} || n || k), 1, 16) || '\"]'), ',') || '}'"  # noqa: E501
CHANGE = '\'{"property_03":{"before":["\' || substr(md5(\'b\' || n), 1, 20) || \'"],"after":["\' || substr(md5(\'a\' || n), 1, 20) || \'"],"file":"/in/orders_2026-11-22.csv","line":\' || n || \'}}\''  # noqa: E501


def make_plan(folder: Path, first: int, new: int, changed: int, salt: str, step: int) -> None:
    """Write profiles, identifiers and row state as a plan: ``new`` ids from ``first`` on, ``changed`` known ones."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as engine:
        engine.execute("SET preserve_insertion_order = false")
        numbers = (
            f"(SELECT range AS n, true AS is_new FROM range({first}, {first + new}) UNION ALL "
            f"SELECT range * {step} AS n, false FROM range({changed}))"
        )
        document = DOCUMENT.replace("{salt}", f"'{salt}'")
        identity = ID.replace("{n}", "n")
        engine.execute(
            f"COPY (SELECT {identity} AS profile_id, is_new, "
            "CASE WHEN is_new THEN 'created' ELSE 'updated' END AS outcome, "
            f"CASE WHEN is_new THEN 0 ELSE 1 END::BIGINT AS version, {document} AS properties, {CHANGE} AS changes "
            f"FROM {numbers} ORDER BY hash(n)) TO '{folder}/profiles.parquet' (ROW_GROUP_SIZE 20480)"
        )
        engine.execute(
            f"COPY (SELECT {identity} AS profile_id, 'email' AS property_id, md5('m' || n) || '@example.org' AS value, "
            f"'add' AS action FROM {numbers} WHERE is_new ORDER BY hash(n)) "
            f"TO '{folder}/identifiers.parquet' (ROW_GROUP_SIZE 20480)"
        )
        engine.execute(
            f"COPY (SELECT unhex(md5('k' || n)) AS row_key, unhex(md5('{salt}h' || n)) AS row_hash, "
            f"{identity} AS profile_id, NULL::VARCHAR AS amounts FROM {numbers} ORDER BY hash(n)) "
            f"TO '{folder}/row_state.parquet' (ROW_GROUP_SIZE 20480)"
        )


def reader(engine: Any, path: Path) -> Callable[[], pa.RecordBatchReader]:
    """Read a part of the plan, as *apply* does."""
    return lambda: engine.cursor().sql(f"SELECT * FROM read_parquet('{path}')").to_arrow_reader(BATCH_ROWS)


def empty(schema: pa.Schema) -> Callable[[], pa.RecordBatchReader]:
    """Nothing."""
    return lambda: pa.RecordBatchReader.from_batches(schema, [])


@contextmanager
def limited_engine() -> Iterator[Any]:
    with duckdb.connect(config={"memory_limit": "256MB", "threads": 2}) as engine:
        engine.execute("SET enable_progress_bar = false")
        yield engine


# -- the two sides, each in a child process -----------------------------------------------------------------------


def apply_ours(uri: str, plan: Path, batch_id: str) -> dict[str, float]:
    """One batch through the store; CPU seconds of client and server."""
    store: Any = open_store(uri, wait_seconds=600)
    store.migrate()
    lease = store.take_lease("bench", "run", 3600)
    state = store.goal_state("bench", "orders")
    with limited_engine() as engine, timed(store._db) as cost:
        outcome = store.apply(
            Batch(
                batch_id=batch_id,
                run_id="run",
                connection="bench",
                goal="orders",
                lease=lease,
                goal_id=state.goal_id,
                state_version=state.state_version,
                config_hash="hash",
                files=[FileRecord("/in/orders.csv", 1, 1, "aa", 1.0)],
                counts={},
                profiles=reader(engine, plan / "profiles.parquet"),
                identifiers=reader(engine, plan / "identifiers.parquet"),
                row_state=reader(engine, plan / "row_state.parquet"),
                consent=empty(CONSENT_SCHEMA),
                quarantine=empty(QUARANTINE_SCHEMA),
                scratch=plan,
            )
        )
    if isinstance(outcome, Moved) or outcome.repeated:
        raise SystemExit(f"the batch was not written: {outcome}")
    store.release_lease("bench", "run")
    store.close()
    return cost


def apply_floor(uri: str, plan: Path, *, ordered: bool) -> dict[str, float]:
    """One ADBC load and one upsert of the profile table, in one transaction, on a connection set up like ours."""
    store: Any = open_store(uri)
    backend = store._db
    is_sqlite = uri.startswith("sqlite")
    column = "properties" if is_sqlite else "CAST(properties AS json)"
    with limited_engine() as engine, timed(backend) as cost:
        columns = "SELECT profile_id, properties FROM read_parquet"
        rows = engine.sql(f"{columns}('{plan}/profiles.parquet')").to_arrow_reader(BATCH_ROWS)
        if ordered:
            rows = pa.RecordBatchReader.from_batches(rows.schema, in_order(rows, "profile_id", scratch=plan))
        backend.begin()
        if not is_sqlite:
            backend.execute("CREATE TEMP TABLE load (profile_id text, properties text) ON COMMIT DROP")
        with backend.connection.cursor() as cursor:
            cursor.adbc_ingest("load", rows, mode="create" if is_sqlite else "append", temporary=True)
        backend.execute(
            "INSERT INTO profile (profile_id, version, properties, created_at, modified_at) "
            f"SELECT profile_id, 1, {column}, 1, 1 FROM load WHERE true ON CONFLICT (profile_id) DO UPDATE "
            "SET version = profile.version + 1, properties = excluded.properties, modified_at = excluded.modified_at"
        )
        backend.commit()
    store.close()
    return cost


@contextmanager
def timed(backend: Any) -> Iterator[dict[str, float]]:
    """Fills in CPU seconds of this process and of the server process behind the connection."""
    cost: dict[str, float] = {}
    pid = None
    if hasattr(backend, "execute_counted") and type(backend).__name__ == "PostgresBackend":
        pid = backend.query("SELECT pg_backend_pid() AS pid", (), pa.schema([("pid", pa.int64())]))[0]["pid"]
    else:
        backend.total_changes()
    before, server, started = cpu_seconds(), server_seconds(pid), time.monotonic()
    yield cost
    cost["client"] = cpu_seconds() - before
    cost["server"] = server_seconds(pid) - server
    cost["wall"] = time.monotonic() - started
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    cost["memory_mb"] = int(peak.split()[1]) / 1024


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def server_seconds(pid: int | None) -> float:
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- the parent ---------------------------------------------------------------------------------------------------


def child(*arguments: str) -> dict[str, float]:
    """Run one side in a process of its own."""
    return json.loads(measure("-m", "bench.apply_profiles", "--child", *arguments).output.splitlines()[-1])


def bench_sqlite(folder: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """The costs of both sides on copies of one SQLite file."""
    base, work = folder / "base.db", folder / "work.db"
    remove(base)
    child("ours", f"sqlite:///{base.absolute()}", str(folder / "stored"), "stored")
    costs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            remove(work)
            shutil.copyfile(base, work)
            costs[side].append(child(side, f"sqlite:///{work.absolute()}", str(folder / "plan"), "batch"))
    remove(base)
    remove(work)
    return costs


def remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def bench_postgres(folder: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """The costs of both sides on copies of one PostgreSQL database."""
    from tests.simulators.postgres import running_server

    costs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with running_server(SERVER) as server:
        base = server.new_database()
        child("ours", base, str(folder / "stored"), "stored")
        server.execute("VACUUM (ANALYZE)", base.rpartition("/")[2])
        for _ in range(rounds):
            for side in SIDES:
                server.execute(f"CREATE DATABASE work TEMPLATE {base.rpartition('/')[2]}")
                server.execute("CHECKPOINT")
                costs[side].append(child(side, server.uri("work"), str(folder / "plan"), "batch"))
                server.execute("DROP DATABASE work")
    return costs


def report(backend: str, costs: dict[str, list[dict[str, float]]]) -> bool:
    """Print the table; whether the bar holds."""
    print(f"\n{backend}: CPU seconds (client + server), median of {len(costs['ours'])}")
    print(f"{'':13}{'client':>9}{'server':>9}{'sum':>9}{'wall s':>9}{'peak MB':>9}")
    totals = {}
    for side, runs in costs.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        totals[side] = statistics.median(run["client"] + run["server"] for run in runs)
        print(
            f"{side:13}{middle['client']:9.1f}{middle['server']:9.1f}{totals[side]:9.1f}"
            f"{middle['wall']:9.1f}{middle['memory_mb']:9.0f}"
        )
    ratio = totals["ours"] / totals["floor"]
    harder = totals["ours"] / totals["sorted floor"]
    print(f"ratio {ratio:.2f} (bar {BARS[backend]:.1f}); to the sorted floor {harder:.2f}")
    return ratio <= BARS[backend]


def main() -> int:
    """Run the measurement, or one side of it as a child."""
    if sys.argv[1:2] == ["--child"]:
        side, uri, plan, batch_id = sys.argv[2:6]
        if side == "ours":
            cost = apply_ours(uri, Path(plan), batch_id)
        else:
            cost = apply_floor(uri, Path(plan), ordered=side == "sorted floor")
        print(json.dumps(cost))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", type=int, default=5_000_000)
    parser.add_argument("--new", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=1_000_000)
    parser.add_argument("--backends", nargs="+", choices=list(BARS), default=list(BARS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("bench-data/apply"))
    options = parser.parse_args()
    print(machine())
    print(f"{options.new:,} new and {options.changed:,} changed profiles into {options.stored:,}")
    make_plan(options.folder / "stored", 0, options.stored, 0, "old", 1)
    step = max(1, options.stored // max(1, options.changed))
    make_plan(options.folder / "plan", options.stored, options.new, options.changed, "new", step)
    benches = {"sqlite": bench_sqlite, "postgres": bench_postgres}
    good = [report(backend, benches[backend](options.folder, options.rounds)) for backend in options.backends]
    shutil.rmtree(options.folder)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
