"""Properties have names that expressions can write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.cel.field_names import escaped


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


NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]*([_./-]{1,2}[a-zA-Z0-9]+){0,4}", fullmatch=True)


@given(NAMES, NAMES)
def test_two_properties_never_share_an_identifier(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) is (one == other)


@given(NAMES)
def test_an_identifier_is_one_to_the_language(name: str) -> None:
    identifier = escaped(name)
    assert identifier is not None
    assert identifier.isidentifier()
