"""Settings, passwords and preloading."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

from crosswalk.airflow_settings import SHARED, Folders, one_machine, passwords, preload, prepare_home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_one_machine_listens_on_loopback_only(tmp_path: Path) -> None:
    settings = one_machine(Folders(tmp_path / "home", tmp_path), port=1234)
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert settings["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:1234"
    assert settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:1234/execution/"
    assert settings["AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK"] == "False"
    assert settings["AIRFLOW__CORE__DAGS_FOLDER"] == str(tmp_path / "dags")


def test_one_machine_has_every_shared_setting_and_takes_overrides(tmp_path: Path) -> None:
    settings = one_machine(Folders(tmp_path / "home", tmp_path), port=1, overrides={"AIRFLOW__CORE__PARALLELISM": "2"})
    assert {key: settings[key] for key in SHARED if key != "AIRFLOW__CORE__PARALLELISM"} == {
        key: value for key, value in SHARED.items() if key != "AIRFLOW__CORE__PARALLELISM"
    }
    assert settings["AIRFLOW__CORE__PARALLELISM"] == "2"


def test_no_secret_is_among_the_settings(tmp_path: Path) -> None:
    home = tmp_path / "home"
    password = prepare_home(home)["admin"]
    assert password not in json.dumps(one_machine(Folders(home, tmp_path), port=1))


def test_the_home_and_its_password_file_are_for_their_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    found = prepare_home(home, ("admin", "viewer"))
    assert mode(home) == 0o700
    assert mode(home / "passwords.json") == 0o600
    assert json.loads((home / "passwords.json").read_text()) == found
    assert len(found["admin"]) >= 20
    assert found["admin"] != found["viewer"]


def test_passwords_are_kept_and_a_loose_mode_is_tightened(tmp_path: Path) -> None:
    path = tmp_path / "passwords.json"
    first = passwords(path, ("admin",))
    path.chmod(0o644)
    second = passwords(path, ("admin", "viewer"))
    assert second["admin"] == first["admin"]
    assert set(second) == {"admin", "viewer"}
    assert mode(path) == 0o600


def test_preloading_happens_in_the_scheduler_only() -> None:
    assert preload(["airflow", "api-server"]) == []
    assert preload(["airflow", "dag-processor"]) == []


def test_airflow_preloads_through_the_file_in_its_home(tmp_path: Path) -> None:
    """In a process of its own: the scheduler's, before it forks; no thread may be left, or the fork would break."""
    prepare_home(tmp_path / "home")
    program = (
        "import sys, threading; sys.argv = ['airflow', 'scheduler']\n"
        "import airflow_local_settings\n"
        "from crosswalk.airflow_settings import _PRELOADED\n"
        "print([name for name in _PRELOADED if name not in sys.modules])\n"
        "print(sorted({'duckdb', 'pandas', 'pyarrow', 'crosswalk.steps.join'} & set(sys.modules)))\n"
        "print([t.name for t in threading.enumerate() if t is not threading.main_thread()])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "home" / "config")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "['crosswalk.steps.join', 'duckdb', 'pandas', 'pyarrow']", "[]"]
