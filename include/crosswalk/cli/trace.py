"""The command that tells where a profile's values come from: trace."""

from __future__ import annotations

import argparse
from typing import Any

from crosswalk.cli.connections import store
from crosswalk.cli.look import identified_profile
from crosswalk.cli.show import Output
from crosswalk.config.loader import find_tenant_folder, load_tenant
from crosswalk.config.tenant import CONSENTED, REFUSED, Tenant
from crosswalk.core.redaction import mask


def add_commands(commands: Any) -> None:
    """Register trace."""
    text = "every change of one profile, and which run, file and line put each of its values there"
    command = commands.add_parser("trace", help=text, description=text)
    command.add_argument("identifier", metavar="PROPERTY=VALUE")
    command.add_argument("--property", help="only this property")
    command.add_argument("--unmasked", action="store_true", help="show personal values too")
    command.set_defaults(run=_trace)


def _trace(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.steps.trace import trace_profile

    tenant = load_tenant(find_tenant_folder()).model
    with store() as opened_store:
        profile = identified_profile(options.identifier, tenant, opened_store)
        log = opened_store.profile_changes(profile["profile_id"], limit=None)
    document = trace_profile(profile, log)
    for part in ("changes", "values"):
        chosen = [line for line in document[part] if options.property in (None, line["property"])]
        document[part] = chosen if options.unmasked else [_masked(line, tenant) for line in chosen]
    if output.as_json:
        output.json(document)
        return 0
    _show(document, output)
    if not options.unmasked:
        output.text("Personal values are masked; --unmasked shows them.")
    return 0


def _masked(line: dict[str, Any], tenant: Tenant) -> dict[str, Any]:
    """The line without personal values; a property that the model does not know may hold any."""
    declared = tenant.properties.get(line["property"])
    if line["property"] in (CONSENTED, REFUSED) or (declared is not None and not declared.is_pii):
        return line
    if "value" in line:
        return {**line, "value": mask(line["value"])}
    return {**line, **{key: line[key] and [mask(value) for value in line[key]] for key in ("before", "after")}}


def _show(document: dict[str, Any], output: Output) -> None:
    output.table(
        f"Changes of profile {document['profile_id']}",
        ["at (UTC)", "run", "goal", "kind", "property", "before", "after", "file", "line"],
        [
            [
                str(line["at"])[:19],
                line["run_id"],
                f"{line['connection']}: {line['goal']}",
                line["kind"],
                line["property"],
                " | ".join(line["before"] or []),
                " | ".join(line["after"] or []),
                line["file"],
                _place(line),
            ]
            for line in document["changes"]
        ],
    )
    output.table(
        "Where the values come from",
        ["property", "value", "run", "file", "line"],
        [
            [line["property"], line["value"], line["run_id"] or "no longer in the log", line["file"], _place(line)]
            for line in document["values"]
        ],
    )


def _place(line: dict[str, Any]) -> str:
    """A line number as text: without marks for thousands, for it is looked up in an editor."""
    return "" if line["line"] is None else str(line["line"])
