"""Local time to UTC as a SQL expression, from the zone's own transitions.

The rule is the same on every engine: a time in a spring gap moves forward, a time in an autumn fold is the earlier
instant (design D3). Both follow from one reading: the offset *before* a change holds until the local clock has passed
the later of its two readings. So a zone is a sorted list of local thresholds, which is looked up for each row.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from crosswalk.engine.template import Node, cast, number, sql, text

_FIRST_YEAR, _LAST_YEAR = 1840, 2100
_MICROSECONDS = 1_000_000
_UNIT = 31_557_600 * _MICROSECONDS
# Wide enough to be quick, narrow enough that no zone changed back within it.
_STEP = 3 * 86_400


def _offset(zone: ZoneInfo, second: int) -> int:
    shift = datetime.fromtimestamp(second, zone).utcoffset()
    return int(shift.total_seconds()) if shift is not None else 0


@lru_cache(maxsize=64)
def transitions(zone_name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Local thresholds in epoch seconds and the offsets between them (one more than thresholds), years 1840 to 2100."""
    zone = ZoneInfo(zone_name)
    start = int(datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(_LAST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    thresholds: list[int] = []
    offsets = [_offset(zone, start)]
    for second in range(start + _STEP, end, _STEP):
        after = _offset(zone, second)
        if after == offsets[-1]:
            continue
        low, high = second - _STEP, second
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _offset(zone, middle) == after else (middle, high)
        thresholds.append(high + max(offsets[-1], after))
        offsets.append(after)
    return tuple(thresholds), tuple(offsets)


def to_utc(local: Node, zone_name: str) -> Node:
    """Epoch microseconds UTC of local epoch microseconds.

    ``local`` should be a column, for it is named several times.
    """
    if zone_name in ("UTC", "Etc/UTC"):
        return local.copy()
    thresholds, offsets = transitions(zone_name)
    near = sql("$local - $offset", local=local, offset=_lookup(local, thresholds, offsets))
    end = int(datetime(_LAST_YEAR, 1, 1, tzinfo=UTC).timestamp())
    if not thresholds or end - thresholds[-1] > 2 * 366 * 86_400:
        return near
    return sql(
        "CASE WHEN $local < $end THEN $near ELSE $far END",
        local=local,
        end=number(end * _MICROSECONDS),
        near=near,
        far=_far(local, zone_name),
    )


def _lookup(local: Node, thresholds: tuple[int, ...], offsets: tuple[int, ...]) -> Node:
    """The offset in microseconds.

    A unit of time (about a year) tells how many thresholds lie before it; those within it are compared one by one.
    The lists are constants that the engine reads once, whatever their length.
    """
    if not thresholds:
        return number(offsets[0] * _MICROSECONDS)
    marks = [threshold * _MICROSECONDS for threshold in thresholds]
    first, last = marks[0] // _UNIT, marks[-1] // _UNIT
    before = [bisect_left(marks, unit * _UNIT) for unit in range(first, last + 2)]
    most = max(high - low for low, high in pairwise(before))
    passed = sql(
        "list_extract($before, (greatest(least(($local - $first) // $unit, $last), 0))::INTEGER + 1)",
        before=_numbers(before, "INTEGER"),
        local=local,
        unit=number(_UNIT),
        first=number(first * _UNIT),
        last=number(len(before) - 1),
    )
    position = sql("$passed + 1", passed=passed)
    listed = _numbers([*marks, *[2**62] * (most + 1)], "BIGINT")
    for step in range(1, most + 1):
        within = sql(
            "($local >= list_extract($marks, $passed + $step))::INTEGER",
            local=local,
            marks=listed,
            passed=passed,
            step=number(step),
        )
        position = sql("$position + $within", position=position, within=within)
    shifts = _numbers([offset * _MICROSECONDS for offset in offsets], "BIGINT")
    return sql("list_extract($shifts, $position)", shifts=shifts, position=position)


def _numbers(values: Sequence[int], kind: str) -> Node:
    """A constant list."""
    return cast(text(str(list(values))), f"{kind}[]")


def _far(local: Node, zone_name: str) -> Node:
    """Years whose changes are not listed: the engine's zone rules, taking the earlier instant of a fold."""
    return sql(
        """
        list_transform(
            list_transform(
                [epoch_us(timezone($zone, make_timestamp($local)))],
                LAMBDA later : {
                    'later': later,
                    'earlier': $local - (epoch_us(timezone($zone, make_timestamp(later - 86400000000)::TIMESTAMPTZ))
                                         - (later - 86400000000))
                }
            ),
            LAMBDA pair : CASE
                WHEN pair.earlier < pair.later
                     AND epoch_us(timezone($zone, make_timestamp(pair.earlier)::TIMESTAMPTZ)) = $local
                THEN pair.earlier ELSE pair.later END
        )[1]
        """,
        zone=text(zone_name),
        local=local,
    )


def offset_at(zone_name: str, local_second: int) -> int:
    """The offset in seconds that a local time has by the rule of this module, within the listed years."""
    thresholds, offsets = transitions(zone_name)
    return offsets[bisect_right(thresholds, local_second)]
