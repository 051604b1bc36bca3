"""What evaluations cost: cel-go's figures, with literals of constants free as Kubernetes has them (OptOptimize)."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.cel.environment import Budget, Environment
from keelback.cel.errors import CostLimitExceeded, EvaluationError
from keelback.cel.macros import BINDINGS
from keelback.cel.types import BOOL, BYTES, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, object_of
from keelback.cel.values import Timestamp

INTS = list_of(INT)
OBJECT = object_of("Object", {"single_int32": INT, "name": STRING, "inner": object_of("Inner", {"x": INT})})
LONG = "x" * 500

Case = tuple[str, dict[str, tuple[Type, Any]], int]
CASES: list[Case] = [
    ('"Hello World!"', {}, 0),
    ("input", {"input": (INTS, [1, 2])}, 1),
    ("input['key']", {"input": (map_of(STRING, STRING), {"key": "v"})}, 2),
    ("input[0]", {"input": (list_of(STRING), ["v"])}, 2),
    ("input.single_int32", {"input": (OBJECT, {"single_int32": 0})}, 2),
    ("input['ke' + 'y']", {"input": (map_of(STRING, STRING), {"key": "v"})}, 3),
    ("input[3 - 3]", {"input": (list_of(STRING), ["v"])}, 3),
    ("has(input.single_int32)", {"input": (OBJECT, {})}, 1),
    ("has(input.inner.x)", {"input": (OBJECT, {"inner": {"x": 0}})}, 2),
    ("input.getFullYear()", {"input": (TIMESTAMP, Timestamp(0))}, 2),
    ("[x, 2, 3]", {"x": (INT, 1)}, 11),
    ("[1, 2, 3]", {}, 0),
    ('{"a": x}', {"x": (INT, 1)}, 31),
    ("input.all(x, true)", {"input": (INTS, [])}, 2),
    ("input.all(x, true)", {"input": (INTS, [1, 2, 3])}, 11),
    ("input.matches('[0-9]')", {"input": (STRING, LONG)}, 103),
    ("'123'.matches('[0-9]')", {}, 2),
    ("true || false", {}, 0),
    ("a || b || c || d", dict.fromkeys("abcd", (BOOL, False)), 4),
    ("a || b || c || d", dict.fromkeys("abcd", (BOOL, True)), 1),
    ("a && b && c && d", dict.fromkeys("abcd", (BOOL, True)), 4),
    ("1 < 2", {}, 1),
    ("x == 2", {"x": (INT, 1)}, 2),
    ("2 in input", {"input": (INTS, [1, 2, 3])}, 4),
    ("x in [1, 2, 3]", {"x": (INT, 1)}, 1),
    ("true ? 1 : 2", {}, 0),
    ('size("123")', {}, 1),
    ("'12345678901234567890' == '123456789012345678901234567890'", {}, 2),
    ("string(input)", {"input": (BYTES, b"x" * 500)}, 51),
    ("bytes(input)", {"input": (STRING, LONG)}, 51),
    ("string(x)", {"x": (INT, 1)}, 2),
    ("string(1)", {}, 0),
    ("input.contains(arg1)", {"input": (STRING, LONG), "arg1": (STRING, LONG)}, 2502),
    ("input.startsWith(arg1)", {"input": (STRING, "idc"), "arg1": (STRING, LONG)}, 3),
    ("input.endsWith(arg1)", {"input": (STRING, "idc"), "arg1": (STRING, LONG)}, 3),
    ("input.size()", {"input": (STRING, "500")}, 2),
    (
        "(x > 2 ? input1 : input2).all(y, true)",
        {"x": (INT, 1), "input1": (INTS, [1]), "input2": (INTS, [1])},
        6,
    ),
    ("false ? false : 1 > 3", {}, 1),
    ("c ? o.inner.x : 0", {"c": (BOOL, True), "o": (OBJECT, {"inner": {"x": 1}})}, 3),
    (
        "input.all(k, input[k].single_int32 > 3)",
        {"input": (map_of(STRING, OBJECT), {"val": {"single_int32": 0}})},
        9,
    ),
    ("(list1 + list2).all(x, true)", {"list1": (INTS, []), "list2": (INTS, [])}, 4),
    ('"abcdefg".contains(str1 + str2)', {"str1": (STRING, "val1"), "str2": (STRING, "val2222222")}, 6),
    ("(1 > 2 ? 5 : 3) > 1", {}, 2),
    ("(1 > 2 || 2 > 1) == true", {}, 3),
    ("[{'k1': x}, {'k2': x}].all(y, true)", {"x": (INT, 1)}, 79),
    ("input.exists(x, x == 1)", {"input": (INTS, [1, 2])}, 1 + 4 + 2 + 3 + 1),
    ("input.exists_one(x, x == 1)", {"input": (INTS, [1, 2])}, 1 + (2 + 2) + 2 + 2),
    ("input.map(x, x)", {"input": (INTS, [1, 2])}, 1 + 2 * 13 + 1),
    ("input.map(x, 1)", {"input": (INTS, [1, 2])}, 1 + 2 * 2 + 1),
    ("input.filter(x, x == 1)", {"input": (INTS, [1, 2])}, 1 + (2 + 13) + 2 + 1),
    ("cel.bind(v, input, v == v)", {"input": (INTS, [1, 2])}, 1 + 2 + 1),
    ("cel.bind(v, input, true)", {"input": (INTS, [1, 2])}, 0),
    ("dyn(x) == 1", {"x": (INT, 1)}, 3),
    ("input == input", {"input": (DYN, "x" * 100)}, 12),
    # Joining lists copies them here: what is long has its price.
    ("(input + input).size()", {"input": (INTS, [1] * 400)}, 4),
    ("(input + input).size()", {"input": (INTS, [1] * 5000)}, 13),
    ("(input + input).size()", {"input": (DYN, [1] * 5000)}, 13),
]


@pytest.mark.parametrize(("text", "variables", "expected"), CASES, ids=[case[0] for case in CASES])
def test_an_evaluation_costs_what_cel_go_charges(
    text: str, variables: dict[str, tuple[Type, Any]], expected: int
) -> None:
    program = Environment({name: type for name, (type, _) in variables.items()}, [BINDINGS]).compile(text, expected=())
    budget = Budget()
    before = budget.remaining

    program.evaluate({name: value for name, (_, value) in variables.items()}, budget)

    assert before - budget.remaining == expected


def test_one_call_ends_at_its_limit() -> None:
    program = Environment({"a": STRING, "b": STRING}).compile("'abcdefg'.contains(a + b)")
    values = {"a": "val1", "b": "val2222222"}

    assert program.evaluate(values, Budget(per_call=6)) is False
    with pytest.raises(CostLimitExceeded, match=r"^operation cancelled: actual cost limit exceeded$"):
        program.evaluate(values, Budget(per_call=5))


def test_a_loop_ends_where_the_limit_is_and_nothing_absorbs_that() -> None:
    program = Environment({"l": list_of(INT)}).compile("l.all(x, l.all(y, l.all(z, true))) || true")

    with pytest.raises(CostLimitExceeded):
        program.evaluate({"l": list(range(300))}, Budget())


@pytest.mark.parametrize("loop", ["l.map(x, x).size() > 0", "l.filter(x, true).size() > 0", "l.exists_one(x, true)",
                                  "l.exists(x, false)", "l.transformMap(i, x, x).size() > 0"])  # fmt: skip
def test_every_loop_ends_at_the_limit(loop: str) -> None:
    program = Environment({"l": list_of(INT)}).compile(loop)
    budget = Budget(per_call=50)

    with pytest.raises(CostLimitExceeded):
        program.evaluate({"l": list(range(1000))}, budget)
    assert Budget().remaining - budget.remaining < 80, "it ended soon after"


def test_a_failed_evaluation_is_paid_for() -> None:
    program = Environment({"l": list_of(INT)}).compile("l.all(x, 1 / x > 0)")
    budget = Budget(remaining=100)

    with pytest.raises(EvaluationError, match="division by zero"):
        program.evaluate({"l": [1, 0]}, budget)
    assert budget.remaining < 100


def test_a_value_that_is_not_of_its_type_is_an_error_like_others() -> None:
    environment = Environment({"n": INT, "o": OBJECT})

    with pytest.raises(EvaluationError, match=r"^no such overload$"):
        environment.compile("n < 1").evaluate({"n": "one"})
    assert environment.compile("n < 1 || true").evaluate({"n": "one"}) is True
    assert environment.compile("o.name.size() > 1 || true").evaluate({"o": {"name": None}}) is True
