"""Export goals: profiles of a segment, and their events, out to files."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from crosswalk.config.formats import ExportFormat
from crosswalk.config.goals import Direction, GoalKind
from crosswalk.config.model import Model, Name

if TYPE_CHECKING:
    from crosswalk.config.tenant import Tenant

COLUMN_KINDS = (
    "profile_id",
    "property",
    "segments",
    "interactions",
    "permission_level",
    "text",
    "group_property",
)


def _accept_one_id(value: Any) -> Any:
    """A single id counts as a list of one; ``all`` stays what it is."""
    return [value] if isinstance(value, str) and value != "all" else value


AllOrIds = Annotated[
    Literal["all"] | Annotated[list[str], Field(min_length=1)],
    BeforeValidator(_accept_one_id, json_schema_input_type=str | Annotated[list[str], Field(min_length=1)]),
]


class FileName(Model):
    """How the file of profiles is called: a new one on every run, or one that is replaced.

    Attributes:
        segment_and_timestamp: ``<segment>_<yyyyMMddHHmmss>.csv``, in UTC.
        custom: a file name without folder; replaced as a whole on every run.
    """

    segment_and_timestamp: bool = False
    custom: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _take_one(self) -> FileName:
        if self.segment_and_timestamp == (self.custom is not None):
            raise ValueError("give either {segment_and_timestamp: true} or {custom: name.csv}")
        return self


class GroupPropertyColumn(Model):
    """A property of the groups that the profile is member of."""

    group_type: str
    property: str


class Column(Model):
    """One column of the exported file; exactly one of its kinds. Their order is that of the columns.

    Attributes:
        profile_id: the profile's own id.
        property: the values of a property.
        segments: the segments that the profile is in: ``all``, or which of them are shown.
        interactions: ids of what the profile has ever ``viewed``, ``clicked`` or ``converted``.
        permission_level: the profile's permission level.
        text: the same text in every row.
        group_property: a property of the profile's groups.
        as: the column's header; unset: the id of the property, else the name of the kind.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in COLUMN_KINDS]})

    profile_id: Literal[True] | None = None
    property: str | None = None
    segments: AllOrIds | None = None
    interactions: Literal["viewed", "clicked", "converted"] | None = None
    permission_level: Literal[True] | None = None
    text: str | None = None
    group_property: GroupPropertyColumn | None = None
    as_: Annotated[str, Field(min_length=1)] | None = Field(default=None, alias="as")

    @field_validator("profile_id", "permission_level", mode="before")
    @classmethod
    def _read_true(cls, value: Any) -> Any:
        if value is True or str(value).lower() in ("true", "yes", "on"):
            return True
        raise ValueError("must be true; leave the column out when it is not wanted")

    @model_validator(mode="after")
    def _take_one(self) -> Column:
        given = [kind for kind in COLUMN_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            listed = ", ".join(COLUMN_KINDS)
            what = f"has {' and '.join(given)}" if given else "says nothing"
            raise ValueError(f"a column is exactly one of {listed}; this one {what}")
        return self

    @builtins.property  # `property` is a field here
    def kind(self) -> str:
        """Which of ``COLUMN_KINDS`` the column is."""
        return next(kind for kind in COLUMN_KINDS if getattr(self, kind) is not None)

    @builtins.property
    def header(self) -> str:
        """The column's name in the file."""
        if self.as_ is not None:
            return self.as_
        if self.property is not None:
            return self.property
        if self.group_property is not None:
            return self.group_property.property
        return f"interactions_{self.interactions}" if self.interactions else self.kind


class Period(Model):
    """Which events by their date: the last so many times 24 hours, or from (included) to (not included).

    Attributes:
        last_days: up to the begin of the run.
        from: an ISO date or date-time; without offset in the connection's time zone.
        to: the same; the first moment that is no longer in it.
    """

    last_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None

    @field_validator("from_", "to")
    @classmethod
    def _read_moment(cls, value: str | None) -> str | None:
        if value is not None:
            _moment(value)
        return value

    @model_validator(mode="after")
    def _take_one(self) -> Period:
        bounds = [value for value in (self.from_, self.to) if value is not None]
        if (self.last_days is None) == (not bounds):
            raise ValueError("give either {last_days: 30}, or {from: 2026-01-01, to: 2026-02-01} or one of the two")
        if len(bounds) == 2 and _moment(bounds[0]).replace(tzinfo=None) >= _moment(bounds[1]).replace(tzinfo=None):
            raise ValueError("from must be before to")
        return self


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date such as 2026-01-31 or 2026-01-31T06:00") from None


def _period_kind(value: Any) -> str:
    return "period:all" if isinstance(value, str) or value is None else "period:limited"


class ExportEvents(Model):
    """The timeline events of the exported profiles: one file per event type and per nested field of it.

    Attributes:
        types: all event types of the tenant model, or which of them.
        period: the events of all time, or of a period.
    """

    types: AllOrIds = "all"
    period: Annotated[
        Annotated[Literal["all"], Tag("period:all")] | Annotated[Period, Tag("period:limited")],
        Discriminator(_period_kind),
    ] = "all"


class ExportProfiles(Model):
    """Profiles of a segment, and their events, out to files. ``export_profiles`` holds the goal's name.

    Attributes:
        enabled: a goal that is off is skipped, and says so.
        segment: a segment of the tenant model, or ``all_profiles``.
        directory: the folder on the destination.
        file_name: a new file on every run, or one that is replaced.
        format: how values are written.
        columns: the columns of the file, in order.
        events: the events of the exported profiles; unset: none.
        incremental: only profiles that changed since the last good run; unset: yes for names with a timestamp, no for
            custom names.
        always_write: writes a file with nothing but its header when nothing is to be exported. A custom file is always
            written.
    """

    kind_of_goal: ClassVar[GoalKind] = "export_profiles"
    direction: ClassVar[Direction] = "out"

    export_profiles: Name
    enabled: bool = True
    segment: str
    directory: Annotated[str, Field(min_length=1)]
    file_name: FileName
    format: ExportFormat = ExportFormat()
    columns: Annotated[list[Column], Field(min_length=1)]
    events: ExportEvents | None = None
    incremental: bool | None = None
    always_write: bool = False

    @property
    def name(self) -> str:
        """The goal's name."""
        return self.export_profiles

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of the goal in order."""
        return ("select", "render", "export")

    @property
    def is_incremental(self) -> bool:
        """Whether only profiles are exported that changed since the last good run."""
        return self.file_name.custom is None if self.incremental is None else self.incremental


def shown_segments(goal: ExportProfiles, tenant: Tenant) -> list[str]:
    """The segments that the columns of a goal show, in the order they are named first."""
    shown: list[str] = []
    for column in goal.columns:
        if column.segments is not None:
            shown += list(tenant.segments) if column.segments == "all" else column.segments
    return list(dict.fromkeys(shown))
