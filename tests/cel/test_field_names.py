"""Properties have names that expressions can write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.cel.field_names import escaped, unescaped


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("replicas", "replicas"),
        ("foo-bar", "foo__dash__bar"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("a__b", "a__underscores__b"),
        ("a___b", "a__underscores___b"),
        ("namespace", "__namespace__"),
        ("in", "__in__"),
        ("-x", "__dash__x"),
        ("_x", "_x"),
        ("1st", None),
        ("", None),
        ("a b", None),
        ("é", None),
    ],
)
def test_what_an_identifier_cannot_hold_is_written_out(name: str, identifier: str | None) -> None:
    assert escaped(name) == identifier


@given(st.from_regex(r"[a-zA-Z][a-zA-Z0-9]*([_./-]{1,2}[a-zA-Z0-9]+){0,4}", fullmatch=True))
def test_an_identifier_leads_back_to_its_property(name: str) -> None:
    identifier = escaped(name)
    assert identifier is not None
    assert identifier.isidentifier() or identifier.strip("_").isalnum()
    assert unescaped(identifier) == name


@pytest.mark.parametrize("identifier", ["a__other__b", "x__namespace__"])
def test_what_no_property_is_written_as_stands_for_none(identifier: str) -> None:
    assert unescaped(identifier) is None
