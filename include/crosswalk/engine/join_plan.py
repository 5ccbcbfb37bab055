"""Which column of which file the chained join reads, links and hands on; no SQL and no data here.

Findings that stop the join (``ConfigError``): ``missing_file``, ``missing_column``, ``unknown_file``,
``file_not_linked``, ``incorrect_link``, ``same_name``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from crosswalk.config.connection import ImportGoal, ImportProfiles, SourceFile
from crosswalk.core.errors import ConfigError, Finding
from crosswalk.core.names import display
from crosswalk.engine.dialect import about_missing_column


@dataclass(frozen=True)
class Source:
    """One staged file.

    Attributes:
        block: the file block it was selected by.
        index: its place in the run's list of sources.
        name: path on the source, as messages show it.
        path: Parquet with record, line and the columns, in the order of the records; texts, '' for an empty cell.
        columns: names of the staged columns, in the file's order.
        header: names of all columns of the file; unset: the same.
    """

    block: SourceFile
    index: int
    name: str
    path: Path
    columns: list[str]
    header: list[str] = field(default_factory=list)

    @property
    def known(self) -> list[str]:
        """Every column that the file has, for messages."""
        return self.header or self.columns


@dataclass(frozen=True)
class Link:
    """One pair of a link: this block's column equals that column of an earlier block."""

    column: str
    target: str
    target_column: str


@dataclass
class Block:
    """A file block as the join uses it.

    Attributes:
        position: place among the goal's file blocks; the primary one is 0.
        host: name of the nested block inside which this one is joined (its own name when it is nested itself), None for
            a block whose fields are single values.
        links: pairs that must all hold; empty for the primary block.
        columns: columns that are read: those handed on, linked, or linked to.
        outputs: columns handed on as ``file.column``.
    """

    position: int
    file: SourceFile
    sources: list[Source]
    host: str | None = None
    links: list[Link] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The block's name in mappings and links."""
        return self.file.name

    @property
    def is_nested(self) -> bool:
        """One row of the file it hangs off may have many rows here."""
        return self.host == self.name

    @property
    def complete_output(self) -> str | None:
        """A column handed on that every file of the block has: it is NULL only where no record matches."""
        headers = [source.columns for source in self.sources if source.columns]
        return next((column for column in self.outputs if all(column in header for header in headers)), None)

    def use(self, column: str) -> None:
        """Read this column too."""
        if column not in self.columns:
            self.columns.append(column)


@dataclass(frozen=True)
class JoinPlan:
    """Blocks in the goal's order, the fields to write, and what to warn about."""

    blocks: list[Block]
    fields: list[tuple[Block, str]]
    warnings: list[str]

    def block(self, name: str) -> Block:
        """The block of that name."""
        return next(block for block in self.blocks if block.name == name)

    def inside(self, host: str | None) -> list[Block]:
        """The blocks joined in one grain: None for the rows, a nested block's name for its rows."""
        return [block for block in self.blocks if block.host == host]


def split_field(name: str) -> tuple[str, str]:
    """``file.column`` in two; the column may hold further dots."""
    file, _, column = name.partition(".")
    return file, column


def hosts(goal: ImportGoal) -> dict[str, str | None]:
    """For each file block the nested block whose lists hold its fields, None for single values.

    Links that cannot be followed count as links to the primary file; ``plan_join`` and ``check`` report them.
    """
    found: dict[str, str | None] = {}
    for block in goal.files:
        targets = [found.get(split_field(target)[0]) for target in block.link.values()]
        found[block.name] = block.name if block.nested else next((host for host in targets if host), None)
    return found


def list_fields(goal: ImportGoal, fields: list[str]) -> set[str]:
    """Which of these fields hold lists, because their file is nested or joined inside a nested one."""
    host = hosts(goal)
    return {name for name in fields if "." in name and host.get(split_field(name)[0])}


def used_columns(goal: ImportGoal, fields: list[str]) -> dict[str, set[str]]:
    """For each file block the columns that the join reads: those of the fields, and those of the links.

    Args:
        goal: the import goal.
        fields: ``file.column`` names to hand on; names without a dot belong to no file.
    """
    links = [pair for block in goal.files for pair in _link_fields(block)]
    found: dict[str, set[str]] = {block.name: set() for block in goal.files}
    for file, column in map(split_field, [*fields, *links]):
        found.get(file, set()).add(column)
    return found


def _link_fields(block: SourceFile) -> list[str]:
    return [name for own, target in block.link.items() for name in (f"{block.name}.{own}", target)]


def plan_join(goal: ImportGoal, sources: list[Source], fields: list[str]) -> JoinPlan:
    """Settle which columns are read and how blocks hang together.

    Args:
        goal: the import goal.
        sources: every staged file, in the order in which rows count.
        fields: ``file.column`` names to hand on.

    Raises:
        ConfigError: with every problem found: files, columns and links that do not fit.
    """
    plan = JoinPlan([], [], [])
    findings: list[Finding] = []
    host = hosts(goal)
    for position, file in enumerate(goal.files):
        own = sorted((source for source in sources if source.block.name == file.name), key=lambda source: source.index)
        block = Block(position, file, own, host[file.name])
        if not own:
            findings.append(_error("missing_file", f'No file was read for "{file.name}" ({display(file.path)}).'))
        plan.blocks.append(block)
        findings += _add_links(plan, block)
    for name in dict.fromkeys(fields):
        findings += _add_field(plan, name)
    findings += _clashes(list(dict.fromkeys(fields)))
    findings += _check_columns(plan, goal)
    if findings:
        raise ConfigError("The files do not fit the goal.", findings=findings, code=findings[0].code)
    return plan


def _error(code: str, message: str) -> Finding:
    return Finding("error", code, message)


def _add_links(plan: JoinPlan, block: Block) -> list[Finding]:
    """Note the link pairs of a block; the blocks they point at read those columns too."""
    if block.position == 0:
        return []
    if not block.file.link:
        return [
            _error("file_not_linked", f'File "{block.name}" is not linked: give it link: {{its column: file.column}}.')
        ]
    earlier = {other.name: other for other in plan.blocks[:-1]}
    findings, levels = [], set()
    for own, target in block.file.link.items():
        name, target_column = split_field(target)
        other = earlier.get(name)
        if other is None or not target_column:
            message = f'File "{block.name}" links to "{display(target)}", which is not a column of an earlier file.'
            findings.append(_error("incorrect_link", f"{message} Earlier: {', '.join(earlier)}."))
            continue
        block.links.append(Link(own, name, target_column))
        block.use(own)
        other.use(target_column)
        levels.add(other.host)
    if block.file.nested and levels - {None}:
        message = f'File "{block.name}" is nested and hangs off a nested file.'
        findings.append(_error("incorrect_link", f"{message} Link it to a file that is not nested."))
    elif len(levels) > 1:
        message = f'File "{block.name}" links to files of different levels (a nested one and one that is not).'
        findings.append(_error("incorrect_link", f"{message} Link it to columns of one of them."))
    return findings


def _add_field(plan: JoinPlan, name: str) -> list[Finding]:
    file, column = split_field(name)
    block = next((block for block in plan.blocks if block.name == file), None)
    if block is None or not column:
        known = ", ".join(block.name for block in plan.blocks)
        return [_error("unknown_file", f'Field "{display(name)}" names no file of this goal. Files: {known}.')]
    block.use(column)
    block.outputs.append(column)
    plan.fields.append((block, column))
    return []


def _clashes(fields: list[str]) -> list[Finding]:
    """Names that differ only in the case of ASCII letters are one name to the engine."""
    seen: dict[str, str] = {}
    findings = []
    for name in fields:
        folded = "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in name)
        if folded in seen:
            message = f'Fields "{display(seen[folded])}" and "{display(name)}" differ only in case; use one of them,'
            findings.append(_error("same_name", f"{message} or give the file other names with format.header."))
        seen[folded] = name
    return findings


def _required(goal: ImportGoal) -> set[str]:
    """Fields whose absence would import wrongly rather than less: identifiers, row key, consent."""
    consent = goal.consent if isinstance(goal, ImportProfiles) else []
    return {*(link.field for link in goal.identifiers), *(column.field for column in consent), *goal.row_key}


def _check_columns(plan: JoinPlan, goal: ImportGoal) -> list[Finding]:
    """Columns that a file lacks: an error where the goal cannot do without, else a warning and absent values."""
    findings: list[Finding] = []
    required = _required(goal)
    for block in plan.blocks:
        separator = goal.file_format(block.name).separator
        linked = {link.column for link in block.links}
        linked |= {link.target_column for other in plan.blocks for link in other.links if link.target == block.name}
        for source in block.sources:
            present = set(source.columns)
            for column in block.columns:
                if column in present or not source.known:  # a file without any column has no rows either
                    continue
                text = f'{display(source.name)} has no column "{display(column)}"'
                shown = about_missing_column(column, source.known, separator)
                if column in linked:
                    findings.append(_error("missing_column", f"{text}, which links it. {shown}"))
                elif f"{block.name}.{column}" in required:
                    findings.append(_error("missing_column", f"{text}, which the goal cannot do without. {shown}"))
                else:
                    plan.warnings.append(f"{text}; it counts as absent. {shown}")
    return findings
