"""What is wrong with an AuthenticationConfiguration is said in upstream's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.auth.authentication_configuration import read

ISSUER = {"url": "https://a.example.com", "audiences": ["x"]}
USERNAME = {"username": {"claim": "sub", "prefix": ""}}
KUBERNETES = "https://kubernetes.default.svc"


def text(*jwt: Any, **more: Any) -> str:
    tree = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": list(jwt), **more}
    return yaml.safe_dump(tree)


def entry(**more: Any) -> dict[str, Any]:
    return {"issuer": {**ISSUER, **more.pop("issuer", {})}, "claimMappings": USERNAME, **more}


def mapped(**more: Any) -> dict[str, Any]:
    return entry(claimMappings={**USERNAME, **more})


def problem(given: str) -> str:
    with pytest.raises(ConfigurationError) as raised:
        read(given, (KUBERNETES,))
    return str(raised.value)


def test_what_is_written_is_read() -> None:
    rule = {"claim": "hd", "requiredValue": "x"}
    extra = [{"key": "example.com/a", "valueExpression": "claims.a"}]
    made = read(
        text(
            entry(claimValidationRules=[rule], claimMappings={**USERNAME, "extra": extra}),
            anonymous={"enabled": True, "conditions": [{"path": "/livez"}]},
        ),
        (),
    )
    assert made.jwt[0].issuer.url == "https://a.example.com"
    assert made.jwt[0].claim_validation_rules[0].required_value == "x"
    assert made.jwt[0].claim_mappings.extra[0].value_expression == "claims.a"
    assert made.anonymous is not None
    assert [one.path for one in made.anonymous.conditions] == ["/livez"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "empty config data"),
        ("apiVersion: v1", "Object 'Kind' is missing"),
        (text(entry(more=1)), 'strict decoding error: unknown field "jwt[0].more"'),
        (
            text(entry(issuer={"discoveryUrl": "x"})),
            'strict decoding error: unknown field "jwt[0].issuer.discoveryUrl"',
        ),
        (text(entry(issuer={"url": ""})), "jwt[0].issuer.url: Required value"),
        (
            text(entry(issuer={"url": "http://a"})),
            'jwt[0].issuer.url: Invalid value: "http://a": URL scheme must be https',
        ),
        (
            text(entry(issuer={"url": "https://u:p@a"})),
            'jwt[0].issuer.url: Invalid value: "https://u:p@a": URL must not contain a username or password',
        ),
        (
            text(entry(issuer={"url": "https://a?q"})),
            'jwt[0].issuer.url: Invalid value: "https://a?q": URL must not contain a query',
        ),
        (
            text(entry(issuer={"url": "https://a#f"})),
            'jwt[0].issuer.url: Invalid value: "https://a#f": URL must not contain a fragment',
        ),
        (
            text(entry(issuer={"url": KUBERNETES})),
            f'jwt[0].issuer.url: Invalid value: "{KUBERNETES}": URL must not overlap with disallowed issuers: '
            f"[{KUBERNETES}]",
        ),
        (
            text(entry(issuer={"discoveryURL": "https://a.example.com/"})),
            'jwt[0].issuer.discoveryURL: Invalid value: "https://a.example.com/": discoveryURL must be different from '
            "URL",
        ),
        (
            text(entry(issuer={"certificateAuthority": "x"})),
            'jwt[0].issuer.certificateAuthority: Invalid value: "<omitted>": data does not contain any valid RSA or '
            "ECDSA certificates",
        ),
        (
            text(entry(issuer={"audiences": []})),
            "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
        ),
        (
            text(entry(issuer={"audiences": ["a", "b"]})),
            'jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple '
            "audiences",
        ),
        (
            text(entry(issuer={"audiences": ["a", "a"], "audienceMatchPolicy": "MatchAny"})),
            'jwt[0].issuer.audiences[1]: Duplicate value: "a"',
        ),
        (text(entry(), entry()), 'jwt[1].issuer.url: Duplicate value: "https://a.example.com"'),
        (
            text(entry(claimMappings={})),
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        ),
        (
            text(entry(claimMappings={"username": {"claim": "sub"}})),
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set "
            "to an empty string to disable prefixing",
        ),
        (
            text(entry(claimMappings={"username": {"claim": "sub", "expression": "claims.sub"}})),
            'jwt[0].claimMappings.username: Invalid value: "": claim and expression can\'t both be set',
        ),
        (
            text(entry(claimMappings={"username": {"expression": "claims.sub", "prefix": "a"}})),
            'jwt[0].claimMappings.username.prefix: Invalid value: "a": may not be specified when expression is set',
        ),
        (
            text(entry(claimMappings={"username": {"expression": "claims.email"}})),
            'jwt[0].claimMappings.username.expression: Invalid value: "claims.email": claims.email_verified must be '
            "used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or "
            "claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
        ),
        (
            text(mapped(groups={"expression": "claims."})),
            'jwt[0].claimMappings.groups.expression: Invalid value: "claims.": compilation failed: ERROR: <input>:1:8: '
            "Syntax error: no viable alternative at input '.'\n | claims.\n | .......^",
        ),
        (
            text(mapped(uid={"claim": "a", "expression": "claims.a"})),
            'jwt[0].claimMappings.uid: Invalid value: "": claim and expression can\'t both be set',
        ),
        (
            text(mapped(extra=[{"key": "a", "valueExpression": "claims.a"}])),
            'jwt[0].claimMappings.extra[0].key: Invalid value: "a": must be a domain-prefixed path (such as '
            '"acme.io/foo")',
        ),
        (
            text(mapped(extra=[{"key": "example.com/A", "valueExpression": "claims.a"}])),
            'jwt[0].claimMappings.extra[0].key: Invalid value: "example.com/A": must be lowercase',
        ),
        (
            text(mapped(extra=[{"key": "x.k8s.io/a", "valueExpression": "claims.a"}])),
            'jwt[0].claimMappings.extra[0].key: Invalid value: "x.k8s.io/a": k8s.io, kubernetes.io and their '
            "subdomains are reserved for Kubernetes use",
        ),
        (text(mapped(extra=[{"key": "a.b/c"}])), "jwt[0].claimMappings.extra[0].valueExpression: Required value"),
        (
            text(entry(claimValidationRules=[{}])),
            "jwt[0].claimValidationRules[0]: Required value: claim or expression is required",
        ),
        (
            text(entry(claimValidationRules=[{"claim": "a"}, {"claim": "a"}])),
            'jwt[0].claimValidationRules[1].claim: Duplicate value: "a"',
        ),
        (
            text(entry(claimValidationRules=[{"expression": "claims.a"}])),
            'jwt[0].claimValidationRules[0].expression: Invalid value: "claims.a": must evaluate to bool',
        ),
        (
            text(entry(claimValidationRules=[{"expression": "user.a == 1"}])),
            'jwt[0].claimValidationRules[0].expression: Invalid value: "user.a == 1": compilation failed: ERROR: '
            "<input>:1:1: undeclared reference to 'user' (in container '')\n | user.a == 1\n | ^",
        ),
        (
            text(entry(userValidationRules=[{"expression": ""}])),
            "jwt[0].userValidationRules[0].expression: Required value",
        ),
        (
            text(entry(userValidationRules=[{"expression": "user.groups.size() > 0"}] * 2)),
            'jwt[0].userValidationRules[1].expression: Duplicate value: "user.groups.size() > 0"',
        ),
        (text(*[entry()] * 65), "jwt: Too many: 65: must have at most 64 items"),
        (
            text(anonymous={"conditions": [{"path": "/a"}]}),
            'anonymous.conditions: Invalid value: [{"Path":"/a"}]: enabled should be set to true when conditions are '
            "defined",
        ),
        (
            text(entry(issuer={"url": "", "audiences": [""]})),
            "[jwt[0].issuer.url: Required value, jwt[0].issuer.audiences[0]: Required value]",
        ),
    ],
)
def test_what_is_wrong_is_said(given: str, said: str) -> None:
    assert problem(given) == said


def test_another_kind_is_refused() -> None:
    assert problem("apiVersion: v1\nkind: Pod").startswith('no kind "Pod" is registered for version "v1"')
    assert problem(text().replace("/v1", "/v2")).startswith('no kind "AuthenticationConfiguration" is registered for')


def test_an_address_counts_if_it_is_verified_anywhere() -> None:
    """https://kep.k8s.io/3331: in the mapping itself, in a rule, in an extra, also as an optional field."""
    email = {"username": {"expression": "claims.email"}}
    rule = {"expression": "claims.?email_verified.orValue(true) == true"}
    extra = [{"key": "a.b/c", "valueExpression": "string(claims.email_verified)"}]
    for given in (
        entry(claimMappings={"username": {"expression": "claims.email_verified == true ? claims.email : ''"}}),
        entry(claimMappings=email, claimValidationRules=[rule]),
        entry(claimMappings={**email, "extra": extra}),
    ):
        assert read(text(given), ()).jwt


def test_the_versions_before_it_are_read_too(tmp_path: Path) -> None:
    for version in ("v1beta1", "v1alpha1"):
        assert read(text(entry()).replace("k8s.io/v1", f"k8s.io/{version}"), ()).jwt
