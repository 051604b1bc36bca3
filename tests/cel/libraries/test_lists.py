"""Kubernetes' functions of lists."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.errors import CompileError
from keelback.cel.values import Duration, Value

Evaluate = Callable[..., Value]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[1, 2, 3].isSorted()", True),
        ("['a', 'b', 'b', 'c'].isSorted()", True),
        ("[2.0, 1.0].isSorted()", False),
        ("[].isSorted()", True),
        ("[false, true].isSorted()", True),
        ("[duration('1m'), duration('59s')].isSorted()", False),
        ("[timestamp('2011-01-01T00:00:00Z'), timestamp('2012-01-01T00:00:00Z')].isSorted()", True),
        ("[1, 3].sum()", 4),
        ("[1.0, 3.0].sum()", 4.0),
        ("[1u, 3u].sum()", 4),
        ("[duration('1m'), duration('1s')].sum()", Duration(61 * 10**9)),
        ("[].sum()", 0),
        ("[1, 3].min()", 1),
        ("[1, 3].max()", 3),
        ("['b', 'a'].min()", "a"),
        ("[b'b', b'a'].max()", b"b"),
        ("([0] + []).min()", 0),
        ("[1, 2, 2, 3].indexOf(2)", 1),
        ("['a', 'b', 'b', 'c'].lastIndexOf('b')", 2),
        ("[1.0].indexOf(1.1)", -1),
        ("[].indexOf('string')", -1),
        ("[[1], [2]].indexOf([2])", 1),
        ("[dyn(true), 1].indexOf(1)", 1),
    ],
)
def test_lists_are_looked_through(evaluate: Evaluate, expression: str, value: Value) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("[].min()", "min called on empty list"),
        ("[].max()", "max called on empty list"),
        ("[9223372036854775807, 1].sum()", "integer overflow"),
        ("[18446744073709551615u, 1u].sum()", "unsigned integer overflow"),
    ],
)
def test_there_is_no_least_of_nothing_and_no_sum_beyond_the_range(
    fail: Callable[[str], str], expression: str, message: str
) -> None:
    assert fail(expression) == message


def test_texts_have_no_sum(evaluate: Evaluate) -> None:
    with pytest.raises(CompileError, match="found no matching overload for 'sum' applied to 'list\\(string\\)"):
        evaluate("['a', 'b'].sum()")
