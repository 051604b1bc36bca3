from __future__ import annotations

import pytest

from keelback.apimachinery.go_text import go_printed, go_quoted, go_syntax


def test_go_prints_maps_sorted() -> None:
    assert go_printed({"b": [1, True, None], "a": {"x": "y"}}) == "map[a:map[x:y] b:[1 true <nil>]]"


def test_go_syntax_names_types() -> None:
    assert go_syntax({"a": ["x", None, False]}) == (
        'map[string]interface {}{"a":[]interface {}{"x", interface {}(nil), false}}'
    )


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("", '""'),
        ("plain é 😀", '"plain é 😀"'),
        ('{"a":"b\\c"}', '"{\\"a\\":\\"b\\\\c\\"}"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\x00\x1f\x7f", '"\\x00\\x1f\\x7f"'),
        ("\x85\u202e\U000e0001", '"\\u0085\\u202e\\U000e0001"'),
        ('"\\\n\u202e', '"\\"\\\\\\n\\u202e"'),
    ],
)
def test_a_text_is_quoted_as_go_does(text: str, quoted: str) -> None:
    assert go_quoted(text) == quoted
