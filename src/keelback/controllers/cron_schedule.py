"""Cron expressions as CronJobs write them: five fields, or a word such as `@daily`. Pure; times carry their zone."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_DAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_HORIZON_YEARS = 5
_ANY: frozenset[int] = frozenset()


class ScheduleError(ValueError):
    """A text that is not a schedule."""


class TimeZoneError(ScheduleError):
    """A name that is no time zone's."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to run: the values each field may have, in the schedule's zone; or every so many seconds."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    zone: tzinfo = UTC
    every_seconds: float = 0.0

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after `moment`, in UTC; None where there is none in the next five years."""
        if self.every_seconds:
            return moment.replace(microsecond=0) + timedelta(seconds=self.every_seconds)
        # Steps are of real time, so that a repeated hour comes twice and a skipped one not at all, as upstream has it.
        found = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        last_year = found.year + _HORIZON_YEARS
        while found.year <= last_year:
            local = found.astimezone(self.zone)
            if local.month not in self.months:
                found = _midnight((local.replace(day=1, hour=0) + timedelta(days=32)).replace(day=1))
            elif not self._has_day(local):
                found = _midnight(local.replace(hour=0) + timedelta(days=1))
            elif local.hour not in self.hours:
                found += timedelta(minutes=60 - local.minute)
            elif local.minute not in self.minutes:
                found += timedelta(minutes=self._minutes_left(local.minute))
            else:
                return found.astimezone(UTC)
        return None

    def _minutes_left(self, minute: int) -> int:
        """From a minute of an hour to the next that will do, or to the end of the hour."""
        return min((one for one in self.minutes if one > minute), default=60) - minute

    def _has_day(self, local: datetime) -> bool:
        day, weekday = local.day in self.days, (local.weekday() + 1) % 7 in self.weekdays
        # Where both are restricted either will do; that is cron's old rule.
        return (day and weekday) if self.any_day or self.any_weekday else (day or weekday)


@functools.lru_cache(maxsize=1024)
def parse(text: str, time_zone: str | None = None) -> Schedule:
    """The schedule a text stands for, in a named zone or UTC. Raises ScheduleError."""
    zone: tzinfo = UTC
    if time_zone:
        try:
            zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise TimeZoneError(f"unknown time zone {time_zone}") from error
    text = text.strip()
    if text.startswith("@every "):
        return Schedule(_ANY, _ANY, _ANY, _ANY, _ANY, True, True, zone, _duration(text[7:].strip()))
    fields = _WORDS.get(text, text).split()
    if len(fields) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: {[text]}")
    minute, hour, day, month, weekday = fields
    return Schedule(
        minutes=_field(minute, 0, 59, {}),
        hours=_field(hour, 0, 23, {}),
        days=_field(day, 1, 31, {}),
        months=_field(month, 1, 12, _MONTHS),
        weekdays=frozenset(number % 7 for number in _field(weekday, 0, 7, _DAYS)),
        any_day=day[0] in "*?",
        any_weekday=weekday[0] in "*?",
        zone=zone,
    )


def _midnight(local: datetime) -> datetime:
    """The beginning of a local day, as an instant: of the two that a change of clocks may make the first."""
    return local.replace(hour=0, minute=0, fold=0).astimezone(UTC)


def _field(text: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, {}) if slash else 1
        if step <= 0:
            raise ScheduleError(f"step of range should be a positive number: {part}")
        if span in ("*", "?"):
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(first_text, names)
            last = _number(last_text, names) if dash else (high if slash else first)
        if first < low or last > high or first > last:
            raise ScheduleError(f"value out of range [{low}, {high}]: {part}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdecimal():
        raise ScheduleError(f"failed to parse number: {text}")
    return int(text)


def _duration(text: str) -> float:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ScheduleError(f"failed to parse duration @every {text}")
    return max(1.0, float(int(sum(float(number) * _UNITS[unit] for number, unit in parts))))
