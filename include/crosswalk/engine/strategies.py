"""What becomes of a property's values: the stored list, what the deciding row says, and the list afterwards.

As set operations over all rows of a profile (design section 6 rules 1 and 2), so a split into batches ends in the same:

============ =================================== ==============================================================
strategy     deciding row                        afterwards
============ =================================== ==============================================================
set          the last one with a value           its values
set_if_empty the first one with a value          the stored values, else its values
set_or_clear the last one with a value or empty  its values, or none
add          every one                           the stored values, then new ones in order of first occurrence
sum          every one, the last one gives place first stored value + differences; the other values are dropped
============ =================================== ==============================================================

A sum that leaves the range of its type adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from crosswalk.engine import functions
from crosswalk.engine.targets import Target
from crosswalk.engine.template import Node, name, number, sql, try_cast


@dataclass(frozen=True)
class After:
    """The list afterwards, the place that decided, and (for sums) whether the result was refused."""

    values: Node
    place: Node
    refused: Node | None = None


def after(target: Target, before: Node) -> After:
    """Expressions over the columns ``v``, ``pl``, ``add``, ``s``, ``x``, ``xp`` of a profile."""
    index = target.index
    if target.strategy == "add":
        return added_values(before, f"add{index}")
    if target.strategy == "sum":
        return _summed(target, before)
    value, place = name(f"v{index}"), name(f"pl{index}")
    stored = value if target.is_list else sql("[$value]", value=value)
    frames = {
        "set": "CASE WHEN $value IS NULL THEN $before ELSE $stored END",
        "set_if_empty": "CASE WHEN $before IS NOT NULL OR $value IS NULL THEN $before ELSE $stored END",
        "set_or_clear": "CASE WHEN $value IS NULL THEN $before WHEN $empty THEN NULL ELSE $stored END",
    }
    empty = sql("len($value) = 0" if target.is_list else "$value = ''", value=value)
    return After(sql(frames[target.strategy], value=value, before=before, stored=stored, empty=empty), place)


def added_values(before: Node, column: str) -> After:
    """The list with those values of ``<column>v`` behind it that it lacks; the place is that of the last one added.

    Where there is nothing before, nothing has to be compared.
    """
    values, places = name(f"{column}v"), name(f"{column}p")
    lacking = sql("NOT list_contains($before, item)", before=before)
    union = sql(
        "CASE WHEN $values IS NULL THEN $before WHEN $before IS NULL THEN $values "
        "ELSE list_concat($before, list_filter($values, LAMBDA item : $lacking)) END",
        values=values,
        before=before,
        lacking=lacking,
    )
    last = sql(
        "CASE WHEN $before IS NULL THEN list_extract($places, -1) ELSE list_extract(list_filter($places, "
        "LAMBDA place, position : NOT list_contains($before, list_extract($values, position))), -1) END",
        before=before,
        places=places,
        values=values,
    )
    return After(union, last)


def _summed(target: Target, before: Node) -> After:
    index = target.index
    total = sql(f"coalesce(s{index}, 0) + coalesce(x{index}, 0)")
    first = try_cast(sql("list_extract($before, 1)", before=before), "DECIMAL(38, 4)")
    result = sql("coalesce($first, 0) + $total", first=first, total=total)
    limit = functions.MAX_NUMBER if target.declared.type == "number" else 10**functions.INTEGER_DIGITS - 1
    outside = sql("abs($result) > $limit", result=result, limit=number(limit))
    shown = target.mappings[0].reader.number_text(result, precision=38)
    nothing = sql(
        f"(s{index} IS NULL AND x{index} IS NULL) OR ($total = 0 AND $before IS NOT NULL)", total=total, before=before
    )
    values = sql(
        "CASE WHEN $nothing OR $outside THEN $before ELSE [$shown] END",
        nothing=nothing,
        outside=outside,
        before=before,
        shown=shown,
    )
    place = sql(f"coalesce(pl{index}, xp{index})")
    return After(values, place, sql("NOT ($nothing) AND $outside", nothing=nothing, outside=outside))
