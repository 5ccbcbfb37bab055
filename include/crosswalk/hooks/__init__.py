"""Layer 5: what Airflow's connection forms know of us, and how a connection id becomes host, login and secrets."""

from __future__ import annotations

from typing import Any


def _text(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}


def _seconds(label: str, default: int) -> dict[str, Any]:
    return {
        "label": label,
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 86_400, "default": default},
    }


def provider_info() -> dict[str, Any]:
    """What Airflow lists about this package: the connection type with its form; called through an entry point.

    Airflow reads it in every process that shows or tests connections, so it is plain data and imports nothing.
    """
    return {
        "package-name": "crosswalk",
        "name": "Crosswalk",
        "description": "Customer-data connections as Airflow DAGs.",
        "connection-types": [
            {
                "connection-type": "crosswalk_sftp",
                "hook-class-name": "crosswalk.hooks.sftp.SftpHook",
                "hook-name": "SFTP (Crosswalk)",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {"login": "User name", "host": "Server"},
                    "placeholders": {
                        "host": "sftp.example.org",
                        "port": "22",
                        "password": "for the method password only",
                    },
                },
                "conn-fields": {
                    "auth_method": _text(
                        "Authentication method",
                        "Unset: the private key when there is one, else the password.",
                        enum=["password", "public_key"],
                    ),
                    "private_key": _text(
                        "Private key",
                        "The whole text from BEGIN to END; line breaks may be real, written as \\n, or lost.",
                        format="password",
                    ),
                    "private_key_passphrase": _text(
                        "Passphrase of the key", "Only for an encrypted key.", format="password"
                    ),
                    "key_file": _text("Key file", "Instead of the text: its path on the workers."),
                    "host_key": _text(
                        "Host key",
                        "ssh-ed25519 AAAA... Unset: the key stored by crosswalk trust, which is checked too.",
                    ),
                    "conn_timeout": _seconds("Seconds to connect", 30),
                    "inactivity_timeout": _seconds("Seconds without any byte", 60),
                },
            }
        ],
    }
