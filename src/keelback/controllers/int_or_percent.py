"""Fields that are a number or a percentage of something: `maxSurge: 25%`."""

from __future__ import annotations

import math


def scaled(value: int | str, total: int, *, round_up: bool) -> int:
    """The number, or that percentage of `total`. Raises ValueError for text that is not a percentage."""
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"invalid value for IntOrString: invalid type: string is not a percentage: {value!r}")
    exact = int(value[:-1]) * total / 100
    return math.ceil(exact) if round_up else math.floor(exact)
