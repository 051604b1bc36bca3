"""Schedules: the next time, repeated and skipped hours, and what was missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.batch_v1 import (
    CronJob,
    CronJobSpec,
    CronJobStatus,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.controllers import (
    cron_schedule,
    cronjobs,
)
from keelback.testing.views import NOW


@given(
    st.integers(0, 126_000_000),
    st.sampled_from(["*/7 * * * *", "5 3 * * 1-5", "0 0 29 2 *", "@hourly", "30 2 * * *", "0 12 1,15 * 0"]),
    st.sampled_from([None, "Europe/Berlin", "America/New_York"]),
)
def test_the_next_time_lies_ahead_and_none_is_skipped(seconds: int, text: str, zone: str | None) -> None:
    schedule = cron_schedule.parse(text, zone)
    moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    found = schedule.next_after(moment)
    assert found is not None
    assert found > moment
    assert schedule.next_after(found - timedelta(seconds=1)) == found


@given(
    st.integers(0, 1_000_000),
    st.sets(st.integers(0, 23), min_size=1, max_size=4),
    st.sets(st.integers(0, 59), min_size=1, max_size=3),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]),
    st.sampled_from([(2026, 3, 6), (2026, 3, 27), (2026, 10, 2), (2026, 10, 23), (2026, 10, 30)]),
)
def test_each_minute_whose_local_time_fits_is_one_repeated_hours_and_all(
    seconds: int, hours: set[int], minutes: set[int], zone: str, day: tuple[int, int, int]
) -> None:
    text = f"{','.join(map(str, sorted(minutes)))} {','.join(map(str, sorted(hours)))} * * *"
    schedule = cron_schedule.parse(text, zone)
    moment = datetime(*day, tzinfo=UTC) + timedelta(seconds=seconds % 345_600)
    minute = moment.replace(second=0) + timedelta(minutes=1)
    local = minute.astimezone(schedule.zone)
    while local.hour not in hours or local.minute not in minutes:
        minute += timedelta(minutes=1)
        local = minute.astimezone(schedule.zone)
    assert schedule.next_after(moment) == minute


def test_a_repeated_hour_has_its_runs_and_a_skipped_one_none() -> None:
    hourly = cron_schedule.parse("0 * * * *", "America/New_York")
    times = [datetime(2026, 11, 1, 4, 30, tzinfo=UTC)]
    for _ in range(3):
        found = hourly.next_after(times[-1])
        assert found is not None
        times.append(found)
    assert [one.hour for one in times[1:]] == [5, 6, 7]
    nightly = cron_schedule.parse("30 2 * * *", "America/New_York")
    assert nightly.next_after(datetime(2026, 3, 8, 5, tzinfo=UTC)) == datetime(2026, 3, 9, 6, 30, tzinfo=UTC)


def test_a_schedule_means_what_cron_means_by_it() -> None:
    moment = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)  # a Friday
    assert cron_schedule.parse("0 0 * * sun").next_after(moment) == datetime(2026, 5, 3, tzinfo=UTC)
    assert cron_schedule.parse("0 9 * * *", "Europe/Berlin").next_after(moment) == datetime(2026, 5, 2, 7, tzinfo=UTC)
    assert cron_schedule.parse("@every 1h30m").next_after(moment) == datetime(2026, 5, 1, 13, 30, tzinfo=UTC)
    assert cron_schedule.parse("0 0 13 * 5").next_after(moment) == datetime(2026, 5, 8, tzinfo=UTC)


def test_only_the_latest_missed_time_is_made_up_for() -> None:
    status = CronJobStatus(last_schedule_time=NOW - timedelta(minutes=5))
    cron_job = CronJob(metadata=ObjectMeta(name="tick"), spec=CronJobSpec(schedule="* * * * *"), status=status)
    found = cronjobs.due(cron_job, cron_schedule.parse("* * * * *"), NOW + timedelta(seconds=30))
    assert found.scheduled == NOW
    assert found.missed == 4
    assert found.next == NOW + timedelta(minutes=1)


def test_a_long_absence_is_caught_up_with_at_once() -> None:
    status = CronJobStatus(last_schedule_time=NOW - timedelta(days=400))
    cron_job = CronJob(metadata=ObjectMeta(name="tick"), spec=CronJobSpec(schedule="* * * * *"), status=status)
    found = cronjobs.due(cron_job, cron_schedule.parse("* * * * *"), NOW)
    assert found.scheduled == NOW
