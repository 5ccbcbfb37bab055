"""The text of a DAG's page in Airflow: what runs when, what is wrong or noteworthy, and the connection file itself."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from crosswalk.config.connection import slug
from crosswalk.config.loader import LoadedConnection
from crosswalk.config.schedule import plan_schedule
from crosswalk.core.errors import ConfigError, CrosswalkError, Finding

DIRECTIONS = {"in": "import", "out": "export"}
_HOW_TO = (
    "Start it by hand with *Trigger*; mode **plan** shows what a run would do and writes nothing. "
    "Help: `docs/airflow.md`, `docs/connections.md`, `docs/troubleshooting.md`."
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
    spec = plan_schedule(connection.schedule, connection.timezone)
    facts = [
        f"**Schedule:** {spec.text}",
        f"**System:** {connection.kind}, Airflow connection `{connection.conn_id}`",
        f"**File:** `{Path(loaded.path).name}`",
    ]
    if connection.owner:
        mail = f" ({connection.owner.email})" if connection.owner.email else ""
        facts.append(f"**Owner:** {_plain(connection.owner.name)}{mail}")
    if not connection.enabled:
        facts.insert(0, "**This connection is switched off** (`enabled: false`): it has no schedule and runs nothing.")
    goals = ["| Goal | Direction | State |", "| --- | --- | --- |"]
    goals += [
        f"| {goal.name} | {DIRECTIONS[goal.direction]} | {'on' if goal.enabled else 'off'} |"
        for goal in connection.goals
    ]
    return "\n\n".join(
        part
        for part in (
            _plain(connection.description),
            "  \n".join(facts),
            _list("Errors: the next run stops before it reads anything", findings, "error"),
            _list("Warnings", findings, "warning"),
            "\n".join(goals),
            _HOW_TO,
            "### The file\n\n" + _fenced(loaded.text),
        )
        if part
    )


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
