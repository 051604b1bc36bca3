"""Timestamps and durations: their text as Go reads and writes it, their ranges, their parts in a time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from keelback.cel.errors import EvaluationError
from keelback.cel.values import INT_MAX, INT_MIN, Duration, Timestamp

SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = -62135596800 * SECOND
_LATEST = 253402300799 * SECOND + SECOND - 1
_UNITS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_DURATION = re.compile(r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d+):(\d+)", re.ASCII)


def timestamp(nanoseconds: int, offset_seconds: int = 0) -> Timestamp:
    """A moment of the years 1 to 9999. Raises EvaluationError."""
    if not _EARLIEST <= nanoseconds <= _LATEST:
        raise EvaluationError("timestamp overflow")
    return Timestamp(nanoseconds, offset_seconds)


def duration(nanoseconds: int) -> Duration:
    """A span within an int64. Raises EvaluationError."""
    if not INT_MIN <= nanoseconds <= INT_MAX:
        raise EvaluationError("duration overflow")
    return Duration(nanoseconds)


def parse_duration(text: str) -> Duration | None:
    """As Go's time.ParseDuration takes it: `1h30m`, `-1.5s`; None for anything else."""
    if text in ("0", "+0", "-0"):
        return Duration(0)
    if _DURATION.fullmatch(text) is None:
        return None
    total = 0
    for whole, fraction, unit in _PART.findall(text):
        if len(whole) > 20:
            return None
        scale = _UNITS[unit]
        total += int(whole or "0") * scale
        if fraction:
            total += int(fraction[:20]) * scale // 10 ** len(fraction[:20])
    total = -total if text[0] == "-" else total
    return Duration(total) if INT_MIN <= total <= INT_MAX else None


def parse_timestamp(text: str) -> Timestamp | None:
    """As Go's time.Parse takes RFC 3339; None for anything else."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    *fields, fraction, sign, hours, minutes = match.groups()
    try:
        year, month, day, hour, minute, second = map(int, fields)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    nanoseconds = _since_epoch(moment) + int((fraction or "0")[:9].ljust(9, "0"))
    offset = 0
    if sign is not None:
        if int(hours) > 24 or int(minutes) > 60:
            return None
        offset = (int(hours) * 60 + int(minutes)) * 60
        offset = offset if sign == "+" else -offset
        nanoseconds -= offset * SECOND
    return Timestamp(nanoseconds, offset) if _EARLIEST <= nanoseconds <= _LATEST else None


def timestamp_text(moment: Timestamp) -> str:
    """RFC 3339 with the offset it was read with, and as many digits of the fraction as it needs."""
    seconds, fraction = divmod(moment.nanoseconds, SECOND)
    shown = _at(seconds + moment.offset_seconds, UTC)
    text = f"{shown.year:04d}-{shown.month:02d}-{shown.day:02d}T{shown.hour:02d}:{shown.minute:02d}:{shown.second:02d}"
    return f"{text}{_fraction(fraction)}{_offset_text(moment.offset_seconds)}"


def _offset_text(offset_seconds: int) -> str:
    if not offset_seconds:
        return "Z"
    hours, minutes = divmod(abs(offset_seconds) // 60, 60)
    return f"{'-' if offset_seconds < 0 else '+'}{hours:02d}:{minutes:02d}"


def duration_text(span: Duration) -> str:
    """In seconds: `5400s`, `-1.5s`."""
    seconds, fraction = divmod(abs(span.nanoseconds), SECOND)
    return f"{'-' if span.nanoseconds < 0 else ''}{seconds}{_fraction(fraction)}s"


def from_datetime(moment: datetime) -> Timestamp:
    """The same moment, of an aware datetime."""
    return Timestamp(_since_epoch(moment) + moment.microsecond * 1000)


def in_zone(moment: Timestamp, zone: str | None) -> datetime:
    """The moment on the clocks of a zone: a name of the IANA database, `+05:30`, or UTC. Raises EvaluationError."""
    return _at(moment.nanoseconds // SECOND, UTC if zone is None else _zone(zone))


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    if name in ("", "UTC"):
        return UTC
    offset = _OFFSET.fullmatch(name)
    if offset is not None and len(name) <= 6 and int(offset[2]) < 24:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    # Asked first: what is not there would be looked for on the disk again each time.
    if name not in _zone_names():
        raise EvaluationError(f"unknown time zone {name}")
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _at(seconds: int, zone: tzinfo) -> datetime:
    try:
        return (_EPOCH + timedelta(seconds=seconds)).astimezone(zone)
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None


def _since_epoch(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * SECOND


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
