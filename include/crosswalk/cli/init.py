"""Commands that write connection files from what lies on the server: init, map."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosswalk.cli.connections import add_connection_argument, load, opened
from crosswalk.cli.show import Output
from crosswalk.config.connection import slug
from crosswalk.config.loader import find_connections_folder, find_tenant_folder, load_connection, load_tenant
from crosswalk.config.model import PROPERTY_ID
from crosswalk.core.errors import ConfigError
from crosswalk.hooks.credentials import resolve

if TYPE_CHECKING:
    from crosswalk.config.tenant import Property
    from crosswalk.steps.propose import Proposal
    from crosswalk.steps.sample import Samples

SKELETON = """\
kind: sftp
title: {title}
conn_id: {conn_id}            # an Airflow connection; secrets live there, never here
schedule: manual              # or {{every_minutes: 15}}, {{times_per_day: 4}}, {{days_of_week: [mon], at: "07:30"}} ...
timezone: UTC
notifications: {{emails: []}}
goals:
  - import_profiles: {goal}
    files:
      - {{name: {file}, path: /in/customers.csv}}
    format: {{separator: {separator}}}
    identifiers:
      - {{field: {file}.email, property: email}}
    create_profiles: true
    mappings:
      prefix: {prefix}
      fields: []
        # - {{field: {file}.city, property: city}}   # -> {prefix}city
"""


def add_commands(commands: Any) -> None:
    """Register init and map."""
    command = commands.add_parser("init", help="write a connection file from the files on the server")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--conn-id", help="the Airflow connection; default: NAME_sftp")
    command.add_argument("--path", help="a file, a pattern, or a folder (ending in /) on the server")
    command.add_argument("--regex", help="only files of the folder whose whole name matches")
    command.add_argument(
        "--sample", action="append", default=[], metavar="FILE", help="look at a file of this machine instead"
    )
    command.add_argument("--prefix", default="", help="in front of the mapped properties, such as shop_")
    command.add_argument("--separator", help="when it is known better; tab or \\t for a tab")
    _add_write_properties(command)
    command.set_defaults(run=_init)
    command = commands.add_parser("map", help="add mappings for columns that a goal does not use yet")
    add_connection_argument(command)
    command.add_argument("--goal", help="default: the first import goal")
    chosen = command.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--all", action="store_true", help="all columns of all files")
    chosen.add_argument("--field", action="append", default=[], metavar="FILE.COLUMN")
    command.add_argument("--prefix", help="in front of the new properties; default: the goal's")
    _add_write_properties(command)
    command.set_defaults(run=_map)


def _add_write_properties(command: argparse.ArgumentParser) -> None:
    command.add_argument("--write-properties", action="store_true", help="add missing properties to the tenant model")


def _check_prefix(prefix: str | None) -> None:
    if prefix and not re.fullmatch(PROPERTY_ID, prefix):
        raise ConfigError(
            "The prefix cannot begin the id of a property.",
            remedy="Use letters, digits, _ and -, such as shop_.",
            code="invalid_prefix",
        )


# -- init -------------------------------------------------------------------------------------------------------------


def _init(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.cli.edit import write_text

    _check_prefix(options.prefix)
    name = slug(options.name)
    target = find_connections_folder() / f"{name}.yaml"
    if target.exists():
        raise ConfigError(f"{target} exists already.", remedy="Choose another name, or use `map`.", code="file_exists")
    if not options.path and not options.sample:
        write_text(target, _skeleton(options, name))
        if output.as_json:
            output.json({"file": str(target)})
        output.text(f"Wrote {target}. Fill in the identifiers and mappings, then: crosswalk check {name}")
        output.text("With --path or --sample it is filled in from what a file holds.")
        return 0
    with tempfile.TemporaryDirectory(prefix="crosswalk-init-") as folder:
        proposal, text = _propose(options, name, Path(folder))
        _refuse_unreadable(Path(folder) / target.name, text)
    added = _properties(proposal.properties, options.write_properties)
    write_text(target, text)
    open_points = [line.strip() for line in text.splitlines()[1:] if "UNCERTAIN" in line]
    if output.as_json:
        output.json({"file": str(target), "uncertain": open_points, "notes": proposal.notes, **added})
    output.text(f"Wrote {target}: {len(proposal.files)} file(s), {len(proposal.mappings)} mappings.")
    for line in [*proposal.notes, *open_points]:
        output.text(f"  {line}")
    _tell_properties(output, added)
    output.text(f"Read its comments, then: crosswalk check {name}; crosswalk plan {name}")
    return 0


def _skeleton(options: argparse.Namespace, name: str) -> str:
    from crosswalk.cli.compose import scalar

    return SKELETON.format(
        title=scalar(_title(options.name)),
        conn_id=scalar(options.conn_id or f"{name}_sftp"),
        goal="customers",
        file="customers",
        separator=scalar(_separator(options) or ","),
        prefix=scalar(options.prefix),
    )


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _separator(options: argparse.Namespace) -> str | None:
    return {"\\t": "\t", "tab": "\t"}.get(options.separator, options.separator) if options.separator else None


def _propose(options: argparse.Namespace, name: str, folder: Path) -> tuple[Proposal, str]:
    """What the files suggest, and the connection file that says it."""
    from crosswalk.cli.compose import Head, connection_text
    from crosswalk.engine.session import open_session
    from crosswalk.steps.propose import propose

    conn_id = options.conn_id or f"{name}_sftp"
    with open_session(folder / "tmp") as session:
        samples = _samples(session, options, conn_id, folder)
        proposal = propose(samples.files, load_tenant(find_tenant_folder()).model.properties, options.prefix)
    proposal.notes = [*samples.notes, *proposal.notes]
    goal = proposal.files[0].name
    return proposal, connection_text(Head(_title(options.name), conn_id, goal, options.prefix), proposal)


def _samples(session: Any, options: argparse.Namespace, conn_id: str, folder: Path) -> Samples:
    from crosswalk.config.connection import SourceFile
    from crosswalk.connectors import create
    from crosswalk.engine.decode import LocalFile
    from crosswalk.steps.sample import sample_local, sample_server

    known = {"separator": _separator(options)}
    if not options.sample:
        source = SourceFile(name="files", path=options.path, regex=options.regex)
        with create("sftp", resolve(conn_id)) as connector:
            return sample_server(session, connector, source, folder, **known)
    paths = [Path(item) for item in options.sample]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ConfigError(f"There is no file {', '.join(missing)}.", code="no_sample")
    place = options.path or "/in/"
    names = [f"{place}{path.name}" if place.endswith("/") else place for path in paths]
    if len(set(names)) < len(names):
        raise ConfigError("Several samples need a folder on the server.", remedy="End --path with /.", code="no_sample")
    return sample_local(session, [LocalFile(*pair) for pair in zip(paths, names, strict=True)], folder, **known)


def _refuse_unreadable(path: Path, text: str) -> None:
    """Read the new file as every command will, before it lies where Airflow looks."""
    path.write_text(text, encoding="utf-8")
    load_connection(path)


# -- map --------------------------------------------------------------------------------------------------------------


def _map(options: argparse.Namespace, output: Output) -> int:
    from crosswalk.cli.compose import mapping_line
    from crosswalk.cli.edit import append_lines, by_hand, write_text
    from crosswalk.steps.add_mappings import find_additions
    from crosswalk.steps.inspect import goal_with_files

    _check_prefix(options.prefix)
    loaded, _ = load(options.connection)
    with opened(options, output, mode="plan") as context:
        goal = goal_with_files(context, options.goal)
        additions = find_additions(context, goal, fields=options.field, prefix=options.prefix)
        context.folder.remove()
    formats = {block.name: goal.file_format(block.name).model_dump() for block in goal.files}
    lines = [mapping_line(item, formats[item.file], goal.mappings.prefix) for item in additions.mappings]
    text: str | None = loaded.text
    if lines:
        place = ("goals", loaded.model.goals.index(goal), "mappings", "fields")
        text = append_lines(loaded.text, place, lines)
        if text is None:
            raise by_hand(loaded.path, lines)
        with tempfile.TemporaryDirectory(prefix="crosswalk-map-") as folder:
            _refuse_unreadable(Path(folder) / loaded.path.name, text)
    added = _properties(additions.properties, options.write_properties)
    if lines and text:
        write_text(loaded.path, text)
    if output.as_json:
        output.json({"file": str(loaded.path), "mappings": lines, "notes": additions.notes, **added})
    output.text(f"Added {len(lines)} mappings to {loaded.path}.")
    for line in [*lines, *additions.notes]:
        output.text(f"  {line}")
    _tell_properties(output, added)
    return 0


# -- properties -------------------------------------------------------------------------------------------------------


def _properties(missing: dict[str, Property], write: bool) -> dict[str, Any]:
    """Write the declarations that are missing, or say what they are."""
    from crosswalk.cli.compose import property_lines
    from crosswalk.cli.edit import append_lines, by_hand, write_text

    lines, target = property_lines(missing), find_tenant_folder() / "properties.yaml"
    if not lines or not write:
        return {"missing_properties": lines, "properties_file": str(target), "properties_written": False}
    text: str | None = "properties:\n" + "".join(f"{line}\n" for line in lines)
    if target.exists():
        before = target.read_text(encoding="utf-8")
        text = append_lines(before, ("properties",), [line.strip() for line in lines])
    if text is None:
        raise by_hand(target, lines)
    with tempfile.TemporaryDirectory(prefix="crosswalk-properties-") as folder:
        (Path(folder) / target.name).write_text(text, encoding="utf-8")
        load_tenant(folder)
    write_text(target, text)
    return {"missing_properties": lines, "properties_file": str(target), "properties_written": True}


def _tell_properties(output: Output, added: dict[str, Any]) -> None:
    lines: Sequence[str] = added["missing_properties"]
    if not lines:
        return
    if added["properties_written"]:
        output.text(f"Added to {added['properties_file']}: {len(lines)}.")
        return
    output.text(
        f"The tenant model lacks these properties; add them to {added['properties_file']} (--write-properties):"
    )
    for line in ["properties:", *lines]:
        output.text(line)
