"""cel-go's functions of lists, in Kubernetes since 1.34, and what they cost."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from keelback.cel.estimates import MAXIMUM, Estimate
from keelback.cel.types import DYN, INT, STRING, list_of, map_of
from keelback.cel.values import Value

Evaluate = Callable[..., Value]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("lists.range(4)", [0, 1, 2, 3]),
        ("lists.range(0)", []),
        ("[5, 1, 2, 3].reverse()", [3, 2, 1, 5]),
        ("[].reverse()", []),
        ("[1, 2, 3, 4].slice(0, 4)", [1, 2, 3, 4]),
        ("[1, 2, 3, 4].slice(1, 3)", [2, 3]),
        ("[1, 2, 3, 4].slice(2, 2)", []),
        ("dyn([dyn(1), [dyn(2), [3, 4]]]).flatten()", [1, 2, [3, 4]]),
        ("[[1], [], [2, 3]].flatten()", [1, 2, 3]),
        ("[dyn(1), [dyn(2), [dyn(3), [4]]]].flatten(2)", [1, 2, 3, [4]]),
        ("[dyn(1), [2]].flatten(0)", [1, [2]]),
        ("[4, 3, 2, 1].sort()", [1, 2, 3, 4]),
        ("['d', 'a', 'b', 'c'].sort()", ["a", "b", "c", "d"]),
        ("[].sort()", []),
        ("[{'n': 'x', 's': 'b'}, {'n': 'y', 's': 'a'}].sortBy(e, e.s).map(e, e.n)", ["y", "x"]),
        ("lists.range(3).sortBy(e, -e)", [2, 1, 0]),
        ("[].sortBy(e, e)", []),
        ("[1, 2, 2, 3, 3].distinct()", [1, 2, 3]),
        ("['b', 'b', 'c', 'a', 'c'].distinct()", ["b", "c", "a"]),
        ("[dyn(1), 1.0, 2].distinct()", [1, 2]),
    ],
)
def test_lists_become_other_lists(evaluate: Evaluate, expression: str, value: Value) -> None:
    assert evaluate(expression, variables={"d": DYN}, values={"d": {}}) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("[1, 2, 3, 4].slice(-5, 2)", "cannot slice(-5, 2), negative indexes not supported"),
        ("[1, 2, 3, 4].slice(3, 0)", "cannot slice(3, 0), start index must be less than or equal to end index"),
        ("[1, 2, 3, 4].slice(0, 10)", "cannot slice(0, 10), list is length 4"),
        ("[[1]].flatten(-1)", "level must be non-negative"),
        ("lists.range(-1)", "lists.range: size must be non-negative, got -1"),
        ("lists.range(10000001)", "lists.range: size 10000001 exceeds maximum allowed (10000000)"),
        ("[dyn(1), 'b'].sort()", "list elements must have the same type"),
        ("dyn([[1], [2]]).sort()", "list elements must be comparable"),
    ],
)
def test_what_cannot_be_made_fails(fail: Callable[[str], str], expression: str, message: str) -> None:
    assert fail(expression) == message


@pytest.mark.parametrize(
    ("expression", "size", "value", "estimate", "cost"),
    [
        ("lists.range(4) == [0, 1, 2, 3]", 0, None, (26, 26), 26),
        ("lists.range(4 / 2) == [0, 1]", 0, None, (MAXIMUM, MAXIMUM), 25),
        ("[[1, 2], [3]].flatten(1) == [1, 2, 3]", 0, None, (54, 54), 54),
        ("[[1, 2], [3]].flatten(2) == [1, 2, 3]", 0, None, (56, 56), 56),
        ("[1, 2, 3].distinct() == [1, 2, 3]", 0, None, (50, 50), 50),
        ("[1, 1, 1].distinct() == [1]", 0, None, (50, 50), 50),
        ("[1, 2, 3].slice(1, 3) == [2, 3]", 0, None, (34, 34), 34),
        ("[3, 2, 1].reverse() == [1, 2, 3]", 0, None, (35, 35), 35),
        ("i.reverse() == [1, 2, 3]", 5, [3, 2, 1], (23, 28), 26),
        ("[2, 3, 1].sort() == [1, 2, 3]", 0, None, (50, 50), 50),
        ("i.sort() == [1, 2, 3]", 5, [3, 2, 1], (23, 73), 41),
        ("i.sort() == []", 10, [], (22, 222), 22),
        ("i.slice(1, 3) == [2, 3]", 10, [1, 2, 3, 4, 5, 6, 7], (25, 25), 25),
        (
            's.sort() == ["a", "a", "b", "b", "c", "c"]',
            10,
            ["b", "a", "b", "a", "c", "c"],
            (23, 233),
            98,
        ),
        ("s.distinct() == ['hello']", 3, ["hello", "hello"], (23, 41), 31),
        ("[{'x': 4}, {'x': 3}].sortBy(m, m['x']) == [{'x': 3}, {'x': 4}]", 0, None, (211, 211), 211),
        (
            "m.sortBy(e, e['x']) == [{'x': 'a'}, {'x': 'b'}, {'x': 'c'}]",
            3,
            [{"x": "b"}, {"x": "c"}, {"x": "a"}],
            (136, 197),
            196,
        ),
    ],
)
def test_costs_follow_the_sizes(
    costs_of: Callable[..., tuple[Estimate, int]],
    expression: str,
    size: int,
    value: Any,
    estimate: tuple[int, int],
    cost: int,
) -> None:
    name = expression[0]
    variables = {"i": list_of(INT), "s": list_of(STRING), "m": list_of(map_of(STRING, STRING))}
    # Constant lists and maps are free when they run, but not in the estimate; `sortBy` makes two empty lists itself.
    free = 10 * len(re.findall(r"(?<![a-z])\[", expression)) + 30 * expression.count("{")
    free += 20 if "sortBy" in expression else 0
    found = costs_of(expression, {name: value}, variables, {(name,): Estimate(0, size)})
    assert found == (Estimate(*estimate), cost - free)
