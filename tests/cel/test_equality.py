"""Equality where Python's own differs: numbers of several types, and truth, which for Python is a number."""

from __future__ import annotations

import itertools
import math

import pytest

from keelback.cel.equality import contains, equal
from keelback.cel.values import UInt, Value

VALUES: list[Value] = [0, 1, True, False, 1.0, UInt(1), math.nan, "1", "", b"1", None, [1], [True], {1: 2}, {True: 2}]


@pytest.mark.parametrize("element", VALUES, ids=repr)
def test_a_list_contains_what_equals_one_of_its_elements(element: Value) -> None:
    for count in range(3):
        for elements in itertools.product(VALUES, repeat=count):
            assert contains(element, list(elements)) is any(equal(element, one) for one in elements), elements
