"""Static estimates: the figures are those of cel-go's estimator (with Kubernetes' free presence tests)."""

from __future__ import annotations

import pytest

from keelback.cel.environment import Environment
from keelback.cel.estimates import MAXIMUM, Estimate
from keelback.cel.macros import BINDINGS
from keelback.cel.types import BOOL, BYTES, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, object_of

ALL_TYPES = object_of("TestAllTypes", {"single_int32": INT, "name": STRING})
ALL_LIST = list_of(ALL_TYPES)
ALL_MAP = map_of(STRING, ALL_TYPES)
NESTED_LIST = list_of(ALL_LIST)
NESTED_MAP = map_of(STRING, ALL_MAP)

Case = tuple[str, dict[str, Type], dict[str, int], tuple[int, int]]
CASES: list[Case] = [
    ('"Hello World!"', {}, {}, (0, 0)),
    ("input", {"input": list_of(INT)}, {}, (1, 1)),
    ("input['key']", {"input": map_of(STRING, STRING)}, {}, (2, 2)),
    ("input.single_int32", {"input": ALL_TYPES}, {}, (2, 2)),
    ("has(input.single_int32)", {"input": ALL_TYPES}, {}, (1, 1)),
    ("input.getFullYear()", {"input": TIMESTAMP}, {}, (2, 2)),
    ("[1, 2, 3]", {}, {}, (10, 10)),
    ('{"a": 1, "b": 2, "c": 3}', {}, {}, (30, 30)),
    ("input.all(x, true)", {"input": ALL_LIST}, {"input": 100}, (2, 302)),
    ("input.all(x, x.all(y, true))", {"input": NESTED_LIST}, {"input": 50, "input.@items": 10}, (2, 1752)),
    ("[1, 2, 3].all(x, true)", {}, {}, (20, 20)),
    ("input.matches('[0-9]')", {"input": STRING}, {"input": 500}, (3, 103)),
    ("'123'.matches('[0-9]')", {}, {}, (2, 2)),
    ("true || false", {}, {}, (0, 0)),
    ("a && b", {"a": BOOL, "b": BOOL}, {}, (1, 2)),
    ("1 < 2", {}, {}, (1, 1)),
    ("1 == 2", {}, {}, (1, 1)),
    ("2 in [1, 2, 3]", {}, {}, (13, 13)),
    ("1 + 1", {}, {}, (1, 1)),
    ("true ? 1 : 2", {}, {}, (0, 0)),
    ('size("123")', {}, {}, (1, 1)),
    ("string(input)", {"input": BYTES}, {"input": 500}, (1, 51)),
    ("bytes(input)", {"input": STRING}, {"input": 500}, (1, 51)),
    ("string(1)", {}, {}, (1, 1)),
    ("input.contains(arg1)", {"input": STRING, "arg1": STRING}, {"input": 500, "arg1": 500}, (2, 2502)),
    (r"input.matches('\\d+a\\d+b')", {"input": STRING}, {"input": 500}, (3, 103)),
    ("input.startsWith(arg1)", {"input": STRING, "arg1": STRING}, {"arg1": 500}, (2, 52)),
    ("input.endsWith(arg1)", {"input": STRING, "arg1": STRING}, {"arg1": 500}, (2, 52)),
    ("input.size()", {"input": STRING}, {}, (2, 2)),
    (
        "(x > 2 ? input1 : input2).all(y, true)",
        {"x": INT, "input1": ALL_LIST, "input2": ALL_LIST},
        {"input1": 1, "input2": 1},
        (4, 7),
    ),
    ("input.all(k, input[k].single_int32 > 3)", {"input": ALL_MAP}, {"input": 10}, (2, 82)),
    ("input.all(k, input[k].all(x, true))", {"input": NESTED_MAP}, {"input": 5, "input.@values": 10}, (2, 187)),
    ("input.all(k, k.contains(k))", {"input": NESTED_MAP}, {"input": 5, "input.@keys": 10}, (2, 32)),
    (
        "input.all(k, input[k].all(k, true) && k.contains(k))",
        {"input": NESTED_MAP},
        {"input": 2, "input.@values": 2, "input.@keys": 5},
        (2, 34),
    ),
    (
        "(list1 + list2).all(x, true)",
        {"list1": list_of(INT), "list2": list_of(INT)},
        {"list1": 10, "list2": 10},
        (4, 64),
    ),
    ('"abcdefg".contains(str1 + str2)', {"str1": STRING, "str2": STRING}, {"str1": 10, "str2": 10}, (2, 6)),
    # What is not limited may be of any size.
    ("input.all(x, true)", {"input": ALL_LIST}, {}, (2, MAXIMUM)),
    ("a == b", {"a": STRING, "b": STRING}, {"a": 100, "b": 35}, (3, 6)),
    ("cel.bind(v, input, v.all(x, true))", {"input": ALL_LIST}, {"input": 10}, (13, 43)),
    ("dyn(input) == 'abc'", {"input": DYN}, {"input": 10}, (3, 3)),
    ("input.all(i, x, true)", {"input": ALL_LIST}, {"input": 100}, (2, 302)),
    ("input.all(x, x.name == 'ab')", {"input": ALL_LIST}, {"input": 3, "input.@items.name": 20}, (2, 20)),
    ("input.map(x, x.name)", {"input": ALL_LIST}, {"input": 10}, (12, 152)),
]


@pytest.mark.parametrize(("text", "variables", "sizes", "expected"), CASES, ids=[case[0] for case in CASES])
def test_the_estimate_is_cel_gos(
    text: str, variables: dict[str, Type], sizes: dict[str, int], expected: tuple[int, int]
) -> None:
    program = Environment(variables, [BINDINGS]).compile(text, expected=())
    known = {tuple(path.split(".")): Estimate(0, most) for path, most in sizes.items()}

    assert program.estimate_cost(known) == expected
    assert program.estimate_cost(known.get) == expected


def test_estimates_stop_at_the_largest_number() -> None:
    huge = Estimate(MAXIMUM, MAXIMUM)

    assert huge.plus(huge) == huge.by(huge) == huge.scaled(3.0) == huge
    assert Estimate(1, 71).scaled(0.1) == (1, 8)
    assert Estimate(1, 71).scaled(-2.0) == (0, 0)
