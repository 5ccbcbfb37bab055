"""The same job in pandas with its default reader: ``python -m bench.import_pandas FOLDER``."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pandas as pd


def main(folder: Path) -> None:
    """Read, join, cast, hash, write."""
    orders = pd.read_csv(folder / "orders.csv", sep=";", dtype=str, keep_default_na=False)
    profiles = pd.read_csv(folder / "profiles.csv", sep=";", dtype=str, keep_default_na=False)
    products = pd.read_csv(folder / "products.csv", sep=";", dtype=str, keep_default_na=False)
    postal = pd.read_csv(folder / "postal.csv", dtype=str, keep_default_na=False)
    orders["email"] = orders["email"].str.strip()
    rows = orders.merge(profiles[["email", "customer_id", "first_name", "zip", "newsletter"]], on="email", how="left")
    rows = rows.merge(products[["sku", "category", "brand"]], on="sku", how="left")
    rows = rows.merge(postal[["zip", "city", "region"]], on="zip", how="left")
    rows["email_value"] = rows["email"].str.lower()
    rows["quantity_value"] = pd.to_numeric(rows["quantity"], errors="coerce")
    rows["price_value"] = pd.to_numeric(rows["unit_price"].str.replace(",", ".", regex=False), errors="coerce")
    moment = pd.to_datetime(rows["ordered_at"], format="%d/%m/%Y %H:%M:%S", errors="coerce")
    rows["ordered_value"] = moment.dt.tz_localize("Europe/Brussels", ambiguous=True, nonexistent="shift_forward")
    failed = rows[rows[["quantity_value", "price_value", "ordered_value"]].isna().any(axis=1)]
    hashed = ["order_id", "ordered_at", "email", "sku", "quantity", "unit_price", "status", "first_name", "category"]
    text = rows[hashed[0]].str.cat([rows[name].fillna("\x1e") for name in hashed[1:]], sep="\x1f")
    rows["row_hash"] = [hashlib.md5(value.encode(), usedforsecurity=False).digest() for value in text]
    rows.to_parquet(folder / "pandas.parquet")
    failed.to_parquet(folder / "pandas_failed.parquet")
    print(len(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
