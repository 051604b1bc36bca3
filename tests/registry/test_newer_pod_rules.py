"""The rules of what came late to pods: resources of the whole, files of variables, rules for restarts, host names."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.api.core_v1 import Pod
from keelback.apimachinery import codecs
from keelback.registry.pods import PodStrategy

STRATEGY = PodStrategy()
C = "spec.containers[0]"
FILE = f"{C}.env[0].valueFrom.fileKeyRef"


def problems(spec: dict[str, Any], **metadata: Any) -> list[str]:
    wanted = {"containers": [{"name": "c", "image": "i"}], **spec}
    made = codecs.convert(Pod, {"metadata": {"name": "p", "namespace": "d", **metadata}, "spec": wanted})
    made = STRATEGY.prepare_for_create(STRATEGY.default(made))
    return [f"{one.field}: {one.body}" for one in STRATEGY.validate(made)]


def of(**container: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **container}]}


def init(**container: Any) -> dict[str, Any]:
    return {"initContainers": [{"name": "i", "image": "i", **container}]}


def file_key(**fields: Any) -> dict[str, Any]:
    selector = {"key": "A", "volumeName": "v", "path": "p", **fields}
    return {**of(env=[{"name": "A", "valueFrom": {"fileKeyRef": selector}}]), "volumes": [{"name": "v"}]}


def restarts(**rule: Any) -> dict[str, Any]:
    return of(restartPolicy="Never", restartPolicyRules=[{"action": "Restart", **rule}])


def exits(*codes: int) -> dict[str, Any]:
    return {"exitCodes": {"operator": "In", "values": list(codes)}}


def spread(**fields: Any) -> dict[str, Any]:
    constraint = {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", **fields}
    return {"topologySpreadConstraints": [constraint]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (file_key(), []),
        (file_key(path="/absolute"), []),
        (
            file_key(key="", volumeName="", path=""),
            [
                f"{FILE}.key: Required value",
                f"{FILE}.volumeName: Required value",
                f"{FILE}.path: Required value",
                f'{FILE}.volumeName: Not found: ""',
            ],
        ),
        (file_key(path="a/../b"), [f"{FILE}.path: Invalid value: \"a/../b\": must not contain '..'"]),
        (file_key(volumeName="w"), [f'{FILE}.volumeName: Not found: "w"']),
        (
            {**file_key(), "volumes": [{"name": "v", "hostPath": {"path": "/a"}}]},
            [f'{FILE}.volumeName: Invalid value: "v": referenced volume must be of type emptyDir'],
        ),
        (restarts(action="RestartAllContainers", **exits(1)), []),
        (
            restarts(action="Stop", **exits(1)),
            [f'{C}.restartPolicyRules[0].action: Unsupported value: "Stop": supported values: "Restart"'],
        ),
        (
            restarts(**exits(*range(256))),
            [f"{C}.restartPolicyRules[0].exitCodes.values: Too many: 256: must have at most 255 items"],
        ),
        (
            init(restartPolicyRules=[{"action": "Stop"}]),
            [
                "spec.initContainers[0].restartPolicy: Required value: must specify restartPolicy when restart rules "
                "are used"
            ],
        ),
        (
            init(resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]),
            [
                'spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: "RestartContainer": '
                "must not be set to 'RestartContainer' for non-sidecar initContainers"
            ],
        ),
        (
            {"hostnameOverride": "A", "setHostnameAsFQDN": True, "hostNetwork": True},
            [
                "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
                "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true",
                'spec.hostnameOverride: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case '
                "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
                "'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
        (
            {
                **of(volumeDevices=[{"name": "v", "devicePath": "/d"}]),
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
                "hostUsers": False,
            },
            [f"{C}.volumeDevices: Forbidden: when `hostUsers` is false"],
        ),
        (
            {"tolerations": [{"key": "a", "operator": "Gt", "value": "5"}]},
            ['spec.tolerations[0].operator: Unsupported value: "Gt": supported values: "Equal", "Exists", "Lt", "Gt"'],
        ),
        ({"os": {}}, ["spec.os.name: Required value"]),
        (
            {"os": {"name": "windows"}, "resources": {"limits": {"cpu": "1"}}},
            ["spec.resources: Forbidden: may not be set for a windows pod"],
        ),
        (
            {"resources": {"claims": [{"name": "a"}]}},
            ["spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level"],
        ),
        (
            {**of(resources={"requests": {"cpu": "2"}}), "resources": {"requests": {"cpu": "1"}}},
            [
                'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate '
                "container requests of 2"
            ],
        ),
        ({**of(resources={"requests": {"memory": "2Mi"}}), "resources": {"requests": {"cpu": "1"}}}, []),
        (
            spread(
                labelSelector={"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]},
                matchLabelKeys=["a"],
            ),
            [
                'spec.topologySpreadConstraints[0][0]: Invalid value: "a": exists in both matchLabelKeys and '
                "labelSelector"
            ],
        ),
    ],
)
def test_what_is_said_of_newer_fields(spec: dict[str, Any], expected: list[str]) -> None:
    assert problems(spec) == expected


def test_mirror_pods_claim_no_devices() -> None:
    spec = {"nodeName": "n", "resourceClaims": [{"name": "a", "resourceClaimName": "a"}]}
    mirrored = problems(spec, annotations={"kubernetes.io/config.mirror": "x"})
    assert mirrored == [": Forbidden: static pods do not support resource claims"]
