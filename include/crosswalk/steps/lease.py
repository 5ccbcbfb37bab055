"""Holding a connection's lease while a step works.

A task may outlast the lease's term, so a thread renews it on a store connection of its own. Losing the lease is not
noticed here but where it matters: *apply* checks the fencing number inside its transaction.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from crosswalk.core.errors import CrosswalkError
from crosswalk.store import open_store
from crosswalk.store.base import Lease, Store

log = logging.getLogger(__name__)


class Holder(Protocol):
    """Who holds a lease: a run of a connection."""

    @property
    def name(self) -> str:
        """The connection."""

    @property
    def run_id(self) -> str:
        """The run."""

    @property
    def store(self) -> Store:
        """The profile store."""


def lease_seconds() -> int:
    """The lease's term: ``CROSSWALK_LEASE_SECONDS``, else 120."""
    return int(os.environ.get("CROSSWALK_LEASE_SECONDS", "120"))


@contextmanager
def holding(context: Holder) -> Iterator[Lease]:
    """Take (or take again) the lease and renew it until the block ends; it is kept for the run's next step.

    Raises:
        LeaseTakenError: another run of this connection holds it.
    """
    seconds = lease_seconds()
    lease = context.store.take_lease(context.name, context.run_id, seconds)
    stop = threading.Event()
    keeper = threading.Thread(target=_renew, args=(lease, seconds, stop), name="crosswalk-lease", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        stop.set()
        keeper.join(timeout=10)


def _renew(lease: Lease, seconds: int, stop: threading.Event) -> None:
    store = None
    while not stop.wait(seconds / 3):
        try:
            store = store or open_store(os.environ.get("CROSSWALK_STORE"))
            store.renew_lease(lease, seconds)
        except CrosswalkError as error:
            log.warning("The lease of run %s was not renewed: %s", lease.run_id, error.code)
            if error.code == "lease_lost":
                break
    if store is not None:
        store.close()
