"""Local time to UTC as a SQL expression, from the zone's own transitions.

The rule is the same on every engine: a time in a spring gap moves forward, a time in an autumn fold is the earlier instant
(design D3). Both follow from one reading: the offset *before* a change holds until the local clock has passed the later of
its two readings. So a zone is a sorted list of local thresholds, written as a balanced CASE: a few comparisons per row.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from sqlglot import exp

from crosswalk.engine.template import Node, number, render, sql, text

_FIRST_YEAR, _LAST_YEAR = 1840, 2100
_MICROSECONDS = 1_000_000
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
    """Epoch microseconds UTC of local epoch microseconds; ``local`` should be a column, for it is named several times."""
    if zone_name in ("UTC", "Etc/UTC"):
        return local.copy()
    thresholds, offsets = transitions(zone_name)
    near = sql("$local - $offset", local=local, offset=_tree(local, thresholds, offsets))
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


def _tree(local: Node, thresholds: tuple[int, ...], offsets: tuple[int, ...]) -> Node:
    """The offset in microseconds: one comparison per level.

    Several hundred comparisons of one column with whole numbers: printed at once, for as many nodes would take a second to
    copy and print.
    """
    column = render(local)

    def branch(low: int, high: int) -> str:
        if low == high:
            return str(offsets[low] * _MICROSECONDS)
        middle = (low + high) // 2
        before, after = branch(low, middle), branch(middle + 1, high)
        return f"CASE WHEN {column} < {thresholds[middle] * _MICROSECONDS} THEN {before} ELSE {after} END"

    return exp.Paren(this=exp.Var(this=branch(0, len(thresholds))))


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
