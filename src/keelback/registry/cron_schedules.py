"""What the schedule of a CronJob may say: five fields of numbers, ranges and steps, or one of the words with an @."""

from __future__ import annotations

from typing import Final

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: Final = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 6, _DAYS))
_WORDS: Final = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})


class ScheduleError(ValueError):
    """A text that is no schedule; the message is upstream's."""


def check(schedule: str) -> None:
    """Raise ScheduleError unless the text is a schedule."""
    if schedule.startswith("@"):
        if schedule not in _WORDS and not schedule.startswith("@every "):
            raise ScheduleError(f"unrecognized descriptor: {schedule}")
        return
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    for field, (low, high, words) in zip(fields, _FIELDS, strict=True):
        for expression in field.split(","):
            if expression:
                _check_range(expression, low, high, words)


def _check_range(expression: str, low: int, high: int, words: tuple[str, ...]) -> None:
    range_and_step = expression.split("/")
    ends = range_and_step[0].split("-")
    if ends[0] in ("*", "?"):
        first, last = low, high
    else:
        first = _number(ends[0], low, words)
        if len(ends) > 2:
            raise ScheduleError(f"too many hyphens: {expression}")
        last = _number(ends[1], low, words) if len(ends) == 2 else first
    if len(range_and_step) > 2:
        raise ScheduleError(f"too many slashes: {expression}")
    if len(range_and_step) == 2:
        step = _number(range_and_step[1], low, ())
        if len(ends) == 1:
            last = high
        if step == 0:
            raise ScheduleError(f"step of range should be a positive number: {expression}")
    if first < low:
        raise ScheduleError(f"beginning of range ({first}) below minimum ({low}): {expression}")
    if last > high:
        raise ScheduleError(f"end of range ({last}) above maximum ({high}): {expression}")
    if first > last:
        raise ScheduleError(f"beginning of range ({first}) beyond end of range ({last}): {expression}")


def _number(text: str, low: int, words: tuple[str, ...]) -> int:
    if text.lower() in words:
        return words.index(text.lower()) + low
    try:
        number = int(text)
    except ValueError:
        message = f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        raise ScheduleError(message) from None
    if number < 0:
        raise ScheduleError(f"negative number ({number}) not allowed: {text}")
    return number
