"""What is wrong with objects of the smaller kinds, in the words that clients compare."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.registry.builtin import strategies

STRATEGIES = {one.kind.__kind__.resource: one for one in strategies()}


def problems(resource: str, tree: dict[str, Any]) -> list[str]:
    strategy = STRATEGIES[resource]
    made = strategy.default(codecs.convert(strategy.kind, {"metadata": {"name": "x"}, **tree}))
    return [f"{one.field}: {one.body}" for one in strategy.validate(made)]


LIMITED = {"limitResponse": {"type": "Reject"}}


@pytest.mark.parametrize(
    ("resource", "tree", "wanted"),
    [
        ("endpoints", {"subsets": [{}]}, "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        (
            "endpoints",
            {"subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]},
            'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, '
            "::1/128)",
        ),
        (
            "endpoints",
            {"subsets": [{"notReadyAddresses": [{"ip": "0.0.0.0"}], "ports": [{"port": 1}]}]},
            'subsets[0].notReadyAddresses[0].ip: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)',
        ),
        (
            "endpointslices.discovery.k8s.io",
            {"addressType": "IPv4", "endpoints": [{"addresses": ["169.254.1.1"]}]},
            'endpoints[0].addresses[0]: Invalid value: "169.254.1.1": may not be in the link-local range '
            "(169.254.0.0/16, fe80::/10)",
        ),
        (
            "endpointslices.discovery.k8s.io",
            {"addressType": "IPv4", "endpoints": [{"addresses": ["fd00::1"]}]},
            'endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address',
        ),
        (
            "endpointslices.discovery.k8s.io",
            {"addressType": "FQDN", "endpoints": [{"addresses": ["example"]}]},
            'endpoints[0].addresses[0]: Invalid value: "example": should be a domain with at least two segments '
            "separated by dots",
        ),
        (
            "nodes",
            {"status": {"declaredFeatures": ["B", "A"]}},
            'status.declaredFeatures[1]: Invalid value: "A": list must be sorted alphabetically',
        ),
        (
            "csidrivers.storage.k8s.io",
            {"spec": {"fsGroupPolicy": "Some"}},
            'spec.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", '
            '"ReadWriteOnceWithFSType"',
        ),
        (
            "csidrivers.storage.k8s.io",
            {"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 5}]}},
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: "
            "may not specify a duration less than 10 minutes",
        ),
        ("csinodes.storage.k8s.io", {"spec": {"drivers": [{"name": "d"}]}}, "spec.drivers[0].nodeID: Required value"),
        (
            "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
            {"spec": {"type": "Limited"}},
            "spec.limited: Required value: must not be empty when type is Limited",
        ),
        (
            "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
            {"spec": {"type": "Limited", "limited": {**LIMITED, "lendablePercent": 101}}},
            "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
        ),
        (
            "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
            {
                "spec": {
                    "type": "Limited",
                    "limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": 2, "handSize": 3}}},
                }
            },
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)",
        ),
        (
            "resourceclaims.resource.k8s.io",
            {"spec": {"devices": {"requests": [{"name": "r"}]}}},
            "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
        ),
        (
            "resourceclaims.resource.k8s.io",
            {"spec": {"devices": {"requests": [{"name": "r", "exactly": {}}]}}},
            "spec.devices.requests[0].exactly.deviceClassName: Required value",
        ),
        (
            "horizontalpodautoscalers.autoscaling",
            {"spec": {"maxReplicas": 1, "metrics": [{"type": "Other"}]}},
            'spec.metrics[0].type: Unsupported value: "Other": supported values: "ContainerResource", "External", '
            '"Object", "Pods", "Resource"',
        ),
        (
            "horizontalpodautoscalers.autoscaling",
            {"spec": {"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Value"}}}]}},
            "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw "
            "value or a target utilization",
        ),
        (
            "horizontalpodautoscalers.autoscaling",
            {"spec": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}}},
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
        ),
        (
            "resourcequotas",
            {"spec": {"hard": {"pods": "1.5"}}},
            'spec.hard[pods]: Invalid value: "1500m": must be an integer',
        ),
        (
            "resourcequotas",
            {"spec": {"hard": {"other": "1"}}},
            'spec.hard[other]: Invalid value: "other": must be a standard resource for quota',
        ),
        (
            "resourcequotas",
            {"spec": {"scopes": ["Other"]}},
            'spec.scopes: Invalid value: ["Other"]: unsupported scope',
        ),
        (
            "services",
            {"spec": {"ports": [{"port": 1}], "ipFamilyPolicy": "Other"}},
            'spec.ipFamilyPolicy: Unsupported value: "Other": supported values: "PreferDualStack", "RequireDualStack", '
            '"SingleStack"',
        ),
        (
            "services",
            {"spec": {"ports": [{"port": 1}], "healthCheckNodePort": 30000}},
            "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and "
            "`externalTrafficPolicy` is 'Local'",
        ),
        ("events.events.k8s.io", {}, "eventTime: Required value"),
        ("events.events.k8s.io", {"type": "Other"}, 'type: Invalid value: "": has invalid value: Other'),
        (
            "mutatingadmissionpolicies.admissionregistration.k8s.io",
            {"spec": {}},
            "spec.reinvocationPolicy: Required value",
        ),
    ],
)
def test_what_is_wrong_is_named(resource: str, tree: dict[str, Any], wanted: str) -> None:
    assert wanted in problems(resource, tree)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}}, {"dataSource", "dataSourceRef"}),
        ({"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "a"}}, {"dataSource", "dataSourceRef"}),
        ({"dataSourceRef": {"apiGroup": "x.y", "kind": "K", "name": "a"}}, {"dataSourceRef"}),
        ({"dataSource": {"apiGroup": "x.y", "kind": "K", "name": "a"}}, set()),
        ({"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "a", "namespace": "b"}}, {"dataSourceRef"}),
    ],
)
def test_both_names_of_a_data_source_say_the_same(given: dict[str, Any], kept: set[str]) -> None:
    strategy = STRATEGIES["persistentvolumeclaims"]
    claim = strategy.prepare_for_create(codecs.convert(strategy.kind, {"metadata": {"name": "x"}, "spec": given}))
    assert {name for name in strategy.to_tree(claim)["spec"] if name.startswith("dataSource")} == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2020-01-01T00:00:00.000000Z", "2020-01-01T00:00:00.000000Z"),
        ("2020-01-01T02:00:00.123456+02:00", "2020-01-01T00:00:00.123456Z"),
    ],
)
def test_micro_times_are_kept_in_utc(given: str, kept: str) -> None:
    strategy = STRATEGIES["leases.coordination.k8s.io"]
    made = codecs.convert(strategy.kind, {"metadata": {"name": "x"}, "spec": {"renewTime": given}})
    assert made.spec.renew_time == kept


@pytest.mark.parametrize(
    ("given", "rest", "layout"),
    [
        ("2020-01-01T00:00:00Z", "Z", ".000000"),
        ("2020-01-01T00:00:00.123456789Z", "789Z", "Z07:00"),
        ("yesterday", "yesterday", "2006"),
    ],
)
def test_micro_times_have_six_decimals(given: str, rest: str, layout: str) -> None:
    strategy = STRATEGIES["leases.coordination.k8s.io"]
    with pytest.raises(codecs.DecodeError) as caught:
        codecs.convert(strategy.kind, {"metadata": {"name": "x"}, "spec": {"acquireTime": given}})
    assert str(caught.value).endswith(f'cannot parse "{rest}" as "{layout}"')
