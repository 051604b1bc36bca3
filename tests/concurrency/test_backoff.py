"""Back-off doubles, stops at its cap, and never overflows."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from keelback.concurrency.backoff import Backoff


@given(st.integers(1, 10_000), st.integers(0, 1000))
def test_delays_grow_within_bounds(failures: int, seed: int) -> None:
    backoff = Backoff(initial_seconds=0.5, cap_seconds=30.0, jitter=0.5)
    assert 0.5 <= backoff.delay(failures) <= 30.0
    assert backoff.delay(failures) <= backoff.delay(failures + 1)
    assert backoff.delay(failures) <= backoff.delay(failures, random.Random(seed)) <= 45.0


def test_it_doubles() -> None:
    assert [Backoff(1.0, 5.0).delay(failures) for failures in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 5.0]
