"""Layer 2: every decision about values, as set operations in one query engine (DuckDB, core only)."""
