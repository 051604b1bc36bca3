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
    """Integrates the number of wanted seats over time."""

    __slots__ = ("_highest", "_integral", "_since", "_squares", "_start", "_value")

    def __init__(self, now: float) -> None:
        self._value = 0
        self._highest = 0
        self._integral = self._squares = 0.0
        self._start = self._since = now

    def set(self, value: int, now: float) -> None:
        """From now on this many are wanted."""
        elapsed = now - self._since
        if elapsed > 0.0:
            area = self._value * elapsed
            self._integral += area
            self._squares += self._value * area
            self._since = now
        self._value = value
        if value > self._highest:
            self._highest = value

    def reset(self, now: float) -> Demand:
        """What was wanted since the last reset."""
        self.set(self._value, now)
        elapsed = now - self._start
        average = self._integral / elapsed if elapsed > 0 else float(self._value)
        variance = max(0.0, self._squares / elapsed - average * average) if elapsed > 0 else 0.0
        demand = Demand(float(self._highest), average, sqrt(variance))
        self._begin(now)
        return demand

    def _begin(self, now: float) -> None:
        self._start = self._since = now
        self._integral = self._squares = 0.0
        self._highest = self._value


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
