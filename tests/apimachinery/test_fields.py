from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import fields
from keelback.apimachinery.fields import FieldSelectorError, Requirement


def test_terms_are_anded_and_missing_fields_are_empty() -> None:
    selector = fields.parse("metadata.name=a,status.phase!=Running,spec.nodeName=")
    assert selector.matches({"metadata.name": "a", "status.phase": "Pending"})
    assert not selector.matches({"metadata.name": "a", "status.phase": "Running"})
    assert not selector.matches({"metadata.name": "a", "spec.nodeName": "n"})
    assert selector.exact("metadata.name") == "a"
    assert selector.exact("status.phase") is None


def test_an_empty_selector_matches_everything() -> None:
    assert not fields.parse("")
    assert fields.parse("").matches({})
    assert fields.parse("a==b").requirements == (Requirement("a", "b"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(FieldSelectorError) as caught:
        fields.parse(text)
    assert str(caught.value) == message


@given(st.text(alphabet="ab\\,=!x"), st.booleans())
def test_a_value_survives_escaping(value: str, equal: bool) -> None:
    requirement = Requirement("f", value, equal)
    assert fields.parse(str(requirement)).requirements == (requirement,)
