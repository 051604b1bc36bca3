"""What is wrong with objects of the smaller kinds, all of it, in upstream's words and order."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.registry.builtin import strategies

STRATEGIES = {one.kind.__kind__.resource: one for one in strategies()}
SCALERS = "horizontalpodautoscalers.autoscaling"
SERVICES = "apiservices.apiregistration.k8s.io"
REQUESTS = "certificatesigningrequests.certificates.k8s.io"
BUDGETS = "poddisruptionbudgets.policy"
NO_GROUP = 'spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group'
HERE = "spec.metrics[0]"
TYPES = 'supported values: "ContainerResource", "External", "Object", "Pods", "Resource"'


def made(resource: str, tree: dict[str, Any]) -> Any:
    strategy = STRATEGIES[resource]
    return strategy.default(
        codecs.convert(strategy.kind, {**tree, "metadata": {"name": "x", **tree.get("metadata", {})}})
    )


def told(problems: Any) -> list[str]:
    return [f"{one.field}: {one.body}" for one in problems]


def scaler(*metrics: dict[str, Any], **reference: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", **reference}
    return {"spec": {"maxReplicas": 2, "scaleTargetRef": target, "metrics": list(metrics)}}


def api_service(**spec: Any) -> dict[str, Any]:
    return {"spec": {"version": "v1", "group": "a.b", "groupPriorityMinimum": 1, "versionPriority": 1, **spec}}


VALUE = {"type": "Value", "value": "1"}
OBJECT = {
    "describedObject": {"kind": "", "name": "n", "apiVersion": "v1"},
    "metric": {"name": "a/b"},
    "target": {"type": "Value"},
}
RESOURCE = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}


@pytest.mark.parametrize(
    ("resource", "tree", "expected"),
    [
        (SCALERS, scaler(apiVersion="v1"), [NO_GROUP]),
        (SCALERS, scaler(apiVersion="v1", kind="ReplicationController"), []),
        (
            SCALERS,
            scaler(apiVersion="a/b/c"),
            ['spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c'],
        ),
        (
            SCALERS,
            scaler({"type": "Object", "object": OBJECT}),
            [
                f"{HERE}.object.describedObject.kind: Required value",
                f"{HERE}.object.metric.name: Invalid value: \"a/b\": may not contain '/'",
                f"{HERE}.object.target.averageValue: Required value: must set either a target value or averageValue",
            ],
        ),
        (
            SCALERS,
            scaler({"type": "Other", "resource": RESOURCE}),
            [f'{HERE}.type: Unsupported value: "Other": {TYPES}'] * 2,
        ),
        (
            SCALERS,
            scaler({"type": "Resource", "resource": RESOURCE, "external": {"metric": {"name": ""}, "target": VALUE}}),
            [
                f"{HERE}.external.metric.name: Required value: must specify a metric name",
                f"{HERE}.external: Forbidden: must populate the given metric source only",
            ],
        ),
        (
            SERVICES,
            api_service(version="1", group="A"),
            [
                'metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "1.A"',
                'spec.group: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case '
                "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
                "'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                'spec.version: Invalid value: "1": a DNS-1035 label must consist of lower case alphanumeric characters '
                "or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  "
                "or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (
            SERVICES,
            {**api_service(group="", version="v2", caBundle="YWJj"), "metadata": {"name": "v2."}},
            [
                "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
                'spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle',
            ],
        ),
        (
            "clusterroles.rbac.authorization.k8s.io",
            {"aggregationRule": {}},
            [
                "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if "
                "aggregationRule is non-nil"
            ],
        ),
        (
            "volumeattributesclasses.storage.k8s.io",
            {"driverName": "A B"},
            [
                "driverName: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or "
                "'.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                "parameters: Required value: must contain at least one key/value pair",
            ],
        ),
        (
            "csidrivers.storage.k8s.io",
            {
                "spec": {
                    "volumeLifecycleModes": ["Other"],
                    "nodeAllocatableUpdatePeriodSeconds": 9,
                    "serviceAccountTokenInSecrets": True,
                }
            },
            [
                'spec.volumeLifecycleModes: Unsupported value: "Other": supported values: "Persistent", "Ephemeral"',
                "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 "
                "seconds",
                "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no "
                "tokenRequests are specified",
            ],
        ),
        (
            "csinodes.storage.k8s.io",
            {"spec": {"drivers": [{"name": "d", "nodeID": "n" * 257, "topologyKeys": ["k", "k"]}]}},
            [
                f'spec.drivers[0].nodeID: Invalid value: "{"n" * 257}": must be 256 characters or less',
                'spec.drivers[0]: Duplicate value: "k"',
            ],
        ),
    ],
)
def test_what_is_refused(resource: str, tree: dict[str, Any], expected: list[str]) -> None:
    assert told(STRATEGIES[resource].validate(made(resource, tree))) == expected


def test_a_reference_that_was_let_through_may_stay() -> None:
    old = made(SCALERS, scaler(apiVersion="v1"))
    assert told(STRATEGIES[SCALERS].validate_update(old, old)) == []
    new = made(SCALERS, scaler())
    assert told(STRATEGIES[SCALERS].validate_update(old, new)) == [NO_GROUP]


def test_drivers_of_a_node_change_only_in_how_much_they_take() -> None:
    def node(**driver: Any) -> Any:
        return made("csinodes.storage.k8s.io", {"spec": {"drivers": [{"name": "d", "nodeID": "n", **driver}]}})

    change = STRATEGIES["csinodes.storage.k8s.io"].validate_update
    assert told(change(node(allocatable={"count": 3}), node())) == []
    assert [one.field for one in change(node(nodeID="m"), node())] == ["spec.drivers"]


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ("text", "must contain at least one CERTIFICATE PEM block"),
        ("-----BEGIN KEY-----\nYQ==\n-----END KEY-----\n", 'only CERTIFICATE PEM blocks are allowed, found "KEY"'),
        (
            "-----BEGIN CERTIFICATE-----\na: b\n\nYQ==\n-----END CERTIFICATE-----\n",
            "no PEM block headers are permitted",
        ),
        ("-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n", "x509: malformed certificate"),
    ],
)
def test_what_is_issued_is_a_chain_of_certificates(certificate: str, expected: str) -> None:
    issued = {"status": {"certificate": base64.b64encode(certificate.encode()).decode()}}
    found = STRATEGIES[REQUESTS].validate_status_update(made(REQUESTS, issued), made(REQUESTS, {}))
    assert told(found) == [f'status.certificate: Invalid value: "<certificate data>": {expected}']


def test_the_status_of_a_budget() -> None:
    status = {"disruptionsAllowed": -1, "conditions": [{"type": "a", "status": "?", "reason": "1"}]}
    found = STRATEGIES[BUDGETS].validate_status_update(made(BUDGETS, {"status": status}), made(BUDGETS, {}))
    assert told(found) == [
        'status.conditions[0].status: Unsupported value: "?": supported values: "False", "True", "Unknown"',
        "status.conditions[0].lastTransitionTime: Required value: must be set",
        'status.conditions[0].reason: Invalid value: "1": a condition reason must start with alphabetic character, '
        "optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric "
        "character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', "
        "regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')",
        "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0",
    ]


@pytest.mark.parametrize("resource", [BUDGETS, "events", REQUESTS])
def test_some_kinds_may_be_called_anything_that_fits_a_path(resource: str) -> None:
    assert STRATEGIES[resource].validate_name("A_b", is_prefix=False) == ()
    assert STRATEGIES[resource].validate_name("a/b", is_prefix=False) == ("may not contain '/'",)
