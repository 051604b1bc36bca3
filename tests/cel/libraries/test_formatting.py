"""`string.format` prints as cel-go does in the version Kubernetes enables: numbers as en-US writes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.errors import CompileError
from keelback.cel.values import Value

Evaluate = Callable[..., Value]


@pytest.mark.parametrize(
    ("template", "arguments", "text"),
    [
        ("no substitution", "", "no substitution"),
        ("%s%%", "'a'", "a%"),
        ("%s and %d", "dyn('str'), 42", "str and 42"),
        ("%d", "-64", "-64"),
        ("%d", "64u", "64"),
        ("%.3f", "1.2345", "1.234"),
        ("%f", "10000.1234", "10,000.123400"),
        ("%f", "2.71828", "2.718280"),
        ("%f", "'NaN'", "NaN"),
        ("%f", "'Infinity'", "∞"),
        ("%f", "-1.0 / 0.0", "-∞"),
        ("%.0f", "2.5", "2"),
        ("%e", "2.71828", "2.718280\u202f\u00d7\u202f10\u2070\u2070"),
        ("%.6e", "1052.032911275", "1.052033\u202f\u00d7\u202f10\u2070\u00b3"),
        ("%e", "-0.00012", "-1.200000\u202f\u00d7\u202f10\u207b\u2070\u2074"),
        ("%b", "5", "101"),
        ("%b", "-5", "-101"),
        ("%b", "true", "1"),
        ("%o", "11", "13"),
        ("%x is %X", "dyn(30), 6000u", "1e is 1770"),
        ("%x", "'Hello world!'", "48656c6c6f20776f726c6421"),
        ("%X", "b'byte string'", "6279746520737472696E67"),
        ("%s", "null", "null"),
        ("%s", "999999999999", "999999999999"),
        ("%s", "64.2", "64.2"),
        ("%s", "b'xyz'", "xyz"),
        ("%s", "type('test string')", "string"),
        ("%s", "timestamp('2023-02-03T23:31:20+00:00')", "2023-02-03T23:31:20Z"),
        ("%s", "duration('1h45m47s')", "6347s"),
        ("%s", "[dyn(1), 2.5, 'x', b'y', null, true]", '[1, 2.500000, "x", b"y", null, true]'),
        (
            "%s",
            "{'b': dyn([1]), 'a': duration('2h')}",
            '{"a":duration("7200s"), "b":[1]}',
        ),
        ("%s", "[timestamp('2023-11-12T05:00:00Z')]", '[timestamp("2023-11-12T05:00:00Z")]'),
        ("%s", "[1.0 / 0.0]", '["+Inf"]'),
        ("%s", "{1: true, 2: false}", "{1:true, 2:false}"),
    ],
)
def test_a_clause_prints_its_argument(evaluate: Evaluate, template: str, arguments: str, text: str) -> None:
    assert evaluate(f"'{template}'.format([{arguments}])") == text
    assert evaluate(f"dyn('{template}').format(dyn([{arguments}]))") == text


@pytest.mark.parametrize(
    ("template", "arguments", "message"),
    [
        ("%d", "'x'", "error during formatting: decimal clause can only be used on integers, was given string"),
        ("%f", "'x'", "error during formatting: fixed-point clause can only be used on doubles, was given string"),
        ("%e", "1", "error during formatting: scientific clause can only be used on doubles, was given int"),
        ("%b", "1.5", "error during formatting: only integers and bools can be formatted as binary, was given double"),
        ("%o", "true", "error during formatting: octal clause can only be used on integers, was given bool"),
        (
            "%x",
            "[1]",
            "error during formatting: only integers, byte buffers, and strings can be formatted as hex, was given list",
        ),
        ("%a", "1", 'could not parse formatting clause: unrecognized formatting clause "a"'),
        ("%s %s", "'x'", "index 1 out of range"),
        ("%", "1", "unexpected end of string"),
        (
            "%.1",
            "1.5",
            "could not parse formatting clause: error while parsing precision: "
            "could not find end of precision specifier",
        ),
        ("%s", "{1.5: 1}", "error during formatting: no formatting function for map key of type double"),
    ],
)
def test_what_does_not_fit_a_clause_fails(
    fail: Callable[[str], str], template: str, arguments: str, message: str
) -> None:
    assert fail(f"dyn('{template}').format(dyn([{arguments}]))") == message


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("'%d'.format(['x'])", "decimal clause can only be used on integers, was given string"),
        ("'%s %s'.format(['x'])", "index 1 out of range"),
        ("'%s'.format(['x', 'y'])", "too many arguments supplied to string.format (expected 1, got 2)"),
        ("'%q'.format(['x'])", 'unrecognized formatting clause "q"'),
    ],
)
def test_constant_templates_are_checked_when_they_are_compiled(
    evaluate: Evaluate, expression: str, message: str
) -> None:
    with pytest.raises(CompileError) as refusal:
        evaluate(expression)
    assert message in str(refusal.value)


def test_arguments_of_different_types_are_no_list_unless_one_is_dyn(evaluate: Evaluate) -> None:
    with pytest.raises(CompileError, match="expected type 'string' but found 'int'"):
        evaluate("'%s %d'.format(['a', 1])")
    assert evaluate("'%s %d'.format([dyn('a'), 1])") == "a 1"
