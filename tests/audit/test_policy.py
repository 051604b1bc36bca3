"""Which requests a policy names, and which policies cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keelback.audit.policy import Level, PolicyError, parse
from keelback.auth.attributes import Attributes
from keelback.auth.users import UserInfo

JANE = UserInfo("jane", groups=("dev", "system:authenticated"))
GET_POD = Attributes(JANE, "get", version="v1", resource="pods", namespace="default", name="a")
GET_LOG = Attributes(JANE, "get", version="v1", resource="pods", subresource="log", namespace="default", name="a")
LIST_NODES = Attributes(JANE, "list", version="v1", resource="nodes")
HEALTH = Attributes(JANE, "get", path="/healthz/ping", is_resource_request=False)


def text(*rules: dict[str, Any], **more: Any) -> str:
    return json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more})


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({}, {"pod", "log", "nodes", "health"}),
        ({"users": ["jane"]}, {"pod", "log", "nodes", "health"}),
        ({"users": ["joe"]}, set()),
        ({"userGroups": ["ops", "dev"]}, {"pod", "log", "nodes", "health"}),
        ({"userGroups": ["ops"]}, set()),
        ({"verbs": ["list"]}, {"nodes"}),
        ({"namespaces": ["default"]}, {"pod", "log"}),
        ({"namespaces": [""]}, {"nodes"}),
        ({"resources": [{"group": ""}]}, {"pod", "log", "nodes"}),
        ({"resources": [{"group": "apps"}]}, set()),
        ({"resources": [{"resources": ["pods"]}]}, {"pod"}),
        ({"resources": [{"resources": ["*"]}]}, {"pod", "log", "nodes"}),
        ({"resources": [{"resources": ["pods/log"]}]}, {"log"}),
        ({"resources": [{"resources": ["*/log"]}]}, {"log"}),
        ({"resources": [{"resources": ["pods/*"]}]}, {"pod", "log"}),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["a"]}]}, {"pod"}),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["b"]}]}, set()),
        ({"nonResourceURLs": ["*"]}, {"health"}),
        ({"nonResourceURLs": ["/healthz*"]}, {"health"}),
        ({"nonResourceURLs": ["/healthz"]}, set()),
    ],
)
def test_a_rule_names_what_all_its_conditions_hold_for(rule: dict[str, Any], named: set[str]) -> None:
    policy = parse(text({"level": "Metadata", **rule}))
    requests = {"pod": GET_POD, "log": GET_LOG, "nodes": LIST_NODES, "health": HEALTH}
    assert {name for name, one in requests.items() if policy.evaluate(one).level is Level.METADATA} == named


def test_the_first_rule_decides() -> None:
    policy = parse(text({"level": "None", "users": ["jane"]}, {"level": "Request"}))
    assert policy.evaluate(GET_POD).level is Level.NONE
    assert policy.evaluate(GET_POD, is_known=False).level is Level.REQUEST


def test_stages_of_the_policy_and_the_rule_are_omitted() -> None:
    rules = ({"level": "Metadata", "omitStages": ["Panic"]}, {"level": "None"})
    noted = parse(text(*rules, omitStages=["RequestReceived"])).evaluate(GET_POD)
    assert noted.omit_stages == {"Panic", "RequestReceived"}


@pytest.mark.parametrize(("of_rule", "omitted"), [(None, True), (False, False), (True, True)])
def test_a_rule_overrides_the_policy_about_managed_fields(of_rule: bool | None, omitted: bool) -> None:
    policy = parse(text({"level": "Request", "omitManagedFields": of_rule}, omitManagedFields=True))
    assert policy.evaluate(GET_POD).omit_managed_fields is omitted


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (text(), "loaded illegal policy with 0 rules"),
        ("[", "failed decoding"),
        ('{"apiVersion":"audit.k8s.io/v1beta1","kind":"Policy"}', "unknown group version field"),
        (text({"level": "Metadata", "user": ["jane"]}), "unknown field `user`"),
        (text({}), "rules[0].level: Required value"),
        (
            text({"level": "All"}),
            'rules[0].level: Unsupported value: "All": supported values: "None", "Metadata", "Request", '
            '"RequestResponse"',
        ),
        (text({"level": "None", "omitStages": ["Late"]}), "allowed stages are RequestReceived,ResponseStarted"),
        (text({"level": "None", "nonResourceURLs": ["x"]}), "must begin with a '/' character"),
        (text({"level": "None", "nonResourceURLs": ["/a*b"]}), "must be the final character of the rule"),
        (
            text({"level": "None", "nonResourceURLs": ["/a"], "namespaces": ["b"]}),
            "rules cannot apply to both regular resources and non-resource URLs",
        ),
        (text({"level": "None", "resources": [{"group": "apps/v1"}]}), "rules[0].resources.group: Invalid value"),
        (
            text({"level": "None", "resources": [{"resourceNames": ["a"]}]}),
            "using resourceNames requires at least one resource",
        ),
    ],
)
def test_a_policy_that_cannot_be_is_refused_in_words(given: str, problem: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse(given)
    assert problem in str(refused.value)
