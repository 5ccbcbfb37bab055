"""What must be set before Airflow is first imported: a home of its own, so that no test touches a user's."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from hypothesis import settings

_SETTINGS = ("CROSSWALK_STORE", "CROSSWALK_STAGING", "CROSSWALK_CONNECTIONS", "CROSSWALK_TENANT")
for name in [name for name in os.environ if name.startswith("AIRFLOW_") or name in _SETTINGS]:
    del os.environ[name]
_HOME = tempfile.mkdtemp(prefix="crosswalk-airflow-")
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = f"{_HOME}/plugins"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{_HOME}/airflow.db"
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

# The same examples in every run of `make test`, so that a red one is the change's own doing; `make campaign` searches.
settings.register_profile("commit", derandomize=True, database=None)
settings.register_profile("search", print_blob=True)
settings.load_profile("search" if os.environ.get("CROSSWALK_SEARCH") else "commit")
