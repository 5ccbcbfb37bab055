"""Import goals: files in, profiles or groups created and updated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from crosswalk.config.event_mapping import EventMapping
from crosswalk.config.formats import Format
from crosswalk.config.model import Model, Name, Texts

if TYPE_CHECKING:
    from crosswalk.config.tenant import Definition, Tenant

STRATEGIES = ("set", "set_if_empty", "set_or_clear", "add", "sum")
Strategy = Literal["set", "set_if_empty", "set_or_clear", "add", "sum"]
GoalKind = Literal["import_profiles", "import_groups", "export_profiles"]
Direction = Literal["in", "out"]
ProcessorStep = dict[str, Any]


class Guards(Model):
    """Limits that hold a whole goal for a person before anything is written.

    Attributes:
        max_created: the most profiles (or groups) that one goal may create in one run.
        max_overwritten_share: the largest share (0 to 1) of the touched existing profiles whose values may be replaced
            or cleared.
        max_cleared: the most values that may be cleared in one run.
        max_merged: the most profiles that merge rules may merge into others in one run.
        max_group_storage_mb: the most megabytes (of 1,000,000 bytes) that all groups together may take in the store.
        empty_source: what an empty or header-only primary source means.
        max_rows_per_match: how many rows a one-to-many link may yield per row of the file it hangs off.
    """

    max_created: Annotated[int, Field(ge=0)] | None = None
    max_overwritten_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    max_cleared: Annotated[int, Field(ge=0)] | None = None
    max_merged: Annotated[int, Field(ge=0)] | None = None
    max_group_storage_mb: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    empty_source: Literal["ok", "warn", "fail"] = "warn"
    max_rows_per_match: Annotated[int, Field(ge=1)] = 10_000


class SourceFile(Model):
    """One file block of an import goal; the first one is the primary file, whose rows set the grain.

    Attributes:
        name: how mappings name this file.
        path: exact path or wildcard (``*``, ``?``) in the last part; ending in ``/``: every file of the folder.
        regex: instead of a wildcard: a regular expression (RE2) that the whole file name must match; ``path`` is then
            the folder.
        link: this file's column to ``file.column`` of an earlier file; several pairs must all hold.
        nested: one row of the other file may have many rows here.
        duplicates: what happens when a file that is not nested has several rows for one link value.
        format: settings that differ from the goal's.
    """

    name: Name
    path: Annotated[str, Field(min_length=1)]
    regex: str | None = None
    link: dict[str, str] = {}
    nested: bool = False
    duplicates: Literal["first", "last", "fail"] = "first"
    format: dict[str, Any] | None = None


class IdentifierLink(Model):
    """A field that recognises a profile or a group by one of its unique identifiers."""

    field: str
    property: str


class ConsentColumn(Model):
    """A field that carries a recorded answer for one objective."""

    field: str
    objective: str
    granted: Texts = []
    refused: Texts = []


class FieldMapping(Model):
    """One field to one property.

    Attributes:
        field: ``file.column``, or a field that a processor made.
        property: the property id, before the prefix.
        strategy: unset: ``add`` for text with a multi-value separator, else ``set``.
        existing: acknowledges that another goal writes the same property (row S-46).
        date, timezone, decimal, multi_value: settings that differ from the goal's format for this field.
    """

    field: str
    property: str
    strategy: Strategy | None = None
    existing: bool = False
    date: str | None = None
    timezone: str | None = None
    decimal: Literal[".", ","] | None = None
    multi_value: str | None = None


class Mappings(Model):
    """The mappings of a goal, with an optional prefix for their target properties."""

    prefix: str = ""
    fields: list[FieldMapping] = []


class ImportGoal(Model):
    """What all import goals share: files in, rows processed, linked and mapped.

    Attributes:
        enabled: a goal that is off is skipped, and says so.
        files: the first one is the primary file.
        row_key: the fields that identify a row across imports; without it, its whole content.
        mark_done: rename imported primary files, or with ``all`` the linked ones too.
        archive: a folder into which imported files are moved instead.
        stable_seconds: a file counts when two looks this many seconds apart agree.
        invalid_values: what a value that does not fit its property means for its row.
        guards: replace those of the connection.
    """

    kind_of_goal: ClassVar[GoalKind]
    direction: ClassVar[Direction] = "in"

    enabled: bool = True
    files: Annotated[list[SourceFile], Field(min_length=1)]
    format: Format = Format()
    row_key: list[str] = []
    mark_done: bool | Literal["all"] = False
    archive: str | None = None
    stable_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 2
    processors: list[ProcessorStep] = []
    identifiers: Annotated[list[IdentifierLink], Field(min_length=1)]
    mappings: Mappings = Mappings()
    invalid_values: Literal["drop", "reject_row"] = "drop"
    guards: Guards | None = None

    @property
    def name(self) -> str:
        """The goal's name."""
        return str(getattr(self, self.kind_of_goal))

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of the goal in order."""
        process = ("process",) if self.processors else ()
        return ("scan", "join", *process, "link", "map", "apply", "finish")

    def file_format(self, name: str) -> Format:
        """The goal's format with the settings of one file block on top."""
        block = next(f for f in self.files if f.name == name)
        return Format.model_validate({**self.format.model_dump(), **(block.format or {})})

    def target(self, mapping: FieldMapping) -> str:
        """The property id that a mapping writes, prefix included."""
        return f"{self.mappings.prefix}{mapping.property}"

    def definitions(self, tenant: Tenant) -> Mapping[str, Definition]:
        """The declared properties that the goal can write, by id."""
        return tenant.properties


class ImportProfiles(ImportGoal):
    """Profiles created and updated from files. ``import_profiles`` holds the goal's name.

    Attributes:
        match: whether any identifier finds the profile, or all of them must.
        create_profiles: a row without a profile makes one.
        create_missing_groups: a value of a property with a ``group_type`` makes the group, empty, when there is none.
        store_identifiers: a matched profile also gets the row's other identifiers.
        consent: fields that carry answers of people.
        events: timeline events that the rows hold.
    """

    kind_of_goal: ClassVar[GoalKind] = "import_profiles"
    splits_identifiers: ClassVar[bool] = True  # at the format's multi_value

    import_profiles: Name
    match: Literal["any", "all"] = "any"
    create_profiles: bool = False
    create_missing_groups: bool = False
    store_identifiers: bool = True
    consent: list[ConsentColumn] = []
    events: list[EventMapping] = []


class ImportGroups(ImportGoal):
    """Groups of one type created and updated from files. ``import_groups`` holds the goal's name.

    Attributes:
        group_type: a group type of the tenant model.
        identifiers: exactly one, the group's id.
        create_groups: a row without a group makes one.
    """

    kind_of_goal: ClassVar[GoalKind] = "import_groups"

    import_groups: Name
    group_type: str
    identifiers: Annotated[list[IdentifierLink], Field(min_length=1, max_length=1)]
    create_groups: bool = True

    def definitions(self, tenant: Tenant) -> Mapping[str, Definition]:
        """The declared properties of the goal's group type, by id."""
        declared = tenant.group_types.get(self.group_type)
        return declared.properties if declared else {}
