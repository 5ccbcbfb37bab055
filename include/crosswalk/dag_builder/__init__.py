"""Layer 5: from connection files to DAGs. ``build`` makes the DAGs, ``page`` writes what their pages say."""

from crosswalk.dag_builder.build import build_dags, connections_folder

__all__ = ["build_dags", "connections_folder"]
