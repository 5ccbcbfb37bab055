"""The stores that the conformance suite runs on."""

from tests.simulators.postgres import postgres_server  # noqa: F401
from tests.simulators.stores import store, store_uri  # noqa: F401
