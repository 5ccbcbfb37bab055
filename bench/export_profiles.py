"""An export of many profiles against the least that it could cost.

Ours: *select*, *render* and *export* of all profiles with 30 columns to a local folder, each step a process of its own
as in Airflow, with the outbox and the exchange counts. Floor: a script that reads the same store over ADBC and renders
the same columns with DuckDB ``COPY``, nothing else. CPU seconds of the processes, on SQLite.

    python -m bench.export_profiles --profiles 2000000 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import duckdb

from bench.measure import Cost, machine, measure, show
from crosswalk.store import open_store

BAR = 1.5
PROPERTIES = 29
STEPS = ("select", "render", "export")
TENANT = {
    "properties.yaml": "properties:\n"
    "  p0: {type: email, identifier: unique}\n"
    + "".join(f"  p{n}: {{type: {'decimal' if n % 5 == 0 else 'text'}}}\n" for n in range(1, PROPERTIES)),
    "segments.yaml": "segments:\n  somebody: {all: [{property: p1, has_value: true}]}\n",
}
CONNECTION = """kind: sftp
title: Bench
conn_id: bench_sftp
goals:
  - export_profiles: out
    segment: somebody
    directory: /out
    file_name: {custom: out.csv}
    columns:
      - {profile_id: true}
""" + "".join(f"      - {{property: p{n}}}\n" for n in range(PROPERTIES))


def fill(uri: str, profiles: int) -> None:
    """Profiles of 30 values, a twentieth of them with a second one, straight into the table."""
    store: Any = open_store(uri)
    store.migrate()
    members = []
    for n in range(PROPERTIES):
        value = "'person' || i || '@example.org'" if n == 0 else f"'value ' || hash(i * {n + 1}) % 10000"
        value = f"(hash(i * {n + 1}) % 100000 / 100)::DECIMAL(9, 2)::VARCHAR" if n and n % 5 == 0 else value
        more = f"CASE WHEN hash(i + {n}) % 20 = 0 THEN ',\"more\"' ELSE '' END" if n % 5 else "''"
        members.append(f"'\"p{n}\":[\"' || {value} || '\"' || {more} || ']'")
    document = "'{' || " + " || ',' || ".join(members) + " || '}'"
    query = f"SELECT md5(i::VARCHAR)::VARCHAR AS profile_id, {document} AS properties FROM range({profiles}) r(i)"
    with duckdb.connect(config={"memory_limit": "512MB", "threads": 2}) as engine:
        rows = engine.sql(f"{query} ORDER BY 1").to_arrow_reader(50_000)
        backend = store._db
        backend.begin()
        with backend.connection.cursor() as cursor:
            cursor.adbc_ingest("load", rows, mode="create", temporary=True)
        backend.execute(
            "INSERT INTO profile (profile_id, version, properties, created_at, modified_at) "
            "SELECT profile_id, 1, properties, 1, 1 FROM load"
        )
        backend.commit()
    store.close()


def floor(path: str, out: str) -> None:
    """The hand-written script."""
    import adbc_driver_sqlite.dbapi

    structure = json.dumps({f"p{n}": ["VARCHAR"] for n in range(PROPERTIES)})
    cells = ", ".join(f"array_to_string(d.p{n}, '|') AS p{n}" for n in range(PROPERTIES))
    with (
        adbc_driver_sqlite.dbapi.connect(path) as connection,
        connection.cursor() as cursor,
        duckdb.connect(config={"threads": 2, "memory_limit": "640MB"}) as engine,
    ):
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": "20000"})
        cursor.execute("SELECT profile_id, properties FROM profile")
        engine.register("stored", cursor.fetch_record_batch())
        engine.execute(
            f"COPY (SELECT profile_id, {cells} FROM (SELECT profile_id, from_json(properties, '{structure}') AS d "
            f"FROM stored) WHERE len(d.p1) > 0) TO '{out}' (FORMAT csv, HEADER)"
        )


def step(name: str, folder: str) -> None:
    """One step of ours."""
    from tests.simulators.folder_connector import FolderConnector

    import crosswalk.connectors
    from crosswalk.connectors.base import ConnectionDetails
    from crosswalk.steps import STEPS, RunRequest, open_run

    root = Path(folder)
    crosswalk.connectors.create = lambda kind, details: FolderConnector(root / "source")  # type: ignore[assignment]
    request = RunRequest(str(root / "bench.yaml"), "bench", tenant_folder=str(root / "tenant"))
    with open_run(request, resolve=lambda name: ConnectionDetails(conn_id=name)) as context:
        if name == "select":
            context.store.begin_run("bench", "bench", "apply", "cli", "hash")
        result = STEPS[name](context, "out")
    print(json.dumps(result.summary))


def ours(folder: Path) -> dict[str, Cost]:
    """The costs of the steps, on a fresh copy of the store."""
    for suffix in ("", "-wal", "-shm"):
        (folder / f"work.db{suffix}").unlink(missing_ok=True)
    shutil.rmtree(folder / "staging", ignore_errors=True)
    shutil.copyfile(folder / "store.db", folder / "work.db")
    env = {"CROSSWALK_STORE": f"sqlite:///{folder}/work.db", "CROSSWALK_STAGING": str(folder / "staging")}
    env["CROSSWALK_ENGINE_THREADS"] = "2"
    return {name: measure("-m", "bench.export_profiles", "--step", name, str(folder), env=env) for name in STEPS}


def main() -> int:
    """Run the measurement, or one side of it as a child."""
    if sys.argv[1:2] == ["--step"]:
        step(sys.argv[2], sys.argv[3])
        return 0
    if sys.argv[1:2] == ["--floor"]:
        floor(sys.argv[2], sys.argv[3])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("bench-data/export"))
    options = parser.parse_args()
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tenant").mkdir(parents=True)
    for name, text in TENANT.items():
        (folder / "tenant" / name).write_text(text)
    (folder / "bench.yaml").write_text(CONNECTION)
    fill(f"sqlite:///{folder}/store.db", options.profiles)
    print(machine())
    ratios = []
    for _ in range(options.rounds):
        out = str(folder / "floor.csv")
        base = measure("-m", "bench.export_profiles", "--floor", str(folder / "store.db"), out)
        costs = ours(folder)
        total = Cost(
            sum(cost.cpu for cost in costs.values()),
            sum(cost.wall for cost in costs.values()),
            max(cost.memory_mb for cost in costs.values()),
            "",
        )
        show(f"{options.profiles:,} profiles, 30 columns", {"floor": base, **costs, "ours": total}, "floor")
        same = Path(out).stat().st_size, (folder / "source" / "out" / "out.csv").stat().st_size
        if same[0] != same[1]:
            raise SystemExit(f"the files differ: {same} bytes")
        ratios.append(total.cpu / base.cpu)
    ratio = statistics.median(ratios)
    print(f"ratio {ratio:.2f} (bar {BAR})")
    shutil.rmtree(folder)
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
