"""Looking at groups: ``crosswalk group show``."""

from __future__ import annotations

import argparse
from typing import Any

from crosswalk.cli.connections import store
from crosswalk.cli.show import Output, readable
from crosswalk.config.loader import find_tenant_folder, load_tenant
from crosswalk.core.errors import ConfigError, CrosswalkError


def add_commands(commands: Any) -> None:
    """Register group."""
    group = commands.add_parser("group", help="look at one group")
    actions = group.add_subparsers(dest="action", required=True)
    command = actions.add_parser("show", help="show the group of that type with that id")
    command.add_argument("group_type", metavar="TYPE")
    command.add_argument("value", metavar="ID")
    command.set_defaults(run=_show)


def _show(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.engine.identifiers import normalize_identifier

    types = load_tenant(find_tenant_folder()).model.group_types
    declared = types.get(options.group_type)
    if declared is None:
        raise ConfigError(
            f'There is no group type "{options.group_type}".',
            remedy=f"Known group types: {', '.join(sorted(types)) or 'none'}; they stand in group_types.yaml.",
            code="unknown_group_type",
        )
    key, definition = next((key, item) for key, item in declared.properties.items() if item.identifier == "unique")
    with store() as opened_store:
        group = opened_store.find_group(key, normalize_identifier(definition, options.value))
    if group is None:
        raise CrosswalkError(f"No group of type {options.group_type} has that id.", code="no_group")
    if output.as_json:
        output.json(group)
        return 0
    rows = [
        [name, " | ".join(readable(item, declared.properties.get(name)) for item in values)]
        for name, values in sorted(group["properties"].items())
    ]
    output.table(f"Group {group['group_id']} (version {group['version']})", ["property", "values"], rows)
    output.text(f"Made {group['created_at']}, last changed {group['modified_at']}.")
    return 0
