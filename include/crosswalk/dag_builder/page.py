"""The text of a DAG's page in Airflow: what runs when, what is wrong or noteworthy, and the connection file itself."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from crosswalk.config.connection import ExportProfiles, Goal, slug
from crosswalk.config.loader import LoadedConnection
from crosswalk.config.schedule import plan_schedule
from crosswalk.core.errors import ConfigError, CrosswalkError, Finding

_OFF = "**This connection is switched off** (`enabled: false`): it has no schedule and runs nothing."
DIRECTIONS = {"in": "import", "out": "export"}
_HOW_TO = (
    "Start it by hand with *Trigger*. Mode **plan** writes nothing; the log of the task *report* then says what a run "
    "would do. Help is in the repository: docs/airflow.md, docs/connection-files.md, docs/troubleshooting.md."
)


def short(error: BaseException) -> str:
    """An error as one text; of an unexpected one only its type and place, since its text may quote anything."""
    if isinstance(error, CrosswalkError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"Unexpected {type(error).__name__}{place}; this is a fault of Crosswalk or of its set-up."


def document(loaded: LoadedConnection, findings: list[Finding]) -> str:
    """The text of the DAG's page: what runs when, what is wrong or noteworthy, and the file itself."""
    connection = loaded.model
    goals = [
        (goal.name, DIRECTIONS[goal.direction], "on" if goal.enabled else "off", _plain(_files_of(goal)))
        for goal in connection.goals
    ]
    return "\n\n".join(
        part
        for part in (
            "" if connection.enabled else _OFF,
            _table(_facts(loaded)),
            _list("Errors: the next run stops before it reads anything", findings, "error"),
            _list("Warnings", findings, "warning"),
            _table([("Goal", "Direction", "State", "Files"), *goals]),
            "### About this connection\n\n" + _table(_about(loaded)),
            _HOW_TO,
            "### The file\n\n" + _fenced(loaded.text),
        )
        if part
    )


def _facts(loaded: LoadedConnection) -> list[tuple[str, ...]]:
    """When it runs, and on which system."""
    connection = loaded.model
    return [
        ("Schedule", plan_schedule(connection.schedule, connection.timezone).text),
        ("System", f"{connection.kind}, Airflow connection `{connection.conn_id}`"),
    ]


def _about(loaded: LoadedConnection) -> list[tuple[str, ...]]:
    """The metadata, apart from what a person needs to run it: what it is for, labels, and who answers for it."""
    connection = loaded.model
    facts: list[tuple[str, ...]] = [("File", f"`{Path(loaded.path).name}`")]
    if connection.description:
        facts.append(("Description", _plain(connection.description)))
    if connection.labels:
        facts.append(("Labels", _plain(", ".join(connection.labels))))
    if connection.owner:
        mail = f" ({connection.owner.email})" if connection.owner.email else ""
        facts.append(("Owner", f"{_plain(connection.owner.name)}{mail}"))
    return facts


def _files_of(goal: Goal) -> str:
    """What an import reads, and where an export writes the profiles of its segment."""
    if isinstance(goal, ExportProfiles):
        return f"{goal.segment} to {goal.directory}"
    return ", ".join(f"{file.path}{file.regex or ''}" for file in goal.files)


def _table(rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; its first row becomes the heading."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]])


def document_broken(path: Path, error: BaseException) -> str:
    """The page of a file that cannot be used. The file's text is left out: what was refused may be a secret."""
    lines = [f"## The connection file `{path.name}` cannot be used"]
    findings = error.findings if isinstance(error, ConfigError) else []
    if findings:
        lines.append("\n".join(_finding_line(finding) for finding in findings))
    else:
        lines.append(_plain(short(error)))
    lines.append(
        "No other connection is affected. Correct the file: the DAG comes back by itself within a minute. "
        f"`crosswalk check {slug(path.stem)} --offline` says the same on the command line; "
        "`docs/troubleshooting.md` explains each code."
    )
    return "\n\n".join(lines)


def _list(title: str, findings: list[Finding], severity: str) -> str:
    chosen = [_finding_line(finding) for finding in findings if finding.severity == severity]
    return "\n".join([f"### {title}", "", *chosen]) if chosen else ""


def _finding_line(finding: Finding) -> str:
    place = Path(finding.file).name if finding.file else ""
    place += f" line {finding.line}" if finding.line else ""
    return f"- {place + ': ' if place else ''}{_plain(finding.message)} `[{finding.code}]`"


def _plain(text: str) -> str:
    """Text without meaning in Markdown or HTML: it is shown, never interpreted."""
    return re.sub(r"([\\`*_{}\[\]<>#|!])", r"\\\1", " ".join(text.split()))


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"
