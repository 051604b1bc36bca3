"""cel-go's string functions, on characters, with its failures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.errors import CompileError
from keelback.cel.values import Value

Evaluate = Callable[..., Value]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'tacocat'.charAt(3)", "o"),
        ("'tacocat'.charAt(7)", ""),
        ("'©жT'.charAt(1)", "ж"),
        ("'tacocat'.indexOf('')", 0),
        ("'tacocat'.indexOf('ac')", 1),
        ("'tacocat'.indexOf('none')", -1),
        ("'tacocat'.indexOf('', 3)", 3),
        ("'tacocat'.indexOf('a', 3)", 5),
        ("'tacocat'.indexOf('a', 30)", -1),
        ("'ta©o©жT'.indexOf('©жT', 3)", 4),
        ("''.indexOf('a')", -1),
        ("'tacocat'.lastIndexOf('')", 7),
        ("'tacocat'.lastIndexOf('at')", 5),
        ("'tacocat'.lastIndexOf('', 3)", 3),
        ("'tacocat'.lastIndexOf('a', 3)", 1),
        ("'tacocat'.lastIndexOf('a', 30)", -1),
        ("'ta©o©жT'.lastIndexOf('©ж', 4)", 4),
        ("'bananananana'.lastIndexOf('nana', 8)", 8),
        ("'TacoCÆt Xii'.lowerAscii()", "tacocÆt xii"),
        ("'TacoCÆt Xii'.upperAscii()", "TACOCÆT XII"),
        ("'{0} days {0} hours'.replace('{0}', '2')", "2 days 2 hours"),
        ("'{0} days {0} hours'.replace('{0}', '2', 1)", "2 days {0} hours"),
        ("'hello hello'.replace('he', 'we', 0)", "hello hello"),
        ("'hello hello'.replace('he', 'we', -5)", "wello wello"),
        ("'ab'.replace('', '-')", "-a-b-"),
        ("'ab'.replace('', '-', 2)", "-a-b"),
        ("'hello world'.split(' ')", ["hello", "world"]),
        ("'hello world events!'.split(' ', 0)", []),
        ("'hello world events!'.split(' ', 1)", ["hello world events!"]),
        ("'hello world events!'.split(' ', 2)", ["hello", "world events!"]),
        ("'o©o©o©o'.split('©', -1)", ["o", "o", "o", "o"]),
        ("'abc'.split('')", ["a", "b", "c"]),
        ("'abc'.split('', 2)", ["a", "bc"]),
        ("''.split('')", []),
        ("''.split(',')", [""]),
        ("'tacocat'.substring(4)", "cat"),
        ("'tacocat'.substring(7)", ""),
        ("'tacocat'.substring(0, 4)", "taco"),
        ("'ta©o©жT'.substring(2, 6)", "©o©ж"),
        (r"' \f\n\r\t\vtext  '.trim()", "text"),
        (r"'\u0085\u00a0\u1680text\u2028\u3000'.trim()", "text"),
        (r"'\u180etext\u200b'.trim()", "\u180etext\u200b"),
        (r"'\u001ctext'.trim()", "\x1ctext"),
        ("['hello', 'mellow'].join()", "hellomellow"),
        ("['hello', 'mellow'].join(' ')", "hello mellow"),
        ("[].join('/')", ""),
        (r"strings.quote('single-quote with \"double quote\"')", '"single-quote with \\"double quote\\""'),
        (r"strings.quote('two escape sequences \a\n')", '"two escape sequences \\a\\n"'),
    ],
)
def test_texts_are_taken_apart_and_put_together(evaluate: Evaluate, expression: str, value: Value) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("'tacocat'.charAt(30)", "index out of range: 30"),
        ("'tacocat'.charAt(-1)", "index out of range: -1"),
        ("'tacocat'.indexOf('a', -1)", "index out of range: -1"),
        ("'tacocat'.lastIndexOf('a', -1)", "index out of range: -1"),
        ("'tacocat'.substring(40)", "index out of range: 40"),
        ("'tacocat'.substring(1, 50)", "index out of range: 50"),
        ("'tacocat'.substring(49, 50)", "index out of range: 49"),
        ("'tacocat'.substring(4, 3)", "invalid substring range. start: 4, end: 3"),
        ("dyn([dyn('a'), 1]).join()", "join: invalid input: 1"),
    ],
)
def test_what_lies_outside_a_text_fails(fail: Callable[[str], str], expression: str, message: str) -> None:
    assert fail(expression) == message


def test_version_two_has_no_reverse(evaluate: Evaluate) -> None:
    with pytest.raises(CompileError, match="found no matching overload for 'reverse' applied to 'string"):
        evaluate("'abc'.reverse()")
