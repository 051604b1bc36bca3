from __future__ import annotations

from typing import Any

import pytest

from keelback.auth.authentication import AuthenticationFailed
from keelback.auth.authentication_configuration import ClaimMappings, ExtraMapping, JWTAuthenticatorConfiguration
from keelback.auth.authentication_configuration import ClaimOrExpression as Claim
from keelback.auth.authentication_configuration import PrefixedClaimOrExpression as Prefixed
from keelback.auth.claim_mapping import ClaimMapping
from keelback.auth.users import UserInfo

SUBJECT = Prefixed(claim="sub", prefix="")


def mapped(claims: dict[str, Any], **mappings: Any) -> UserInfo:
    given = {"username": SUBJECT, **mappings}
    return ClaimMapping(JWTAuthenticatorConfiguration(claim_mappings=ClaimMappings(**given))).user(claims)


def refusal(claims: dict[str, Any], **mappings: Any) -> str:
    with pytest.raises(AuthenticationFailed) as failed:
        mapped(claims, **mappings)
    return str(failed.value)


def test_an_address_must_be_verified_if_it_says_anything_of_that() -> None:
    email = Prefixed(claim="email", prefix="")
    assert mapped({"email": "a@b"}, username=email).name == "a@b"
    assert mapped({"email": "a@b", "email_verified": True}, username=email).name == "a@b"
    assert refusal({"email": "a@b", "email_verified": False}, username=email) == "oidc: email not verified"
    said = refusal({"email": "a@b", "email_verified": "true"}, username=email)
    assert said == "oidc: parse 'email_verified' claim: json: cannot unmarshal string into Go value of type bool"


def test_groups_may_be_one_or_several_or_absent() -> None:
    groups = Prefixed(claim="role", prefix="g:")
    assert mapped({"sub": "a", "role": "x"}, groups=groups).groups == ("g:x",)
    assert mapped({"sub": "a", "role": ["x", "y"]}, groups=groups).groups == ("g:x", "g:y")
    assert mapped({"sub": "a"}, groups=groups).groups == ()
    said = refusal({"sub": "a", "role": 1}, groups=groups)
    assert said == 'oidc: parse groups claim "role": json: cannot unmarshal number into Go value of type string'


@pytest.mark.parametrize(
    ("expression", "groups"),
    [
        ("claims.one", ("x",)),
        ("claims.several", ("x", "y")),
        ("''", ()),
        ("null", ()),
        ("[]", ()),
        ("['', 'z']", ("z",)),
    ],
)
def test_expressions_give_one_or_several_or_nothing(expression: str, groups: tuple[str, ...]) -> None:
    claims = {"sub": "a", "one": "x", "several": ["x", "y"]}
    extra = (ExtraMapping(key="a.b/c", value_expression=expression),)
    user = mapped(claims, groups=Prefixed(expression=expression), extra=extra)
    assert user.groups == groups
    assert dict(user.extra) == ({"a.b/c": groups} if groups else {})


def test_what_is_of_another_type_is_refused() -> None:
    assert refusal({"sub": "a"}, groups=Prefixed(expression="[1, 2]")) == (
        "oidc: error evaluating group claim expression: expression must return a string or a list of strings"
    )
    assert refusal({"sub": "a"}, username=Prefixed(expression="1")) == (
        "oidc: error evaluating username claim expression: username claim expression must return a string"
    )
    assert refusal({"sub": "a"}, uid=Claim(claim="id")) == 'oidc: parse uid claim "id": claim not present'
    assert refusal({}) == 'oidc: parse username claims "sub": claim not present'
    assert mapped({"sub": "a", "id": "7"}, uid=Claim(expression="claims.id")).uid == "7"
