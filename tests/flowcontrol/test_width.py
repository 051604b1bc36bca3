"""How wide requests are."""

from __future__ import annotations

from keelback.flowcontrol import width
from keelback.flowcontrol.retry_after import RetryAfter
from keelback.flowcontrol.width import Width


def test_a_list_takes_a_seat_for_each_100_kilobytes_up_to_what_is_streamed_at_once() -> None:
    assert width.of_list(0, 0, 0, is_single=False) == width.ONE
    assert width.of_list(10, 2_000, 0, is_single=False) == width.ONE
    assert width.of_list(100, 3_000, 0, is_single=False) == Width(3)
    assert width.of_list(100_000, 3_000, 0, is_single=False) == Width(10)
    assert width.of_list(100_000, 3_000, 50, is_single=False) == Width(2)
    assert width.of_list(100_000, 3_000, 0, is_single=False, most_seats=4) == Width(4)
    assert width.of_list(100_000, 3_000, 0, is_single=True) == width.ONE


def test_a_write_that_many_watch_takes_seats_after_its_answer() -> None:
    assert width.of_write(9) == width.ONE
    assert width.of_write(25) == Width(1, 3, 0.005)
    assert width.of_write(1_000) == Width(1, 10, 0.05)
    assert width.of_write(1_000, most_seats=2) == Width(1, 2, 0.25)


def test_the_more_are_turned_away_the_longer_they_stay_away() -> None:
    retry = RetryAfter()
    assert retry.turned_away(100.0) == 1
    for second in range(100, 110):
        for _ in range(50):
            retry.turned_away(float(second))
    assert retry.seconds == 8
    for second in range(110, 400, 2):
        retry.turned_away(float(second))
    assert retry.seconds < 4
