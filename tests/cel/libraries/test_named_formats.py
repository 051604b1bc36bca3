"""The formats that the API knows by name, with the API's complaints."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.estimates import Estimate
from keelback.cel.libraries.named_formats import FORMATS

Evaluate = Callable[..., object]

GOOD = {
    "dns1123Label": "my-label",
    "dns1123Subdomain": "my.sub-domain",
    "dns1035Label": "a1",
    "qualifiedName": "example.com/name",
    "dns1123LabelPrefix": "my-label-",
    "dns1123SubdomainPrefix": "my.prefix-",
    "dns1035LabelPrefix": "my-",
    "labelValue": "a_b.c",
    "uri": "http://example.com",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "byte": "aGVsbG8=",
    "date": "2021-02-28",
    "datetime": "2021-01-01T00:00:00Z",
}
BAD = {
    "dns1123Label": "Not.A-Label",
    "dns1123Subdomain": "-x",
    "dns1035Label": "1a",
    "qualifiedName": "a/b/c",
    "dns1123LabelPrefix": "-x",
    "dns1123SubdomainPrefix": "_x",
    "dns1035LabelPrefix": "1-",
    "labelValue": "-a",
    "uri": "../relative-path",
    "uuid": "not-a-uuid",
    "byte": "aGVsbG8",
    "date": "2021-02-30",
    "datetime": "2021-01-01 00:00:00",
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_what_has_it_and_complains_of_the_rest(evaluate: Evaluate, name: str) -> None:
    assert evaluate(f"format.named('{name}').value().validate('{GOOD[name]}').hasValue()") is False
    assert evaluate(f"format.{name}().validate('{BAD[name]}').hasValue()") is True


@pytest.mark.parametrize(
    ("expression", "complaints"),
    [
        ("format.uuid().validate('x').value()", ["does not match the UUID format"]),
        ("format.byte().validate('x').value()", ["invalid base64"]),
        ("format.date().validate('x').value()", ["invalid date"]),
        ("format.datetime().validate('x').value()", ["invalid datetime"]),
        ("format.uri().validate('').value()", ['parse "": empty url']),
        (
            "format.dns1123Label().validate('A').value()",
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
                "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
    ],
)
def test_complaints_are_those_of_the_api(evaluate: Evaluate, expression: str, complaints: list[str]) -> None:
    assert evaluate(expression) == complaints


def test_formats_are_found_by_name_and_equal_by_it(evaluate: Evaluate) -> None:
    assert evaluate("format.named('unknown').hasValue()") is False
    assert evaluate("format.named('uuid').value() == format.uuid()") is True
    assert evaluate("format.named('uuid').value() == format.date()") is False


@pytest.mark.parametrize(
    ("expression", "estimate", "cost"),
    [
        ('format.named("dns1123subdomain")', (1, 1), 1),
        ('format.named("dns1123Subdomain").value().validate("my-name")', (34, 34), 17),
        ('format.named("dns1123Label").value().validate("my-name")', (34, 34), 10),
        ('format.named("dns1123Label").value() == format.named("dns1123Label").value()', (5, 11), 5),
    ],
)
def test_costs_are_those_of_a_pattern(
    costs_of: Callable[..., tuple[Estimate, int]], expression: str, estimate: tuple[int, int], cost: int
) -> None:
    assert costs_of(expression) == (Estimate(*estimate), cost)
