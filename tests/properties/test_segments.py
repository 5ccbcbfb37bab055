"""Segments as the engine evaluates them, against a plain evaluation of the same conditions in Python."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosswalk.config.segments import (
    AllCondition,
    AnyCondition,
    Condition,
    NotCondition,
    ObjectiveCondition,
    PropertyCondition,
    SegmentCondition,
)
from crosswalk.config.tenant import Tenant
from crosswalk.engine.profile_values import ProfileValues
from crosswalk.engine.segments import Segments, moment_ms
from crosswalk.engine.session import open_session
from crosswalk.engine.template import named, render, sql
from crosswalk.store.export_base import STORED_PROFILE_SCHEMA

NOW = 1_700_000_000_000
HOUR = 3_600_000
TYPES = {"email": "email", "city": "text", "City": "text", "age": "number", "score": "decimal", "seen": "datetime"}
OBJECTIVES = ("news", "ads")
WORDS = ["Gent", "gent", "BRUGGE", "é", "a'b", "a,b", "1", ""]
NUMBERS = ["-1", "0", "1", "1.0", "1.5", "2.25", "100", "99999999999999.9999", "0.00001"]
DATES = ["2023-11-13", "2023-11-14", "2023-11-15", "2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00"]
texts = st.lists(st.sampled_from([word for word in WORDS if word]), max_size=3, unique=True)
numbers = st.lists(st.sampled_from(["-1", "0", "1", "1.5", "2.25", "100"]), max_size=3, unique=True)
moments = st.integers(-50, 50).map(lambda half_hours: str(NOW + half_hours * HOUR // 2))


def conditions_of(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    found: list[st.SearchStrategy[dict[str, Any]]] = [st.just({"has_value": True}), st.just({"is_empty": True})]
    if kind == "datetime":
        windows = ["last_days", "next_days", "last_hours", "next_hours"]
        found.append(st.tuples(st.sampled_from(windows), st.integers(1, 30)).map(lambda pair: dict([pair])))
        found.append(ranges(DATES))
        return st.one_of(found)
    choices = st.lists(st.sampled_from(NUMBERS if kind in ("number", "decimal") else WORDS), min_size=1, max_size=3)
    keys = st.sampled_from(["any_of", "none_of", "all_of", "not_all_of"])
    found.append(st.tuples(keys, choices).map(lambda pair: dict([pair])))
    if kind in ("number", "decimal"):
        found.append(ranges(NUMBERS))
    return st.one_of(found)


def ranges(ends: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    end = st.none() | st.sampled_from(ends)
    return st.tuples(end, end).filter(any).map(lambda pair: {"between": list(pair)})


leaves = st.one_of(
    st.sampled_from(list(TYPES)).flatmap(
        lambda key: conditions_of(TYPES[key]).map(lambda test: {"property": key, **test})
    ),
    st.tuples(
        st.sampled_from(OBJECTIVES),
        st.sampled_from(["consented", "not_needed_or_consented", "refused", "unknown", "refused_or_unknown"]),
    ).map(lambda pair: {"objective": pair[0], "is": pair[1]}),
    st.sampled_from([{"segment": "all_profiles"}, {"segment": "base"}]),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"all": items}),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: {"any": items}),
        inner.map(lambda item: {"not": item}),
    ),
    max_leaves=6,
)
lists = st.lists(st.sampled_from(OBJECTIVES), max_size=2, unique=True)
documents = st.fixed_dictionaries(
    {},
    optional={
        "email": st.just(["ann@example.org"]),
        "city": texts,
        "City": texts,
        "age": numbers.map(lambda values: [value for value in values if "." not in value]),
        "score": numbers,
        "seen": st.lists(moments, max_size=2),
        "consented_objectives": lists,
        "refused_objectives": lists,
    },
)
profiles = st.lists(st.tuples(documents, st.sampled_from(["NONE", "GDPR"])), min_size=1, max_size=8)


class Plain:
    """The rules of ``cdp-semantics.md`` section 9, one profile at a time."""

    def __init__(self, tenant: Tenant, document: dict[str, list[str]], legislation: str) -> None:
        self.tenant, self.document, self.legislation = tenant, document, legislation

    def is_in(self, segment: str) -> bool:
        return segment == "all_profiles" or self.holds(self.tenant.segments[segment].condition)

    def holds(self, condition: Condition) -> bool:
        if isinstance(condition, AllCondition):
            return all(self.holds(inner) for inner in condition.all)
        if isinstance(condition, AnyCondition):
            return any(self.holds(inner) for inner in condition.any)
        if isinstance(condition, NotCondition):
            return not self.holds(condition.not_)
        if isinstance(condition, SegmentCondition):
            return self.is_in(condition.segment)
        if isinstance(condition, ObjectiveCondition):
            return self.answered(condition)
        assert isinstance(condition, PropertyCondition)
        return self.passes(condition)

    def answered(self, condition: ObjectiveCondition) -> bool:
        refused = condition.objective in self.document.get("refused_objectives", [])
        granted = not refused and condition.objective in self.document.get("consented_objectives", [])
        return {
            "consented": granted,
            "refused": refused,
            "unknown": not granted and not refused,
            "refused_or_unknown": not granted,
            "not_needed_or_consented": granted or (self.legislation == "NONE" and not refused),
        }[condition.is_]

    def passes(self, condition: PropertyCondition) -> bool:
        kind, values = TYPES[condition.property], self.document.get(condition.property, [])
        read = Decimal if kind in ("number", "decimal", "datetime") else str.lower
        held = {read(value) for value in values}
        test, wanted = condition.test, getattr(condition, condition.test)
        if test in ("has_value", "is_empty"):
            return bool(held) == (test == "has_value")
        if test in ("any_of", "none_of"):
            return bool(held & {read(item) for item in wanted}) == (test == "any_of")
        if test in ("all_of", "not_all_of"):
            return (bool(held) and {read(item) for item in wanted} <= held) == (test == "all_of")
        if test == "between":
            low, high = wanted
            if kind == "datetime":
                low = None if low is None else moment_ms(low)
                high = None if high is None else moment_ms(high, at_end=True)
            return any(
                (low is None or value >= Decimal(low)) and (high is None or value <= Decimal(high)) for value in held
            )
        span = wanted * HOUR * (24 if test.endswith("days") else 1)
        return any(0 <= (NOW - value if test.startswith("last") else value - NOW) <= span for value in held)


def tenant_with(*tested: dict[str, Any]) -> Tenant:
    made = {f"s{index}": {"all": [condition]} for index, condition in enumerate(tested)}
    inverse = {f"not_s{index}": {"inverse_of": f"s{index}"} for index in range(len(tested))}
    base = {"base": {"any": [{"property": "city", "any_of": ["gent"]}, {"property": "age", "between": ["1", None]}]}}
    return Tenant.model_validate(
        {
            "properties": {key: {"type": kind} for key, kind in TYPES.items()},
            "objectives": {key: {} for key in OBJECTIVES},
            "segments": {**inverse, **made, **base},
        }
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory):
    with open_session(tmp_path_factory.mktemp("engine"), threads=1) as opened:
        yield opened


@settings(max_examples=150, deadline=None)
@given(tested=st.lists(conditions, min_size=1, max_size=3), people=profiles)
def test_the_engine_selects_as_the_plain_rules_do(session, tested: list[dict[str, Any]], people: list[Any]) -> None:
    tenant = tenant_with(*tested)
    wanted = [name for name in tenant.segments if name != "base"]
    columns = [[str(number) for number in range(len(people))], [json.dumps(document) for document, _ in people]]
    columns += [[2] * len(people), [zone for _, zone in people], ["DEFAULT"] * len(people)]
    columns += [[NOW] * len(people)] * 2 + [[1] * len(people)]
    table = pa.table([pa.array(column) for column in columns], names=STORED_PROFILE_SCHEMA.names)
    segments = Segments(wanted, tenant, NOW)
    values = ProfileValues(segments.properties)
    query = segments.decide(values.read(sql("SELECT * FROM stored_profiles")), values)
    flags = [named(segments.has(name), name) for name in wanted]
    session.register("stored_profiles", table)
    try:
        rows = session.execute(render(sql("SELECT $flags FROM ($query)", flags=flags, query=query))).fetchall()
    finally:
        session.unregister("stored_profiles")
    expected = [tuple(Plain(tenant, *person).is_in(name) for name in wanted) for person in people]
    assert rows == expected


def test_a_day_is_included_as_a_high_end_and_times_without_offset_are_in_utc() -> None:
    assert moment_ms("2026-01-31") == 1_769_817_600_000
    assert moment_ms("2026-01-31", at_end=True) == 1_769_817_600_000 + 24 * HOUR - 1
    assert moment_ms("2026-01-31T01:00+01:00", at_end=True) == moment_ms("2026-01-31")
