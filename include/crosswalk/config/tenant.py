"""The typed model of the tenant: properties, objectives, group types, event types, segments.

Only what profile import needs is typed in full here; the other subjects arrive with the goals that use them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from crosswalk.config.connection import Model

PROPERTY_ID = r"^[A-Za-z0-9_-]{1,100}$"
NUMERIC_TYPES = frozenset({"number", "decimal", "currency"})
READ_ONLY_PROPERTIES = frozenset(
    {
        "creationdate",
        "lastvisitdate",
        "domaingroup",
        "lastmodifieddate",
        "system_has_property",
        "sample_id",
        "consented_objectives",
        "refused_objectives",
        "profile_id",
    }
)
CONSENTED = "consented_objectives"
REFUSED = "refused_objectives"


class Property(Model):
    """One declared profile property.

    Attributes:
        name: the display name; unset: the id.
        type: decides how text is read; a value that does not fit is quarantined.
        identifier: ``unique`` identifiers recognise one profile and may be linked on; ``shared`` ones may not.
        sensitivity: ``pii`` values are masked in previews.
        permission_level: from which consent level on the value may be used.
        currency: ISO 4217 code, for ``currency``.
        decimals: stored decimals of a ``currency`` (unset: by the code; 4 for ``decimal``).
        merge: how two profiles found to be one combine the values.
        group_type: values are ids of groups of this type.
    """

    name: str | None = None
    type: Literal["text", "email", "number", "decimal", "currency", "datetime"] = "text"
    identifier: Literal["unique", "shared"] | None = None
    sensitivity: Literal["none", "pii"] | None = None
    permission_level: Literal["anonymous", "personal"] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    decimals: Annotated[int, Field(ge=0, le=4)] | None = None
    merge: Literal["both", "sum", "highest", "lowest", "latest", "oldest", "keep"] | None = None
    group_type: str | None = None

    @property
    def is_pii(self) -> bool:
        """Identifiers are always PII; others when declared so."""
        return self.identifier is not None or self.sensitivity == "pii"

    @property
    def stored_decimals(self) -> int:
        """How many decimals a stored value has at most."""
        if self.type == "number":
            return 0
        if self.decimals is not None:
            return self.decimals
        if self.type == "currency":
            return {"JPY": 0, "KRW": 0, "ISK": 0, "CLP": 0, "VND": 0, "KWD": 3, "BHD": 3, "OMR": 3, "TND": 3}.get(
                self.currency or "", 2
            )
        return 4


class Objective(Model):
    """A purpose a person can allow or refuse."""

    name: str | None = None
    description: str = ""


class Tenant(Model):
    """The tenant model: every declared property and objective, by id."""

    properties: dict[Annotated[str, Field(pattern=PROPERTY_ID)], Property] = {}
    objectives: dict[str, Objective] = {}
    group_types: dict[str, Any] = {}
    event_types: dict[str, Any] = {}
    segments: dict[str, Any] = {}
