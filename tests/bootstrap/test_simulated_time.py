"""How fast a cluster of simulated nodes lives, and that its time never jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.bootstrap.simulated_time import Pace, clock_of, paced, parse_speed, rarity
from keelback.testing.clock import HandClock

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def test_a_speed_is_a_number_with_or_without_its_x():
    assert parse_speed("100x") == parse_speed("100") == 100.0
    assert parse_speed("0.5x") == 0.5
    for text in ("", "x", "0x", "-1x", "fast", "100001x", "1e3"):
        with pytest.raises(ValueError, match="speed"):
            parse_speed(text)


def test_without_a_speed_the_time_is_the_machines():
    hand = HandClock(NOON)
    assert paced(None, 1.0, NOON) is None
    assert clock_of(None, hand) is hand
    assert rarity(None, 5000) == 1.0


def test_a_cluster_that_is_started_again_goes_on_from_its_own_time():
    hand = HandClock(NOON)
    pace = paced(None, 100.0, hand.now())
    hand.advance(36)
    assert paced(pace, 100.0, hand.now()) is pace
    assert clock_of(pace, hand).now() == NOON + timedelta(hours=1)


@given(st.lists(st.tuples(st.floats(0.01, 1000), st.floats(0, 1e5)), min_size=1, max_size=5))
def test_however_its_speed_changes_its_time_never_jumps(changes):
    hand = HandClock(NOON)
    pace: Pace | None = None
    for speed, passing in changes:
        before = clock_of(pace, hand).now()
        pace = paced(pace, speed, hand.now())
        assert abs(clock_of(pace, hand).now() - before) < timedelta(milliseconds=1)
        hand.advance(passing)


@given(st.floats(1, 1000), st.integers(1, 5000))
def test_nodes_report_as_often_as_a_machine_can_keep_up_with(speed, nodes):
    found = rarity(Pace(speed=speed, since=NOON, shown=NOON), nodes)
    assert found >= 1.0
    # Renewals in each of the machine's seconds, and how long it may be held up before a node counts as lost.
    assert nodes * speed / (10.0 * found) <= max(200.0, nodes / 10.0) * 1.001
    assert 50.0 * found / speed >= 4.999
