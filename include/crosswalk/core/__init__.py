"""Layer 0: errors, names, redaction, files. No Airflow, no I/O beyond local files."""
