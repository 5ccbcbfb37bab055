"""From the ``processors`` of a goal to processor objects, and from a goal to the fields it needs.

Findings: ``invalid_processor``, ``unknown_processor``, ``own_processor``, ``unknown_file``, ``unknown_field``,
``nested_field``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crosswalk.config.connection import ImportGoal, ImportProfiles
from crosswalk.core.errors import ConfigError, Finding
from crosswalk.core.names import display
from crosswalk.core.registry import Registry
from crosswalk.engine.frame_chunks import FrameStep
from crosswalk.engine.join_plan import hosts, split_field
from crosswalk.engine.processing import SqlStep
from crosswalk.processors.base import Processor
from crosswalk.processors.own import load_own

Step = SqlStep | FrameStep


def parse_steps(goal: ImportGoal, registry: Registry, own: Mapping[str, Path]) -> list[Any]:
    """The goal's processors in order; all problems at once."""
    findings: list[Finding] = []
    steps: list[Processor] = []
    host = hosts(goal)
    made: dict[str, bool] = {}
    for position, item in enumerate(goal.processors, start=1):
        step, problems = build_step(item, registry, own)
        if step is not None:
            lists = {field for field in step.inputs if _is_list(field, host, made)}
            problems += _check_inputs(step, host, made)
            problems += [("nested_field", text) for text in step.problems(lists)]
            is_list = bool(step.inputs) and lists == set(step.inputs)
            made.update({field: is_list for field in step.outputs if "." not in field})
            steps.append(step)
        label = f"processor {position} ({display(next(iter(item), '?'))})"
        findings += [Finding("error", code, f"{label}: {text}") for code, text in problems]
    findings += _check_made_fields(goal, made)
    if findings:
        message = f"The processors of goal {goal.name} are not right."
        raise ConfigError(message, findings=findings, code=findings[0].code)
    return steps


def build_step(
    item: Mapping[str, Any], registry: Registry, own: Mapping[str, Path]
) -> tuple[Processor | None, list[tuple[str, str]]]:
    """One processor, or what is wrong with it."""
    if len(item) != 1:
        return None, [("invalid_processor", "write one name with its settings, as in `- trim: {field: a.b}`")]
    ((name, settings),) = item.items()
    if name in own and name in registry:
        return None, [("own_processor", f"{own[name]} has the name of a built-in processor; rename the file")]
    try:
        if name in own:
            kind: type[Processor] = load_own(name, own[name])
        elif name in registry:
            kind = registry.get(name)
        else:
            return None, [("unknown_processor", _unknown(name, [*registry.names, *own]))]
    except ConfigError as error:
        return None, [("own_processor", str(error))]
    if settings is not None and not isinstance(settings, dict):
        return None, [("invalid_processor", "settings are written as {name: value, ...}")]
    try:
        return kind(name, kind.Options.model_validate(settings or {})), []
    except ValidationError as error:
        return None, [("invalid_processor", _sentence(item)) for item in error.errors(include_url=False)]


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f'there is no processor "{display(name)}"; {hint}Known: {", ".join(sorted(known))}'


def _sentence(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"{place}: {error['msg']}" if place else str(error["msg"])


def _is_list(field: str, host: Mapping[str, str | None], made: Mapping[str, bool]) -> bool:
    return bool(host.get(split_field(field)[0])) if "." in field else made.get(field, False)


def _check_inputs(step: Processor, host: Mapping[str, str | None], made: Mapping[str, bool]) -> list[tuple[str, str]]:
    problems = []
    for field in step.inputs:
        file, column = split_field(field)
        if "." not in field and field not in made:
            problems.append(("unknown_field", f'no earlier processor makes the field "{display(field)}"'))
        elif "." in field and (file not in host or not column):
            problems.append(("unknown_file", f'field "{display(field)}" names no file; files are {", ".join(host)}'))
    return problems


def _uses(goal: ImportGoal) -> list[tuple[str, str]]:
    """Every field that the goal itself speaks of, and where."""
    uses = [(item.field, "identifiers") for item in goal.identifiers]
    uses += [(field, "row_key") for field in goal.row_key]
    if isinstance(goal, ImportProfiles):
        uses += [(item.field, "consent") for item in goal.consent]
        uses += [(field, "events") for event in goal.events for field in event.used_fields()]
    return uses + [(item.field, "mappings") for item in goal.mappings.fields]


def _check_made_fields(goal: ImportGoal, made: Mapping[str, bool]) -> list[Finding]:
    findings = []
    for field, where in _uses(goal):
        if "." not in field and field not in made:
            text = f'{where}: "{display(field)}" is no file.column, and no processor makes it'
            findings.append(Finding("error", "unknown_field", text))
    return findings


def needed_fields(goal: ImportGoal, processors: Sequence[Any]) -> list[str]:
    """Every ``file.column`` that the goal reads, each once; fields that processors make are not among them."""
    fields: Iterable[str] = [field for field, _ in _uses(goal)]
    fields = [*fields, *(field for step in processors for field in step.inputs)]
    return [field for field in dict.fromkeys(fields) if "." in field]
