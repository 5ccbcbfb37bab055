"""Commands for setting up: schema, model check, trust, test-alert."""

from __future__ import annotations

import argparse
from typing import Any

from crosswalk.cli.connections import add_connection_argument, load
from crosswalk.cli.show import Output
from crosswalk.config.checks import check_tenant
from crosswalk.config.loader import find_tenant_folder, load_tenant
from crosswalk.core.errors import ConfigError
from crosswalk.hooks.credentials import resolve


def add_commands(commands: Any) -> None:
    """Register schema, model, trust, test-alert."""
    command = commands.add_parser("schema", help="print the JSON Schema of connection files, for editors")
    command.set_defaults(run=_schema)
    model = commands.add_parser("model", help="the tenant model")
    actions = model.add_subparsers(dest="action", required=True)
    command = actions.add_parser("check", help="check properties, objectives and the other tenant files")
    command.set_defaults(run=_model_check)
    command = commands.add_parser("trust", help="show the host key of an SFTP server and store it as trusted")
    command.add_argument("conn_id", metavar="CONN_ID")
    command.add_argument("--yes", action="store_true", help="store it without asking")
    command.set_defaults(run=_trust)
    command = commands.add_parser("test-alert", help="send a test mail to the connection's addresses")
    add_connection_argument(command)
    command.set_defaults(run=_test_alert)


def _schema(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.config.schema import connection_schema

    output.json(connection_schema())
    return 0


def _model_check(options: argparse.Namespace, output: Output) -> int:
    folder = find_tenant_folder()
    loaded = load_tenant(folder)
    tenant, findings = loaded.model, check_tenant(loaded)
    identifiers = sorted(key for key, item in tenant.properties.items() if item.identifier == "unique")
    named = {
        "objectives": sorted(tenant.objectives),
        "group_types": sorted(tenant.group_types),
        "event_types": list(tenant.event_types),
        "segments": list(tenant.segments),
    }
    document = {"folder": str(folder), "properties": len(tenant.properties), "identifiers": identifiers, **named}
    if output.as_json:
        output.json({**document, "merge_rules": len(tenant.merge_rules), "findings": [vars(item) for item in findings]})
    output.text(f"{folder}: {len(tenant.properties)} properties, {len(tenant.merge_rules)} merge rules.")
    for what, names in {"unique identifiers": identifiers, **named}.items():
        output.text(f"{what.replace('_', ' ')}: {', '.join(names) or 'none'}")
    for finding in findings:
        output.text(str(finding))
    return 2 if any(finding.severity == "error" for finding in findings) else 0


def _trust(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.transport.host_keys import HostKeyPolicy
    from crosswalk.transport.sftp import fetch_host_key, trust_host_key

    details = resolve(options.conn_id)
    key = fetch_host_key(details)
    policy = HostKeyPolicy.of(details)
    document = {"host": details.host, "port": details.port or 22, "type": key.type, "fingerprint": key.fingerprint}
    output.text(f"{details.host}:{details.port or 22} shows the {key.type} key {key.fingerprint}")
    if policy.accepts(key):
        if output.as_json:
            output.json({**document, "trusted": True})
        output.text(f"It is trusted already ({policy.source}).")
        return 0
    if policy.trusted:
        output.text(f"It is another key than the trusted one: {', '.join(map(str, policy.trusted))} ({policy.source}).")
    if not options.yes:
        if output.as_json:
            output.json({**document, "trusted": False})
            return 0
        output.text("Compare it with what the server's operator gave you.")
        if not _agreed("Trust it? [y/N] "):
            output.text("Nothing was stored.")
            return 1
    if policy.source != "trust store":
        raise policy.refusal(key)  # what the connection itself names comes first; the trust store is not looked at
    stored = trust_host_key(details, key)
    if output.as_json:
        output.json({**document, "trusted": True, "stored_in": str(stored)})
    output.text(f"Stored in {stored}.")
    return 0


def _agreed(question: str) -> bool:
    """Whether a person says yes; nobody there to answer is a no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _test_alert(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.steps.mail import alert_message, send

    loaded, _ = load(options.connection)
    wanted = loaded.model.notifications
    if not wanted.emails:
        raise ConfigError(
            "The connection names no address.", remedy="Set notifications.emails.", connection=loaded.name
        )
    send(resolve(wanted.smtp_conn_id), alert_message(loaded.model, loaded.name), wanted.emails)
    if output.as_json:
        output.json({"sent_to": wanted.emails})
    output.text(f"Test mail handed to the mail server for {', '.join(wanted.emails)}.")
    return 0
