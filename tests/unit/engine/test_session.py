"""What every engine session is set to."""

from __future__ import annotations

from pathlib import Path

from crosswalk.engine.session import open_session

LEVELS = """
    SELECT p, max(CASE WHEN filled THEN id END)
    FROM (SELECT id, p, value IS NOT NULL AS filled
          FROM (SELECT *, CASE WHEN length(cell) > 1 THEN cell END AS value
                FROM (SELECT *, CASE WHEN raw[-1] < '!' THEN trim(raw) ELSE raw END AS cell FROM r JOIN l USING (id))))
    GROUP BY p"""


def test_the_levels_of_a_query_stay_columns_of_their_own(tmp_path: Path) -> None:
    with open_session(tmp_path / "tmp", threads=1) as session:
        session.execute("CREATE TABLE r AS SELECT i AS id, i || ' ' AS raw FROM range(9) AS t(i)")
        session.execute("CREATE TABLE l AS SELECT i AS id, i % 3 AS p FROM range(9) AS t(i)")
        plan = session.execute(f"EXPLAIN {LEVELS}").fetchall()[0][1]
    assert "CASE  WHEN (filled) THEN (id)" in plan
