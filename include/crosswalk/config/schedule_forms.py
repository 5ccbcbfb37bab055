"""The forms that ``schedule`` takes; ``config/schedule.py`` says what they mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from crosswalk.config.model import Model

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
