"""Commands that look without writing: check, scan, preview, read, status, profile."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from crosswalk.cli.connections import add_connection_argument, load, opened, store
from crosswalk.cli.show import Output, readable, short_number
from crosswalk.config.checks import check_connection, check_tenant
from crosswalk.config.connection import AnyImport, Connection, ImportGoal
from crosswalk.config.links import link_states
from crosswalk.config.loader import (
    BrokenConnection,
    LoadedConnection,
    find_connections_folder,
    find_tenant_folder,
    load_connections,
    load_tenant,
)
from crosswalk.config.tenant import Tenant
from crosswalk.core.errors import ConfigError, CrosswalkError, Finding
from crosswalk.core.redaction import mask
from crosswalk.hooks.credentials import resolve
from crosswalk.store.base import Store


def add_commands(commands: Any) -> None:
    """Register check, scan, preview, read, status, profile."""
    command = commands.add_parser("check", help="check configuration, login, rights and columns; all problems at once")
    add_connection_argument(command, optional=True)
    command.add_argument("--offline", action="store_true", help="without contacting anything")
    command.set_defaults(run=_check)
    command = commands.add_parser(
        "scan", help="the source files and which of them a run would read, and what lies in the folders of exports"
    )
    add_connection_argument(command)
    command.set_defaults(run=_scan)
    command = commands.add_parser("preview", help="columns, first rows and dates of a source file, as a run reads them")
    add_connection_argument(command)
    command.add_argument("--goal", help="the goal; default: the first")
    command.add_argument("--file", help="the name of the file block; default: the primary file")
    command.add_argument("--rows", type=int, default=10)
    command.add_argument("--unmasked", action="store_true", help="show personal values too")
    command.set_defaults(run=_preview)
    command = commands.add_parser("read", help="write what is read and joined, and the rejects beside it, as CSV")
    add_connection_argument(command)
    command.add_argument("--goal", help="the goal; default: the first")
    command.add_argument("--to", required=True, metavar="FILE.csv")
    command.set_defaults(run=_read)
    command = commands.add_parser("status", help="direction arrows, last good runs, unique profiles exchanged")
    add_connection_argument(command, optional=True)
    command.set_defaults(run=_status)
    profile = commands.add_parser("profile", help="look at one profile")
    actions = profile.add_subparsers(dest="action", required=True)
    command = actions.add_parser("show", help="show the profile with this identifier")
    command.add_argument("identifier", metavar="PROPERTY=VALUE")
    command.set_defaults(run=_profile)


def _check(options: argparse.Namespace, output: Output) -> int:
    tenant = load_tenant(find_tenant_folder())
    chosen, beside, findings = _to_check(options.connection)
    findings += [] if options.connection else check_tenant(tenant)
    links: dict[str, list[dict[str, Any]]] = {}
    for item in chosen:
        output.progress(f"checking {item.name}")
        own = check_connection(item, tenant, [other for other in beside if other.name != item.name])
        own += _check_processors(item)
        if not options.offline and not _has_errors(own):
            from crosswalk.steps.inspect import check_online

            own += check_online(item, tenant.model, resolve)
        findings += own
        links[item.name] = [vars(state) for goal in _import_goals(item.model) for state in link_states(goal)]
    _show_check(output, findings, links)
    return 2 if _has_errors(findings) else 0


def _check_processors(item: LoadedConnection) -> list[Finding]:
    """Problems of the goals' processors, which only the processors themselves can tell."""
    from crosswalk.processors import parse_processors

    findings: list[Finding] = []
    for goal in _import_goals(item.model):
        try:
            parse_processors(goal)
        except ConfigError as error:
            own = error.findings or [Finding("error", error.code, str(error))]
            findings += [replace(finding, file=finding.file or str(item.path)) for finding in own]
    return findings


def _import_goals(connection: Connection) -> list[AnyImport]:
    return [goal for goal in connection.goals if isinstance(goal, ImportGoal)]


def _has_errors(findings: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _to_check(name: str | None) -> tuple[list[LoadedConnection], list[LoadedConnection], list[Finding]]:
    """Which connections to check, which others there are, and what is wrong with files that cannot be read."""
    folder = find_connections_folder()
    listed = load_connections(folder) if folder.is_dir() else []
    whole = [item for item in listed if isinstance(item, LoadedConnection)]
    if name:
        return [load(name)[0]], whole, []
    findings = [finding for item in listed if isinstance(item, BrokenConnection) for finding in item.findings]
    if not listed:
        findings.append(
            Finding("info", "no_connections", "No connection files here; crosswalk init writes one.", str(folder))
        )
    return whole, whole, findings


def _show_check(output: Output, findings: list[Finding], links: dict[str, list[dict[str, Any]]]) -> None:
    if output.as_json:
        output.json([vars(finding) for finding in findings])
        return
    for name, states in links.items():
        if states:
            output.table(f"{name}: links", list(states[0]), [list(state.values()) for state in states])
    for finding in findings:
        output.text(str(finding))
    if not any(finding.severity in ("error", "warning") for finding in findings):
        output.text(f"{len(links)} connection(s) checked: no problems found.")


def _scan(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.steps.inspect import look_at_folders
    from crosswalk.steps.scan import look_at_files

    with opened(options, output, mode="plan") as context:
        looks = [
            {"goal": goal.name, **look}
            for goal in _import_goals(context.connection)
            if goal.enabled
            for look in look_at_files(context, goal)
        ]
        looks += look_at_folders(context)
    if output.as_json:
        output.json(looks)
        return 0
    rows = [[look["goal"], look["role"], look["path"], look["size"], look["time"], look["look"]] for look in looks]
    output.table("", ["goal", "role", "file", "bytes", "modified (UTC)", "state"], rows)
    if not rows:
        output.text("No file matches.")
    return 0


def _preview(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.steps.inspect import preview_file

    with opened(options, output, mode="plan") as context:
        result = preview_file(context, options.goal, options.file, options.rows)
        masked = set() if options.unmasked else result.pii_columns & set(result.columns)
    rows = [
        [
            mask(value) if column in masked and value else value
            for column, value in zip(result.columns, row, strict=True)
        ]
        for row in result.rows
    ]
    if output.as_json:
        shown = {key: getattr(result, key) for key in ("file", "columns", "dates", "total", "warnings", "rejects")}
        output.json({**shown, "rows": rows})
        return 0
    output.table(f"{result.file}: {len(result.columns)} columns, {result.total:,} rows", result.columns, rows)
    for warning in result.warnings:
        output.text(f"Warning: {warning}")
    for reject in result.rejects:
        output.text(f"  line {reject['line']}, {reject['reason']}: {reject['message']}")
    for date in result.dates:
        output.table(
            f"Dates of {date['column']} as {date['pattern']}: {date['not_matching']} of {date['checked']} do not match",
            ["text", "read as (UTC)"],
            [[sample["text"], sample["parsed"] or "does not match"] for sample in date["samples"]],
        )
    if masked:
        listed = ", ".join(column for column in result.columns if column in masked)
        output.text(
            f"Masked, because they are linked or mapped to personal properties: {listed}. --unmasked shows them."
        )
    return 0


def _read(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.steps.inspect import read_rows

    with opened(options, output, mode="plan", full=True) as context:
        counts = read_rows(context, options.goal, Path(options.to))
    if output.as_json:
        output.json(counts)
    else:
        output.text(
            f"{counts['rows']:,} rows written to {counts['to']}, "
            f"{counts['rejects']:,} rejects to {counts['rejects_to']}."
        )
    return 3 if counts["rejects"] else 0


def _status(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.steps.status import connection_status

    if options.connection:
        chosen = [load(options.connection)[0]]
    else:
        listed = load_connections(find_connections_folder())
        chosen = [item for item in listed if not isinstance(item, BrokenConnection)]
    with store() as opened_store:
        documents = [connection_status(item, opened_store) for item in chosen]
    if output.as_json:
        output.json(documents)
        return 0
    rows = [
        [
            document["connection"],
            document["title"],
            document["arrows"],
            document["in"],
            short_number(document["unique_profiles"].get("in", 0)),
            document["out"],
            short_number(document["unique_profiles"].get("out", 0)),
            document["last_run_state"] or "never run",
            str(document["last_good_run_at"] or "")[:19],
        ]
        for document in documents
    ]
    columns = ["connection", "title", "arrows", "import", "profiles imported", "export", "profiles exported"]
    columns += ["last run", "last good run"]
    output.table("", columns, rows)
    if options.connection:
        for document in documents:
            output.text(f"Unique profiles imported: {document['unique_profiles'].get('in', 0):,}")
            output.text(f"Unique profiles exported: {document['unique_profiles'].get('out', 0):,}")
    return 0


def identified_profile(identifier: str, tenant: Tenant, opened_store: Store) -> dict[str, Any]:
    """The profile that ``PROPERTY=VALUE`` names.

    Raises:
        ConfigError: the property is no unique identifier.
        CrosswalkError: no profile has the value.
    """
    name, profile = find_identified(identifier, tenant, opened_store)
    if profile is None:
        raise CrosswalkError(f"No profile has that {name}.", code="no_profile")
    return profile


def find_identified(identifier: str, tenant: Tenant, opened_store: Store) -> tuple[str, dict[str, Any] | None]:
    """The property that ``PROPERTY=VALUE`` names, and the profile if there is one.

    Raises:
        ConfigError: the property is no unique identifier.
    """
    from crosswalk.engine.identifiers import normalize_identifier

    name, separator, value = identifier.partition("=")
    definition = tenant.properties.get(name)
    if not separator or definition is None or definition.identifier != "unique":
        known = ", ".join(sorted(key for key, item in tenant.properties.items() if item.identifier == "unique"))
        raise ConfigError(
            f'"{identifier}" does not name a unique identifier.',
            remedy=f"Use PROPERTY=VALUE with one of: {known or 'none is declared'}.",
            code="unknown_identifier",
        )
    return name, opened_store.find_profile(name, normalize_identifier(definition, value))


def _profile(options: argparse.Namespace, output: Output) -> int:
    tenant = load_tenant(find_tenant_folder()).model
    with store() as opened_store:
        profile = identified_profile(options.identifier, tenant, opened_store)
        profile["events"] = opened_store.profile_events(profile["profile_id"])
        profile["replaces"] = opened_store.replaced_profiles(profile["profile_id"])
    if output.as_json:
        output.json(profile)
        return 0
    rows = [
        [key, " | ".join(readable(value, tenant.definition(key)) for value in values)]
        for key, values in sorted(profile["properties"].items())
    ]
    output.table(f"Profile {profile['profile_id']} (version {profile['version']})", ["property", "values"], rows)
    if profile["replaces"]:
        output.text(f"Merged into it: {', '.join(profile['replaces'])}")
    if profile["events"]:
        listed = [
            [item["date"][:19], item["type"], item["event_id"], _shown(item["data"])] for item in profile["events"]
        ]
        output.table("Latest events", ["date", "type", "id", "fields"], listed)
    return 0


def _joined(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " | ".join(value)


def _shown(data: dict[str, Any]) -> str:
    """The fields of an event in one line."""
    parts = []
    for key, value in data.items():
        items = value if isinstance(value, list) else [value]
        shown = [
            "; ".join(f"{k} {_joined(v)}" for k, v in item.items()) if isinstance(item, dict) else item
            for item in items
        ]
        parts.append(f"{key}: {' | '.join(shown)}")
    return ", ".join(parts)
