"""Lists as sets: what they contain, and what looking for it costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.estimates import Estimate


@pytest.mark.parametrize(
    ("expression", "value", "cost"),
    [
        ("sets.contains([], [])", True, 21),
        ("sets.contains([1], [])", True, 21),
        ("sets.contains([1], [1])", True, 22),
        ("sets.contains([1], [1, 1])", True, 23),
        ("sets.contains([1, 2, 3, 4], [2, 3])", True, 29),
        ("sets.contains([[1], [2, 3]], [[2, 3]])", True, 53),
        ("!sets.contains([1], [2])", True, 23),
        ("!sets.contains([1], [1, 2])", True, 24),
        ("sets.equivalent([], [])", True, 21),
        ("sets.equivalent([1], [1])", True, 23),
        ("sets.equivalent([1], [1, 1])", True, 25),
        ("sets.equivalent([1, 2, 3], [3, 2, 1])", True, 39),
        ("!sets.equivalent([2, 1], [1])", True, 26),
        ("sets.intersects([1], [1])", True, 22),
        ("sets.intersects([1], [1, 2])", True, 23),
        ("!sets.intersects([], [])", True, 22),
        ("!sets.intersects([1], [2])", True, 23),
    ],
)
def test_sets_are_compared_element_by_element(
    evaluate: Callable[..., object],
    costs_of: Callable[..., tuple[Estimate, int]],
    expression: str,
    value: bool,
    cost: int,
) -> None:
    assert evaluate(expression) is value
    # Constant lists are free when they run, but not in the estimate.
    assert costs_of(expression) == (Estimate(cost, cost), cost - 10 * expression.count("["))


def test_numbers_are_the_same_whatever_their_types(evaluate: Callable[..., object]) -> None:
    assert evaluate("sets.equivalent([dyn(1), 2.0, 3u], [dyn(1.0), 2u, 3])") is True
    assert evaluate("sets.contains([dyn(true)], [dyn(1)])") is False
