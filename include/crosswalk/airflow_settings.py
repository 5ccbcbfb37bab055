"""The Airflow settings of every installation: the demo, the tests, one machine, ``docker-compose.yaml``.

One place, so that what is tested is what runs. Three layers, each on top of the one before:

``SHARED``
    what every installation needs: no examples, tasks that cost 0.4 s instead of 1.1 to 4 s, no surprises.
``one_machine``
    the paths, ports and log-in of an installation that listens on loopback only.
``docker-compose.yaml``
    repeats ``SHARED`` for the containers; a test compares the two.

This module imports nothing of Airflow: settings must be in the environment before Airflow is first imported.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

SHARED: dict[str, str] = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    # Each running task of this engine may use up to 1 GiB.
    "AIRFLOW__CORE__PARALLELISM": "8",
    # A task costs 1.1 s at the default of one second, 0.4 s here; the price is a fifth of one core when idle.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    # A supervisor that misses the end of its task looks again after this time (default 5 s): a failed task ends that
    # late, and its place is taken that long.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    # A new or removed connection file is seen within this time (default: a new file 300 s).
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "5",
    # 200 connections on a loaded machine need more than the default of 30 s.
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
    "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
    "AIRFLOW__API__EXPOSE_CONFIG": "False",
    "AIRFLOW__API__EXPOSE_STACKTRACE": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}

# Imported in the scheduler before it forks its workers, so that no task pays for them again.
_PRELOADED = (
    "asyncssh",
    "duckdb",
    "pandas",
    "pyarrow.parquet",
    "sqlglot.dialects.duckdb",
    "sqlglot.generators.duckdb",
    "sqlglot.parsers.duckdb",
    "sqlglot.optimizer.annotate_types",
    "sqlglot.optimizer.simplify",
    "adbc_driver_sqlite.dbapi",
    "adbc_driver_postgresql.dbapi",
    "airflow.providers.sftp.hooks.sftp",
    "crosswalk.dag_builder",
    "crosswalk.hooks.credentials",
    "crosswalk.connectors.sftp",
    "crosswalk.steps.authenticate",
    "crosswalk.steps.scan",
    "crosswalk.steps.join",
    "crosswalk.steps.process",
    "crosswalk.steps.link",
    "crosswalk.steps.map",
    "crosswalk.steps.apply",
    "crosswalk.steps.finish",
    "crosswalk.steps.report",
    "crosswalk.store.sql_store",
    "crosswalk.store.sqlite",
    "crosswalk.store.postgres",
    # What Airflow itself imports at the start of each task.
    "airflow.dag_processing.bundles.local",
    "airflow.version",
    "encodings.utf_8_sig",
    "jinja2.ext",
)
_LOCAL_SETTINGS = '''"""Read by Airflow at every start; written by crosswalk.airflow_settings."""

from crosswalk.airflow_settings import preload

preload()
'''


def preload(arguments: list[str] | None = None) -> list[str]:
    """Import the heavy libraries where tasks are forked from: the scheduler (LocalExecutor) or a Celery worker.

    Only imports: no database, network or thread, which a fork would break. A library that is missing is left out; the
    task that needs it says so.

    Returns:
        the names of the imported modules, for tests and logs.
    """
    arguments = sys.argv if arguments is None else arguments
    if not {"scheduler", "worker"} & set(arguments):
        return []
    loaded = []
    for name in _PRELOADED:
        with suppress(ImportError):
            import_module(name)
            loaded.append(name)
    return loaded


@dataclass(frozen=True)
class Folders:
    """Where an installation keeps its things.

    Attributes:
        home: Airflow's home: metadata database, logs, generated passwords.
        project: the repository: ``dags``, ``plugins`` and ``include`` lie here.
        dags: the DAG folder; unset: the project's.
        plugins: the plugins folder; unset: the project's.
    """

    home: Path
    project: Path
    dags: Path | None = None
    plugins: Path | None = None


def one_machine(
    folders: Folders,
    *,
    port: int,
    host: str = "127.0.0.1",
    users: tuple[str, ...] = ("admin",),
    database: str | None = None,
    overrides: dict[str, str] | None = None,
) -> dict[str, str]:
    """The environment of an installation on one machine, reachable on loopback only.

    The services are started with ``--skip-serve-logs``, because Airflow's log servers listen on all interfaces; on one
    machine the logs are read from their files.

    Args:
        folders: see ``Folders``.
        port: of the web interface.
        host: the address it listens on.
        users: names of the administrators; ``passwords`` makes their passwords.
        database: SQLAlchemy URL of Airflow's own database; unset: a SQLite file in the home folder.
        overrides: settings that replace these.
    """
    home, project = folders.home.resolve(), folders.project.resolve()
    return {
        **SHARED,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folders.dags or project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folders.plugins or project / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:admin" for user in users),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{host}:{port}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database or f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API__HOST": host,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://{host}:{port}",
        "AIRFLOW__API__WORKERS": "1",
        # "Test" in the connection form: logs in, lists the folder, names what is missing.
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        **(overrides or {}),
    }


def prepare_home(home: Path, users: tuple[str, ...] = ("admin",)) -> dict[str, str]:
    """Make Airflow's home folder, readable by its owner only, with generated passwords and the preloading.

    Returns:
        the password of each user; those of an earlier call are kept.
    """
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "airflow_local_settings.py").write_text(_LOCAL_SETTINGS, encoding="utf-8")
    return passwords(home / "passwords.json", users)


def passwords(path: Path, users: tuple[str, ...]) -> dict[str, str]:
    """Read the password file, adding a generated password for each user that lacks one; mode 0600 from the start."""
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    missing = [user for user in users if user not in known]
    known.update({user: secrets.token_urlsafe(18) for user in missing})
    if missing:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            json.dump(known, handle)
        temporary.replace(path)
    path.chmod(0o600)
    return known


def main() -> None:
    """Prepare ``AIRFLOW_HOME`` for the users of ``AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS``; prints nothing."""
    listed = os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin")
    prepare_home(Path(os.environ["AIRFLOW_HOME"]), tuple(user.split(":")[0].strip() for user in listed.split(",")))


if __name__ == "__main__":
    main()
