"""Loads the connections of ``connections/*.yaml`` as Airflow DAGs; all the rest is in ``crosswalk.dag_builder``."""

from airflow.sdk import get_parsing_context

from crosswalk.dag_builder import build_dags, connections_folder

globals().update(build_dags(connections_folder(__file__), only=get_parsing_context().dag_id))
