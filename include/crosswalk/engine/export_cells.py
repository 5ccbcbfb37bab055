"""The cells of an exported file: one text per column and profile, or NULL for an empty cell.

Values are stored as canonical text (``functions.py``); here they get the goal's marks, dates and names. Of a profile on
permission level 1 the personal properties are left out (``cdp-semantics.md`` section 8).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from crosswalk.config.connection import Column, Connection, ExportProfiles
from crosswalk.config.exports import GroupPropertyColumn
from crosswalk.config.formats import EPOCH_MS, ExportFormat
from crosswalk.config.tenant import ALL_PROFILES, CONSENTED, NUMERIC_TYPES, REFUSED, Property, Tenant
from crosswalk.engine.membership import Membership
from crosswalk.engine.multi_value import join_values
from crosswalk.engine.profile_values import ProfileValues, has_value
from crosswalk.engine.segments import Segments
from crosswalk.engine.template import Node, any_of, call, name, sql, text

PERSONAL_LEVEL = 2
DOUBTFUL = "may_need_escapes"
# What a spreadsheet takes for the begin of a formula.
_FORMULA = "^[=+\\-@\\t\\r]"
ISO_UTC = "%Y-%m-%dT%H:%M:%S.%gZ"


class CellWriter:
    """Writes the columns of one goal.

    Args:
        goal: the goal, whose configuration the checks found to be in order.
        connection: its connection.
        tenant: the tenant model.
        values: reads the properties.
        segments: has decided the segments.
        membership: has read the profiles' groups.
    """

    def __init__(
        self,
        goal: ExportProfiles,
        connection: Connection,
        tenant: Tenant,
        values: ProfileValues,
        segments: Segments,
        membership: Membership,
    ) -> None:
        self._goal, self._tenant = goal, tenant
        self._values, self._segments, self._membership = values, segments, membership
        self._form = goal.format

    def cells(self) -> list[Node]:
        """One text for each column, in order."""
        return [self._cell(column) for column in self._goal.columns]

    def has_mapped_value(self) -> Node:
        """Whether at least one mapped property of the tenant model has a value that may be shown."""
        mapped = [column.property for column in self._goal.columns if column.property in self._tenant.properties]
        return any_of([has_value(self._visible(item)) for item in dict.fromkeys(mapped) if item])

    def _cell(self, column: Column) -> Node:
        if column.profile_id:
            return name("profile_id")
        if column.permission_level:
            return sql("permission_level::VARCHAR")
        if column.text is not None:
            return self._guarded(text(column.text)) if column.text else sql("NULL::VARCHAR")
        if column.segments is not None:
            return self._guarded(join_values(self._shown_segments(column), self._form.multi_value))
        if column.group_property is not None:
            return self._group_cell(column.group_property)
        property_id = column.property or f"interactions_{column.interactions}"
        declared = self._tenant.definition(property_id)
        if declared is None:  # nothing holds interactions
            return sql("NULL::VARCHAR")
        visible, formatted = self._visible(property_id), self._formatted(property_id, declared)
        doubtful = name(DOUBTFUL) if formatted == visible else None
        cell = join_values(formatted, self._form.multi_value, doubtful)
        return self._guarded(cell) if declared.type in ("text", "email") else cell

    def _group_cell(self, column: GroupPropertyColumn) -> Node:
        """The values of the profile's groups as the goal's format writes them."""
        declared = self._tenant.group_types[column.group_type].properties[column.property]
        values = self._membership.column(column.group_type, column.property)
        cell = join_values(self._written(values, declared.type), self._form.multi_value)
        return self._guarded(cell) if declared.type in ("text", "email") else cell

    def _written(self, values: Node, kind: str) -> Node:
        """Canonical values with the goal's decimal mark and dates."""
        item = name("item")
        if kind in NUMERIC_TYPES and self._form.decimal == ",":
            item = sql("replace(item, '.', ',')")
        elif kind == "datetime":
            item = moment_text(self._form)
        else:
            return values
        return sql("list_transform($values, LAMBDA item : $item)", values=values, item=item)

    def _visible(self, property_id: str) -> Node:
        """The values of a property, none where the profile's permission level hides them."""
        values = self._values.of(property_id)
        declared = self._tenant.properties.get(property_id)
        if declared is None or not is_personal(declared):
            return values
        return sql(f"CASE WHEN permission_level >= {PERSONAL_LEVEL} THEN $values END", values=values)

    def _formatted(self, property_id: str, declared: Property) -> Node:
        """The values of a property as the goal's format writes them."""
        values = self._visible(property_id)
        names = self._names_of(property_id, declared)
        if self._form.ids == "name" and names:
            return sql(
                "list_transform($values, LAMBDA item : $item)", values=values, item=_renamed(name("item"), names)
            )
        return self._written(values, declared.type)

    def _names_of(self, property_id: str, declared: Property) -> list[tuple[str, str | None]]:
        """The names of what a property's values are ids of; none where they are no such ids."""
        if property_id in (CONSENTED, REFUSED):
            return [(key, objective.name) for key, objective in self._tenant.objectives.items()]
        return []

    def _shown_segments(self, column: Column) -> Node:
        chosen = list(self._tenant.segments) if column.segments == "all" else list(column.segments or [])
        items = [
            sql(
                "CASE WHEN $is_in THEN $shown END",
                is_in=self._segments.has(item),
                shown=text(self._segment_name(item)),
            )
            for item in chosen
        ]
        if not items:
            return sql("NULL::VARCHAR[]")
        return sql("list_filter([$items], LAMBDA item : item IS NOT NULL)", items=items)

    def _segment_name(self, segment: str) -> str:
        if self._form.ids == "id" or segment == ALL_PROFILES:
            return segment
        return self._tenant.segments[segment].name or segment

    def _guarded(self, cell: Node) -> Node:
        return guarded(cell, self._form)


def guarded(cell: Node, form: ExportFormat) -> Node:
    """A text with an apostrophe before it where a spreadsheet would run it, if the goal wants that."""
    if not form.formula_guard:
        return cell
    return sql(
        "CASE WHEN regexp_matches($cell, $formula) THEN concat('''', $cell) ELSE $cell END",
        cell=cell,
        formula=text(_FORMULA),
    )


def moment_text(form: ExportFormat) -> Node:
    """The epoch milliseconds ``item`` as the goal's pattern says; the session's time zone is the goal's."""
    if form.date == EPOCH_MS:
        return name("item")
    if form.date is None:
        return sql("strftime(make_timestamp(item::BIGINT * 1000), $pattern)", pattern=text(ISO_UTC))
    return _by_pattern(sql("make_timestamptz(item::BIGINT * 1000)"), form.date)


def _by_pattern(moment: Node, pattern: str) -> Node:
    """A moment in the session's time zone. Offsets get four digits, as in Python; the engine leaves out zeros."""
    offset = sql("replace(strftime($moment, '%z'), ':', '')", moment=moment)
    parts: list[Node] = []
    for index, part in enumerate(at_offsets(pattern)):
        if index:
            parts.append(
                sql("CASE WHEN length($offset) = 3 THEN concat($offset, '00') ELSE $offset END", offset=offset)
            )
        if part:
            parts.append(sql("strftime($moment, $part)", moment=moment, part=text(part)))
    return parts[0] if len(parts) == 1 else call("concat", *parts)


def at_offsets(pattern: str) -> list[str]:
    """The pattern split at its ``%z``; ``%%`` is a percent sign."""
    parts = [""]
    for piece in re.findall(r"%.|[^%]+", pattern, re.DOTALL):
        if piece == "%z":
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def is_personal(declared: Property) -> bool:
    """Whether a property may be used from permission level 2 on only: as declared, else identifiers are."""
    return declared.permission_level == "personal" or (
        declared.permission_level is None and declared.identifier is not None
    )


def needed_properties(goal: ExportProfiles, tenant: Tenant) -> list[str]:
    """The properties that the columns of a goal read."""
    named = [column.property or f"interactions_{column.interactions}" for column in goal.columns]
    return [item for item in dict.fromkeys(named) if tenant.definition(item) is not None]


def _renamed(item: Node, names: Sequence[tuple[str, str | None]]) -> Node:
    """The name of an id; an id without a known name stays as it is."""
    known = [(key, shown) for key, shown in names if shown]
    renamed = item
    for key, shown in known:
        renamed = sql(
            "CASE WHEN item = $key THEN $shown ELSE $other END", key=text(key), shown=text(shown), other=renamed
        )
    return renamed
