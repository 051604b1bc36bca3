"""What expressions evaluate to, in the areas of the CEL specification's conformance suite; each line is a case."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from keelback.cel.environment import Environment
from keelback.cel.errors import CompileError, EvaluationError
from keelback.cel.macros import BINDINGS
from keelback.cel.types import BOOL, BYTES, DOUBLE, DYN, INT, STRING, UINT, list_of, map_of, object_of
from keelback.cel.values import NONE, Duration, OptionalValue, Timestamp, UInt

POINT = object_of("Point", {"x": INT, "y": INT, "label": STRING, "next": object_of("Next", {"x": INT})})
ENVIRONMENT = Environment(
    variables={
        "i": INT,
        "u": UINT,
        "f": DOUBLE,
        "s": STRING,
        "b": BYTES,
        "flag": BOOL,
        "numbers": list_of(INT),
        "labels": map_of(STRING, STRING),
        "point": POINT,
        "any": DYN,
        "unset": INT,
        "x.y": INT,
        "x": map_of(STRING, INT),
    },
    libraries=[BINDINGS],
)
VALUES: dict[str, Any] = {
    "i": 7,
    "u": UInt(7),
    "f": 2.5,
    "s": "abc",
    "b": b"\x00\xff",
    "flag": True,
    "numbers": [1, 2, 3],
    "labels": {"a": "1", "b": "2"},
    "point": {"x": 1, "y": 2},
    "any": {"list": [1, "two", None], "nested": {"k": 1.5}},
    "x.y": 5,
    "x": {"y": 6},
}

BASIC = {
    "0": 0,
    "-1": -1,
    "0x55": 0x55,
    "-0x55": -0x55,
    "9223372036854775807": 2**63 - 1,
    "-9223372036854775808": -(2**63),
    "18446744073709551615u": UInt(2**64 - 1),
    "0xffu": UInt(255),
    "-2.3e+1": -23.0,
    ".5": 0.5,
    "null": None,
    "true": True,
    "''": "",
    '"\\a\\b\\f\\n\\r\\t\\v\\"\\\'\\\\"': "\a\b\f\n\r\t\v\"'\\",
    "'\\303'": "Ã",
    "'\\x7e\\u2620\\U0001f431'": "~☠🐱",
    "b'ÿ'": "ÿ".encode(),
    "b'\\377\\xfe'": b"\xff\xfe",
    "r'\\d'": "\\d",
    "br'\\xff'": b"\\xff",
    "'''two\nlines'''": "two\nlines",
    '"""x"y"""': 'x"y',
    "[]": [],
    "{}": {},
    "[1, 2,]": [1, 2],
    "{'k': 1,}": {"k": 1},
    "i // a comment": 7,
}
COMPARISONS = {
    "1 == 1": True,
    "dyn(1) == 1.0": True,
    "dyn(1u) == 1": True,
    "dyn(9007199254740993) == 9007199254740992.0": False,
    "dyn(true) == 1": False,
    "dyn('1') == 1": False,
    "[1, 2] == [1, 2]": True,
    "dyn([1]) == [1.0]": True,
    "[0.0 / 0.0] == [0.0 / 0.0]": False,
    "[['a'], ['b']] == [['a'], ['b']]": True,
    "dyn(['1']) == [1]": False,
    "dyn([true]) == [1]": False,
    "{'a': 1} == {'a': 1}": True,
    "{'a': 1} != {'b': 1}": True,
    "null == null": True,
    "dyn(null) == 0": False,
    "0.0 / 0.0 == 0.0 / 0.0": False,
    "0.0 / 0.0 != 0.0 / 0.0": True,
    "1 < 1.5": True,
    "1u < 2": True,
    "1.0 >= 1u": True,
    "9223372036854775807 < 9223372036854775808.0": True,
    "'a' < 'b'": True,
    "'\\U0001f431' > '\\uffff'": True,
    "b'a' <= b'b'": True,
    "false < true": True,
    "duration('1s') < duration('1m')": True,
    "timestamp(1) > timestamp(0)": True,
    "0.0 / 0.0 < 1.0": False,
    "1 in [1, 2]": True,
    "'a' in labels": True,
    "any.nested == {'k': 1.5}": True,
    "dyn(1.0) in [1, 2]": True,
    "dyn(true) in [1, 2]": False,
    "dyn(1) in [true]": False,
    "dyn(1) in [dyn('a'), 1u]": True,
    "dyn(true) in [dyn('a'), 1u, true]": True,
    "dyn([]) in ['a']": False,
    "dyn({1: 'a'}) == dyn({true: 'a'})": False,
}
INTEGERS = {
    "7 + 2 * 3": 13,
    "7 / 2": 3,
    "-7 / 2": -3,
    "7 / -2": -3,
    "-7 % 3": -1,
    "7 % -3": 1,
    "7u / 2u": UInt(3),
    "7u % 4u": UInt(3),
    "i - 10": -3,
    "-i": -7,
    "--i": 7,
    "2 - -2": 4,
    "10 - 3 - 2": 5,
}
INTEGER_ERRORS = {
    "1 / 0": "division by zero",
    "1 % 0": "modulus by zero",
    "1u / 0u": "division by zero",
    "9223372036854775807 + 1": "integer overflow",
    "-9223372036854775808 - 1": "integer overflow",
    "-(-9223372036854775808)": "integer overflow",
    "9223372036854775807 * 2": "integer overflow",
    "-9223372036854775808 / -1": "integer overflow",
    "-9223372036854775808 % -1": "integer overflow",
    "0u - 1u": "unsigned integer overflow",
    "18446744073709551615u + 1u": "unsigned integer overflow",
    "18446744073709551615u * 2u": "unsigned integer overflow",
}
DOUBLES = {
    "4.25 + 15.75": 20.0,
    "1.0 / 0.0": math.inf,
    "-1.0 / 0.0": -math.inf,
    "f * 2.0": 5.0,
    "-f": -2.5,
    "1e308 * 10.0": math.inf,
}
CONVERSIONS = {
    "int(2.9)": 2,
    "int(-2.9)": -2,
    "int('-12')": -12,
    "int(7u)": 7,
    "int(timestamp('1970-01-01T00:01:40Z'))": 100,
    "uint(3.7)": UInt(3),
    "uint('12')": UInt(12),
    "double(3)": 3.0,
    "double('1.5e3')": 1500.0,
    "string(1.5)": "1.5",
    "string(1e21)": "1e+21",
    "string(1000000.0)": "1e+06",
    "string(123456.0)": "123456",
    "string(0.00001)": "1e-05",
    "string(-0.0)": "-0",
    "string(true)": "true",
    "string(b'abc')": "abc",
    "string(7u)": "7",
    "string(duration('1h1.5s'))": "3601.5s",
    "string(timestamp('2009-02-13T23:31:30.100Z'))": "2009-02-13T23:31:30.1Z",
    "bytes('ÿ')": "ÿ".encode(),
    "bool('t')": True,
    "bool('False')": False,
    "type(1) == int": True,
    "type(1u) == uint": True,
    "type([]) == list": True,
    "type({'a': 1}) == map": True,
    "type(null) == null_type": True,
    "type(type(1)) == type": True,
    "type(timestamp(0)) == google.protobuf.Timestamp": True,
    "type(dyn(1)) == type(2)": True,
    "dyn(1)": 1,
    "duration('1.5h') == duration('5400s')": True,
    "duration('-1ns')": Duration(-1),
}
CONVERSION_ERRORS = {
    "int(1e99)": "integer overflow",
    "uint(-1)": "unsigned integer overflow",
    "int('1.5')": "type conversion error from 'string' to 'int'",
    "bool('yes')": "type conversion error from 'string' to 'bool'",
    "string(b'\\xff')": "invalid UTF-8 in bytes, cannot convert to string",
    "double('one')": "type conversion error from 'string' to 'double'",
}
FIELDS = {
    "point.x": 1,
    "has(point.label)": False,
    "has(point.x)": True,
    "labels.a": "1",
    "labels['b']": "2",
    "has(labels.z)": False,
    "any.list[1]": "two",
    "any['nested'].k": 1.5,
    "numbers[dyn(1.0)]": 2,
    "dyn(numbers)[1u]": 2,
    "{1: 'a'}[dyn(1.0)]": "a",
    "dyn({1: 'a'})[1u]": "a",
}
FIELD_ERRORS = {
    "labels.z": "no such key: z",
    "labels['z']": "no such key: z",
    "point.label": "no such key: label",
    "numbers[3]": "index out of bounds: 3",
    "numbers[-1]": "index out of bounds: -1",
    "any.zzz": "no such key: zzz",
    "any.list.zzz": "unsupported index type 'string' in list",
    "dyn(numbers)['a']": "unsupported index type 'string' in list",
    "{1: 'a'}[2]": "no such key: 2",
    "dyn({1: 'a'})[true]": "no such key: true",
    "unset": "no such attribute(s): unset",
    "unset + 1": "no such attribute(s): unset",
    "dyn(1).field": "no such key: field",
    "has(dyn(1).field)": "no such key: field",
    "dyn(1)['a']": "no such key: a",
    "has(any.list.field)": "unsupported index type 'string' in list",
}
LISTS = {
    "[1] + [2, 3]": [1, 2, 3],
    "numbers + []": [1, 2, 3],
    "size([1, 2])": 2,
    "{'a': 1}.size()": 1,
    "numbers[0] + numbers[2]": 4,
    "[[1], [2, 3]][1][0]": 2,
    "4 in numbers": False,
    "dyn('a') in [1, 2]": False,
}
LOGIC = {
    "true && false": False,
    "false && 1 / 0 > 0": False,
    "1 / 0 > 0 && false": False,
    "true || 1 / 0 > 0": True,
    "1 / 0 > 0 || true": True,
    "!flag": False,
    "!!flag": True,
    "flag ? 1 : 1 / 0": 1,
    "false ? 1 / 0 : 2": 2,
    "false || false || true": True,
    "dyn(1) == 2 || true": True,
    "dyn('x') || true": True,
    "flag ? (flag ? 1 : 2) : 3": 1,
    "!flag ? 1 : flag ? 2 : 3": 2,
}
LOGIC_ERRORS = {
    "1 / 0 > 0 && true": "division by zero",
    "true && 1 / 0 > 0": "division by zero",
    "false || 1 / 0 > 0": "division by zero",
    "1 / 0 > 0 ? 1 : 2": "division by zero",
    "dyn('x') && true": "no such overload",
    "dyn('x') ? 1 : 2": "no such overload",
    "!dyn('x')": "no such overload",
    "dyn(1) + 'a'": "no such overload",
    "dyn(1) < 'a'": "no such overload",
}
MACROS = {
    "numbers.all(n, n > 0)": True,
    "numbers.all(n, n > 1)": False,
    "[].all(n, false)": True,
    "[1, 0].all(n, 1 / n > 5)": False,
    "[0, 1].all(n, 1 / n > 5)": False,
    "numbers.exists(n, n == 2)": True,
    "[].exists(n, true)": False,
    "[0, 1].exists(n, 1 / n == 1)": True,
    "numbers.exists_one(n, n > 2)": True,
    "numbers.existsOne(n, n > 1)": False,
    "numbers.map(n, n * n)": [1, 4, 9],
    "numbers.map(n, n > 1, n * n)": [4, 9],
    "numbers.filter(n, n != 2)": [1, 3],
    "labels.all(k, k in ['a', 'b'])": True,
    "labels.map(k, labels[k])": ["1", "2"],
    "labels.filter(k, k > 'a')": ["b"],
    "numbers.map(n, numbers.filter(m, m < n))": [[], [1], [1, 2]],
    "numbers.map(n, [n].map(n, n + 1))": [[2], [3], [4]],
    "has({'a': 1}.a)": True,
    "any.list.exists(e, e == 'two')": True,
    "cel.bind(t, i * 2, t + t)": 28,
    "cel.bind(t, 1 / 0, 5)": 5,
    "cel.bind(a, 1, cel.bind(b, a + 1, a + b))": 3,
    "numbers.all(n, cel.bind(d, n * 2, d > n))": True,
}
MACRO_ERRORS = {
    "[0].all(n, 1 / n > 0)": "division by zero",
    "[0].exists(n, 1 / n > 0)": "division by zero",
    "[0, 1].exists_one(n, 1 / n > 0)": "division by zero",
    "[0].map(n, 1 / n)": "division by zero",
    "dyn(1).all(n, true)": "no such overload",
    "any.list.all(e, e)": "no such overload",
}
MACROS2 = {
    "numbers.all(k, n, n == k + 1)": True,
    "labels.all(k, v, k != v)": True,
    "labels.exists(k, v, v == '2')": True,
    "labels.existsOne(k, v, v == '2')": True,
    "numbers.transformList(k, n, k * n)": [0, 2, 6],
    "numbers.transformList(k, n, k > 0, n)": [2, 3],
    "labels.transformList(k, v, k + v)": ["a1", "b2"],
    "labels.transformMap(k, v, v + k)": {"a": "1a", "b": "2b"},
    "labels.transformMap(k, v, k != 'a', v)": {"b": "2"},
    "numbers.transformMap(k, n, n)": {0: 1, 1: 2, 2: 3},
    "labels.transformMapEntry(k, v, {v: k})": {"1": "a", "2": "b"},
}
MACRO2_ERRORS = {"numbers.transformMapEntry(k, n, {'same': n})": "insert failed: key same already exists"}
NAMESPACE = {"x.y": 5, "has(x.z)": False}
OPTIONALS = {
    "optional.of(1).value()": 1,
    "optional.none().hasValue()": False,
    "optional.ofNonZeroValue('')": NONE,
    "optional.ofNonZeroValue(2)": OptionalValue(2),
    "labels.?a": OptionalValue("1"),
    "labels.?z": NONE,
    "labels.?z.orValue('none')": "none",
    "labels[?'a'].orValue('none')": "1",
    "numbers[?5].orValue(0)": 0,
    "any.?nested.k": OptionalValue(1.5),
    "any.?missing.k.deeper": NONE,
    "any.?nested.?k.value()": 1.5,
    "has(any.?nested.k)": True,
    "has(any.?missing.k)": False,
    "labels.?z.or(optional.of('2')).value()": "2",
    "labels.?a.or(optional.of(string(1 / 0))).value()": "1",
    "labels.?a.optMap(v, v + '!')": OptionalValue("1!"),
    "labels.?z.optMap(v, v + '!')": NONE,
    "labels.?a.optFlatMap(v, labels.?b)": OptionalValue("2"),
    "[?labels.?a, ?labels.?z]": ["1"],
    "{?'a': labels.?a, ?'z': labels.?z}": {"a": "1"},
    "optional.of([1, 2])[0]": OptionalValue(1),
    "[1, 2].first()": OptionalValue(1),
    "[].last()": NONE,
    "[optional.of(1), optional.none()].unwrapOpt()": [1],
    "optional.of(1) == optional.of(1)": True,
    "optional.none() == optional.none()": True,
    "optional.of(1) == optional.none()": False,
    "optional.of(null).hasValue()": True,
    "optional.ofNonZeroValue(null).hasValue()": False,
    "{true: dyn(0)}[?false].absent.hasValue()": False,
    "optional.of({'c': {}}).c.missing.or(optional.none()[0]).orValue('d')": "d",
    "optional.of({'c': {}}).c.missing.or(optional.of(['l'])[0]).orValue('d')": "l",
    "optional.of({'c': {'index': 'bye'}}).c['index'].orValue('d')": "bye",
    "has(optional.of({'c': {'e': 'x'}}).c) && !has(optional.of({'c': {'e': 'x'}}).c.missing)": True,
    "[?optional.ofNonZeroValue({'c': []}.?c.orValue(dyn({})))]": [],
    "{?'n': optional.ofNonZeroValue({?'m': {}.?c})}": {},
    "type(optional.none()) == optional_type": True,
    "optional.of(['foo'])[?0].value()": "foo",
    "{1: 1.0, 2: 2.0}[?dyn(2.0)].value()": 2.0,
}
OPTIONAL_ERRORS = {
    "labels.?z.value()": "optional.none() dereference",
    "{'k': dyn(null)}.?k.invalid.hasValue()": "no such key: invalid",
    "{true: dyn(0)}[?true].absent.hasValue()": "no such key: absent",
}
PARSE = {
    "1 + 2 * 3 - 4": 3,
    "(1 + 2) * 3": 9,
    "1 + 2 == 3 && !false": True,
    "true || false && false": True,
    "  \n\t1 // one\n + 1": 2,
    "[1, 2, 3][1]": 2,
    "-i + 1": -6,
    "{'a': {'b': 1}}.a.b": 1,
}
STRINGS = {
    "size('añ☠🐱')": 4,
    "b'ÿ'.size()": 2,
    "'abc'.startsWith('ab')": True,
    "s.endsWith('bc')": True,
    "s.contains('')": True,
    "'abc'.matches('^a.c$')": True,
    "'abc'.matches('b')": True,
    "matches('xyz', '[0-9]')": False,
    "'a' + 'b'": "ab",
    "b'a' + b'b'": b"ab",
}
STRING_ERRORS = {"'a'.matches('a' + '(')": "error parsing regexp: missing closing ): `a(`"}
TIMESTAMPS = {
    "timestamp('2009-02-13T23:31:30Z').getFullYear()": 2009,
    "timestamp('2009-02-13T23:31:30Z').getMonth()": 1,
    "timestamp('2009-02-13T23:31:30Z').getDayOfYear()": 43,
    "timestamp('2009-02-13T23:31:30Z').getDayOfMonth()": 12,
    "timestamp('2009-02-13T23:31:30Z').getDate()": 13,
    "timestamp('2009-02-13T23:31:30Z').getDayOfWeek()": 5,
    "timestamp('2009-02-13T23:31:30Z').getHours()": 23,
    "timestamp('2009-02-13T23:31:30Z').getMinutes()": 31,
    "timestamp('2009-02-13T23:31:30Z').getSeconds()": 30,
    "timestamp('2009-02-13T23:31:20.123456789Z').getMilliseconds()": 123,
    "timestamp('2009-02-13T23:31:30Z').getDate('Australia/Sydney')": 14,
    "timestamp('2009-02-13T23:31:30Z').getHours('02:00')": 1,
    "timestamp('2009-02-13T23:31:30Z').getHours('-02:30')": 21,
    "timestamp('2009-02-13T02:00:00Z').getHours('America/St_Johns')": 22,
    "timestamp('2009-02-13T23:31:30+01:00') == timestamp('2009-02-13T22:31:30Z')": True,
    "timestamp(0) + duration('1h')": Timestamp(3600 * 10**9),
    "duration('1h') + timestamp(0)": Timestamp(3600 * 10**9),
    "timestamp(10) - timestamp(4)": Duration(6 * 10**9),
    "timestamp(10) - duration('4s')": Timestamp(6 * 10**9),
    "duration('1m') - duration('1s')": Duration(59 * 10**9),
    "duration('10000s').getHours()": 2,
    "duration('-3730s').getMinutes()": -62,
    "duration('123.321456789s').getMilliseconds()": 123321,
    "duration('1h30m').getSeconds()": 5400,
}
TIMESTAMP_ERRORS = {
    "timestamp('9999-12-31T23:59:59Z') + duration('1s')": "timestamp overflow",
    "timestamp('0001-01-01T00:00:00Z') - duration('1s')": "timestamp overflow",
    "timestamp(0).getHours('Nowhere/Land')": "unknown time zone Nowhere/Land",
    "duration('2562047h') + duration('2562047h')": "duration overflow",
    "timestamp('0001-01-01T00:00:00Z') - timestamp('9999-12-31T23:59:59Z')": "duration overflow",
}

VALUE_AREAS: dict[str, Mapping[str, object]] = {
    "basic": BASIC,
    "comparisons": COMPARISONS,
    "integer_math": INTEGERS,
    "fp_math": DOUBLES,
    "conversions": CONVERSIONS,
    "fields": FIELDS,
    "lists": LISTS,
    "logic": LOGIC,
    "macros": MACROS,
    "macros2": MACROS2,
    "namespace": NAMESPACE,
    "optionals": OPTIONALS,
    "parse": PARSE,
    "string": STRINGS,
    "timestamps": TIMESTAMPS,
}
ERROR_AREAS = {
    "integer_math": INTEGER_ERRORS,
    "conversions": CONVERSION_ERRORS,
    "fields": FIELD_ERRORS,
    "logic": LOGIC_ERRORS,
    "macros": MACRO_ERRORS,
    "macros2": MACRO2_ERRORS,
    "optionals": OPTIONAL_ERRORS,
    "string": STRING_ERRORS,
    "timestamps": TIMESTAMP_ERRORS,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(text, value, id=f"{area}: {text}")
        for area, cases in VALUE_AREAS.items()
        for text, value in cases.items()
    ],
)
def test_an_expression_has_this_value(text: str, expected: object) -> None:
    value = ENVIRONMENT.compile(text, expected=()).evaluate(VALUES)

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(text, said, id=f"{area}: {text}")
        for area, cases in ERROR_AREAS.items()
        for text, said in cases.items()
    ],
)
def test_an_evaluation_fails_in_these_words(text: str, message: str) -> None:
    try:
        program = ENVIRONMENT.compile(text, expected=())
    except CompileError as error:
        # Conversions of literals are evaluated when the expression is compiled.
        assert str(error) == f"program instantiation failed: {message}"  # noqa: PT017
        return
    with pytest.raises(EvaluationError) as failed:
        program.evaluate(VALUES)
    assert failed.value.message == message


DEDUCED = {
    "[]": "list(dyn)",
    "[1]": "list(int)",
    "{}": "map(dyn, dyn)",
    "{'a': 1u}": "map(string, uint)",
    "[[]]": "list(list(dyn))",
    "[dyn(1), 2]": "list(dyn)",
    "[].map(x, 1)": "list(int)",
    "numbers.map(n, string(n))": "list(string)",
    "labels.transformMap(k, v, 1)": "map(string, int)",
    "flag ? 1 : 2": "int",
    "flag ? dyn(1) : 2": "dyn",
    "any.x.y[0]": "dyn",
    "point.next.x": "int",
    "point": "Point",
    "int": "type(int)",
    "type(1)": "type(int)",
    "type(type(1))": "type(type(int))",
    "optional.of(1)": "optional_type(int)",
    "optional.none()": "optional_type(dyn)",
    "labels.?a": "optional_type(string)",
    "point.?next.x": "optional_type(int)",
    "[?optional.of(1)]": "list(int)",
    "timestamp(0) - timestamp(0)": "duration",
    "null": "null",
    "any + 1": "int",
    "size(any)": "int",
    "cel.bind(v, [1], v[0])": "int",
    "[1] + any": "list(int)",
    "flag ? [] : numbers": "list(int)",
    "[[], [[]], [[[]]], [[[[]]]]]": "list(list(list(list(list(dyn)))))",
    "[[[[[]]]], [], [[[]]]]": "list(list(list(list(list(dyn)))))",
    "([] + numbers + [])[0]": "int",
    "[].map(x, x)[0].foo": "dyn",
    "numbers.map(x, x).map(y, y + 1)": "list(int)",
    "[optional.none(), optional.of(1)]": "list(optional_type(int))",
    "[optional.of(1), optional.of(dyn(1))]": "list(optional_type(dyn))",
    "flag ? optional.of(dyn(1)) : optional.of(1)": "optional_type(dyn)",
}


@pytest.mark.parametrize(("text", "deduced"), DEDUCED.items())
def test_an_expression_is_of_this_type(text: str, deduced: str) -> None:
    assert str(ENVIRONMENT.compile(text, expected=()).type) == deduced


def test_a_container_gives_names_their_namespace() -> None:
    environment = Environment(variables={"a.b.c": INT, "a.c": INT, "c": INT}, container="a.b")
    values = {"a.b.c": 1, "a.c": 2, "c": 3}

    assert environment.compile("c", expected=()).evaluate(values) == 1
    assert environment.compile(".c", expected=()).evaluate(values) == 3
    assert environment.compile(".a.c", expected=()).evaluate(values) == 2
    assert environment.extend(container="a").compile("c", expected=()).evaluate(values) == 2
