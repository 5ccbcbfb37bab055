"""A segment count over many profiles against a hand-written one over the same documents.

Ours: how many profiles of the store are in a segment of three conditions, counted by the expressions that exports
select with. Floor: a query that reads the same documents over ADBC, takes the same three values out of them and tests
them by hand. CPU seconds of the processes, on SQLite.

    python -m bench.segment_count --profiles 5000000
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

from bench.export_profiles import TENANT, fill
from bench.measure import machine, measure, show

BAR = 1.3
SEGMENTS = """segments:
  chosen:
    all:
      - {property: p1, has_value: true}
      - {property: p5, between: [100, 500]}
      - not: {property: p2, any_of: ["Value 7", "value 8", more]}
"""
BY_HAND = """
SELECT count(*) FROM (SELECT from_json(properties, '{"p1": ["VARCHAR"], "p2": ["VARCHAR"], "p5": ["VARCHAR"]}') AS d
FROM stored) WHERE len(d.p1) > 0
AND len(list_filter(d.p5, LAMBDA v : TRY_CAST(v AS DECIMAL(18, 4)) BETWEEN 100 AND 500)) > 0
AND NOT coalesce(list_has_any(list_transform(d.p2, LAMBDA v : lower(v)), ['value 7', 'value 8', 'more']), false)
"""


def floor(path: str) -> int:
    """The hand-written count."""
    import adbc_driver_sqlite.dbapi
    import duckdb

    with (
        adbc_driver_sqlite.dbapi.connect(path) as connection,
        connection.cursor() as cursor,
        duckdb.connect(config={"threads": 2, "memory_limit": "640MB"}) as engine,
    ):
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": "20000"})
        cursor.execute("SELECT profile_id, properties FROM profile")
        engine.register("stored", cursor.fetch_record_batch())
        return int(engine.sql(BY_HAND).fetchall()[0][0])


def ours(path: str, folder: Path) -> int:
    """The count by the product's own parts."""
    from crosswalk.config.loader import load_tenant
    from crosswalk.engine.profile_values import ProfileValues
    from crosswalk.engine.segments import Segments
    from crosswalk.engine.session import open_session
    from crosswalk.engine.template import render, sql
    from crosswalk.store import open_store

    segments = Segments(["chosen"], load_tenant(folder / "tenant").model, now_ms=0)
    values = ProfileValues(segments.properties)
    decided = segments.decide(values.read(sql("SELECT * FROM stored_profiles")), values)
    count = sql("SELECT count_if($is_in) FROM ($decided)", is_in=segments.has("chosen"), decided=decided)
    with open_store(f"sqlite:///{path}") as store, open_session(folder / "tmp", threads=2) as session:
        session.register("stored_profiles", store.stored_profiles())
        return int(session.sql(render(count)).fetchall()[0][0])


def main() -> int:
    """Run the measurement, or one side of it as a child."""
    if sys.argv[1:2] == ["--side"]:
        path = Path(sys.argv[3])
        print(json.dumps(floor(str(path)) if sys.argv[2] == "floor" else ours(str(path), path.parent)))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("bench-data/segment"))
    options = parser.parse_args()
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tenant").mkdir(parents=True)
    for name, text in {**TENANT, "segments.yaml": SEGMENTS}.items():
        (folder / "tenant" / name).write_text(text)
    fill(f"sqlite:///{folder}/store.db", options.profiles)
    print(machine())
    ratios = []
    for _ in range(options.rounds):
        sides = ("floor", "ours")
        costs = {side: measure("-m", "bench.segment_count", "--side", side, f"{folder}/store.db") for side in sides}
        show(f"a segment of three conditions over {options.profiles:,} profiles", costs, "floor")
        if costs["floor"].output != costs["ours"].output:
            raise SystemExit(f"the counts differ: {costs['floor'].output} and {costs['ours'].output}")
        ratios.append(costs["ours"].cpu / costs["floor"].cpu)
    ratio = statistics.median(ratios)
    print(f"ratio {ratio:.2f} (bar {BAR})")
    shutil.rmtree(folder)
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
