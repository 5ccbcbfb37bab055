"""Proposes what a connection does with sampled files: primary file, links, identifiers, mappings, properties.

Nothing is proposed that the sample does not show; each proposal carries its reason, and what is open says UNCERTAIN.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from crosswalk.config.tenant import Definition, Property
from crosswalk.core.names import fold
from crosswalk.engine.detect_values import Column
from crosswalk.steps.sample import Sample

KEY_NAME = re.compile(r"(?:^|_)(?:id|nr|no|number|nummer|code|key|uuid|guid|sku)$")
GENERIC = {"id", "nr", "no", "number", "nummer", "code", "key", "name", "type", "status", "date"}
PERSONAL = re.compile(
    r"(?:^|_)(?:first|last|given|family|sur|full)?_?name$|naam$|prenom|(?:^|_)nom$|mail|phone|telefoon|mobile|gsm|street|"
    r"straat|address|adres|birth|geboorte|iban"
)
FOUND = 0.5  # share of a key's values that the other file must hold


@dataclass(frozen=True)
class Link:
    """A file that hangs off another one by a column of each."""

    file: str
    column: str
    to_file: str
    to_column: str
    reason: str


@dataclass(frozen=True)
class Target:
    """A column and the property it goes to, before the prefix.

    Attributes:
        file, column: where the value comes from.
        property_id: the id, without the prefix.
        reason: why, or what is uncertain; empty when there is nothing to say.
    """

    file: str
    column: Column
    property_id: str
    reason: str = ""

    @property
    def field(self) -> str:
        """As mappings write it."""
        return f"{self.file}.{self.column.name}"


@dataclass
class Proposal:
    """What a connection file could say.

    Attributes:
        files: in the order of the connection, the primary one first.
        links: by the name of the linked file.
        identifiers, mappings: columns with their properties.
        row_key: a field that names each row of the primary file.
        notes: what was seen and not used.
        properties: those that the tenant model lacks, by full id.
    """

    files: list[Sample]
    links: dict[str, Link] = field(default_factory=dict)
    identifiers: list[Target] = field(default_factory=list)
    mappings: list[Target] = field(default_factory=list)
    row_key: str | None = None
    notes: list[str] = field(default_factory=list)
    properties: dict[str, Property] = field(default_factory=dict)


def propose(samples: Sequence[Sample], known: Mapping[str, Definition], prefix: str = "") -> Proposal:
    """Propose a connection for these files.

    Args:
        samples: the files as read.
        known: the declared properties.
        prefix: in front of each mapped property.
    """
    proposal = _joined(samples)
    names = {sample.name: property_ids(sample.columns, known) for sample in proposal.files}
    all_targets = [
        Target(sample.name, column, names[sample.name][column.name])
        for sample in proposal.files
        for column in sample.columns
    ]
    proposal.identifiers = _identifiers(all_targets, known)
    used = {target.field for target in proposal.identifiers} | _link_fields(proposal.links.values())
    mapped = distinct_targets([target for target in all_targets if target.field not in used])
    proposal.mappings = [_because(target, _doubt_about_type(target, known, prefix)) for target in mapped]
    primary = proposal.files[0]
    keys = [column for column in primary.columns if column.is_unique]
    chosen = {target.field for target in proposal.identifiers}
    keys.sort(
        key=lambda column: (f"{primary.name}.{column.name}" not in chosen, not KEY_NAME.search(fold(column.name)))
    )
    if keys and (f"{primary.name}.{keys[0].name}" in chosen or KEY_NAME.search(fold(keys[0].name))):
        proposal.row_key = f"{primary.name}.{keys[0].name}"
    proposal.properties = missing_properties(proposal.identifiers, known, identifier=True)
    proposal.properties |= missing_properties(proposal.mappings, known, prefix)
    return proposal


# -- names and properties ---------------------------------------------------------------------------------------------


def property_ids(columns: Iterable[Column], known: Mapping[str, Definition]) -> dict[str, str]:
    """A property id for each column; two columns never share one."""
    spelled = {key.lower(): key for key in known}
    found: dict[str, str] = {}
    taken: set[str] = set()
    for position, column in enumerate(columns, 1):
        wanted = fold(column.name) or f"column_{position}"
        wanted = spelled.get(wanted, wanted)
        number, name = 1, wanted
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        found[column.name] = name
    return found


def distinct_targets(targets: Sequence[Target], taken: Iterable[str] = ()) -> list[Target]:
    """The same targets; where two files would write one property, the later one has its file's name in front."""
    used = set(taken)
    found = []
    for target in targets:
        name, number = target.property_id, 1
        while name in used:
            name = f"{fold(target.file)}_{target.property_id}" + (f"_{number}" if number > 1 else "")
            number += 1
        used.add(name)
        found.append(Target(target.file, target.column, name, target.reason))
    return found


def missing_properties(
    targets: Iterable[Target], known: Mapping[str, Definition], prefix: str = "", *, identifier: bool = False
) -> dict[str, Property]:
    """Declarations for the properties that the tenant model lacks."""
    found = {}
    for target in targets:
        column, key = target.column, f"{prefix}{target.property_id}"
        if key in known:
            continue
        is_personal = column.type == "email" or bool(PERSONAL.search(fold(column.name)))
        found[key] = Property(
            name=column.name if fold(column.name) != column.name and len(column.name) <= 100 else None,
            type=column.type,
            identifier="unique" if identifier else None,
            sensitivity="pii" if is_personal and not identifier else None,
        )
    return found


# -- identifiers ------------------------------------------------------------------------------------------------------


def _identifiers(targets: Sequence[Target], known: Mapping[str, Definition]) -> list[Target]:
    """The columns that recognise a profile, by what is declared, else by the values, else by the name."""
    declared = [t for t in targets if t.property_id in known and known[t.property_id].identifier == "unique"]
    if declared:
        return distinct_first([_because(t, "the tenant model declares it as a unique identifier") for t in declared])
    addresses = [t for t in targets if t.column.type == "email"]
    if addresses:
        best = max(addresses, key=lambda t: (t.column.is_unique, t.column.filled))
        why = f"its values are e-mail addresses ({best.column.misfits} of {best.column.filled:,} are not)"
        address = next((key for key, p in known.items() if p.identifier == "unique" and p.type == "email"), None)
        return [Target(best.file, best.column, address or best.property_id, why)]
    unique = [t for t in targets if t.column.is_unique]
    keys = [t for t in unique if KEY_NAME.search(fold(t.column.name))]
    if keys:
        return [_because(keys[0], "filled in every row that was read, and no value twice")]
    by_name = [t for t in targets if not t.column.filled and re.search("e?_?mail", fold(t.column.name))]
    if by_name:
        column = Column(by_name[0].column.name, "email")
        return [
            Target(by_name[0].file, column, by_name[0].property_id, "UNCERTAIN: by its name only, there are no values")
        ]
    chosen = (unique or list(targets))[0]
    return [_because(chosen, "UNCERTAIN: nothing shows which column recognises a person; choose one")]


def distinct_first(targets: Sequence[Target]) -> list[Target]:
    """The first target of each property."""
    found: dict[str, Target] = {}
    for target in targets:
        found.setdefault(target.property_id, target)
    return list(found.values())


def _doubt_about_type(target: Target, known: Mapping[str, Definition], prefix: str) -> str:
    """What to say where the values do not look like the property that is declared already."""
    declared = known.get(f"{prefix}{target.property_id}")
    if declared is None or not target.column.filled:
        return ""
    takes = {"text": {"text", "email", "number", "decimal", "datetime"}, "decimal": {"decimal", "number"}}
    takes["currency"] = takes["decimal"]
    if target.column.type in takes.get(declared.type, {declared.type}):
        return ""
    return f"UNCERTAIN: the property is declared as {declared.type}, and the values do not look like that"


def _because(target: Target, reason: str) -> Target:
    return Target(target.file, target.column, target.property_id, reason)


# -- links ------------------------------------------------------------------------------------------------------------


def _joined(samples: Sequence[Sample]) -> Proposal:
    """The files in order with their links: the primary file is the one that reaches most others row by row."""
    links = [link for one in samples for other in samples if one is not other and (link := _link(one, other))]
    trees = {sample.name: _tree(sample.name, links) for sample in samples}
    by_name = {sample.name: sample for sample in samples}
    mails = {s.name: any(column.type == "email" for column in s.columns) for s in samples}
    primary = max(samples, key=lambda sample: (len(trees[sample.name]), mails[sample.name])).name
    tree = trees[primary]
    proposal = Proposal([by_name[primary], *(by_name[name] for name in tree)], tree)
    for sample in samples:
        if sample.name != primary and sample.name not in tree:
            proposal.notes.append(
                f"{sample.name} ({sample.place.newest}) is not used: no column of it is shown to be a key that "
                "the other files share. Link it by hand; with `nested: true` where one row has several of its rows."
            )
    return proposal


def _tree(primary: str, links: Sequence[Link]) -> dict[str, Link]:
    """The links that reach other files from the primary one, each file once."""
    found: dict[str, Link] = {}
    while True:
        reached = {primary, *found}
        link = next((item for item in links if item.to_file in reached and item.file not in reached), None)
        if link is None:
            return found
        found[link.file] = link


def _link(one: Sample, other: Sample) -> Link | None:
    """How each row of ``one`` finds at most one row of ``other``; None where the samples do not show it."""
    names = {fold(column.name): column.name for column in one.columns}
    for column in other.columns:
        if not column.is_unique:
            continue
        own = fold(column.name)
        singular = fold(other.name).removesuffix("s")
        candidates = [f"{singular}_{own}", f"{fold(other.name)}_{own}"] if own in GENERIC else [own]
        match = next((names[name] for name in candidates if name in names), None)
        if match is None:
            continue
        wanted, held = _distinct(one, match), _distinct(other, column.name)
        found = len(wanted & held)
        if wanted and found >= FOUND * len(wanted):
            why = f"{found:,} of {len(wanted):,} values of {one.name}.{match} are in {other.name}, where none is twice"
            return Link(other.name, column.name, one.name, match, why)
    return None


def _distinct(sample: Sample, column: str) -> set[str]:
    with pq.ParquetFile(sample.detected.sample.path) as file:
        values = file.read(columns=[column]).column(0).to_pylist()
    return {text for value in values if (text := value.strip())}


def _link_fields(links: Iterable[Link]) -> set[str]:
    return {f"{link.file}.{link.column}" for link in links}
