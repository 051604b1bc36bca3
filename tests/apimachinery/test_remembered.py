"""What is made of the same value is made once, and of an equal one anew."""

from __future__ import annotations

from keelback.apimachinery.remembered import remembered


def test_a_value_is_asked_about_once_as_long_as_it_is_among_the_last() -> None:
    asked: list[tuple[int, ...]] = []

    @remembered
    def size(value: tuple[int, ...]) -> int:
        asked.append(value)
        return len(value)

    values = [tuple(range(number, number + 3)) for number in range(64)]
    for value in (*values, *values):
        assert size(value) == 3
    assert asked == values
    equal = (*values[0],)
    assert size(equal) == 3
    assert asked[-1] is equal
    # It has taken the place of the first.
    assert size(values[0]) == 3
    assert asked[-1] is values[0]


def test_values_that_are_gone_leave_nothing_to_others_of_their_identity() -> None:
    @remembered
    def first(value: list[int]) -> int:
        return value[0]

    assert [first([number]) for number in range(1000)] == list(range(1000))
