"""The text of a connection file, and of properties, from what was proposed; comments say why and what is open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from crosswalk.config.tenant import Property
from crosswalk.core.names import display
from crosswalk.steps.propose import Proposal, Target
from crosswalk.steps.sample import Sample

PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
ORDER = ("encoding", "compression", "separator", "quote", "escape", "header_rows", "header", "skip_lines", "decimal")


@dataclass(frozen=True)
class Head:
    """The part of a connection file that no sample shows."""

    title: str
    conn_id: str
    goal: str
    prefix: str = ""


def scalar(value: Any) -> str:
    """A value as YAML that reads back as the same value, on one line and within ``{}``."""
    if isinstance(value, list):
        return f"[{', '.join(map(scalar, value))}]"
    if value is None:
        return "null"
    if isinstance(value, (bool, int)):
        return str(value).lower()
    text = str(value)
    if PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    hidden = text != display(text, len(text) + 10)
    shown: str = yaml.safe_dump(text, default_style='"', width=10**9, allow_unicode=not hidden)
    return shown.strip()


def flow(values: Mapping[str, Any]) -> str:
    """A mapping on one line."""
    return f"{{{', '.join(f'{key}: {scalar(value)}' for key, value in values.items())}}}"


def connection_text(head: Head, proposal: Proposal) -> str:
    """The connection file."""
    return "\n".join(_lines(head, proposal)) + "\n"


def _lines(head: Head, proposal: Proposal) -> Iterator[str]:
    primary = proposal.files[0]
    yield "# Written by `crosswalk init` from what the files held. Read the comments; UNCERTAIN asks for a decision."
    for note in proposal.notes:
        yield f"# {display(note, 400)}"
    yield "kind: sftp"
    yield f"title: {scalar(head.title)}"
    yield f"conn_id: {scalar(head.conn_id)}            # an Airflow connection; secrets live there, never here"
    yield 'schedule: manual              # or {every_minutes: 15}, {days_of_week: [mon, thu], at: "07:30"} ...'
    yield "timezone: UTC                 # of dates without an offset, and of the schedule"
    yield "notifications: {emails: []}"
    yield "goals:"
    yield f"  - import_profiles: {scalar(head.goal)}"
    yield "    files:"
    for sample in proposal.files:
        yield from _file(sample, proposal, primary.format)
    yield "    format:"
    yield from (f"      {key}: {scalar(value)}" for key, value in ordered(primary.format).items())
    if proposal.row_key:
        yield f"    row_key: [{scalar(proposal.row_key)}]   # no value twice in {primary.rows}"
    yield "    identifiers:"
    for target in proposal.identifiers:
        yield f"      - {flow({'field': target.field, 'property': target.property_id})}   # {target.reason}"
    yield "    create_profiles: true         # a row without a profile makes one"
    yield "    mappings:"
    yield f"      prefix: {scalar(head.prefix)}"
    yield f"      fields:{'' if proposal.mappings else ' []'}"
    for target in proposal.mappings:
        yield f"        {mapping_line(target, formats(proposal)[target.file], head.prefix)}"
    yield "        # A mapping to fill in:"
    yield f"        # - {{field: {primary.name}., property: }}   # -> {head.prefix}"


def formats(proposal: Proposal) -> dict[str, dict[str, Any]]:
    """The format of each file."""
    return {sample.name: sample.format for sample in proposal.files}


def ordered(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a format in the order in which a person looks for them."""
    rank = {key: position for position, key in enumerate(ORDER)}
    return dict(sorted(settings.items(), key=lambda item: rank.get(item[0], len(rank))))


def _file(sample: Sample, proposal: Proposal, usual: Mapping[str, Any]) -> Iterator[str]:
    link = proposal.links.get(sample.name)
    many = f" {sample.place.files} files now, the newest was looked at:" if sample.place.files > 1 else ""
    yield f"      #{many} {display(sample.place.newest)}: {sample.rows}, {len(sample.columns)} columns were read."
    yield from (f"      # {doubt}" for doubt in sample.detected.doubts)
    block: dict[str, str] = {key: scalar(value) for key, value in {"name": sample.name, **sample.place.selects}.items()}
    if link:
        yield f"      # {display(link.reason, 400)}."
        block["link"] = f"{{{scalar(link.column)}: {scalar(f'{link.to_file}.{link.to_column}')}}}"
    own = {
        key: sample.format.get(key) for key in {**usual, **sample.format} if sample.format.get(key) != usual.get(key)
    }
    if own:
        if "header_rows" in own and own["header_rows"] is None:
            del own["header_rows"]
        block["format"] = flow(ordered(own))
    yield f"      - {{{', '.join(f'{key}: {value}' for key, value in block.items())}}}"


def mapping_line(target: Target, form: Mapping[str, Any], prefix: str) -> str:
    """One mapping, with what it writes and what is uncertain."""
    column = target.column
    values: dict[str, Any] = {"field": target.field, "property": target.property_id}
    if column.date and column.date != form.get("date"):
        values["date"] = column.date
    remarks = [f"-> {prefix}{target.property_id}, {column.type}"]
    if not column.filled:
        remarks.append("no values were read")
    if column.misfits:
        remarks.append(f"{column.misfits:,} of {column.filled:,} values do not fit")
    remarks += [text for text in (column.doubt, target.reason) if text]
    return f"- {flow(values)}   # {'; '.join(remarks)}"


def property_lines(properties: Mapping[str, Property]) -> list[str]:
    """Declarations as lines of ``properties.yaml``, indented to stand below ``properties:``."""
    lines = []
    for key, declared in properties.items():
        values = declared.model_dump(exclude_none=True, exclude={"type"})
        lines.append(f"  {scalar(key)}: {flow({**values, 'type': declared.type})}")
    return lines
