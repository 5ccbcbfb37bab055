"""Segments as conditions over the documents of profiles: who is in a segment is decided here and nowhere else.

Every condition is true or false, never NULL, so that ``not`` means the opposite. Texts compare without case, numbers
by value, ranges include both ends, and of several values one is enough (``cdp-semantics.md`` section 9). Windows of
time reach from or to the moment that the caller gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from crosswalk.config.segments import (
    ALL_PROFILES,
    AllCondition,
    AnyCondition,
    Condition,
    GroupCondition,
    NotCondition,
    ObjectiveCondition,
    PropertyCondition,
    SegmentCondition,
    conditions_in,
)
from crosswalk.config.tenant import CONSENTED, NUMERIC_TYPES, REFUSED, Tenant
from crosswalk.engine.profile_values import ProfileValues, has_value
from crosswalk.engine.template import Node, all_of, any_of, call, name, named, number, sql, text

_HOUR_MS = 3_600_000
_NUMBER = "DECIMAL(18, 4)"
_STEP = Decimal("0.0001")  # no stored number is finer
_LARGEST = Decimal("99999999999999.9999")


class Segments:
    """The segments that are wanted, with all that they build on, as columns of a query.

    Args:
        wanted: ids of segments; ``all_profiles`` may be among them.
        tenant: the tenant model, which the checks found to be in order.
        now_ms: the moment that windows of time reach to.

    Example:
        >>> segments = Segments(["buyers"], tenant, now_ms)
        >>> values = ProfileValues(segments.properties)
        >>> query = segments.decide(values.read(sql("SELECT * FROM stored_profiles")), values)
        >>> buyers = sql("SELECT profile_id FROM ($query) WHERE $is_in", query=query, is_in=segments.has("buyers"))
    """

    def __init__(self, wanted: Sequence[str], tenant: Tenant, now_ms: int) -> None:
        self._tenant, self._now = tenant, now_ms
        self._layers = _layers(wanted, tenant)
        self._number = {key: index for index, key in enumerate(key for layer in self._layers for key in layer)}

    @property
    def properties(self) -> list[str]:
        """The properties that the conditions look at."""
        found: list[str] = []
        for segment in self._number:
            for _, _, condition in conditions_in(self._tenant.segments[segment]):
                if isinstance(condition, PropertyCondition):
                    found.append(condition.property)
                elif isinstance(condition, ObjectiveCondition):
                    found += [CONSENTED, REFUSED]
        return list(dict.fromkeys(found))

    @property
    def group_conditions(self) -> list[GroupCondition]:
        """The conditions on groups; ``membership.py`` decides them, as columns ``group_holds_<number>``."""
        found: list[GroupCondition] = []
        for segment in self._number:
            inner = [item for _, _, item in conditions_in(self._tenant.segments[segment])]
            found += [item for item in inner if isinstance(item, GroupCondition) and item not in found]
        return found

    def has(self, segment: str) -> Node:
        """Whether the profile of a row is in a segment."""
        return sql("true") if segment == ALL_PROFILES else name(f"in_{self._number[segment]}")

    def decide(self, source: Node, values: ProfileValues) -> Node:
        """The rows of ``source`` with the columns that ``has`` names; a segment comes after those it builds on."""
        query = source
        for layer in self._layers:
            flags = [
                named(self._holds(self._tenant.segments[key].condition, values), f"in_{self._number[key]}")
                for key in layer
            ]
            query = sql("SELECT *, $flags FROM ($query)", flags=flags, query=query)
        return query

    def _holds(self, condition: Condition, values: ProfileValues) -> Node:
        if isinstance(condition, AllCondition):
            return all_of([self._holds(inner, values) for inner in condition.all])
        if isinstance(condition, AnyCondition):
            return any_of([self._holds(inner, values) for inner in condition.any])
        if isinstance(condition, NotCondition):
            return sql("NOT $inner", inner=self._holds(condition.not_, values))
        if isinstance(condition, SegmentCondition):
            return self.has(condition.segment)
        if isinstance(condition, ObjectiveCondition):
            return _answered(condition.is_, values.answer(condition.objective))
        if isinstance(condition, GroupCondition):
            return sql(f"coalesce(group_holds_{self.group_conditions.index(condition)}, false)")
        declared = self._tenant.definition(condition.property)
        kind = declared.type if declared else "text"
        return self.passes(condition, values.of(condition.property), kind)

    def passes(self, condition: PropertyCondition, values: Node, kind: str) -> Node:
        """The one test of a property, by the type of its values."""
        test = condition.test
        if test == "has_value":
            return has_value(values)
        if test == "is_empty":
            return sql("NOT $found", found=has_value(values))
        if test in ("any_of", "none_of"):
            found = _any_of(values, getattr(condition, test), kind)
            return found if test == "any_of" else sql("NOT $found", found=found)
        if test in ("all_of", "not_all_of"):
            found = _all_of(values, getattr(condition, test), kind)
            return found if test == "all_of" else sql("NOT $found", found=found)
        if condition.between is not None:
            return _between(values, condition.between[0], condition.between[1], kind)
        hours = getattr(condition, test) * (24 if test.endswith("days") else 1)
        low, high = sorted((self._now, self._now + hours * _HOUR_MS * (1 if test.startswith("next") else -1)))
        return _within(values, number(low), number(high), "BIGINT")


def _layers(wanted: Sequence[str], tenant: Tenant) -> list[list[str]]:
    """The segments and all that they build on, in layers: each builds on earlier layers only."""
    depth: dict[str, int] = {}

    def place(segment: str) -> int:
        if segment == ALL_PROFILES:
            return -1
        if segment not in depth:
            inner = [condition for _, _, condition in conditions_in(tenant.segments[segment])]
            below = [place(item.segment) for item in inner if isinstance(item, SegmentCondition)]
            depth[segment] = max(below, default=-1) + 1
        return depth[segment]

    for segment in wanted:
        place(segment)
    return [[key for key in depth if depth[key] == level] for level in range(max(depth.values(), default=-1) + 1)]


def _answered(wanted: str, answer: Node) -> Node:
    """Whether the recorded answer is the wanted one. Consent is not needed in no known zone, unless it was refused."""
    if wanted == "consented":
        return sql("coalesce($answer = 'granted', false)", answer=answer)
    if wanted == "refused":
        return sql("coalesce($answer = 'refused', false)", answer=answer)
    if wanted == "unknown":
        return sql("$answer IS NULL", answer=answer)
    if wanted == "refused_or_unknown":
        return sql("coalesce($answer = 'refused', true)", answer=answer)
    return sql("coalesce($answer = 'granted', legislation = 'NONE')", answer=answer)


def _any_of(values: Node, choices: Sequence[str], kind: str) -> Node:
    known = _choices(choices, kind)
    if not known:
        return sql("false")
    return sql("coalesce(list_has_any($values, $known), false)", values=_comparable(values, kind), known=_list(known))


def _all_of(values: Node, choices: Sequence[str], kind: str) -> Node:
    known = _choices(choices, kind)
    if len(known) < len(choices):  # one of them is a number that no value can be
        return sql("false")
    return sql("coalesce(list_has_all($values, $known), false)", values=_comparable(values, kind), known=_list(known))


def _list(items: Sequence[Node]) -> Node:
    return sql("[$items]", items=list(items))


def _comparable(values: Node, kind: str) -> Node:
    if kind in NUMERIC_TYPES:
        return sql(f"list_transform($values, LAMBDA item : TRY_CAST(item AS {_NUMBER}))", values=values)
    return sql("list_transform($values, LAMBDA item : lower(item))", values=values)


def _choices(choices: Sequence[str], kind: str) -> list[Node]:
    """The choices as they compare; numbers that no value can be are left out."""
    if kind not in NUMERIC_TYPES:
        return [call("lower", text(choice.strip())) for choice in choices]
    found = [Decimal(choice.strip()) for choice in choices]
    return [_number(item) for item in found if abs(item) <= _LARGEST and item % _STEP == 0]


def _number(value: Decimal) -> Node:
    return sql(f"CAST($value AS {_NUMBER})", value=text(f"{value:f}"))


def _between(values: Node, low: str | None, high: str | None, kind: str) -> Node:
    if kind == "datetime":
        first = None if low is None else number(moment_ms(low))
        last = None if high is None else number(moment_ms(high, at_end=True))
        return _within(values, first, last, "BIGINT")
    # Bounds are moved to the next number that a value can be: whatever lies between them stays the same.
    first = None if low is None else _bound(low, ROUND_CEILING)
    last = None if high is None else _bound(high, ROUND_FLOOR)
    return _within(values, first, last, _NUMBER)


def _bound(written: str, rounding: str) -> Node:
    return _number(max(min(Decimal(written.strip()), _LARGEST), -_LARGEST).quantize(_STEP, rounding))


def _within(values: Node, low: Node | None, high: Node | None, kind: str) -> Node:
    """Whether one of the values lies in a range, both ends included."""
    ends = []
    if low is not None:
        ends.append(sql(f"TRY_CAST(item AS {kind}) >= $low", low=low))
    if high is not None:
        ends.append(sql(f"TRY_CAST(item AS {kind}) <= $high", high=high))
    return has_value(sql("list_filter($values, LAMBDA item : $inside)", values=values, inside=all_of(ends)))


def moment_ms(written: str, *, at_end: bool = False) -> int:
    """Epoch milliseconds of an ISO date or date-time; without offset it is in UTC.

    Args:
        written: as in a segment.
        at_end: a date without time means the end of that day, so that the day is included.
    """
    moment = datetime.fromisoformat(written.strip())
    if at_end and len(written.strip()) <= len("2026-01-31"):
        moment += timedelta(days=1, milliseconds=-1)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
