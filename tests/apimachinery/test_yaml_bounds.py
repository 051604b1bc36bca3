"""YAML made to hurt: deep, self-containing, blown up by aliases, with keys that JSON cannot have."""

from __future__ import annotations

import itertools

import pytest

from keelback.apimachinery import yaml


def _bomb(levels: int, width: int) -> str:
    names = "abcdefghijklm"
    rows = [f"a: &a [{', '.join('x' * width)}]"]
    for before, name in itertools.pairwise(names[: levels + 1]):
        rows.append(f"{name}: &{name} [{', '.join([f'*{before}'] * width)}]")
    return "\n".join(rows)


@pytest.mark.parametrize("text", ["[" * 201, "- " * 1_000_000, "{a: " * 50_000, "? " * 5000, "[" * 3_000_000])
def test_what_nests_too_deep_is_refused_before_it_is_composed(text: str) -> None:
    # Composing it is recursion in C: it would take the process down.
    with pytest.raises(yaml.YAMLError, match="exceeded max depth"):
        yaml.load(text)


def test_what_nests_as_deep_as_may_be_is_read() -> None:
    assert yaml.load("- " * 150 + "x")[0][0][0][0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (_bomb(9, 9), "yaml: document contains excessive aliasing"),
        ("a: &a {b: *a}", "yaml: anchor value contains itself"),
        ("? [a, b]\n: c", 'yaml: invalid map key: []interface {}{"a", "b"}'),
        ("{{a: b}: c}", 'yaml: invalid map key: map[interface {}]interface {}{"a":"b"}'),
    ],
)
def test_what_cannot_be_json_is_refused(text: str, problem: str) -> None:
    with pytest.raises(yaml.YAMLError) as refused:
        yaml.load(text)
    assert str(refused.value) == problem


def test_aliases_within_reason_are_followed() -> None:
    tree, _ = yaml.load(_bomb(2, 5))
    assert tree["c"][4][4] == ["x"] * 5


def test_json_in_the_place_of_yaml_means_the_same() -> None:
    assert yaml.load(rb'{"a": [1, 2.5, true, null, "\u00e9"]}') == ({"a": [1, 2.5, True, None, "é"]}, [])
    assert yaml.load('{"a": 1, "a": 2}') == ({"a": 2}, ['line 1: key "a" already set in map'])
    assert yaml.load("{a: yes}") == ({"a": True}, [])


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="cannot decode a scalar"):
        yaml.load("a: " + "9" * 5000)
