"""A clock that goes by another one: ahead of it or behind, faster or slower."""

from __future__ import annotations

from datetime import datetime, timedelta

from keelback.concurrency.clock import Clock
from keelback.concurrency.rounds import reports_left_out_until


class PacedClock:
    """Shows `shown` when the other clock shows `since`, and goes `rate` times as fast; both are now, if not said.

    Its seconds are those of everything it is asked for: a sleep at rate 10 takes a tenth of the other clock's time.
    """

    def __init__(
        self, clock: Clock, rate: float = 1.0, *, since: datetime | None = None, shown: datetime | None = None
    ) -> None:
        """Raises ValueError for a rate that is not above 0."""
        self._clock = clock
        self._is_plain = rate == 1.0 and shown == since
        self._monotonic = self._monotonic_since = 0.0
        self._since = since or clock.now()
        self._shown = shown or self._since
        self._rate = _checked(rate)

    @property
    def rate(self) -> float:
        """How many times as fast as the other it goes."""
        return self._rate

    @property
    def is_plain(self) -> bool:
        """Whether it shows just what the other shows."""
        return self._is_plain

    def now(self) -> datetime:
        """The time that it shows."""
        if self._is_plain:
            return self._clock.now()
        return self._shown + (self._clock.now() - self._since) * self._rate

    def monotonic(self) -> float:
        """Its own seconds; they go on evenly when it is set."""
        if self._is_plain:
            return self._clock.monotonic()
        return self._monotonic + (self._clock.monotonic() - self._monotonic_since) * self._rate

    def left_out_until(self) -> float:
        """Until when reports were last left out, in its own seconds."""
        until = reports_left_out_until(self._clock)
        if self._is_plain:
            return until
        since = until - self._monotonic_since
        return self._monotonic + (since * self._rate if since > 0 else since)

    async def sleep(self, seconds: float) -> None:
        """Wait for that much of its time, at the rate that it has now."""
        await self._clock.sleep(seconds / self._rate)

    def set(self, ahead_seconds: float, rate: float = 1.0) -> None:
        """Be so far ahead of the other clock (behind, if negative), and go `rate` times as fast from there.

        Raises ValueError for a rate that is not above 0.
        """
        rate, self._monotonic = _checked(rate), self.monotonic()
        self._monotonic_since = self._clock.monotonic()
        self._since = self._clock.now()
        self._shown = self._since + timedelta(seconds=ahead_seconds)
        self._rate = rate
        self._is_plain = False


def _checked(rate: float) -> float:
    if not rate > 0:
        raise ValueError(f"a clock's rate is above 0, not {rate:g}")
    return rate
