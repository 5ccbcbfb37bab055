"""Layer 5: the command line. The same steps as in Airflow, in one process, without a scheduler."""

from crosswalk.cli.main import main

__all__ = ["main"]
