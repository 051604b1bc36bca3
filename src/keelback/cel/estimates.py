"""How much something may be, from least to most, in the saturating arithmetic of uint64 that cel-go estimates with."""

from __future__ import annotations

import math
from typing import NamedTuple

MAXIMUM = (1 << 64) - 1


def _saturated(number: int) -> int:
    return min(number, MAXIMUM)


def _times(number: int, factor: float) -> int:
    # A factor that an expression gives may be below nothing; what it is for then fails.
    product = max(number * factor, 0.0)
    return MAXIMUM if product > MAXIMUM else min(math.ceil(product), MAXIMUM)


class Estimate(NamedTuple):
    """A size (elements, code points, bytes) or a cost (units of cel-go), between `least` and `most` inclusive."""

    least: int
    most: int

    def plus(self, other: Estimate) -> Estimate:
        """Both, one after the other."""
        return Estimate(_saturated(self.least + other.least), _saturated(self.most + other.most))

    def by(self, other: Estimate) -> Estimate:
        """One as often as the other."""
        return Estimate(_saturated(self.least * other.least), _saturated(self.most * other.most))

    def scaled(self, factor: float) -> Estimate:
        """A factor of the cost model (`0.1` for a character), each end rounded up."""
        return Estimate(_times(self.least, factor), _times(self.most, factor))

    def union(self, other: Estimate) -> Estimate:
        """Either of them."""
        return Estimate(min(self.least, other.least), max(self.most, other.most))


UNKNOWN = Estimate(0, MAXIMUM)
NOTHING = Estimate(0, 0)
ONE = Estimate(1, 1)


def exactly(number: int) -> Estimate:
    """Known to be this much."""
    return Estimate(number, number)
