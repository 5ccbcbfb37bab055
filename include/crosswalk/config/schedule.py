"""Describes when a connection runs, apart from whatever runs it.

Clock changes: a daily time that falls in the hour that is skipped in spring runs once, an hour later; a time that
occurs twice in autumn runs once, at the second. A schedule that runs in every hour goes on through both hours of
autumn and leaves out the skipped one. So does Airflow, for which the specification is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from crosswalk.config.schedule_forms import (
    After,
    Cron,
    DaysOfMonth,
    DaysOfWeek,
    EveryMinutes,
    Schedule,
    TimesPerDay,
    WeekdayOfMonth,
)
from crosswalk.core.errors import ConfigError
from crosswalk.core.names import display

_DAY = 24 * 60
_DAY_NAMES = {
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}
_DAYS_AND_MONTHS = re.compile(r"(?i)mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec")
_BY_CHANCE = re.compile(r"(?i)[rh]")
# The only spelling of "last Friday" that the scheduler takes is L5.
_LAST = {"mon": "L1", "tue": "L2", "wed": "L3", "thu": "L4", "fri": "L5", "sat": "L6", "sun": "L0"}
_NTH = {"first": 1, "second": 2, "third": 3, "fourth": 4}


@dataclass(frozen=True)
class ScheduleSpec:
    """When a connection runs.

    Attributes:
        kind: ``manual``: only by hand; ``crons``: at the times of any of the expressions; ``interval``: so many minutes
            after the previous run; ``after``: when other connections have finished well.
        text: the schedule in words.
        crons: cron expressions of five fields.
        timezone: the zone in which they are meant.
        minutes: the interval.
        after: names of the other connections.
    """

    kind: Literal["manual", "crons", "interval", "after"]
    text: str
    crons: tuple[str, ...] = ()
    timezone: str = "UTC"
    minutes: int | None = None
    after: tuple[str, ...] = ()


def plan_schedule(schedule: Schedule, timezone: str = "UTC") -> ScheduleSpec:
    """What a connection's ``schedule`` means in its ``timezone``.

    Raises:
        ConfigError: the cron expression or the time zone is not valid.
    """
    zone = timezone
    if zone_problem(zone):
        raise ConfigError(zone_problem(zone), code="unknown_timezone")
    if isinstance(schedule, EveryMinutes):
        return _every(schedule.every_minutes, zone)
    if isinstance(schedule, TimesPerDay):
        return _times_per_day(schedule, zone)
    if isinstance(schedule, After):
        return ScheduleSpec("after", f"after {in_words(schedule.after)}", after=tuple(schedule.after))
    if isinstance(schedule, Cron):
        problem = cron_problem(schedule.cron)
        if problem:
            raise ConfigError(problem, code="invalid_cron")
        text = " ".join(schedule.cron.split())
        return ScheduleSpec("crons", f"cron {text} {zone}", (text,), zone)
    if schedule == "manual":
        return ScheduleSpec("manual", "only by hand")
    return _on_days(schedule, zone)


def _on_days(schedule: DaysOfWeek | DaysOfMonth | WeekdayOfMonth, zone: str) -> ScheduleSpec:
    time = f"{int(schedule.at[3:])} {int(schedule.at[:2])}"
    if isinstance(schedule, DaysOfWeek):
        days = [day for day in _DAY_NAMES if day in schedule.days_of_week]
        cron, text = f"{time} * * {','.join(days).upper()}", in_words([_DAY_NAMES[day] for day in days])
        text = "every day" if len(days) == len(_DAY_NAMES) else text
    elif isinstance(schedule, DaysOfMonth):
        numbers = sorted({day for day in schedule.days_of_month if isinstance(day, int)})
        last = ["L"] if "last" in schedule.days_of_month else []
        cron = f"{time} {','.join([*map(str, numbers), *last])} * *"
        names = [f"day {in_words([str(day) for day in numbers])}"] if numbers else []
        text = f"{in_words([*names, *(['the last day'] if last else [])])} of the month"
    else:
        pairs = schedule.weekday_of_month.items()
        rules = [_LAST[day] if nth == "last" else f"{day.upper()}#{_NTH[nth]}" for nth, day in pairs]
        cron = f"{time} * * {','.join(rules)}"
        text = f"{in_words([f'{nth} {_DAY_NAMES[day]}' for nth, day in pairs])} of the month"
    return ScheduleSpec("crons", f"{text} at {schedule.at} {zone}", (cron,), zone)


def _every(minutes: int, zone: str) -> ScheduleSpec:
    """Cron where the steps meet every hour or every day evenly, else an interval from run to run."""
    text = f"every {minutes} minutes" if minutes > 1 else "every minute"
    if minutes % 60 == 0:
        hours = minutes // 60
        text = f"every {hours} hours" if hours > 1 else "every hour"
    cron = _even_cron(minutes)
    if cron is None:
        return ScheduleSpec("interval", text, timezone=zone, minutes=minutes)
    return ScheduleSpec("crons", text, (cron,), zone)


def _even_cron(minutes: int) -> str | None:
    if minutes == 1:
        return "* * * * *"
    if 60 % minutes == 0:
        return f"*/{minutes} * * * *" if minutes < 60 else "0 * * * *"
    if minutes % 60 or _DAY % minutes:
        return None
    return f"0 */{minutes // 60} * * *" if minutes < _DAY else "0 0 * * *"


def _times_per_day(schedule: TimesPerDay, zone: str) -> ScheduleSpec:
    if schedule.at is None:
        count = schedule.times_per_day or 1
        text = f"{count} times a day, evenly from midnight" if count > 1 else "every day at 00:00"
        return ScheduleSpec("crons", f"{text} {zone}", (str(_even_cron(_DAY // count)),), zone)
    times = sorted(schedule.at)
    by_minute: dict[int, list[int]] = {}
    for time in times:
        by_minute.setdefault(int(time[3:]), []).append(int(time[:2]))
    crons = tuple(f"{minute} {','.join(map(str, hours))} * * *" for minute, hours in sorted(by_minute.items()))
    return ScheduleSpec("crons", f"every day at {in_words(times)} {zone}", crons, zone)


def in_words(items: list[str]) -> str:
    """A list as people write it: ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def cron_problem(expression: str) -> str:
    """What is wrong with a cron expression; empty when nothing is."""
    from croniter import CroniterBadDateError, CroniterError, croniter

    fields = expression.split()
    shown = display(expression, 80)
    if len(fields) == 6:
        return f"`{shown}` has six fields; the sixth would mean seconds. Give five: minute hour day month weekday."
    if len(fields) != 5:
        return f"`{shown}` has {len(fields)} fields. Give five: minute hour day month weekday."
    if _BY_CHANCE.search(_DAYS_AND_MONTHS.sub("", expression)):
        return f"`{shown}` leaves the time to chance (R or H); give the times."
    try:
        croniter(expression, datetime(2026, 1, 1)).get_next(datetime)  # noqa: DTZ001 - any day serves
    except CroniterBadDateError:
        return f"`{shown}` never occurs."
    except (CroniterError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return f"`{shown}` is not a cron expression. The last Friday is L5, the second Tuesday TUE#2, the last day L."
    return ""


def zone_problem(name: str) -> str:
    """What is wrong with the name of a time zone; empty when nothing is."""
    try:
        if name == "localtime" or name.startswith(("posix/", "right/")):
            raise LookupError(name)  # differs from machine to machine, or counts leap seconds
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # not found, a path, a folder, an odd name
        import difflib
        from zoneinfo import available_timezones

        known = {zone.casefold(): zone for zone in available_timezones()}
        near = difflib.get_close_matches(name.casefold(), sorted(known), n=1, cutoff=0.75)
        hint = f"did you mean {known[near[0]]}?" if near else "use a name such as Europe/Brussels."
        return f"There is no time zone `{display(name, 60)}`; {hint}"
    return ""


def next_times(spec: ScheduleSpec, start: datetime, count: int) -> list[datetime]:
    """The next times after ``start``, in UTC; none for schedules that wait for a person or another connection.

    Args:
        spec: the schedule.
        start: a time with offset; an interval counts from it.
        count: how many.
    """
    if spec.kind == "interval":
        return [(start + timedelta(minutes=(spec.minutes or 1) * n)).astimezone(UTC) for n in range(1, count + 1)]
    times: list[datetime] = []
    now = start.astimezone(UTC)
    while spec.crons and len(times) < count:
        now = min(_next(cron, ZoneInfo(spec.timezone), now) for cron in spec.crons)
        times.append(now)
    return times


def _next(expression: str, zone: ZoneInfo, after: datetime) -> datetime:
    from croniter import croniter

    local = after.astimezone(zone).replace(tzinfo=None)
    cron = croniter(expression, local)
    while True:
        wall = cron.get_next(datetime)
        if cron.expanded[1] == ["*"]:  # in every hour: count real time, so that no hour is missed or doubled
            return after + (wall - local)
        moment = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
        if wall != moment.astimezone(zone).replace(tzinfo=None):  # in the skipped hour: as much later
            moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if moment > after:
            return moment
