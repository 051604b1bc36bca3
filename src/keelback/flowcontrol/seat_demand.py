"""How many seats a priority level has wanted of late: the highest, and a smoothed envelope of average and deviation."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

_SMOOTHING = 0.977
"""As upstream: what is left of an old peak after each period; half of it after five minutes."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What was wanted over a period, in seats."""

    highest: float
    average: float
    deviation: float


class DemandMeter:
    """Adds up how many seats were wanted, and for how long. Its owner adds to it, for each request twice."""

    __slots__ = ("_start", "highest", "integral", "squares")

    def __init__(self, now: float) -> None:
        self._start = now
        self.highest = 0
        self.integral = 0.0
        """Seats times seconds."""
        self.squares = 0.0
        """Squared seats times seconds."""

    def reset(self, wanted: int, now: float) -> Demand:
        """What was wanted since the last reset, where so much is wanted now."""
        elapsed = now - self._start
        average = self.integral / elapsed if elapsed > 0 else float(wanted)
        variance = max(0.0, self.squares / elapsed - average * average) if elapsed > 0 else 0.0
        demand = Demand(float(self.highest), average, sqrt(variance))
        self._start = now
        self.integral = self.squares = 0.0
        self.highest = wanted
        return demand


@dataclass(frozen=True, slots=True)
class DemandStatistics:
    """What is remembered of the demand: it rises at once with the envelope, and falls slowly."""

    latest: Demand = Demand(0.0, 0.0, 0.0)
    smoothed: float = 0.0

    def after(self, demand: Demand, periods: int = 1) -> DemandStatistics:
        """With one more period, or with several that were alike."""
        envelope = demand.average + demand.deviation
        kept = _SMOOTHING**periods
        faded = kept * self.smoothed + (1 - kept) * envelope
        return DemandStatistics(demand, max(envelope, faded))
