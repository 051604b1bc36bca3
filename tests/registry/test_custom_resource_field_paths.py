"""Where paths lead, and what is said of those that lead nowhere."""

from __future__ import annotations

import re

import pytest

from keelback.registry.custom_resource_field_paths import resolve

SCHEMA = {
    "type": "object",
    "properties": {
        "f": {"type": "object", "properties": {"a.b": {"type": "string"}}},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}


def test_paths_lead_to_fields_and_to_values_of_maps() -> None:
    assert resolve(".f['a.b']", SCHEMA) == ("f.a.b", {"type": "string"})
    assert resolve(".m.k", SCHEMA) == ("m[k]", {"type": "integer"})


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("f", "expected [ or . but got: f"),
        (".f[0]", "expected single quoted string but got 0"),
        (".f['\\q']", "invalid string literal: invalid escape char \\q"),
        (".f['a.b'", "unexpected end of JSON path"),
        (".g", "does not refer to a valid field"),
        (".m.k.l", "does not refer to a valid field"),
        (".", "unexpected end of JSON path"),
    ],
)
def test_what_leads_nowhere(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        resolve(path, SCHEMA)


def test_lists_cannot_be_selected_by() -> None:
    with pytest.raises(ValueError, match="array notation is not allowed"):
        resolve(".f['a.b']", SCHEMA, takes_brackets=False)
