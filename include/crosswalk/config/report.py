"""Collects what the checks of one connection find."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from crosswalk.core.errors import Finding
from crosswalk.core.names import display

if TYPE_CHECKING:
    from crosswalk.config.loader import LoadedConnection
    from crosswalk.config.tenant import Tenant


class Report:
    """Collects the findings of one connection and knows their lines."""

    def __init__(self, loaded: LoadedConnection, tenant: Tenant) -> None:
        self.loaded, self.tenant = loaded, tenant
        self.findings: list[Finding] = []

    def add(self, severity: str, code: str, message: str, *path: str | int) -> None:
        """Note a finding at the line of a node of the file."""
        self.findings.append(Finding(severity, code, message, str(self.loaded.path), self.loaded.line(*path)))

    def nearest(self, name: str, known: Iterable[str]) -> str:
        """``(did you mean ...?)`` when a known name is near, else nothing."""
        return nearest_name(name, known)

    def check_objective(self, name: str, *path: str | int) -> None:
        """Refuse an objective that the tenant model does not have."""
        if name not in self.tenant.objectives:
            known = ", ".join(sorted(self.tenant.objectives)) or "none"
            hint = nearest_name(name, self.tenant.objectives)
            message = f"The tenant model has no objective `{display(name)}`{hint}; objectives.yaml has: {known}."
            self.add("error", "unknown_objective", message, *path)


def nearest_name(name: str, known: Iterable[str]) -> str:
    """``(did you mean ...?)`` when a known name is near, else nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean `{near[0]}`?)" if near else ""
