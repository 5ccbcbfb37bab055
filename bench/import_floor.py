"""The floor of the import benchmark: hand-written SQL for the same reading, joining, casting and hashing.

``python -m bench.import_floor FOLDER``: reads every column as text, joins three files to the orders, casts with TRY_
casts, collects failed casts, hashes each row and writes good rows and failures as Parquet. No plan, no store.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb


def main(folder: Path) -> None:
    """Read, join, cast, hash, write."""
    con = duckdb.connect(config={"memory_limit": "640MB", "temp_directory": str(folder / "tmp"), "threads": 2})
    con.execute("SET TimeZone = 'UTC'")

    def read(name: str, columns: list[str], separator: str) -> str:
        typed = ", ".join(f"'{column}': 'VARCHAR'" for column in columns)
        return (
            f"read_csv('{folder}/{name}.csv', columns = {{{typed}}}, auto_detect = false, header = true, "
            f"delim = '{separator}', quote = '\"', escape = '\"', store_rejects = true, strict_mode = true)"
        )

    orders = read(
        "orders",
        ["order_id", "ordered_at", "email", "sku", "quantity", "unit_price", "tags", "status", "note"],
        ";",
    )
    profiles = read(
        "profiles", ["customer_id", "email", "first_name", "last_name", "birth_date", "zip", "newsletter"], ";"
    )
    products = read("products", ["sku", "name", "category", "brand", "list_price"], ";")
    postal = read("postal", ["zip", "city", "region", "lat", "lon"], ",")
    con.execute(
        f"""COPY (
            WITH joined AS (
                SELECT row_number() OVER () AS record, o.*, p.first_name, p.customer_id, p.newsletter, r.category,
                       r.brand, z.city, z.region
                FROM {orders} o LEFT JOIN {profiles} p ON trim(o.email) = p.email
                LEFT JOIN {products} r ON r.sku = o.sku LEFT JOIN {postal} z ON z.zip = p.zip
            ), typed AS (
                SELECT *, lower(trim(email)) AS email_value, try_cast(quantity AS INTEGER) AS quantity_value,
                       try_cast(replace(unit_price, ',', '.') AS DECIMAL(18, 4)) AS price_value,
                       epoch_ms(timezone('Europe/Brussels', try_strptime(ordered_at, '%d/%m/%Y %H:%M:%S')))
                           AS ordered_value
                FROM joined
            )
            SELECT *, list_filter([
                       CASE WHEN quantity <> '' AND quantity_value IS NULL THEN 'quantity' END,
                       CASE WHEN unit_price <> '' AND price_value IS NULL THEN 'unit_price' END,
                       CASE WHEN ordered_at <> '' AND ordered_value IS NULL THEN 'ordered_at' END],
                       LAMBDA x : x IS NOT NULL) AS failed,
                   unhex(md5(concat_ws(chr(31), order_id, ordered_at, email, sku, quantity, unit_price, status,
                                       first_name, category, brand, city, region))) AS row_hash
            FROM typed
        ) TO '{folder}/floor.parquet' (FORMAT parquet, COMPRESSION snappy)"""
    )
    con.execute(
        f"COPY (SELECT record, failed FROM '{folder}/floor.parquet' WHERE len(failed) > 0) "
        f"TO '{folder}/floor_failed.parquet' (FORMAT parquet)"
    )
    print(con.execute(f"SELECT count(*) FROM '{folder}/floor.parquet'").fetchone()[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
