"""Deterministic files for the import benchmark: orders, profiles, products, postal codes.

``python -m bench.orders_data FOLDER ROWS``: ROWS orders (5,000,000 give about 650 MB), other files in proportion.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb


def generate(folder: Path, rows: int) -> None:
    """Write the four files (nothing when they are there already)."""
    folder.mkdir(parents=True, exist_ok=True)
    people, products, zips = max(rows // 5, 10), max(rows // 25, 10), max(rows // 50, 10)
    if (folder / "orders.csv").exists():
        return
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(
        f"""COPY (
            SELECT 'O' || lpad(i::VARCHAR, 9, '0') AS order_id,
                   strftime(TIMESTAMP '2023-01-01' + to_seconds((hash(i, 6) % 100000000)::BIGINT), '%d/%m/%Y %H:%M:%S')
                       AS ordered_at,
                   CASE WHEN hash(i, 9) % 10 = 0
                        THEN 'USER' || (hash(i, 2) % {people * 105 // 100}) || '@EXAMPLE.ORG'
                        ELSE 'user' || (hash(i, 2) % {people * 105 // 100}) || '@example.org' END AS email,
                   'S' || (hash(i, 1) % {products * 105 // 100}) AS sku,
                   1 + hash(i, 3) % 9 AS quantity,
                   replace(printf('%.2f', 1 + (hash(i, 4) % 50000) / 100.0), '.', ',') AS unit_price,
                   'tagA|tagB|web' AS tags,
                   ['paid', 'shipped', 'open', 'returned'][1 + (hash(i, 5) % 4)::INTEGER] AS status,
                   'note; with "sep" ' || i AS note
            FROM range({rows}) t(i)
        ) TO '{folder}/orders.csv' (HEADER, DELIM ';', FORCE_QUOTE (note))"""
    )
    con.execute(
        f"""COPY (
            SELECT 'C' || i AS customer_id, 'user' || i || '@example.org' AS email, 'Zoë' || (i % 977) AS first_name,
                   'Nachname' || (i % 7919) AS last_name, strftime(DATE '1950-01-01' + (i % 20000)::INTEGER, '%d.%m.%Y')
                       AS birth_date,
                   lpad((hash(i, 7) % {zips * 110 // 100})::VARCHAR, 6, '0') AS zip,
                   ['yes', 'no', ''][1 + (i % 3)::INTEGER] AS newsletter
            FROM range({people}) t(i)
        ) TO '{folder}/profiles.csv' (HEADER, DELIM ';')"""
    )
    con.execute(
        f"""COPY (
            SELECT 'S' || i AS sku, 'Product "' || i || '", blue' AS name, 'category ' || (i % 40) AS category,
                   'brand ' || (i % 300) AS brand, replace(printf('%.2f', (i % 9000) / 10.0), '.', ',') AS list_price
            FROM range({products}) t(i)
        ) TO '{folder}/products.csv' (HEADER, DELIM ';')"""
    )
    con.execute(
        f"""COPY (
            SELECT lpad(i::VARCHAR, 6, '0') AS zip, 'City ' || (i % 5000) AS city, 'Region ' || (i % 11) AS region,
                   (50 + (i % 300) / 100.0)::VARCHAR AS lat, (4 + (i % 200) / 100.0)::VARCHAR AS lon
            FROM range({zips}) t(i)
        ) TO '{folder}/postal.csv' (HEADER, DELIM ',')"""
    )


if __name__ == "__main__":
    generate(Path(sys.argv[1]), int(sys.argv[2]))
