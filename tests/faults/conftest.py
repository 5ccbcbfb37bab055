"""The stores that the fault trials run on."""

from tests.simulators.postgres import postgres_server  # noqa: F401
from tests.simulators.stores import store, store_uri  # noqa: F401
