"""The typed model of the tenant: properties, objectives, group types, event types, segments, merge rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from crosswalk.config.event_types import EventType, with_ready_made
from crosswalk.config.model import PROPERTY_ID, Model, PropertyId
from crosswalk.config.segments import ALL_PROFILES, Segment

__all__ = [
    "ALL_PROFILES",
    "CONSENTED",
    "NUMERIC_TYPES",
    "PROPERTY_ID",
    "READ_ONLY_PROPERTIES",
    "REFUSED",
    "SYSTEM_PROPERTIES",
    "Definition",
    "EventType",
    "GroupProperty",
    "GroupType",
    "MergeRule",
    "MergeStrategy",
    "Objective",
    "Property",
    "Segment",
    "SubRule",
    "Tenant",
]

NUMERIC_TYPES = frozenset({"number", "decimal", "currency"})
CONSENTED = "consented_objectives"
REFUSED = "refused_objectives"
ValueType = Literal["text", "email", "number", "decimal", "currency", "datetime"]
MergeStrategy = Literal["both", "sum", "highest", "lowest", "latest", "oldest", "keep"]


class Definition(Model):
    """What a property of a profile and one of a group have in common.

    Attributes:
        name: the display name; unset: the id.
        type: decides how text is read; a value that does not fit is quarantined.
        identifier: ``unique`` identifiers recognise one profile or group and may be linked on; ``shared`` ones may not.
        sensitivity: ``pii`` values are masked in previews.
        currency: ISO 4217 code, for ``currency``.
        decimals: stored decimals of a ``currency`` (unset: by the code; 4 for ``decimal``).
    """

    name: str | None = None
    type: ValueType = "text"
    identifier: Literal["unique", "shared"] | None = None
    sensitivity: Literal["none", "pii"] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    decimals: Annotated[int, Field(ge=0, le=4)] | None = None

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


class Property(Definition):
    """One declared profile property.

    Attributes:
        permission_level: from which consent level on the value may be used.
        merge: how two profiles found to be one combine the values; unset: by the type.
        group_type: values are ids of groups of this type.
    """

    permission_level: Literal["anonymous", "personal"] | None = None
    merge: MergeStrategy | None = None
    group_type: str | None = None

    @property
    def merge_strategy(self) -> MergeStrategy:
        """How two profiles found to be one combine the values: as declared, else by the type."""
        return self.merge or ("both" if self.type in ("text", "email") else "latest")


class GroupProperty(Definition):
    """One declared property of the groups of a type; its id begins with the type's id and ``_``."""


SYSTEM_PROPERTIES: Mapping[str, Property] = {
    "creationdate": Property(type="datetime"),
    "lastvisitdate": Property(type="datetime"),
    "lastmodifieddate": Property(type="datetime"),
    "domaingroup": Property(type="text"),
    "system_has_property": Property(type="text"),
    "sample_id": Property(type="number"),
    CONSENTED: Property(type="text"),
    REFUSED: Property(type="text"),
}
READ_ONLY_PROPERTIES = frozenset({*SYSTEM_PROPERTIES, "profile_id"})


class Objective(Model):
    """A purpose a person can allow or refuse."""

    name: str | None = None
    description: str = ""


class GroupType(Model):
    """The declared shape of a household, company or account of profiles.

    Attributes:
        name: the display name; unset: the id.
        description: what such a group is.
        properties: what a group has; exactly one of them is its unique identifier.
    """

    name: str | None = None
    description: str = ""
    properties: dict[PropertyId, GroupProperty] = {}

    @property
    def identifier(self) -> str | None:
        """The property that holds a group's id; None where not exactly one is declared."""
        unique = [name for name, declared in self.properties.items() if declared.identifier == "unique"]
        return unique[0] if len(unique) == 1 else None


class SubRule(Model):
    """What must hold as well before a merge rule merges two profiles.

    Attributes:
        property: a property of the profiles.
        same: they share a value of it.
        equals: both have this value of it.
    """

    property: str
    same: bool | None = None
    equals: str | None = None

    @model_validator(mode="after")
    def _take_one(self) -> SubRule:
        if (self.same is None) == (self.equals is None) or self.same is False:
            raise ValueError("give either same: true or equals: with a value")
        return self


class MergeRule(Model):
    """Profiles that share a value of this identifier, and fulfil all sub-rules, are one. Any rule may merge.

    Attributes:
        identifier: a property that is a unique identifier.
        conditions: sub-rules, all of which must hold.
        blocked_values: values that never merge anyone (placeholders); case does not count.
    """

    identifier: str
    conditions: list[SubRule] = []
    blocked_values: list[str] = []


class Tenant(Model):
    """The tenant model, by id. ``event_types`` holds the ready-made ones too."""

    properties: dict[PropertyId, Property] = {}
    objectives: dict[str, Objective] = {}
    group_types: dict[PropertyId, GroupType] = {}
    event_types: dict[PropertyId, EventType] = Field(default={}, validate_default=True)
    segments: dict[PropertyId, Segment] = {}
    merge_rules: list[MergeRule] = []

    @field_validator("event_types")
    @classmethod
    def _add_ready_made(cls, declared: dict[str, EventType]) -> dict[str, EventType]:
        return with_ready_made(declared)

    def definition(self, name: str) -> Property | None:
        """A declared property or one that the system keeps; None when there is none."""
        return self.properties.get(name) or SYSTEM_PROPERTIES.get(name)

    def group_property(self, group_type: str, name: str) -> GroupProperty | None:
        """A declared property of a group type; None when there is none."""
        declared = self.group_types.get(group_type)
        return declared.properties.get(name) if declared else None

    @property
    def segment_names(self) -> list[str]:
        """Every segment that a goal can name."""
        return [*self.segments, ALL_PROFILES]
