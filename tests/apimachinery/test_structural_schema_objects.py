"""Objects within objects have what makes them ones."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import structural_schema_objects

EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize(
    ("value", "complaints"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"finalizers": ["mine"]}}, []),
        ({}, ["t.apiVersion: Required value", "t.kind: Required value"]),
        ({"apiVersion": "", "kind": ""}, ["t.apiVersion: Required value", "t.kind: Required value"]),
        (
            {"apiVersion": 1, "kind": "a_b"},
            [
                "t.apiVersion: Invalid value: 1: must be a string",
                't.kind: Invalid value: "a_b": may have mixed case, but should otherwise match: a DNS-1035 label must '
                "consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
                "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
                "'[a-z]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (
            {"apiVersion": "a/b/c", "kind": "A"},
            ['t.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c'],
        ),
    ],
)
def test_an_embedded_object(value: Any, complaints: list[str]) -> None:
    found = structural_schema_objects.problems({"t": value}, {"properties": {"t": EMBEDDED}})
    assert [f"{one.field}: {one.body}" for one in found] == complaints


def test_they_are_found_in_lists_and_maps() -> None:
    lists = {"properties": {"l": {"items": EMBEDDED}, "m": {"additionalProperties": EMBEDDED}}}
    found = structural_schema_objects.problems({"l": [{"kind": "A"}], "m": {"k": {"kind": "A"}}}, lists)
    assert [one.field for one in found] == ["l[0].apiVersion", "m[k].apiVersion"]
