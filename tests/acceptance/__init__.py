"""Acceptance lines of the feature rows, each through all steps of a run, on SQLite and on PostgreSQL."""
