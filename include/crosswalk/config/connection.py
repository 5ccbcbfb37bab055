"""The typed model of a connection file; source of its JSON Schema.

A connection file is read by ``config/loader.py``: every plain YAML scalar arrives here as text (or None for null), so
``country: NO`` stays text and only a field that is declared as a number or a boolean becomes one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,99}$"
Name = Annotated[str, Field(pattern=NAME)]
EMAIL = r"^[^@\s,;<>\"']+@[^@\s,;<>\"']+\.[^@\s,;<>\"']+$"
STRATEGIES = ("set", "set_if_empty", "set_or_clear", "add", "sum")
Strategy = Literal["set", "set_if_empty", "set_or_clear", "add", "sum"]


class Model(BaseModel):
    """Base of all models: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Owner(Model):
    """Who answers for the connection."""

    name: str
    email: Annotated[str, Field(pattern=EMAIL)] | None = None


class Notifications(Model):
    """Mail about runs. ``on_success`` is an addition to ``on_failure``, never a replacement (row S-17)."""

    emails: list[Annotated[str, Field(pattern=EMAIL)]] = []
    on_failure: bool = True
    on_success: bool = False
    smtp_conn_id: str = "crosswalk_smtp"


class Guards(Model):
    """Limits that hold a whole goal for a person before anything is written.

    Attributes:
        max_created: the most profiles that one goal may create in one run.
        max_overwritten_share: the largest share (0 to 1) of the touched existing profiles whose values may be replaced
            or cleared.
        max_cleared: the most profile values that may be cleared in one run.
        empty_source: what an empty or header-only primary source means.
        max_rows_per_match: how many rows a one-to-many link may yield per row of the file it hangs off.
    """

    max_created: Annotated[int, Field(ge=0)] | None = None
    max_overwritten_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    max_cleared: Annotated[int, Field(ge=0)] | None = None
    empty_source: Literal["ok", "warn", "fail"] = "warn"
    max_rows_per_match: Annotated[int, Field(ge=1)] = 10_000


class Format(Model):
    r"""How the text of a file is read. A file's own ``format`` replaces single settings of its goal's.

    Attributes:
        separator: between fields; one to four characters; ``\t`` for tab.
        decimal: the decimal mark of numbers.
        thousands: the mark between groups of three digits. Unset: the other mark is accepted only where it cannot be
            the decimal mark (``1.234,56``); a lone ``1.234`` is then refused as ambiguous.
        quote: the quote character; empty for none.
        escape: the character that escapes a quote inside quotes; unset: the quote is doubled.
        multi_value: splits one cell into several values.
        date: strptime pattern of dates; unset: ISO 8601 or epoch seconds or milliseconds.
        timezone: zone of dates without offset; unset: the connection's.
        encoding: ``utf-8`` (mark removed), ``utf-16``, ``latin-1``, ``windows-1252`` and what Python's codecs know.
        compression: unset: by the file name's ending.
        header: column names for files without a header line.
        header_rows: number of header lines; names of several lines are joined with a blank.
        skip_lines: lines before the header.
        skip_footer: lines at the end.
        comment: lines that begin with this text are left out.
        null_text: cells that mean "no value", beside the empty cell.
        extra_columns: what a row with more or fewer cells than the header means.
    """

    separator: Annotated[str, Field(min_length=1, max_length=4)] = ","
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None
    quote: Literal['"', "'", ""] = '"'
    escape: Annotated[str, Field(max_length=1)] | None = None
    multi_value: Annotated[str, Field(min_length=1, max_length=4)] | None = None
    date: str | None = None
    timezone: str | None = None
    encoding: str = "utf-8"
    compression: Literal["auto", "none", "gzip", "zip", "zstd"] = "auto"
    header: list[str] | None = None
    header_rows: Annotated[int, Field(ge=0, le=10)] = 1
    skip_lines: Annotated[int, Field(ge=0)] = 0
    skip_footer: Annotated[int, Field(ge=0)] = 0
    comment: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    null_text: list[str] = []
    extra_columns: Literal["reject", "ignore"] = "reject"

    @field_validator("separator", "multi_value", mode="before")
    @classmethod
    def _read_escapes(cls, value: Any) -> Any:
        return {"\\t": "\t", "tab": "\t", "\\x1f": "\x1f"}.get(value, value) if isinstance(value, str) else value

    @field_validator("null_text", mode="before")
    @classmethod
    def _accept_one_text(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _refuse_clashes(self) -> Format:
        if self.quote and self.quote in self.separator:
            raise ValueError("quote and separator must differ")
        if self.thousands == self.decimal:
            raise ValueError("thousands and decimal must differ")
        return self


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
    """A field that recognises a profile by one of its unique identifiers."""

    field: str
    property: str


class ConsentColumn(Model):
    """A field that carries a recorded answer for one objective."""

    field: str
    objective: str
    granted: list[str] = []
    refused: list[str] = []

    @field_validator("granted", "refused", mode="before")
    @classmethod
    def _accept_one_text(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


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


ProcessorStep = dict[str, Any]


class ImportProfiles(Model):
    """An import goal: files in, profiles created and updated. ``import_profiles`` holds the goal's name."""

    import_profiles: Name
    enabled: bool = True
    files: Annotated[list[SourceFile], Field(min_length=1)]
    format: Format = Format()
    row_key: list[str] = []
    mark_done: bool | Literal["all"] = False
    archive: str | None = None
    stable_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 2
    processors: list[ProcessorStep] = []
    identifiers: Annotated[list[IdentifierLink], Field(min_length=1)]
    match: Literal["any", "all"] = "any"
    create_profiles: bool = False
    store_identifiers: bool = True
    consent: list[ConsentColumn] = []
    mappings: Mappings = Mappings()
    invalid_values: Literal["drop", "reject_row"] = "drop"
    guards: Guards | None = None

    @property
    def name(self) -> str:
        """The goal's name."""
        return self.import_profiles

    @property
    def direction(self) -> str:
        """``in``: from the system into the store."""
        return "in"

    def file_format(self, name: str) -> Format:
        """The goal's format with the settings of one file block on top."""
        block = next(f for f in self.files if f.name == name)
        return Format.model_validate({**self.format.model_dump(), **(block.format or {})})

    def target(self, mapping: FieldMapping) -> str:
        """The property id that a mapping writes, prefix included."""
        return f"{self.mappings.prefix}{mapping.property}"


Goal = ImportProfiles


Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVEN_TIMES_PER_DAY = (1, 2, 3, 4, 6, 8, 12, 24, 48, 96)


class EveryMinutes(Model):
    """Every so many minutes."""

    every_minutes: Annotated[int, Field(ge=1, le=10_080)]


class TimesPerDay(Model):
    """Evenly spaced from midnight, or at listed times."""

    times_per_day: Annotated[int, Field(ge=1, le=96)] | None = None
    at: Annotated[list[Clock], Field(min_length=1, max_length=96)] | None = None

    @model_validator(mode="after")
    def _refuse_uneven(self) -> TimesPerDay:
        count = self.times_per_day
        if self.at is None and count is not None and count not in EVEN_TIMES_PER_DAY:
            even = ", ".join(str(number) for number in EVEN_TIMES_PER_DAY)
            raise ValueError(f"{count} times do not divide a day evenly; use {even}, or list the times under at")
        if self.at is None and count is None:
            raise ValueError("give times_per_day or at")
        if self.at is not None and len(set(self.at)) != len(self.at):
            raise ValueError("at lists the same time twice")
        if self.at is not None and count is not None and count != len(self.at):
            raise ValueError(f"times_per_day says {count} but at lists {len(self.at)}; leave times_per_day out")
        return self


class DaysOfWeek(Model):
    """On weekdays at a time."""

    days_of_week: Annotated[list[Weekday], Field(min_length=1)]
    at: Clock = "00:00"


class DaysOfMonth(Model):
    """On days of the month (1 to 31 or ``last``) at a time; a day that a month lacks is skipped in that month."""

    days_of_month: Annotated[list[Annotated[int, Field(ge=1, le=31)] | Literal["last"]], Field(min_length=1)]
    at: Clock = "00:00"


class WeekdayOfMonth(Model):
    """On for example the second Tuesday or the last Friday, at a time."""

    weekday_of_month: Annotated[
        dict[Literal["first", "second", "third", "fourth", "last"], Weekday], Field(min_length=1)
    ]
    at: Clock = "00:00"


class Cron(Model):
    """A cron expression of five fields."""

    cron: str


class After(Model):
    """When other connections have finished well."""

    after: Annotated[list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]], Field(min_length=1)]


SCHEDULE_KEYS = ("every_minutes", "times_per_day", "days_of_week", "days_of_month", "weekday_of_month", "cron", "after")


def schedule_kind(value: Any) -> str | None:
    """Which schedule a mapping, a model or the word ``manual`` is; None when it is none or several."""
    if isinstance(value, str):
        return "schedule:manual" if value == "manual" else None
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    kinds = [key for key in SCHEDULE_KEYS if key in keys]
    if not kinds and "at" in keys:
        kinds = ["times_per_day"]
    return f"schedule:{kinds[0]}" if len(kinds) == 1 else None


Schedule = Annotated[
    Annotated[Literal["manual"], Tag("schedule:manual")]
    | Annotated[EveryMinutes, Tag("schedule:every_minutes")]
    | Annotated[TimesPerDay, Tag("schedule:times_per_day")]
    | Annotated[DaysOfWeek, Tag("schedule:days_of_week")]
    | Annotated[DaysOfMonth, Tag("schedule:days_of_month")]
    | Annotated[WeekdayOfMonth, Tag("schedule:weekday_of_month")]
    | Annotated[Cron, Tag("schedule:cron")]
    | Annotated[After, Tag("schedule:after")],
    Discriminator(schedule_kind),
]


class Connection(Model):
    """One YAML file: a system, its secrets by reference, a schedule and one or more goals."""

    kind: str
    id: Name | None = None
    title: Annotated[str, Field(min_length=1, max_length=200)]
    owner: Owner | None = None
    description: str = ""
    labels: list[Annotated[str, Field(min_length=1, max_length=100)]] = []
    conn_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=250)]
    enabled: bool = True
    objectives: list[str] = []
    timezone: str = "UTC"
    schedule: Schedule = "manual"
    notifications: Notifications = Notifications()
    guards: Guards = Guards()
    approve: bool = False
    retries: Annotated[int, Field(ge=0, le=20)] = 2
    stop_on_failure: bool = False
    goals: Annotated[list[Goal], Field(min_length=1)]

    def goal(self, name: str) -> Goal:
        """The goal of that name; KeyError when there is none."""
        for goal in self.goals:
            if goal.name == name:
                return goal
        raise KeyError(name)

    def guards_of(self, goal: Goal) -> Guards:
        """The goal's own guards, else the connection's."""
        return goal.guards or self.guards

    @property
    def directions(self) -> set[str]:
        """Directions of the enabled goals: ``in``, ``out``."""
        return {goal.direction for goal in self.goals if goal.enabled}


def slug(text: str) -> str:
    """A stable id made of a file name: at most 100 letters, digits, ``_`` and ``-``."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_") or "connection"
    return plain if len(plain) <= 100 else f"{plain[:91]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
