"""The simple JSON paths of CustomResourceDefinitions."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.registry import custom_resource_paths as paths

TREE = {
    "metadata": {"annotations": {"example.com/a": "x"}},
    "spec": {"size": 3, "tags": ["a", "b"], "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53}]},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".spec.size", 3),
        ("{.spec.size}", 3),
        ("spec.size", 3),
        (".spec.tags[1]", "b"),
        (".spec.tags[*]", "a"),
        (".spec.tags[-1]", "b"),
        (".spec['size']", 3),
        (r".metadata.annotations.example\.com/a", "x"),
        (".metadata.annotations['example.com/a']", "x"),
        ('.spec.ports[?(@.name=="dns")].port', 53),
        ("{.spec.ports[?(@.port > 60)].name}", "http"),
        (".spec.ports[?(@.port!=80)].name", "dns"),
        (".spec.ports[?(@.host)].name", paths.MISSING),
        (".spec.missing.deep", paths.MISSING),
        (".spec.size.deep", paths.MISSING),
        ("[", paths.MISSING),
    ],
)
def test_the_first_value_at_a_path(path: str, value: Any) -> None:
    assert paths.first(TREE, path) == value


def test_replacing_leaves_the_original_alone() -> None:
    made = paths.replaced(TREE, ".spec.size", 5)
    assert (made["spec"]["size"], TREE["spec"]["size"]) == (5, 3)
    assert paths.replaced({}, ".spec.size", 1) == {"spec": {"size": 1}}
