"""Layer 3: connection kinds. A new one is a module here and one line in ``KINDS``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crosswalk.core.registry import Registry

if TYPE_CHECKING:
    from crosswalk.connectors.base import ConnectionDetails, Connector

KINDS = Registry(
    "connection kind",
    [
        ("sftp", "crosswalk.connectors.sftp:SftpConnector"),
    ],
)


def create(kind: str, details: ConnectionDetails) -> Connector:
    """A connector of the named kind, not yet connected.

    Raises:
        ConfigError: there is no such kind.
    """
    connector: Connector = KINDS.get(kind)(details)
    return connector
