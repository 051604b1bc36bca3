"""What regular expressions find in a text is what Go's find there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.values import Value

Evaluate = Callable[..., Value]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'abc 123'.find('[0-9]+')", "123"),
        ("'abc 123'.find('[0-9]*')", ""),
        ("'abc 123'.find('xyz')", ""),
        ("'123 abc 456'.findAll('[0-9]+')", ["123", "456"]),
        ("'123 abc 456'.findAll('[0-9]*')", ["123", "", "", "", "", "456"]),
        ("'123 abc 456'.findAll('[0-9]+', 1)", ["123"]),
        ("'123 abc 456'.findAll('[0-9]+', 0)", []),
        ("'123 abc 456'.findAll('[0-9]+', -1)", ["123", "456"]),
        ("'123 abc 456'.findAll('xyz')", []),
        ("'éaé'.findAll('é')", ["é", "é"]),
        ("'aaa'.findAll('^a')", ["a"]),
        ("'ab'.findAll('')", ["", "", ""]),
    ],
)
def test_matches_are_found_from_left_to_right(evaluate: Evaluate, expression: str, value: Value) -> None:
    assert evaluate(expression) == value


def test_a_wrong_pattern_fails(fail: Callable[[str], str]) -> None:
    assert fail("'a'.find(dyn('('))") == "Illegal regex: error parsing regexp: missing closing ): `(`"
