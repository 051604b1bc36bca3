"""Exponential back-off with jitter from a given source of chance."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `initial_seconds` up to `cap_seconds`; each is spread by up to `jitter` of itself."""

    initial_seconds: float = 0.005
    cap_seconds: float = 1000.0
    factor: float = 2.0
    jitter: float = 0.0

    def delay(self, failures: int, chance: random.Random | None = None) -> float:
        """Seconds to wait after `failures` failures in a row (1 for the first)."""
        # The exponent is bounded so that a long outage cannot overflow a float.
        base = min(self.cap_seconds, self.initial_seconds * self.factor ** min(failures - 1, 64))
        return base * (1.0 + self.jitter * chance.random()) if chance is not None else base
