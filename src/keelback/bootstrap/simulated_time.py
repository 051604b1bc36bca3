"""The time of a cluster whose nodes are simulated: as fast as one wants it, and nodes that report as often as they can.

It is the machine's until a speed is asked for, and never goes back; it goes on while the cluster is stopped.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec

from keelback.concurrency.clock import Clock
from keelback.concurrency.paced_clock import PacedClock

_SPEED: Final = re.compile(r"(\d+(?:\.\d+)?)x?")
FASTEST: Final = 1000.0
_EXACT: Final = 10.0
_RENEWALS_A_SECOND: Final = 200.0
_LEASE_SECONDS: Final = 10.0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast the cluster's time goes, and what it showed at a moment of the machine's."""

    speed: float
    since: datetime
    shown: datetime


def parse_speed(text: str) -> float:
    """A speed such as "100x". Raises ValueError."""
    found = _SPEED.fullmatch(text.strip())
    speed = float(found[1]) if found else 0.0
    if not 0 < speed <= FASTEST:
        raise ValueError(f"speed {text!r}: a number such as 100x, above 0 and at most {FASTEST:g}")
    return speed


def clock_of(pace: Pace | None, machine: Clock) -> Clock:
    """The cluster's clock."""
    if pace is None:
        return machine
    return PacedClock(machine, pace.speed, since=pace.since, shown=pace.shown)


def paced(known: Pace | None, speed: float, now: datetime) -> Pace | None:
    """The pace from now on: what the clock shows stays, however the speed changes."""
    if known is not None and known.speed == speed:
        return known
    if known is None:
        return None if speed == 1.0 else Pace(speed=speed, since=now, shown=now)
    return Pace(speed=speed, since=now, shown=known.shown + (now - known.since) * known.speed)


def rarity(pace: Pace | None, nodes: int) -> float:
    """How many times more rarely nodes report than usual.

    A lease must be missed for seconds of the machine's time, which may be busy, before a node counts as lost; and
    renewing all of them is not to take more than a few percent of a CPU.
    """
    speed = 1.0 if pace is None else pace.speed
    if speed <= 1.0:
        return 1.0
    return max(1.0, speed / _EXACT, nodes * speed / _LEASE_SECONDS / _RENEWALS_A_SECOND)
