"""Checks of segments: what they name, whether tests fit the types, how deep they are, whether they build on themselves.

They look at the typed model alone, so that an export can ask for the problems of its segment while it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from crosswalk.config.report import nearest_name
from crosswalk.config.segments import (
    ALL_PROFILES,
    MAX_DEPTH,
    Condition,
    GroupCondition,
    ObjectiveCondition,
    Place,
    PropertyCondition,
    Segment,
    SegmentCondition,
    conditions_in,
)
from crosswalk.config.tenant import NUMERIC_TYPES, Definition, Tenant
from crosswalk.core.names import display

_WINDOWS = frozenset({"last_days", "next_days", "last_hours", "next_hours"})
_CHOICES = ("any_of", "none_of", "all_of", "not_all_of")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        code: its anchor in ``docs/troubleshooting.md``.
        message: a sentence.
    """

    code: str
    message: str


Found = Iterator[tuple[Place, Problem]]


def segment_problems(tenant: Tenant) -> Found:
    """Everything that is wrong with the segments, each with its place in the tenant model."""
    for name in tenant.segments:
        yield from _problems_of(name, tenant)


def problems_behind(name: str, tenant: Tenant) -> Found:
    """What is wrong with a segment and with the segments it builds on."""
    waiting, seen = [name], {name}
    while waiting:
        current = waiting.pop()
        yield from _problems_of(current, tenant)
        further = [other for other in references(tenant.segments[current]) if other in tenant.segments]
        waiting += [other for other in dict.fromkeys(further) if other not in seen]
        seen |= set(further)


def references(segment: Segment) -> list[str]:
    """The segments that a segment names."""
    return [inner.segment for _, _, inner in conditions_in(segment) if isinstance(inner, SegmentCondition)]


def _problems_of(name: str, tenant: Tenant) -> Found:
    segment = tenant.segments[name]
    where: Place = ("segments", name)
    if name == ALL_PROFILES:
        message = f"`{ALL_PROFILES}` is built in: everything that is not merged away. Give yours another id."
        yield where, Problem("reserved_segment", message)
    circle = _circle(name, tenant)
    if circle:
        text = " builds on ".join([name, *circle])
        yield where, Problem("circular_segment", f"Segments build on each other for ever: {text}.")
    elif _depth(name, tenant) > MAX_DEPTH:
        message = f"`{name}` is more than {MAX_DEPTH} levels deep, with the segments that it builds on."
        yield where, Problem("segment_too_deep", message)
    for place, _, condition in conditions_in(segment):
        yield from (((*where, *place, *below), problem) for below, problem in _condition(condition, tenant))


def _circle(start: str, tenant: Tenant) -> list[str]:
    """A chain of references from a segment back to itself; empty when there is none."""
    chains, seen = [[other] for other in references(tenant.segments[start])], set[str]()
    while chains:
        chain = chains.pop()
        if chain[-1] == start:
            return chain
        if chain[-1] in tenant.segments and chain[-1] not in seen:
            seen.add(chain[-1])
            chains += [[*chain, other] for other in references(tenant.segments[chain[-1]])]
    return []


def _depth(name: str, tenant: Tenant) -> int:
    """Levels of a segment, those of the segments it builds on included; what lies beyond the limit is not looked at."""
    deepest, waiting, seen = 0, [(name, 0)], set[tuple[str, int]]()
    while waiting:
        current, above = waiting.pop()
        if (current, above) in seen or above > MAX_DEPTH or current not in tenant.segments:
            continue
        seen.add((current, above))
        for _, depth, condition in conditions_in(tenant.segments[current]):
            deepest = max(deepest, above + depth)
            if isinstance(condition, SegmentCondition):
                waiting.append((condition.segment, above + depth))
    return deepest


def _condition(condition: Condition, tenant: Tenant) -> Found:
    if isinstance(condition, PropertyCondition):
        yield from _test(condition, tenant.definition(condition.property), "the tenant model", tenant.properties)
    elif isinstance(condition, ObjectiveCondition) and condition.objective not in tenant.objectives:
        yield ("objective",), _unknown("objective", condition.objective, tenant.objectives, "objectives.yaml")
    elif isinstance(condition, SegmentCondition) and condition.segment not in tenant.segment_names:
        problem = _unknown("segment", condition.segment, tenant.segment_names, "segments.yaml")
        yield ("segment",), problem
    elif isinstance(condition, GroupCondition):
        yield from _group(condition, tenant)


def _group(condition: GroupCondition, tenant: Tenant) -> Found:
    declared = tenant.group_types.get(condition.group_type)
    if declared is None:
        yield ("group_type",), _unknown("group type", condition.group_type, tenant.group_types, "group_types.yaml")
        return
    owner = f"group type {condition.group_type}"
    for index, test in enumerate(condition.all):
        found = _test(test, declared.properties.get(test.property), owner, declared.properties)
        yield from ((("all", index, *place), problem) for place, problem in found)


def _unknown(what: str, name: str, known: Mapping[str, object] | list[str], file: str) -> Problem:
    listed = ", ".join(known) or "none"
    message = f"There is no {what} `{display(name)}`{nearest_name(name, known)}; {file} has: {listed}."
    return Problem(f"unknown_{what.replace(' ', '_')}", message)


def _test(
    condition: PropertyCondition, declared: Definition | None, owner: str, known: Mapping[str, Definition]
) -> Found:
    """Whether the property exists and its type knows such a test with such values."""
    name, test = condition.property, condition.test
    if declared is None:
        message = f"{owner[0].upper()}{owner[1:]} has no property `{display(name)}`{nearest_name(name, known)}."
        yield ("property",), Problem("unknown_property", message)
        return
    kind = declared.type
    problem = ""
    if test in _WINDOWS and kind != "datetime":
        problem = f"`{test}` needs a property of type datetime"
    elif test == "between" and kind in ("text", "email"):
        problem = "`between` needs a number or a datetime"
    elif test in _CHOICES and kind == "datetime":
        problem = f"`{test}` compares texts and numbers; use between, last_days or next_days"
    if problem:
        yield (test,), Problem("segment_test", f"{problem}, and `{name}` is of type {kind}.")
        return
    values = condition.between if test == "between" else getattr(condition, test) if test in _CHOICES else []
    unfit = next((value for value in values or [] if value is not None and _parse(value, kind) is None), None)
    if unfit is not None:
        message = f"`{test}` of `{name}`: `{display(unfit, 40)}` is no {kind}."
        yield (test,), Problem("segment_test", message)
    elif condition.between and None not in condition.between:
        low, high = (_parse(value or "", kind) for value in condition.between)
        if not low <= high:  # type: ignore[operator]
            yield (test,), Problem("segment_test", f"`between` of `{name}`: the low end is above the high one.")


def _parse(value: str, kind: str) -> float | str | None:
    """A value in the form it is compared in; None when it does not fit the type."""
    if kind in NUMERIC_TYPES:
        return float(value) if _NUMBER.fullmatch(value.strip()) else None
    if kind == "datetime":
        try:
            return datetime.fromisoformat(value).replace(tzinfo=None).timestamp()
        except ValueError:
            return None
    return value
