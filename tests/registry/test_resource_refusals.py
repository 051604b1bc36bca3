"""What is wrong with claims for devices, and with the slices that offer them."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import codecs, names
from keelback.registry.builtin import strategies

STRATEGIES = {one.kind.__kind__.plural: one for one in strategies() if one.kind.__kind__.group == "resource.k8s.io"}
LABEL = names.dns1123_label("")[0]
UNKNOWN = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
SLICE: dict[str, Any] = {
    "driver": "gpu.example.com",
    "nodeName": "n",
    "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
}


def problems(resource: str, spec: dict[str, Any]) -> list[str]:
    strategy = STRATEGIES[resource]
    made = strategy.default(codecs.convert(strategy.kind, {"metadata": {"name": "x"}, "spec": spec}))
    return [f"{one.field}: {one.body}" for one in strategy.validate(made)]


def claim(**devices: Any) -> dict[str, Any]:
    return {"devices": {"requests": [{"name": "a", "exactly": {"deviceClassName": "c"}}], **devices}}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (claim(constraints=[{"requests": ["a"], "matchAttribute": "example.com/model"}]), []),
        (
            claim(constraints=[{"requests": ["b"], "matchAttribute": "model"}]),
            [
                'spec.devices.constraints[0].requests[0]: Invalid value: "b": must be the name of a request in the '
                "claim or the name of a request and a subrequest separated by '/'",
                'spec.devices.constraints[0].matchAttribute: Invalid value: "model": a fully qualified name must be a '
                "domain and a name separated by a slash",
            ],
        ),
        (
            claim(config=[{"opaque": {"driver": "d"}}]),
            ["spec.devices.config[0].opaque.parameters: Required value"],
        ),
        (
            claim(requests=[{"name": "a", "exactly": {"deviceClassName": "c", "selectors": [{}]}}]),
            ["spec.devices.requests[0].exactly.selectors[0].cel: Required value"],
        ),
        (
            claim(
                requests=[
                    {
                        "name": "a",
                        "exactly": {"deviceClassName": "c", "tolerations": [{"operator": "Exists", "value": "v"}]},
                    }
                ]
            ),
            [
                'spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: "v": '
                "must be empty for operator `Exists`"
            ],
        ),
        (
            claim(requests=[{"name": "", "exactly": {"deviceClassName": "c"}}] * 2),
            [
                f'spec.devices.requests[0].name: Invalid value: "": {LABEL}',
                f'spec.devices.requests[1].name: Invalid value: "": {LABEL}',
                'spec.devices.requests[1]: Duplicate value: ""',
            ],
        ),
        (
            claim(requests=[{"name": "a", "exactly": {}, "firstAvailable": [{"name": "b"}]}]),
            [
                "spec.devices.requests[0]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is "
                "required, but multiple fields are set"
            ],
        ),
        (
            claim(requests=[{"name": f"r{i}"} for i in range(33)]),
            ["spec.devices.requests: Too many: 33: must have at most 32 items"],
        ),
        (
            claim(constraints=[{"requests": ["a/b/c"]}]),
            [
                f'spec.devices.constraints[0].requests[0]: Invalid value: "a/b/c": {UNKNOWN}',
                'spec.devices.constraints[0]: Required value: exactly one of "matchAttribute" or "distinctAttribute" '
                "is required, but multiple fields are set",
            ],
        ),
        (
            claim(constraints=[{"distinctAttribute": "/"}]),
            [
                'spec.devices.constraints[0].distinctAttribute: Invalid value: "": the domain must not be empty',
                'spec.devices.constraints[0].distinctAttribute: Invalid value: "": the name must not be empty',
            ],
        ),
        (
            claim(config=[{"opaque": {"driver": "d" * 64, "parameters": []}}, {"opaque": {"parameters": None}}, {}]),
            [
                "spec.devices.config[0].opaque.driver: Too long: may not be more than 63 bytes",
                'spec.devices.config[0].opaque.parameters: Invalid value: "<value omitted>": '
                "must be a valid JSON object",
                "spec.devices.config[1].opaque.driver: Required value",
                "spec.devices.config[1].opaque.parameters: Required value",
                "spec.devices.config[2].opaque: Required value",
            ],
        ),
        (
            claim(
                requests=[
                    {
                        "name": "a",
                        "exactly": {"deviceClassName": "c", "tolerations": [{"operator": "In", "effect": "No"}]},
                    }
                ]
            ),
            [
                'spec.devices.requests[0].exactly.tolerations[0].operator: Unsupported value: "In": '
                'supported values: "Equal", "Exists"',
                'spec.devices.requests[0].exactly.tolerations[0].effect: Unsupported value: "No": '
                'supported values: "NoExecute", "NoSchedule", "None"',
            ],
        ),
    ],
)
def test_claims(spec: dict[str, Any], wanted: list[str]) -> None:
    assert problems("resourceclaims", spec) == wanted


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, []),
        ({"devices": [{"name": "d0", "attributes": {"model": {"string": "m"}}}]}, []),
        (
            {"devices": [{"name": "d0"}, {"name": "d0", "attributes": {"a": {"string": "m", "int": 1}}}]},
            [
                'spec.devices[1].attributes[a]: Invalid value: {"int":1,"string":"m"}: '
                "exactly one value must be specified",
                'spec.devices[1]: Duplicate value: "d0"',
            ],
        ),
        (
            {"allNodes": True, "nodeName": None},
            [],
        ),
        (
            {"pool": {"name": "p", "generation": -1, "resourceSliceCount": 0}},
            [
                "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
                "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
            ],
        ),
        (
            {"nodeName": None},
            [
                "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
                "`perDeviceNodeSelection` is required"
            ],
        ),
        (
            {"nodeName": "", "allNodes": False, "nodeSelector": {"nodeSelectorTerms": []}},
            [
                'spec.nodeName: Invalid value: "": must be either unset or set to a non-empty string',
                "spec.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term",
                "spec.nodeSelector.nodeSelectorTerms: Invalid value: null: must have exactly one node selector term",
                "spec.allNodes: Invalid value: false: must be either unset or set to true",
            ],
        ),
        (
            {"devices": [{"name": "d"}], "sharedCounters": [{"name": ""}, {"name": "c", "counters": {"A": {}}}]},
            [
                'spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed',
                "spec.sharedCounters[0].name: Required value",
                "spec.sharedCounters[0].counters: Required value",
                f'spec.sharedCounters[1].counters: Invalid value: "A": {LABEL}',
            ],
        ),
        (
            {
                "devices": [
                    {
                        "name": "d",
                        "attributes": {"a/": {"version": "1.x"}, "b": {}},
                        "capacity": {"c": {"value": "1", "requestPolicy": {"default": "1"}}},
                        "taints": [{"key": "k", "effect": ""}],
                        "nodeName": "n",
                        "bindingConditions": ["x", "x"],
                        "consumesCounters": [{"counterSet": "s"}],
                    }
                ]
            },
            [
                'spec.devices[0].attributes: Invalid value: "": the name must not be empty',
                'spec.devices[0].attributes[a/].version: Invalid value: "1.x": '
                "must be a string compatible with semver.org spec 2.0.0",
                'spec.devices[0].attributes[b]: Invalid value: "": exactly one value must be specified',
                "spec.devices[0].capacity[c].requestPolicy: Forbidden: allowMultipleAllocations must be true",
                "spec.devices[0].taints[0].effect: Required value",
                "spec.devices[0].consumesCounters[0].counters: Required value",
                "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if "
                "`perDeviceNodeSelection` is set to true in the ResourceSlice spec",
                'spec.devices[0].bindingConditions[1]: Duplicate value: "x"',
                "spec.devices[0].bindingFailureConditions: Invalid value: null: "
                "bindingFailureConditions are required to use bindingConditions",
            ],
        ),
        (
            {"nodeName": None, "perDeviceNodeSelection": True, "devices": [{"name": "d", "allNodes": False}]},
            [
                "spec.devices[0].allNodes: Invalid value: false: must be either unset or set to true",
                "spec.devices[0]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is "
                "required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
            ],
        ),
        (
            {"devices": [{"name": f"d{i}", "taints": [{"key": "k", "effect": "None"}]} for i in range(65)]},
            ["spec.devices: Too many: 65: must have at most 64 items"],
        ),
    ],
)
def test_slices(changed: dict[str, Any], wanted: list[str]) -> None:
    assert problems("resourceslices", {**SLICE, **changed}) == wanted


def test_classes() -> None:
    spec = {"extendedResourceName": "cpu", "selectors": [{}], "config": [{}]}
    assert problems("deviceclasses", spec) == [
        "spec.selectors[0].cel: Required value",
        "spec.config[0].opaque: Required value",
        'spec.extendedResourceName: Invalid value: "cpu": must be a valid extended resource name',
    ]


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ('device.driver == "gpu.example.com" && !device.allowMultipleAllocations', ""),
        ('device.attributes["gpu.example.com"].isLarge', ""),
        ('cel.bind(own, device.capacity["d"], own.memory.compareTo(quantity("1Gi")) >= 0)', ""),
        ("device.name == 'x'", "compilation failed: ERROR: <input>:1:7: undefined field 'name'\n"),
        ("1", "must evaluate to bool or the unknown type, not int"),
        ("", "compilation failed: ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>' expecting "),
    ],
)
def test_expressions_that_choose_devices(expression: str, wanted: str) -> None:
    found = problems("deviceclasses", {"selectors": [{"cel": {"expression": expression}}]})
    if not wanted:
        assert found == []
        return
    (refusal,) = found
    start = f'spec.selectors[0].cel.expression: Invalid value: "{expression}": {wanted}'
    assert refusal.startswith(start)


def test_what_stays_of_a_slice() -> None:
    strategy = STRATEGIES["resourceslices"]
    old = codecs.convert(strategy.kind, {"metadata": {"name": "x"}, "spec": SLICE})
    pool = {**SLICE["pool"], "name": "q"}
    changed = {**SLICE, "driver": "other.example.com", "nodeName": "m", "pool": pool}
    new = codecs.convert(strategy.kind, {"metadata": {"name": "x"}, "spec": changed})
    assert [f"{one.field}: {one.body}" for one in strategy.validate_update(new, old)] == [
        'spec.pool.name: Invalid value: "q": field is immutable',
        'spec.driver: Invalid value: "other.example.com": field is immutable',
        'spec.nodeName: Invalid value: "m": field is immutable',
    ]


ALLOCATION: dict[str, Any] = {
    "devices": {"results": [{"request": "a", "driver": "d.example.com", "pool": "p", "device": "d0"}]}
}
DEVICE = {"driver": "d.example.com", "pool": "p", "device": "d0"}


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ({}, {"allocation": ALLOCATION, "devices": [DEVICE]}, []),
        (
            {},
            {"reservedFor": [{"resource": "pods", "name": "p"}]},
            [
                "status.reservedFor[0].uid: Required value",
                "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
            ],
        ),
        (
            {},
            {"devices": [DEVICE, {**DEVICE, "networkData": {"ips": ["10.0.0.1", "10.0.00.1/24"]}}]},
            [
                "status.devices[0]: Invalid value: d.example.com/p/d0: must be an allocated device in the claim",
                "status.devices[1]: Invalid value: d.example.com/p/d0: must be an allocated device in the claim",
                'status.devices[1].networkData.ips[0]: Invalid value: "10.0.0.1": must be a valid address in CIDR '
                "form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
                'status.devices[1].networkData.ips[1]: Invalid value: "10.0.00.1/24": '
                'must be in canonical form ("10.0.0.1/24")',
                "status.devices[1]: Duplicate value: d.example.com/p/d0",
            ],
        ),
        (
            {},
            {
                "allocation": {
                    "devices": {
                        "results": [{"request": "b", "driver": "d", "pool": "p", "device": "x", "shareID": "u"}],
                        "config": [{"source": "Else"}],
                    }
                }
            },
            [
                f'status.allocation.devices.results[0].request: Invalid value: "b": {UNKNOWN}',
                'status.allocation.devices.results[0].shareID: Invalid value: "u": error validating uid: '
                "invalid UUID length: 1",
                'status.allocation.devices.config[0].source: Unsupported value: "Else": '
                'supported values: "FromClaim", "FromClass"',
                "status.allocation.devices.config[0].opaque: Required value",
            ],
        ),
        (
            {"allocation": ALLOCATION},
            {"allocation": {"devices": {}}},
            ['status.allocation: Invalid value: {"devices":{}}: field is immutable'],
        ),
    ],
)
def test_statuses_of_claims(before: dict[str, Any], after: dict[str, Any], wanted: list[str]) -> None:
    strategy = STRATEGIES["resourceclaims"]
    old, new = (
        codecs.convert(strategy.kind, {"metadata": {"name": "x"}, "spec": claim(), "status": one})
        for one in (before, after)
    )
    assert [f"{one.field}: {one.body}" for one in strategy.validate_status_update(new, old)] == wanted


def test_templates_never_change() -> None:
    strategy = STRATEGIES["resourceclaimtemplates"]
    old, new = (
        codecs.convert(strategy.kind, {"metadata": {"name": "x"}, "spec": {"spec": claim(requests=requests)}})
        for requests in ([], [{"name": "a"}])
    )
    (refusal,) = strategy.validate_update(new, old)
    assert refusal.body == (
        'Invalid value: {"Spec":{"Devices":{"Requests":[{"Name":"a","Exactly":null,"FirstAvailable":null}],'
        '"Constraints":null,"Config":null}}}: field is immutable'
    )
