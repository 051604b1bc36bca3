"""Indexes of a job's pods as text: numbers and ranges in rising order, such as `1,3-5,7`."""

from __future__ import annotations

from collections.abc import Iterable


class IndexesError(ValueError):
    """A text that is no such list; the message is upstream's."""


def parse(text: str, completions: int) -> set[int]:
    """The indexes below `completions`; what does not parse is left out, as the job controller does upstream."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            low, high = int(first), int(last or first)
        except ValueError:
            continue
        found.update(range(low, min(high, completions - 1) + 1))
    return found


def written(indexes: Iterable[int]) -> str:
    """The indexes in order; three neighbours and more become a range."""
    parts: list[str] = []
    run: list[int] = []
    for index in [*sorted(set(indexes)), None]:
        if run and (index is None or index != run[-1] + 1):
            parts.extend([f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run))
            run = []
        if index is not None:
            run.append(index)
    return ",".join(parts)


def count(text: str, completions: int) -> int:
    """How many indexes a list names, of a job with that many completions. Raises IndexesError."""
    total, last = 0, -1
    for interval in text.split(",") if text else ():
        first, end = _interval(interval, completions)
        if last >= first:
            raise IndexesError(f"non-increasing order, previous: {last}, current: {first}")
        total += end - first + 1
        last = end
    return total


def overlap(completed: str, failed: str, completions: int) -> int | None:
    """The first index that two lists share; intervals that cannot be read are passed over."""
    for low, high in _readable(completed, completions):
        for first, last in _readable(failed, completions):
            if low <= last and first <= high:
                return max(low, first)
    return None


def _readable(text: str, completions: int) -> list[tuple[int, int]]:
    found = []
    for interval in text.split(",") if text else ():
        try:
            found.append(_interval(interval, completions))
        except IndexesError:
            continue
    return found


def _interval(text: str, completions: int) -> tuple[int, int]:
    limits = text.split("-")
    if len(limits) > 2:
        raise IndexesError(
            f'the fragment "{text}" violates the requirement that an index interval can have at most two parts '
            "separated by '-'"
        )
    first = _number(limits[0], text)
    if first >= completions:
        raise IndexesError(f"too large index: {_quoted(limits[0])}")
    if len(limits) == 1:
        return first, first
    last = _number(limits[1], text)
    if last >= completions:
        raise IndexesError(f"too large index: {_quoted(limits[1])}")
    if first >= last:
        raise IndexesError(f"non-increasing order, previous: {first}, current: {last}")
    return first, last


def _number(text: str, interval: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise IndexesError(f"cannot convert string to integer for index: {_quoted(text)}")
    return int(text)


def _quoted(text: str) -> str:
    return f'"{text}"'
