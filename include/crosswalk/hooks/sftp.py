"""The connection type ``crosswalk_sftp``: a form with exactly what SFTP needs, and a Test that proves it.

Connections of Airflow's own type ``sftp`` work just as well, with the same extra names (``private_key``,
``private_key_passphrase``, ``key_file``, ``host_key``, ``known_hosts``, ``conn_timeout``). This type exists because
that form has no choice of the login method and no field for a key, and because its test does not say what was proven.
One setting of ``sftp`` is not followed: ``no_host_key_check``. Host keys are always checked.

The Test button is off until ``[core] test_connection`` is Enabled, and cannot test connections that live in the
environment or in a secrets back end; ``crosswalk check`` does the same there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from crosswalk.core.errors import CrosswalkError

if TYPE_CHECKING:
    from crosswalk.connectors.sftp import SftpConnector


class SftpHook(BaseHook):
    """Opens SFTP connections of type ``crosswalk_sftp`` (or ``sftp``).

    Args:
        crosswalk_sftp_conn_id: id of the Airflow connection; looked up when it is used, not here.

    Example:
        >>> with SftpHook("webshop_sftp").get_conn() as connector:
        ...     connector.session.list("/in")
    """

    conn_name_attr = "crosswalk_sftp_conn_id"
    default_conn_name = "crosswalk_sftp_default"
    conn_type = "crosswalk_sftp"
    hook_name = "SFTP (Crosswalk)"

    def __init__(self, crosswalk_sftp_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.crosswalk_sftp_conn_id = crosswalk_sftp_conn_id

    def get_conn(self) -> SftpConnector:
        """A connector for the connection, to be opened with ``with``."""
        from crosswalk.connectors.sftp import SftpConnector
        from crosswalk.hooks.credentials import resolve

        return SftpConnector(resolve(self.crosswalk_sftp_conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """Prove host key, login and the listing of the login folder; says what was proven or what to do."""
        try:
            connector = self.get_conn()
            rights = connector.check()
            try:
                if rights[-1].ok:
                    entries = len(connector.session.list("."))
                    return (
                        True,
                        f"Host key, login and listing work: {rights[0].message} {entries} entries in the folder.",
                    )
            finally:
                connector.close()
        except CrosswalkError as error:
            return False, str(error)
        return False, rights[-1].message
