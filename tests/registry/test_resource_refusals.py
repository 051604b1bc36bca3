"""What is wrong with claims for devices, and with the slices that offer them."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.registry.builtin import strategies

STRATEGIES = {one.kind.__kind__.plural: one for one in strategies() if one.kind.__kind__.group == "resource.k8s.io"}
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
                'spec.devices.constraints[0].matchAttribute: Invalid value: "model": must include a domain',
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
                'spec.devices[1]: Duplicate value: "d0"',
                'spec.devices[1].attributes[a]: Invalid value: {"int":1,"string":"m"}: '
                "exactly one value must be specified",
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
    ],
)
def test_slices(changed: dict[str, Any], wanted: list[str]) -> None:
    assert problems("resourceslices", {**SLICE, **changed}) == wanted
