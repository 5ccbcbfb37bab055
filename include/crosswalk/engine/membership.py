"""What a profile's groups say about it: whether they fulfil conditions of segments, and values for columns of exports.

Groups are read once and decided group by group; then the profiles' ids of groups are joined to them. One row per
profile and group type comes out, which the query over the profiles takes along.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from crosswalk.config.segments import GroupCondition
from crosswalk.config.tenant import Property, Tenant
from crosswalk.engine import functions
from crosswalk.engine.profile_values import ProfileValues
from crosswalk.engine.session import Session
from crosswalk.engine.tables import Tables
from crosswalk.engine.template import Node, all_of, call, name, named, sql, text

if TYPE_CHECKING:
    from crosswalk.engine.segments import Segments

PERSONAL_LEVEL = 2


class Membership:
    """The groups that a selection of profiles asks for.

    Args:
        segments: with conditions on groups.
        columns: group type and property of the columns that show values of groups.
        tenant: the tenant model, which the checks found to be in order.
    """

    def __init__(self, segments: Segments, columns: Sequence[tuple[str, str]], tenant: Tenant) -> None:
        self._segments, self._tenant = segments, tenant
        self._columns = list(dict.fromkeys(columns))

    @property
    def types(self) -> list[str]:
        """The group types that are asked for."""
        asked = [condition.group_type for condition in self._segments.group_conditions]
        return list(dict.fromkeys([*asked, *(group_type for group_type, _ in self._columns)]))

    def column(self, group_type: str, property_id: str) -> Node:
        """The values of a column: those of all groups of the profile, in the order of their ids; or NULL."""
        return name(f"group_values_{self._columns.index((group_type, property_id))}")

    def prepare(self, session: Session, stored: pa.RecordBatchReader, groups: pa.RecordBatchReader) -> None:
        """Make a table of each group type's members.

        Args:
            session: the engine.
            stored: all living profiles (STORED_PROFILE_SCHEMA).
            groups: all groups (STORED_GROUP_SCHEMA).
        """
        tables = Tables(session)
        tables.take_in("known_group", groups, "property_id, value, properties")
        session.register("member_profiles", stored)
        try:
            fields = [key for group_type in self.types for key in self._member_properties(group_type)]
            values = ProfileValues(fields)
            lists = [
                named(self._member_ids(group_type, values), f"ids_{no}") for no, group_type in enumerate(self.types)
            ]
            read = values.read(sql("SELECT * FROM member_profiles"))
            tables.make("member", sql("SELECT profile_id, $lists FROM ($read)", lists=lists, read=read))
        finally:
            session.unregister("member_profiles")
        for no, group_type in enumerate(self.types):
            tables.make(f"group_member_{no}", self._decided(no, group_type))
        tables.drop("member", "known_group")

    def join(self, profiles: Node) -> Node:
        """The profiles with what their groups say."""
        query = profiles
        for no in range(len(self.types)):
            query = sql(
                f"SELECT p.*, g.* EXCLUDE (profile_id) FROM ($profiles) AS p LEFT JOIN group_member_{no} AS g "
                "ON g.profile_id = p.profile_id",
                profiles=query,
            )
        return query

    def _member_properties(self, group_type: str) -> list[str]:
        return [key for key, item in self._tenant.properties.items() if item.group_type == group_type]

    def _member_ids(self, group_type: str, values: ProfileValues) -> Node:
        """The ids of a profile's groups; those of personal properties only where the permission level allows it."""
        lists = []
        for key in self._member_properties(group_type):
            found = sql("coalesce($values, [])", values=values.of(key))
            if _is_personal(self._tenant.properties[key]):
                found = sql(f"CASE WHEN permission_level >= {PERSONAL_LEVEL} THEN $found ELSE [] END", found=found)
            lists.append(found)
        if not lists:
            return sql("[]::VARCHAR[]")
        return call("list_concat", *lists) if len(lists) > 1 else lists[0]

    def _decided(self, no: int, group_type: str) -> Node:
        """Per profile: whether one of its groups fulfils each condition, and the values of each column."""
        declared = self._tenant.group_types[group_type].properties
        own = next(key for key, item in declared.items() if item.identifier == "unique")
        conditions = [
            (index, condition)
            for index, condition in enumerate(self._segments.group_conditions)
            if condition.group_type == group_type
        ]
        columns = [(index, key) for index, (kind, key) in enumerate(self._columns) if kind == group_type]
        wanted = [item.property for _, condition in conditions for item in condition.all] + [key for _, key in columns]
        values = ProfileValues(wanted)
        flags = [named(self._fulfils(condition, values, group_type), f"f{index}") for index, condition in conditions]
        shown = [named(sql("coalesce($v, [])", v=values.of(key)), f"v{index}") for index, key in columns]
        groups = sql(
            "SELECT value, $columns FROM ($read)",
            columns=[*flags, *shown],
            read=values.read(sql("SELECT * FROM known_group WHERE property_id = $own", own=text(own))),
        )
        parts = [sql(f"coalesce(bool_or(f{index}), false) AS group_holds_{index}") for index, _ in conditions]
        parts += [sql(f"flatten(list(v{index} ORDER BY place)) AS all_{index}") for index, _ in columns]
        once = [named(functions.distinct_values(name(f"all_{index}")), f"group_values_{index}") for index, _ in columns]
        kept = [sql("profile_id"), *(name(f"group_holds_{index}") for index, _ in conditions), *once]
        members = sql(
            f"SELECT profile_id, $parts FROM (SELECT profile_id, unnest(ids_{no}) AS value, "
            f"generate_subscripts(ids_{no}, 1) AS place FROM member) JOIN ($groups) AS g USING (value) "
            "GROUP BY profile_id",
            parts=parts,
            groups=groups,
        )
        return sql("SELECT $kept FROM ($members)", kept=kept, members=members)

    def _fulfils(self, condition: GroupCondition, values: ProfileValues, group_type: str) -> Node:
        declared = self._tenant.group_types[group_type].properties
        return all_of(
            [
                self._segments.passes(item, values.of(item.property), declared[item.property].type)
                for item in condition.all
            ]
        )


def _is_personal(declared: Property) -> bool:
    return declared.permission_level == "personal" or (
        declared.permission_level is None and declared.identifier is not None
    )
