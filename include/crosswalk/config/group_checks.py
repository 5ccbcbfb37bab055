"""Checks of goals that import groups."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.config.goals import FieldMapping, ImportGroups
from crosswalk.config.import_checks import ImportCheck


class ImportGroupsCheck(ImportCheck):
    """The checks of a goal that imports groups of one type."""

    recognised: ClassVar[str] = "group"
    goal: ImportGroups

    def run(self) -> None:
        """Run all checks of the goal; without a known group type nothing can be said of its properties."""
        self._check_group_type(self.goal.group_type, "group_type")
        super().run()

    def _check_mapping(self, index: int, mapping: FieldMapping) -> None:
        """The group's id is what the rows link by; no other field and no sum can make another one of it."""
        super()._check_mapping(index, mapping)
        link = self.goal.identifiers[0]
        if self.goal.target(mapping) == link.property and (mapping.field != link.field or mapping.strategy == "sum"):
            message = (
                f"`{link.property}` is the group's id, which never changes: only `{link.field}`, which links the "
                "rows, can be mapped to it"
            )
            self._add("error", "group_id_mapped", message, "mappings", "fields", index, "property")

    def _knows_properties(self) -> bool:
        return self.goal.group_type in self.tenant.group_types

    def _lines_to_add(self, name: str, suggestion: str) -> tuple[str, str]:
        group_type = self.goal.group_type
        prefix = "" if name.startswith(f"{group_type}_") else f" (ids begin with {group_type}_)"
        lines = f"write below `properties:` of {group_type} in group_types.yaml{prefix}:\n  {name}: {{{suggestion}}}"
        return f"group type {group_type}", lines
