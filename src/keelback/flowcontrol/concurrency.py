"""How a server's seats are shared among its priority levels: nominally, and as they borrow from one another."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from keelback.api.flowcontrol_v1 import PriorityLevelConfiguration

_DEFAULT_SHARES = 30


@dataclass(frozen=True, slots=True)
class Limits:
    """A level's seats: `nominal` by its shares, never fewer than `least`, never more than `most` by borrowing."""

    nominal: int
    least: int
    most: int
    is_exempt: bool = False

    @property
    def initial(self) -> int:
        """Where a new level starts: half of what it would lend is lent."""
        return self.nominal - (self.nominal - self.least) // 2


def shares(level: PriorityLevelConfiguration) -> int:
    """The nominal concurrency shares of a level."""
    if level.spec.type == "Exempt":
        exempt = level.spec.exempt
        return 0 if exempt is None or exempt.nominal_concurrency_shares is None else exempt.nominal_concurrency_shares
    limited = level.spec.limited
    if limited is None or limited.nominal_concurrency_shares is None:
        return _DEFAULT_SHARES
    return limited.nominal_concurrency_shares


def limits(levels: Sequence[PriorityLevelConfiguration], server_seats: int) -> dict[str, Limits]:
    """The limits of each level, by name."""
    total = sum(map(shares, levels))
    found = {}
    for level in levels:
        nominal = ceil(server_seats * shares(level) / total) if total else 0
        is_exempt = level.spec.type == "Exempt"
        settings = level.spec.exempt if is_exempt else level.spec.limited
        lendable = 0 if settings is None or settings.lendable_percent is None else settings.lendable_percent
        least = nominal - _half_up(nominal * lendable / 100)
        limited = level.spec.limited
        borrowing = None if is_exempt or limited is None else limited.borrowing_limit_percent
        most = nominal + (server_seats if borrowing is None else _half_up(nominal * borrowing / 100))
        found[level.metadata.name] = Limits(nominal, least, most, is_exempt)
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a level wanted in the last period, and what it is remembered to want."""

    highest: float
    smoothed: float


def adjust(levels: Mapping[str, Limits], wanted: Mapping[str, Wanted]) -> tuple[dict[str, int], float]:
    """The seats of each level until the next adjustment, and the fraction of its demand that each can have.

    A level keeps what it used of its own; what is left goes to all in proportion to what they want (KEP-1040).
    """
    floors = {name: max(level.least, min(level.nominal, int(wanted[name].highest))) for name, level in levels.items()}
    total = sum(level.nominal for level in levels.values())
    left = total - sum(floors[name] for name, level in levels.items() if level.is_exempt)
    found = {name: floors[name] for name, level in levels.items() if level.is_exempt}
    limited = {name: level for name, level in levels.items() if not level.is_exempt}
    least = sum(level.least for level in limited.values())
    floor = sum(floors[name] for name in limited)
    if left <= least:
        return {**found, **{name: level.least for name, level in limited.items()}}, 0.0
    if left <= floor:
        part = (left - least) / (floor - least)
        return {
            **found,
            **{name: level.least + _half_up((floors[name] - level.least) * part) for name, level in limited.items()},
        }, 0.0
    items = [
        (float(floors[name]), float(level.most), max(float(floors[name]), wanted[name].smoothed))
        for name, level in limited.items()
    ]
    fraction = _fair_fraction(float(left), items)
    for name, (low, high, target) in zip(limited, items, strict=True):
        found[name] = _half_up(min(high, max(low, fraction * target)))
    return found, fraction


def _fair_fraction(total: float, items: Sequence[tuple[float, float, float]]) -> float:
    """The fraction of everybody's target that, kept within everybody's bounds, adds up to the total."""

    def allotted(fraction: float) -> float:
        return sum(min(high, max(low, fraction * target)) for low, high, target in items)

    targets = [one for one in items if one[2] > 0]
    if not targets:
        return 0.0
    # What is allotted grows in straight lines between the fractions at which somebody meets a bound.
    corners = sorted({0.0, *(bound / target for low, high, target in targets for bound in (low, high))})
    after = bisect.bisect_left(corners, total, key=allotted)
    if after == len(corners):
        return corners[-1]
    if after == 0:
        return 0.0
    low, high = corners[after - 1], corners[after]
    start, end = allotted(low), allotted(high)
    return low + (high - low) * (total - start) / (end - start)


def _half_up(value: float) -> int:
    return int(value + 0.5)
