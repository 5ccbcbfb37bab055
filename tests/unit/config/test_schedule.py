from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter

from crosswalk.config.schedule import ScheduleSpec, cron_problem, next_times, plan_schedule, zone_problem
from crosswalk.config.schedule_forms import EVEN_TIMES_PER_DAY, Schedule
from crosswalk.core.errors import ConfigError

READ = TypeAdapter(Schedule)
START = datetime(2026, 1, 1, tzinfo=UTC)


def plan(content, zone: str = "UTC") -> ScheduleSpec:
    return plan_schedule(READ.validate_python(content), zone)


def upcoming(content, count: int, zone: str = "UTC", start: datetime = START) -> list[str]:
    return [f"{time.astimezone(ZoneInfo(zone)):%m-%d %H:%M}" for time in next_times(plan(content, zone), start, count)]


@pytest.mark.parametrize(
    ("content", "kind", "crons", "text"),
    [
        ("manual", "manual", (), "only by hand"),
        ({"every_minutes": 1}, "crons", ("* * * * *",), "every minute"),
        ({"every_minutes": "15"}, "crons", ("*/15 * * * *",), "every 15 minutes"),
        ({"every_minutes": 60}, "crons", ("0 * * * *",), "every hour"),
        ({"every_minutes": 120}, "crons", ("0 */2 * * *",), "every 2 hours"),
        ({"every_minutes": 1440}, "crons", ("0 0 * * *",), "every 24 hours"),
        ({"every_minutes": 45}, "interval", (), "every 45 minutes"),
        ({"every_minutes": 90}, "interval", (), "every 90 minutes"),
        ({"every_minutes": 300}, "interval", (), "every 5 hours"),
        ({"every_minutes": 10080}, "interval", (), "every 168 hours"),
        ({"times_per_day": 1}, "crons", ("0 0 * * *",), "every day at 00:00 UTC"),
        ({"times_per_day": 4}, "crons", ("0 */6 * * *",), "4 times a day, evenly from midnight UTC"),
        ({"times_per_day": 96}, "crons", ("*/15 * * * *",), "96 times a day, evenly from midnight UTC"),
        (
            {"at": ["18:00", "06:00", "12:30"]},
            "crons",
            ("0 6,18 * * *", "30 12 * * *"),
            "every day at 06:00, 12:30 and 18:00 UTC",
        ),
        (
            {"times_per_day": 2, "at": ["06:00", "18:00"]},
            "crons",
            ("0 6,18 * * *",),
            "every day at 06:00 and 18:00 UTC",
        ),
        (
            {"days_of_week": ["thu", "mon"], "at": "07:30"},
            "crons",
            ("30 7 * * MON,THU",),
            "Monday and Thursday at 07:30 UTC",
        ),
        (
            {"days_of_week": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]},
            "crons",
            ("0 0 * * MON,TUE,WED,THU,FRI,SAT,SUN",),
            "every day at 00:00 UTC",
        ),
        (
            {"days_of_month": [15, 1], "at": "04:05"},
            "crons",
            ("5 4 1,15 * *",),
            "day 1 and 15 of the month at 04:05 UTC",
        ),
        (
            {"days_of_month": ["1", "last"]},
            "crons",
            ("0 0 1,L * *",),
            "day 1 and the last day of the month at 00:00 UTC",
        ),
        ({"days_of_month": ["last"]}, "crons", ("0 0 L * *",), "the last day of the month at 00:00 UTC"),
        (
            {"weekday_of_month": {"second": "tue"}, "at": "06:00"},
            "crons",
            ("0 6 * * TUE#2",),
            "second Tuesday of the month at 06:00 UTC",
        ),
        ({"weekday_of_month": {"last": "fri"}}, "crons", ("0 0 * * L5",), "last Friday of the month at 00:00 UTC"),
        ({"weekday_of_month": {"last": "sun"}}, "crons", ("0 0 * * L0",), "last Sunday of the month at 00:00 UTC"),
        (
            {"weekday_of_month": {"first": "mon", "third": "mon"}},
            "crons",
            ("0 0 * * MON#1,MON#3",),
            "first Monday and third Monday of the month at 00:00 UTC",
        ),
        ({"cron": "0  6 * * MON-FRI"}, "crons", ("0 6 * * MON-FRI",), "cron 0 6 * * MON-FRI UTC"),
        ({"after": ["a", "b"]}, "after", (), "after a and b"),
    ],
)
def test_each_way_of_writing_a_schedule_has_its_meaning(content, kind, crons, text):
    spec = plan(content)
    assert (spec.kind, spec.crons, spec.text) == (kind, crons, text)
    assert [cron_problem(cron) for cron in spec.crons] == [""] * len(crons)


def test_the_zone_is_part_of_the_schedule():
    spec = plan({"weekday_of_month": {"second": "tue"}, "at": "06:00"}, "Europe/Brussels")
    assert spec.timezone == "Europe/Brussels"
    assert spec.text == "second Tuesday of the month at 06:00 Europe/Brussels"


def test_every_fifteen_minutes():
    assert upcoming({"every_minutes": 15}, 5) == [
        "01-01 00:15",
        "01-01 00:30",
        "01-01 00:45",
        "01-01 01:00",
        "01-01 01:15",
    ]


@pytest.mark.parametrize(
    "minutes", [*range(1, 32), 45, 50, 59, 60, 61, 90, 119, 120, 180, 240, 300, 360, 480, 720, 1080, 1440, 2880, 10080]
)
def test_crons_are_used_only_where_the_steps_are_even(minutes):
    spec = plan({"every_minutes": minutes})
    times = [START, *next_times(spec, START, 70)]
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=minutes)}


@pytest.mark.parametrize("count", EVEN_TIMES_PER_DAY)
def test_times_per_day_are_evenly_spaced_from_midnight(count):
    times = next_times(plan({"times_per_day": count}), START - timedelta(minutes=1), count + 1)
    assert times[0] == START
    assert {b - a for a, b in pairwise(times)} == {timedelta(days=1) / count}


def test_listed_times_of_a_day_come_in_order():
    assert upcoming({"at": ["18:00", "06:00", "12:30"]}, 4) == [
        "01-01 06:00",
        "01-01 12:30",
        "01-01 18:00",
        "01-02 06:00",
    ]


def test_days_of_the_week():
    assert upcoming({"days_of_week": ["mon", "thu"], "at": "07:30"}, 4, "Europe/Brussels") == [
        "01-01 07:30",
        "01-05 07:30",
        "01-08 07:30",
        "01-12 07:30",
    ]


def test_day_31_is_skipped_in_shorter_months_and_the_last_day_never():
    assert [time[:5] for time in upcoming({"days_of_month": [31]}, 7)] == [
        "01-31",
        "03-31",
        "05-31",
        "07-31",
        "08-31",
        "10-31",
        "12-31",
    ]
    last = [time[:5] for time in upcoming({"days_of_month": ["last"]}, 12)]
    assert " ".join(last) == "01-31 02-28 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31"
    leap = upcoming({"days_of_month": ["last"]}, 2, start=datetime(2028, 1, 31, 12, tzinfo=UTC))
    assert leap[0] == "02-29 00:00"


def test_day_31_together_with_the_last_day_runs_once():
    assert [time[:5] for time in upcoming({"days_of_month": [31, "last"]}, 3)] == ["01-31", "02-28", "03-31"]


def test_the_next_twelve_second_tuesdays_and_last_fridays():
    second = upcoming({"weekday_of_month": {"second": "tue"}, "at": "06:00"}, 12, "Europe/Brussels")
    days = " ".join(time[:5] for time in second)
    assert days == "01-13 02-10 03-10 04-14 05-12 06-09 07-14 08-11 09-08 10-13 11-10 12-08"
    assert {time[6:] for time in second} == {"06:00"}
    last = upcoming({"weekday_of_month": {"last": "fri"}}, 12)
    days = " ".join(time[:5] for time in last)
    assert days == "01-30 02-27 03-27 04-24 05-29 06-26 07-31 08-28 09-25 10-30 11-27 12-25"


@pytest.mark.parametrize("day", ["mon", "tue", "wed", "thu", "fri", "sat", "sun"])
def test_the_last_weekday_of_every_month_is_right(day):
    number = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].index(day)
    for time in next_times(plan({"weekday_of_month": {"last": day}}), START, 24):
        assert time.weekday() == number
        assert (time + timedelta(days=7)).month != time.month


ZONE = "Europe/Amsterdam"
SPRING, AUTUMN = datetime(2026, 3, 28, 0, tzinfo=UTC), datetime(2026, 10, 24, 0, tzinfo=UTC)


def local(content, count: int, start: datetime) -> list[str]:
    return [time.astimezone(ZoneInfo(ZONE)).isoformat()[5:] for time in next_times(plan(content, ZONE), start, count)]


def test_a_daily_time_keeps_its_hour_over_the_clock_changes():
    at_six = {"days_of_week": ["sat", "sun", "mon"], "at": "06:00"}
    assert local(at_six, 3, SPRING) == ["03-28T06:00:00+01:00", "03-29T06:00:00+02:00", "03-30T06:00:00+02:00"]
    assert local(at_six, 3, AUTUMN) == ["10-24T06:00:00+02:00", "10-25T06:00:00+01:00", "10-26T06:00:00+01:00"]


def test_a_time_in_the_skipped_hour_runs_once_an_hour_later():
    assert local({"cron": "30 2 * * *"}, 3, SPRING) == [
        "03-28T02:30:00+01:00",
        "03-29T03:30:00+02:00",
        "03-30T02:30:00+02:00",
    ]


def test_a_time_in_the_doubled_hour_runs_once_at_the_second():
    assert local({"cron": "30 2 * * *"}, 3, AUTUMN) == [
        "10-24T02:30:00+02:00",
        "10-25T02:30:00+01:00",
        "10-26T02:30:00+01:00",
    ]


def test_a_schedule_of_every_hour_goes_through_both_hours_and_leaves_the_skipped_one_out():
    half = {"every_minutes": 30}
    assert local(half, 4, datetime(2026, 3, 29, 0, 0, tzinfo=UTC)) == [
        "03-29T01:30:00+01:00",
        "03-29T03:00:00+02:00",
        "03-29T03:30:00+02:00",
        "03-29T04:00:00+02:00",
    ]
    assert local(half, 5, datetime(2026, 10, 24, 23, 30, tzinfo=UTC)) == [
        "10-25T02:00:00+02:00",
        "10-25T02:30:00+02:00",
        "10-25T02:00:00+01:00",
        "10-25T02:30:00+01:00",
        "10-25T03:00:00+01:00",
    ]


@pytest.mark.parametrize(
    "content", [{"times_per_day": 12}, {"every_minutes": 15}, {"every_minutes": 45}, {"at": ["02:00", "02:30"]}]
)
@pytest.mark.parametrize("start", [SPRING, AUTUMN])
def test_times_only_ever_move_forward_over_a_clock_change(content, start):
    times = next_times(plan(content, ZONE), start, 300)
    assert all(earlier < later for earlier, later in pairwise(times))


def test_an_interval_counts_from_the_previous_run():
    assert upcoming({"every_minutes": 45}, 3, start=datetime(2026, 1, 1, 0, 10, tzinfo=UTC)) == [
        "01-01 00:55",
        "01-01 01:40",
        "01-01 02:25",
    ]


@pytest.mark.parametrize("content", ["manual", {"after": ["a"]}])
def test_a_schedule_without_clock_has_no_next_times(content):
    assert next_times(plan(content), START, 3) == []


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "0 0 6 * * *",
        "60 * * * *",
        "0 6 * * FRI#L",
        "0 6 * * 5L",
        "H * * * *",
        "R * * * *",
        "r(1-5) * * * *",
        "@daily",
        "0 6 31 2 *",
        "0 6 * * \0",
        "*/0 * * * *",
        "a b c d e",
    ],
)
def test_a_cron_expression_that_would_break_the_scheduler_is_refused(cron):
    assert cron_problem(cron)
    with pytest.raises(ConfigError):
        plan({"cron": cron})


@pytest.mark.parametrize(
    "cron",
    [
        "0 6 * * L5",
        "0 6 * * TUE#2",
        "0 6 L * *",
        "0 6 15W * *",
        "0 6 * MAR-SEP THU",
        "*/5 8-18 * * 1-5",
        "0 6 * apr fri",
    ],
)
def test_cron_expressions_that_the_scheduler_takes_pass(cron):
    assert cron_problem(cron) == ""


@pytest.mark.parametrize(
    "name", ["", "Mars", "../UTC", "/etc/passwd", "Europe", "a\0b", "x" * 5000, "localtime", "posix/UTC"]
)
def test_what_is_no_time_zone_is_refused(name):
    assert zone_problem(name)
    with pytest.raises(ConfigError) as raised:
        plan("manual", name)
    assert raised.value.code == "unknown_timezone"


@pytest.mark.parametrize("name", ["UTC", "Europe/Brussels", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_time_zones_of_the_database_pass(name):
    assert zone_problem(name) == ""
