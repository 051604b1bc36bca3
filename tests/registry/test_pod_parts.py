"""What is wrong with a pod's status and with a resize, in upstream's words and order."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.api.core_v1 import Pod
from keelback.apimachinery import codecs
from keelback.registry import pod_resizes
from keelback.registry.pods import PodStrategy

STRATEGY = PodStrategy()
RESTARTED = "may not be transitioned to non-terminated state"


def pod(status: dict[str, Any] | None = None, **spec: Any) -> Pod:
    tree = {"metadata": {"name": "p", "namespace": "d"}, "spec": {"containers": [container()], **spec}}
    made = codecs.convert(Pod, tree)
    return codecs.convert(Pod, {**codecs.to_tree(STRATEGY.default(made)), "status": status or {}})


def container(name: str = "c", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", **fields}


def ended(name: str, code: int) -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": code}}}


def reported(new: dict[str, Any], old: dict[str, Any] | None = None, **spec: Any) -> list[str]:
    found = STRATEGY.validate_status_update(pod(new, **spec), pod(old, **spec))
    return [f"{one.field}: {one.body}" for one in found]


RULE = {"action": "Restart", "exitCodes": {"operator": "In", "values": [7]}}
ALL = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [7]}}


@pytest.mark.parametrize(
    ("code", "fields", "policy", "may_restart"),
    [
        (0, {}, "Always", True),
        (0, {}, "OnFailure", False),
        (1, {}, "OnFailure", True),
        (1, {}, "Never", False),
        (1, {"restartPolicy": "Never"}, "Always", False),
        (1, {"restartPolicy": "OnFailure"}, "Never", True),
        (7, {"restartPolicy": "Never", "restartPolicyRules": [RULE]}, "Never", True),
        (8, {"restartPolicy": "Never", "restartPolicyRules": [RULE]}, "Never", False),
        (8, {"restartPolicy": "Never", "restartPolicyRules": [ALL]}, "Never", True),
    ],
)
def test_who_may_come_back(code: int, fields: dict[str, Any], policy: str, may_restart: bool) -> None:
    old = {"containerStatuses": [ended("c", code)]}
    new = {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}
    found = reported(new, old, containers=[container(**fields)], restartPolicy=policy)
    assert found == ([] if may_restart else [f"status.containerStatuses[0].state: Forbidden: {RESTARTED}"])


def test_a_container_the_pod_does_not_have_never_comes_back() -> None:
    old = {"containerStatuses": [ended("other", 1)], "ephemeralContainerStatuses": [ended("e", 1)]}
    new = {field: [{**one, "state": {}} for one in given] for field, given in old.items()}
    assert reported(new, old) == [
        f"status.containerStatuses[0].state: Forbidden: {RESTARTED}",
        f"status.ephemeralContainerStatuses[0].state: Forbidden: {RESTARTED}",
    ]


DEVICES = {"name": "x.y/z", "resources": [{"resourceID": "a", "health": "Healthy"}, {"resourceID": "a", "health": "?"}]}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            {"conditions": [{"type": "a b", "observedGeneration": -1}], "observedGeneration": -2},
            [
                "status.conditions[0].observedGeneration: Invalid value: -1: must be a non-negative integer",
                'status.conditions[0].Type: Invalid value: "a b": name part must consist of alphanumeric characters, '
                "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',"
                "  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                "status.observedGeneration: Invalid value: -2: must be a non-negative integer",
            ],
        ),
        (
            {"nominatedNodeName": "m"},
            ["status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"],
        ),
        (
            {"containerStatuses": [{"name": "c", "user": {"linux": {"uid": -1, "supplementalGroups": [-2]}}}]},
            [
                "status.containerStatuses[0].linux.uid: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "status.containerStatuses[0].linux.supplementalGroups[0]: Invalid value: -2: must be between 0 and "
                "2147483647, inclusive",
            ],
        ),
        (
            {"containerStatuses": [{"name": "c", "allocatedResourcesStatus": [DEVICES]}]},
            [
                'status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: "x.y/z": must match one '
                "of the container's resource requests",
                "status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].health: Unsupported value: "
                '"?": supported values: "Healthy", "Unhealthy", "Unknown"',
                'status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].resourceID: Duplicate value: "a"',
            ],
        ),
        (
            {"extendedResourceClaimStatus": {"requestMappings": [{"containerName": "d", "requestName": "r"}]}},
            [
                'status.extendedResourceClaimStatus.requestMappings[0].containerName: Invalid value: "d": must match '
                "the name of an entry in spec.initContainers.name or spec.containers.name",
                "status.extendedResourceClaimStatus.resourceClaimName: Required value",
            ],
        ),
    ],
)
def test_what_a_status_may_say(status: dict[str, Any], expected: list[str]) -> None:
    assert reported(status, nodeName="n") == expected


def cpu(amount: str, **more: str) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": amount, **more}}}


OF_CPU = {"resourceName": "cpu", "restartPolicy": "NotRequired"}


def resized(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    before = pod(**old)
    found = STRATEGY.validate_part_update("resize", pod_resizes.merged(pod(**new), before), before)
    return [f"{one.field}: {one.body}" for one in found]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"containers": [container(**cpu("1"))]}, {"containers": [container(**cpu("2"))]}, []),
        (
            {"containers": [container(**cpu("1"))]},
            {"containers": [container("d", **cpu("2"))]},
            ["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
        ),
        (
            {"containers": [container(**cpu("1"))]},
            {"containers": [container(**cpu("1")), container("d")]},
            ["spec.containers: Forbidden: containers may not be added or removed on resize"],
        ),
        (
            {"containers": [container(**cpu("1", memory="1Mi"))]},
            {"containers": [container(**cpu("1"))]},
            ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
        ),
        (
            {"containers": [container(**cpu("1"))]},
            {"containers": [container(**cpu("2"), resizePolicy=[OF_CPU])]},
            ["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
        (cpu("1"), cpu("2"), []),
        (
            cpu("1", memory="1Mi"),
            cpu("2"),
            ["spec.resources.requests: Forbidden: pod-level resource requests cannot be removed"],
        ),
        (
            {**cpu("1"), "containers": [container(**cpu("1"))]},
            {"containers": [container(**cpu("1"))]},
            ["spec.resources: Forbidden: pod-level resources cannot be removed"],
        ),
    ],
)
def test_what_a_resize_may_do(old: dict[str, Any], new: dict[str, Any], expected: list[str]) -> None:
    assert resized(old, new) == expected


def test_a_new_pod_that_is_gated_says_so() -> None:
    gated = pod(schedulingGates=[{"name": "g"}])
    (condition,) = STRATEGY.prepare_for_create(gated).status.conditions
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "SchedulingGated")
    assert STRATEGY.prepare_for_create(pod()).status.conditions == ()


def test_generations_survive_a_reporter_who_does_not_know_them() -> None:
    old = pod({"observedGeneration": 3, "conditions": [{"type": "Ready", "observedGeneration": 2}]})
    new = pod({"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other"}]})
    kept = STRATEGY.prepare_for_status_update(new, old).status
    assert kept.observed_generation == 3
    assert [one.observed_generation for one in kept.conditions] == [2, 0]
