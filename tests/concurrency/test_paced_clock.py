"""A paced clock goes by another one, evenly."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.concurrency.paced_clock import PacedClock
from keelback.concurrency.rounds import reports_left_out_until
from keelback.testing.clock import HandClock

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def test_it_shows_what_the_other_shows_until_it_is_set():
    hand = HandClock(NOON)
    clock = PacedClock(hand)
    hand.advance(60)
    assert (clock.now(), clock.monotonic()) == (hand.now(), hand.monotonic())


def test_a_fast_one_goes_on_from_when_it_was_begun():
    hand = HandClock(NOON)
    clock = PacedClock(hand, 100.0, since=NOON - timedelta(seconds=36), shown=NOON)
    assert clock.now() == NOON + timedelta(hours=1)
    hand.advance(36)
    assert clock.now() == NOON + timedelta(hours=2)
    assert clock.monotonic() == 3600.0


def test_its_sleeps_are_of_its_own_seconds():
    async def check():
        hand = HandClock(NOON)
        clock = PacedClock(hand, 10.0)
        sleeping = asyncio.create_task(clock.sleep(100))
        await hand.pass_time(9.9)
        assert not sleeping.done()
        await hand.pass_time(0.2)
        assert sleeping.done()

    asyncio.run(check())


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0.01, 100), st.floats(0, 1e5)), max_size=5))
def test_however_it_is_set_its_seconds_never_go_back(settings):
    hand = HandClock(NOON)
    clock = PacedClock(hand)
    before = clock.monotonic()
    for ahead, rate, passing in settings:
        clock.set(ahead, rate)
        assert clock.monotonic() >= before
        assert abs((clock.now() - hand.now()).total_seconds() - ahead) < 1e-3
        hand.advance(passing)
        assert clock.monotonic() >= before
        before = clock.monotonic()


def test_a_clock_that_would_stand_still_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        PacedClock(HandClock(NOON), 0.0)
    with pytest.raises(ValueError, match="above 0"):
        PacedClock(HandClock(NOON)).set(0, -1.0)


def test_until_when_reports_were_left_out_is_told_in_the_clocks_own_seconds() -> None:
    class Jumping(HandClock):
        until = 50.0

        def left_out_until(self) -> float:
            return self.until

    machine = Jumping()
    machine.advance(100)
    clock = PacedClock(machine)
    assert reports_left_out_until(clock) == 50
    clock.set(0, 2.0)
    assert reports_left_out_until(clock) == 50
    machine.advance(100)
    machine.until = 150.0
    assert reports_left_out_until(clock) == 200
    assert reports_left_out_until(PacedClock(HandClock())) == -math.inf
