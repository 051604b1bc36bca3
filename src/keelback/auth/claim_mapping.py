"""From a verified token's claims to a user, as an issuer's entry in an AuthenticationConfiguration says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from keelback.auth import claim_expressions
from keelback.auth.authentication import AuthenticationFailed
from keelback.auth.authentication_configuration import (
    JWTAuthenticatorConfiguration,
)
from keelback.auth.claim_expressions import CompiledExpression, ExpressionFailed
from keelback.auth.users import UserInfo
from keelback.cel.values import Value

Claims = Mapping[str, Any]

_NAMELESS: Final = "a user must have a name"
_GO_TYPES: Final = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


class ClaimMapping:
    """One issuer's. The configuration has been validated before."""

    def __init__(self, configuration: JWTAuthenticatorConfiguration) -> None:
        mappings = configuration.claim_mappings
        self._username = mappings.username
        self._groups = mappings.groups
        self._uid = mappings.uid
        self._name_expression = _optional(mappings.username.expression)
        self._groups_expression = _optional(mappings.groups.expression)
        self._uid_expression = _optional(mappings.uid.expression)
        self._extra = [(one.key, claim_expressions.of_claims(one.value_expression)) for one in mappings.extra]
        rules = configuration.claim_validation_rules
        self._required = [(one.claim, one.required_value) for one in rules if one.claim]
        self._rules = [
            (claim_expressions.of_claims(one.expression, must_be_bool=True), one.message)
            for one in rules
            if one.expression
        ]
        self._user_rules = [
            (claim_expressions.of_user(one.expression), one.message) for one in configuration.user_validation_rules
        ]

    def user(self, claims: Claims) -> UserInfo:
        """Whose token it is. Raises AuthenticationFailed, with upstream's words, where the claims are not as asked."""
        name = self._user_name(claims)
        groups = self._user_groups(claims)
        uid = self._user_uid(claims)
        user = UserInfo(name, uid, groups, self._user_extra(claims))
        self._check_claims(claims)
        tree = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra.items()},
        }
        _check(self._user_rules, tree, "oidc: error evaluating user info validation rule")
        return user

    def _user_name(self, claims: Claims) -> str:
        if self._name_expression is not None:
            return _text(self._name_expression, claims, "username")
        claim = self._username.claim
        try:
            name = _string(claims, claim)
        except ExpressionFailed as failure:
            raise AuthenticationFailed(f'oidc: parse username claims "{claim}": {failure}') from failure
        # Anybody may claim an address that nobody has verified.
        if claim == "email" and "email_verified" in claims:
            verified = claims["email_verified"]
            if not isinstance(verified, bool):
                raise AuthenticationFailed(f"oidc: parse 'email_verified' claim: {_mismatch(verified, 'bool')}")
            if not verified:
                raise AuthenticationFailed("oidc: email not verified")
        if not name:
            raise AuthenticationFailed(f'oidc: parse username claims "{claim}": {_NAMELESS}')
        return (self._username.prefix or "") + name

    def _user_groups(self, claims: Claims) -> tuple[str, ...]:
        claim = self._groups.claim
        if claim:
            if claim not in claims:
                return ()
            prefix = self._groups.prefix or ""
            return tuple(prefix + group for group in _groups_claim(claim, claims[claim]))
        if self._groups_expression is None:
            return ()
        return _texts(self._groups_expression, claims, "oidc: error evaluating group claim expression")

    def _user_uid(self, claims: Claims) -> str:
        claim = self._uid.claim
        if claim:
            try:
                return _string(claims, claim)
            except ExpressionFailed as failure:
                raise AuthenticationFailed(f'oidc: parse uid claim "{claim}": {failure}') from failure
        return "" if self._uid_expression is None else _text(self._uid_expression, claims, "uid")

    def _user_extra(self, claims: Claims) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for key, expression in self._extra:
            values = _texts(expression, claims, f"oidc: error evaluating extra claim expression: {expression.text}")
            if values:
                found[key] = values
        return found

    def _check_claims(self, claims: Claims) -> None:
        for claim, wanted in self._required:
            if claim not in claims:
                raise AuthenticationFailed(f"oidc: required claim {claim} not present in ID token")
            found = claims[claim]
            if not isinstance(found, str):
                raise AuthenticationFailed(f"oidc: parse claim {claim}: {_mismatch(found, 'string')}")
            if found != wanted:
                raise AuthenticationFailed(
                    f"oidc: required claim {claim} value does not match. Got = {found}, want = {wanted}"
                )
        _check(self._rules, claims, "oidc: error evaluating claim validation expression")


def _optional(text: str) -> CompiledExpression | None:
    return claim_expressions.of_claims(text) if text else None


def _check(rules: Sequence[tuple[CompiledExpression, str]], tree: Mapping[str, Any], where: str) -> None:
    for expression, message in rules:
        try:
            holds = expression.value(tree)
        except ExpressionFailed as failure:
            raise AuthenticationFailed(f"{where}: {failure}") from failure
        if holds is not True:
            raise AuthenticationFailed(f"{where}: validation expression '{expression.text}' failed: {message}")


def _text(expression: CompiledExpression, claims: Claims, what: str) -> str:
    where = f"oidc: error evaluating {what} claim expression"
    try:
        value = expression.value(claims)
    except ExpressionFailed as failure:
        raise AuthenticationFailed(f"{where}: {failure}") from failure
    if not isinstance(value, str):
        raise AuthenticationFailed(f"{where}: {what} claim expression must return a string")
    if not value and what == "username":
        raise AuthenticationFailed(f"{where}: {_NAMELESS}")
    return value


def _texts(expression: CompiledExpression, claims: Claims, where: str) -> tuple[str, ...]:
    try:
        value: Value = expression.value(claims)
    except ExpressionFailed as failure:
        raise AuthenticationFailed(f"{where}: {failure}") from failure
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and all(isinstance(one, str) for one in value):
        return tuple(one for one in value if one)
    raise AuthenticationFailed(f"{where}: expression must return a string or a list of strings")


def _string(claims: Claims, claim: str) -> str:
    if claim not in claims:
        raise ExpressionFailed("claim not present")
    value = claims[claim]
    if not isinstance(value, str):
        raise ExpressionFailed(_mismatch(value, "string"))
    return value


def _groups_claim(claim: str, value: Any) -> tuple[str, ...]:
    """Some issuers have one role, as a string, where others have a list."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise AuthenticationFailed(f'oidc: parse groups claim "{claim}": {_mismatch(value, "string")}')


def _mismatch(value: Any, wanted: str) -> str:
    return f"json: cannot unmarshal {_GO_TYPES.get(type(value), 'value')} into Go value of type {wanted}"
