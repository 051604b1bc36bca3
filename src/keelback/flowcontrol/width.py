"""How many seats a request takes, and for how long after it ends: lists by what they load, writes by who watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

SERVICE_SECONDS = 0.003
"""How long a request is taken to last before it has ended, as upstream."""
_LEAST = 1
_MOST_FOR_LISTS = 100
_MOST_FOR_WRITES = 10
_BYTES_PER_SEAT = 100_000
_STREAMED_BYTES = 1_000_000
"""What a list from the cache holds in memory at once at most, however long it is."""
_WATCHES_PER_SEAT = 10
_EVENT_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Width:
    """Seats while a request is carried out, and `final_seats` for `final_seconds` after its answer."""

    initial_seats: int = 1
    final_seats: int = 0
    final_seconds: float = 0.0
    most_seats: int = field(init=False, repr=False)
    """The larger of both: what has to be free for the request to begin."""
    work: float = field(init=False, repr=False)
    """What the request is taken to need, in seat-seconds."""

    def __post_init__(self) -> None:
        # Asked for several times in each request; most share one width.
        object.__setattr__(self, "most_seats", max(self.initial_seats, self.final_seats))
        work = self.initial_seats * SERVICE_SECONDS + self.final_seats * self.final_seconds
        object.__setattr__(self, "work", work)


ONE = Width()


def of_list(stored: int, average_bytes: int, limit: int, *, is_single: bool, most_seats: int = 0) -> Width:
    """The width of a list from the watch cache (`SizeBasedListCostEstimate`). `limit` 0 is none."""
    listed = 1 if is_single else min(limit, stored) if limit else stored
    held = min(listed * average_bytes, _STREAMED_BYTES)
    return _of(ceil(held / _BYTES_PER_SEAT), min(most_seats or _MOST_FOR_LISTS, _MOST_FOR_LISTS))


def of_write(watchers: int, most_seats: int = 0) -> Width:
    """The width of a write that so many watchers are told of: telling them goes on after the answer."""
    if watchers < _WATCHES_PER_SEAT:
        return ONE
    seats = ceil(watchers / _WATCHES_PER_SEAT)
    bounded = min(seats, most_seats or _MOST_FOR_WRITES, _MOST_FOR_WRITES)
    return Width(1, bounded, seats * _EVENT_SECONDS / bounded)


def _of(seats: int, most_seats: int) -> Width:
    return ONE if seats <= _LEAST else Width(min(seats, max(_LEAST, most_seats)))
