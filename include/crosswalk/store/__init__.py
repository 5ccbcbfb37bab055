"""Layer 2: the profile store (SQLite or PostgreSQL), chosen by one connection URI."""
