"""Checks of goals that import groups."""

from __future__ import annotations

from typing import ClassVar

from crosswalk.config.goals import ImportGroups
from crosswalk.config.import_checks import ImportCheck


class ImportGroupsCheck(ImportCheck):
    """The checks of a goal that imports groups of one type."""

    recognised: ClassVar[str] = "group"
    goal: ImportGroups

    def run(self) -> None:
        """Run all checks of the goal; without a known group type nothing can be said of its properties."""
        self._check_group_type(self.goal.group_type, "group_type")
        super().run()

    def _knows_properties(self) -> bool:
        return self.goal.group_type in self.tenant.group_types

    def _lines_to_add(self, name: str, suggestion: str) -> tuple[str, str]:
        group_type = self.goal.group_type
        prefix = "" if name.startswith(f"{group_type}_") else f" (ids begin with {group_type}_)"
        lines = f"write below `properties:` of {group_type} in group_types.yaml{prefix}:\n  {name}: {{{suggestion}}}"
        return f"group type {group_type}", lines
