"""Calls cost what they cost upstream, when they are estimated and when they run (library/cost_test.go).

Constant lists and maps, and conversions of literals, are free when they run: upstream's tests leave out the
optimizations that an API server turns on, and charge for them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.estimates import MAXIMUM, Estimate
from keelback.cel.types import STRING

_INTS = "[1, 2, 3, 4, 5]"
_UINTS = "[uint(1), uint(2), uint(3), uint(4), uint(5)]"
_DURATIONS = "[duration('1s'), duration('2s'), duration('3s'), duration('4s'), duration('5s')]"
_TEXT = "'01234567890123456789012345678901234567890123456789'"


@pytest.mark.parametrize(
    ("expression", "estimate", "cost"),
    [
        (f"{_INTS}.sum()", (15, 15), 5),
        (f"{_UINTS}.sum()", (20, 20), 5),
        (f"{_DURATIONS}.sum()", (20, 20), 5),
        (f"{_INTS}.isSorted()", (15, 15), 5),
        (f"{_INTS}.max()", (15, 15), 5),
        (f"{_INTS}.indexOf(3)", (15, 15), 5),
        (f"{_UINTS}.lastIndexOf(uint(3))", (21, 21), 5),
        (f"{_TEXT}.indexOf('123')", (5, 5), 5),
        ("url('https:://kubernetes.io/').getHost()", (4, 4), 4),
        ("'ABCDEFGHIJ abcdefghij'.lowerAscii()", (3, 3), 3),
        ("'ABCDEFGHIJ abcdefghij'.lowerAscii() == 'abcdefghij ABCDEFGHIJ'.lowerAscii()", (7, 9), 9),
        ("strings.quote('ABCDEFGHIJ abcdefghij')", (3, 3), 3),
        (
            "strings.quote('ABCDEFGHIJ abcdefghij') == strings.quote('ABCDEFGHIJ abcdefghij')",
            (7, 11),
            9,
        ),
        ("'abc 123 def 123'.replace('123', '456')", (3, 3), 3),
        ("'abc 123 def 123'.replace('', 'x')", (3, 3), 3),
        ("'abc 123 def 123'.split(' ')", (3, 3), 3),
        ("'abc 123 def 123'.split(' ', 1)", (3, 3), 3),
        ("'abc 123 def 123'.substring(5, 8)", (2, 2), 2),
        ("'  abc 123 def 123  '.trim()", (2, 2), 2),
        ("'abc 123 def 123'.find('123')", (2, 2), 2),
        ("'abc 123 def 123'.findAll('123', 1)", (2, 2), 2),
        ("jsonpatch.escapeKey('abc/def~ abc/def~')", (2, 2), 2),
        ("{'a': 1, 'b': 2}.all(k, v, v > 0)", (37, 41), 11),
        ("{'a': 1, 'b': 2}.exists(k, v, v > 0)", (39, 43), 10),
        ("{'a': 1, 'b': 2}.existsOne(k, v, v > 0)", (38, 40), 10),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v + 1)", (71, 71), 11),
        ("{'a': 1, 'b': 2}.transformMapEntry(k, v, {k: v + 1})", (131, 131), 71),
        ("[1, 2].transformList(i, v, v + 1)", (49, 49), 29),
    ],
)
def test_calls_cost_what_they_cost_upstream(
    costs_of: Callable[..., tuple[Estimate, int]], expression: str, estimate: tuple[int, int], cost: int
) -> None:
    assert costs_of(expression) == (Estimate(*estimate), cost)


def test_lists_of_texts_cost_what_the_texts_may_cost(costs_of: Callable[..., tuple[Estimate, int]]) -> None:
    expression = "['aa', 'bb', 'cc', 'd', 'e', 'f', 'g', 'h', 'i', 'j'].join(' ')"
    estimate, cost = costs_of(expression)
    assert estimate.least == 11
    assert estimate.most > MAXIMUM // 10
    assert cost == 5


@pytest.mark.parametrize(
    ("old", "new", "size"),
    [
        # Replacing "" surrounds each of the three characters.
        ("''", "'_'", (7, 7)),
        ("'a'", "''", (0, 3)),
        ("'ab'", "'abcd'", (3, 8)),
    ],
)
def test_a_replacement_is_taken_to_be_as_long_as_it_can_get(
    costs_of: Callable[..., tuple[Estimate, int]], old: str, new: str, size: tuple[int, int]
) -> None:
    # Reading the result costs a tenth of its characters: one there is, whatever it is replaced by.
    repeated = f"t.replace({old}, {new})" + " + ''" * 0
    sizes = {("t",): Estimate(3, 3)}
    one, _ = costs_of(repeated, {"t": "xyz"}, {"t": STRING}, sizes)
    both, _ = costs_of(f"{repeated}.matches('{'x' * 40}')", {"t": "xyz"}, {"t": STRING}, sizes)
    pattern = 10
    expected = Estimate(*size).plus(Estimate(1, 1)).scaled(0.1)
    assert both == one.plus(Estimate(expected.least * pattern, expected.most * pattern))
