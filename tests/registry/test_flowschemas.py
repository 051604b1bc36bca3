"""What is wrong with FlowSchemas and PriorityLevelConfigurations, in upstream's words and order."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.api.flowcontrol_v1 import FlowSchema, PriorityLevelConfiguration
from keelback.apimachinery import codecs
from keelback.registry import bootstrap_flow_control
from keelback.registry.flowschemas import FlowSchemaStrategy
from keelback.registry.prioritylevelconfigurations import PriorityLevelConfigurationStrategy

USER = {"kind": "User", "user": {"name": "jane"}}
RULE = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}


def problems(rules: Any, name: str = "x", **spec: Any) -> list[str]:
    tree = {"priorityLevelConfiguration": {"name": "system"}, "rules": rules, **spec}
    strategy = FlowSchemaStrategy()
    schema = strategy.default(codecs.convert(FlowSchema, {"metadata": {"name": name}, "spec": tree}))
    return [f"{one.field}: {one.body}" for one in strategy.validate(schema)]


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ([{"subjects": [USER], "resourceRules": [RULE]}], []),
        (
            [{}],
            [
                "spec.rules[0].subjects: Required value: subjects must contain at least one value",
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ],
        ),
        (
            [{"subjects": [{**USER, "group": {"name": "g"}}, {"kind": "Robot"}], "resourceRules": [RULE]}],
            [
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                'spec.rules[0].subjects[1].kind: Unsupported value: "Robot": supported values: "Group", '
                '"ServiceAccount", "User"',
            ],
        ),
        (
            [{"subjects": [USER], "resourceRules": [{**RULE, "verbs": ["*", "get"], "namespaces": []}]}],
            [
                'spec.rules[0].resourceRules[0].verbs: Invalid value: ["*","get"]: if \'*\' is present, must not '
                "specify other verbs",
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped "
                "must supply at least one namespace",
            ],
        ),
        (
            [{"subjects": [USER], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["a", "/a*b"]}]}],
            [
                'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "a": must start with slash',
                'spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a*b": '
                "wildcard can only do suffix matching",
            ],
        ),
    ],
)
def test_rules(rules: Any, wanted: list[str]) -> None:
    assert problems(rules) == wanted


def test_what_else_schemas_may_not_say() -> None:
    rule = {**RULE, "verbs": ["head"], "namespaces": ["A"]}
    account = {"kind": "ServiceAccount", "serviceAccount": {"name": "", "namespace": "d"}}
    rules = [{"subjects": [account], "resourceRules": [rule]}]
    assert problems(rules, matchingPrecedence=10001, distinguisherMethod={"type": "x"}) == [
        "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000",
        'spec.distinguisherMethod.type: Unsupported value: {"Type":"x"}: supported values: "ByNamespace", "ByUser"',
        "spec.rules[0].subjects[0].serviceAccount.name: Required value",
        'spec.rules[0].resourceRules[0].verbs: Unsupported value: ["head"]: supported values: "create", "delete", '
        '"deletecollection", "get", "list", "patch", "proxy", "update", "watch"',
        "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"A\": each member of this list must be '*' or a "
        "DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
        "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation "
        "is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    ]


def test_a_hand_may_not_take_more_chance_than_there_is() -> None:
    response = {"type": "Queue", "queuing": {"queues": 1024, "handSize": 7, "queueLengthLimit": 1}}
    tree = {"metadata": {"name": "mine"}, "spec": {"type": "Limited", "limited": {"limitResponse": response}}}
    (found,) = PriorityLevelConfigurationStrategy().validate(codecs.convert(PriorityLevelConfiguration, tree))
    assert f"{found.field}: {found.body}" == (
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 7: required entropy bits of deckSize 1024 and "
        "handSize 7 should not be greater than 60"
    )


def test_the_first_place_is_taken() -> None:
    assert problems([], matchingPrecedence=1) == [
        "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"
    ]
    (changed,) = problems([{"subjects": [USER], "resourceRules": [RULE]}], name="catch-all")
    assert changed.startswith("spec: Invalid value: ")
    assert changed.endswith("spec of 'catch-all' must equal the fixed value")


def test_every_cluster_starts_with_valid_ones() -> None:
    for one in bootstrap_flow_control.plan((), ()).create:
        if isinstance(one, FlowSchema):
            assert list(FlowSchemaStrategy().validate(one)) == []
            assert FlowSchemaStrategy().default(one) == one
        else:
            assert list(PriorityLevelConfigurationStrategy().validate(one)) == []
            assert PriorityLevelConfigurationStrategy().default(one) == one


def test_only_the_exempt_level_is_exempt() -> None:
    tree = {"metadata": {"name": "mine"}, "spec": {"type": "Exempt"}}
    (found,) = PriorityLevelConfigurationStrategy().validate(codecs.convert(PriorityLevelConfiguration, tree))
    assert f"{found.field}: {found.body}" == (
        "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'"
    )
