from __future__ import annotations

from keelback.apimachinery.go_text import go_printed, go_syntax


def test_go_prints_maps_sorted() -> None:
    assert go_printed({"b": [1, True, None], "a": {"x": "y"}}) == "map[a:map[x:y] b:[1 true <nil>]]"


def test_go_syntax_names_types() -> None:
    assert go_syntax({"a": ["x", None, False]}) == (
        'map[string]interface {}{"a":[]interface {}{"x", interface {}(nil), false}}'
    )
