"""The command that tells where a profile's values come from, or why a value did not arrive: trace."""

from __future__ import annotations

import argparse
from typing import Any

from crosswalk.cli.connections import store
from crosswalk.cli.look import find_identified
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
    from crosswalk.steps.trace import trace_absent, trace_profile

    tenant = load_tenant(find_tenant_folder()).model
    with store() as opened_store:
        name, profile = find_identified(options.identifier, tenant, opened_store)
        if profile is None:
            return _show_absent(name, trace_absent(opened_store, options.identifier.partition("=")[2]), output)
        log = opened_store.profile_changes(profile["profile_id"], limit=None)
        events = opened_store.event_sources(profile["profile_id"])
    document = {**trace_profile(profile, log), "events": events}
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


def _show_absent(name: str, document: dict[str, Any], output: Output) -> int:
    """Why no profile has a value; the exit code is 1, for there is no profile to trace."""
    if output.as_json:
        output.json(document)
        return 1
    output.text(f"No profile has that {name}.")
    if document["set_aside"]:
        keys = ["run_id", "connection", "goal", "file", "line", "field", "reason", "message", "replayed_by"]
        columns = ["run", "connection", "goal", "file", "line", "column", "reason", "what it says", "replayed by"]
        rows = [[_place(line) if key == "line" else line[key] for key in keys] for line in document["set_aside"]]
        output.table("Rows with it were set aside", columns, rows)
    else:
        output.text("No run that is kept set aside a row or a value with it.")
    if document["may_be_counted"]:
        keys = ["run_id", "connection", "goal", "reason", "rows"]
        rows = [[line[key] for key in keys] for line in document["may_be_counted"]]
        output.table("Excluded rows are only counted; it may be among these", ["run", *keys[1:]], rows)
    return 1


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
    if document["events"]:
        output.table(
            "Where the events come from",
            ["date", "type", "id", "run", "goal", "file", "line"],
            [
                [
                    str(line["date"])[:19],
                    line["type"],
                    line["event_id"],
                    line["run_id"],
                    f"{line['connection']}: {line['goal']}",
                    line["file"],
                    _place(line),
                ]
                for line in document["events"]
            ],
        )


def _place(line: dict[str, Any]) -> str:
    """A line number as text: without marks for thousands, for it is looked up in an editor."""
    return "" if line["line"] is None else str(line["line"])
