"""Segments: named selections of profiles, as conditions that hold other conditions."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from crosswalk.config.model import Model, Texts, given_keys

ALL_PROFILES = "all_profiles"
MAX_DEPTH = 10
Place = tuple[str | int, ...]
TESTS = (
    "has_value",
    "is_empty",
    "any_of",
    "none_of",
    "all_of",
    "not_all_of",
    "between",
    "last_days",
    "next_days",
    "last_hours",
    "next_hours",
)
# Tests that are true for profiles without the property.
NEGATIVE_TESTS = frozenset({"is_empty", "none_of", "not_all_of"})
Choices = Annotated[Texts, Field(min_length=1)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Hours = Annotated[int, Field(ge=1, le=876_000)]


class PropertyCondition(Model):
    """One test of the values of one property; exactly one of ``TESTS``.

    Attributes:
        property: a property of the profile, or within a group condition of the group.
        has_value: there is a value.
        is_empty: there is none.
        any_of: one of the values is one of these; case does not count.
        none_of: no value is one of these; also true without a value.
        all_of: each of these is among the values.
        not_all_of: at least one of these is missing among the values; also true without a value.
        between: one of the values lies in the range, both ends included; null for an open end.
        last_days, next_days, last_hours, next_hours: one of the dates lies in so many times 24 hours, or hours, before
            or after now.
    """

    property: str
    has_value: bool | None = None
    is_empty: bool | None = None
    any_of: Choices | None = None
    none_of: Choices | None = None
    all_of: Choices | None = None
    not_all_of: Choices | None = None
    between: Annotated[list[str | None], Field(min_length=2, max_length=2)] | None = None
    last_days: Days | None = None
    next_days: Days | None = None
    last_hours: Hours | None = None
    next_hours: Hours | None = None

    @field_validator("between")
    @classmethod
    def _refuse_no_end(cls, value: list[str | None] | None) -> list[str | None] | None:
        if value == [None, None]:
            raise ValueError("a range needs at least one end, as in [100, null]")
        return value

    @model_validator(mode="after")
    def _take_one(self) -> PropertyCondition:
        given = [test for test in TESTS if getattr(self, test) is not None]
        if len(given) != 1:
            what = f"has {' and '.join(given)}" if given else "has none"
            raise ValueError(f"a condition on a property has exactly one of {', '.join(TESTS)}; this one {what}")
        if self.has_value is False:
            raise ValueError("write is_empty: true instead of has_value: false")
        if self.is_empty is False:
            raise ValueError("write has_value: true instead of is_empty: false")
        return self

    @builtins.property  # `property` is a field here
    def test(self) -> str:
        """Which of ``TESTS`` it is."""
        return next(test for test in TESTS if getattr(self, test) is not None)


class ObjectiveCondition(Model):
    """The recorded answer of the profile for one objective."""

    objective: str
    is_: Literal["consented", "not_needed_or_consented", "refused", "unknown", "refused_or_unknown"] = Field(alias="is")


class GroupCondition(Model):
    """At least one of the profile's groups of a type fulfils all these conditions."""

    group_type: str
    all: Annotated[list[PropertyCondition], Field(min_length=1)]


class SegmentCondition(Model):
    """The profile is in another segment."""

    segment: str


class AllCondition(Model):
    """All of these conditions hold."""

    all: Annotated[list[Condition], Field(min_length=1)]


class AnyCondition(Model):
    """At least one of these conditions holds."""

    any: Annotated[list[Condition], Field(min_length=1)]


class NotCondition(Model):
    """The condition does not hold."""

    not_: Condition = Field(alias="not")


CONDITION_KEYS = ("group_type", "property", "objective", "segment", "not", "any", "all")


def condition_kind(value: Any) -> str | None:
    """Which kind of condition a block or a model is; None when it is none or several."""
    kinds = [key for key in CONDITION_KEYS if key in given_keys(value)]
    if kinds[:1] == ["group_type"] and kinds[1:] in ([], ["all"]):
        kinds = kinds[:1]
    return f"condition:{kinds[0]}" if len(kinds) == 1 else None


Condition = Annotated[
    Annotated[PropertyCondition, Tag("condition:property")]
    | Annotated[ObjectiveCondition, Tag("condition:objective")]
    | Annotated[GroupCondition, Tag("condition:group_type")]
    | Annotated[SegmentCondition, Tag("condition:segment")]
    | Annotated[AllCondition, Tag("condition:all")]
    | Annotated[AnyCondition, Tag("condition:any")]
    | Annotated[NotCondition, Tag("condition:not")],
    Discriminator(condition_kind),
]
SEGMENT_KEYS = ("all", "any", "inverse_of")


class Segment(Model):
    """A named selection of profiles; exactly one of ``SEGMENT_KEYS``.

    Attributes:
        name: the display name; unset: the id.
        description: whom it is meant to select.
        all: profiles for which all of these conditions hold.
        any: profiles for which at least one of them holds.
        inverse_of: the profiles that are not in that segment.
    """

    name: str | None = None
    description: str = ""
    all: Annotated[list[Condition], Field(min_length=1)] | None = None
    any: Annotated[list[Condition], Field(min_length=1)] | None = None
    inverse_of: str | None = None

    @model_validator(mode="after")
    def _take_one(self) -> Segment:
        given = [key for key in SEGMENT_KEYS if getattr(self, key) is not None]
        if len(given) != 1:
            what = f"has {' and '.join(given)}" if given else "has none"
            raise ValueError(f"a segment has exactly one of {', '.join(SEGMENT_KEYS)}; this one {what}")
        return self

    @property
    def condition(self) -> Condition:
        """The segment as one condition."""
        if self.all is not None:
            return AllCondition(all=self.all)
        if self.any is not None:
            return AnyCondition(any=self.any)
        return NotCondition.model_validate({"not": {"segment": self.inverse_of}})


def conditions_in(segment: Segment) -> Iterator[tuple[Place, int, Condition]]:
    """Every condition of a segment with its place below the segment and its depth, outer ones first.

    The segment's own list has depth 1, a list or ``not`` inside it depth 2, and so on; ``inverse_of`` has depth 1.
    """
    if segment.inverse_of is not None:
        yield ("inverse_of",), 1, SegmentCondition(segment=segment.inverse_of)
        return
    key = "all" if segment.all is not None else "any"
    waiting: list[tuple[Place, int, Condition]] = [
        ((key, index), 1, item) for index, item in enumerate(segment.all or segment.any or [])
    ]
    while waiting:
        place, depth, condition = waiting.pop(0)
        yield place, depth, condition
        waiting = [((*place, *below), depth + 1, inner) for below, inner in _inner(condition)] + waiting


def _inner(condition: Condition) -> list[tuple[Place, Condition]]:
    if isinstance(condition, AllCondition):
        return [(("all", index), item) for index, item in enumerate(condition.all)]
    if isinstance(condition, AnyCondition):
        return [(("any", index), item) for index, item in enumerate(condition.any)]
    if isinstance(condition, NotCondition):
        return [(("not",), condition.not_)]
    return []
