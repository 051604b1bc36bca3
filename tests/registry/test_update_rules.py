"""What an update may not change, kind by kind, with the whole of what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.apimachinery.meta import replace
from keelback.registry.builtin import strategies

STRATEGIES = {one.kind.__kind__.resource: one for one in strategies()}
LABELS = {"metadata": {"labels": {"a": "b"}}}
TEMPLATE = {**LABELS, "spec": {"containers": [{"name": "c", "image": "i"}]}}
SELECTED = {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
JOB_POD = {**LABELS, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
JOB = {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}, "template": JOB_POD}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
VOLUME = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}}
BALANCER = {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 1}]}


def made(resource: str, tree: Mapping[str, Any]) -> Any:
    strategy = STRATEGIES[resource]
    metadata = {"name": "x", "namespace": "d", "uid": "u", **tree.get("metadata", {})}
    given = codecs.convert(strategy.kind, {**tree, "metadata": metadata})
    defaulted = strategy.default(given)
    # A new pod gets a status of its own; here it has the one it was given.
    return replace(defaulted, status=given.status) if "status" in tree else defaulted


def told(problems: Any) -> list[str]:
    return [f"{one.field}: {one.body}" for one in problems]


def updated(resource: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    strategy = STRATEGIES[resource]
    before = made(resource, old)
    return told(strategy.validate_update(strategy.prepare_for_update(made(resource, new), before), before))


def reported(resource: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What is wrong with an update of a status."""
    strategy = STRATEGIES[resource]
    before = made(resource, old)
    return told(
        strategy.validate_status_update(strategy.prepare_for_status_update(made(resource, new), before), before)
    )


IMMUTABLE = "field is immutable"
STATEFUL = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
OTHER = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]}
SHOWN = '{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"a","operator":"Exists"}]}'


@pytest.mark.parametrize(
    ("resource", "old", "new", "expected"),
    [
        (
            "deployments.apps",
            {"spec": SELECTED},
            {"spec": {**SELECTED, "selector": OTHER}},
            [f"spec.selector: Invalid value: {SHOWN}: {IMMUTABLE}"],
        ),
        ("deployments.apps", {"spec": SELECTED}, {"spec": {**SELECTED, "replicas": 3}}, []),
        (
            "statefulsets.apps",
            {"spec": SELECTED},
            {"spec": {**SELECTED, "serviceName": "s"}},
            [f"spec: Forbidden: {STATEFUL}"],
        ),
        ("statefulsets.apps", {"spec": SELECTED}, {"spec": {**SELECTED, "minReadySeconds": 3}}, []),
        (
            "jobs.batch",
            {"spec": JOB},
            {"spec": {**JOB, "completions": 2}},
            [f"spec.completions: Invalid value: 2: {IMMUTABLE}"],
        ),
        (
            "jobs.batch",
            {"spec": {**JOB, "completionMode": "Indexed", "completions": 2, "parallelism": 2}},
            {"spec": {**JOB, "completionMode": "Indexed", "completions": 3, "parallelism": 2}},
            ["spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"],
        ),
        ("jobs.batch", {"spec": JOB}, {"spec": {**JOB, "completions": 1, "parallelism": 5, "suspend": True}}, []),
        (
            "jobs.batch",
            {"spec": {**JOB, "suspend": True}},
            {
                "spec": {
                    **JOB,
                    "template": {**JOB_POD, "spec": {**JOB_POD["spec"], "nodeSelector": {"z": "1"}}},
                }
            },
            [],
        ),
        (
            "persistentvolumes",
            {"spec": VOLUME},
            {"spec": {**VOLUME, "volumeMode": "Block"}},
            [f'volumeMode: Invalid value: "Block": {IMMUTABLE}'],
        ),
        ("persistentvolumes", {"spec": VOLUME}, {"spec": {**VOLUME, "storageClassName": "s"}}, []),
        (
            "persistentvolumeclaims",
            {"spec": CLAIM, "status": {"phase": "Bound", "capacity": {"storage": "2Gi"}}},
            {"spec": {**CLAIM, "resources": {"requests": {"storage": "1Gi"}}}},
            ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"],
        ),
        (
            "persistentvolumeclaims",
            {"spec": CLAIM, "status": {"phase": "Bound"}},
            {"spec": {**CLAIM, "resources": {"requests": {"storage": "3Gi"}}, "volumeName": "v"}},
            [],
        ),
        (
            "persistentvolumeclaims",
            {
                "spec": {**CLAIM, "volumeAttributesClassName": "a"},
                "status": {"phase": "Bound", "currentVolumeAttributesClassName": "a"},
            },
            {"spec": CLAIM},
            [
                "spec.volumeAttributesClassName: Forbidden: update to nil is forbidden when "
                "status.currentVolumeAttributesClassName is not nil"
            ],
        ),
        (
            "persistentvolumes",
            {"spec": VOLUME},
            {"spec": {**VOLUME, "accessModes": []}},
            ["spec.accessModes: Required value"] * 2,
        ),
        (
            "services",
            {"spec": BALANCER},
            {"spec": {**BALANCER, "clusterIP": "10.0.0.2"}},
            ['spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set'],
        ),
        (
            "services",
            {"spec": BALANCER},
            {"spec": {**BALANCER, "loadBalancerClass": "a/b"}},
            ['spec.loadBalancerClass: Invalid value: "a/b": may not change once set'],
        ),
        ("services", {"spec": BALANCER}, {"spec": {"type": "ExternalName", "externalName": "a.b"}}, []),
        (
            "nodes",
            {"spec": {"podCIDRs": ["10.0.0.0/24"], "providerID": "a"}},
            {"spec": {"podCIDRs": ["10.0.1.0/24"], "providerID": "b"}},
            [
                'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
                'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
            ],
        ),
        (
            "nodes",
            {},
            {"spec": {"configSource": {"configMap": {"name": "n", "namespace": "d"}}}},
            ["spec.configSource.configMap.kubeletConfigKey: Required value"],
        ),
        (
            "secrets",
            {"immutable": True, "data": {"a": "YQ=="}},
            {"data": {"a": "Yg=="}, "type": "other"},
            [
                f'type: Invalid value: "other": {IMMUTABLE}',
                f"immutable: Forbidden: {IMMUTABLE} when `immutable` is set",
                f"data: Forbidden: {IMMUTABLE} when `immutable` is set",
            ],
        ),
        (
            "resourcequotas",
            {"spec": {"scopes": ["BestEffort"]}},
            {"spec": {"scopes": ["NotBestEffort"]}},
            [f'spec.scopes: Invalid value: ["NotBestEffort"]: {IMMUTABLE}'],
        ),
        (
            "controllerrevisions.apps",
            {"data": {"a": 1}, "revision": 1},
            {"data": {"a": 2}, "revision": 1},
            [f'data: Invalid value: {{"a":2}}: {IMMUTABLE}'],
        ),
    ],
)
def test_what_may_change(resource: str, old: Any, new: Any, expected: list[str]) -> None:
    assert updated(resource, old, new) == expected


POD = {"spec": {"containers": [{"name": "c", "image": "i"}]}}


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": {**POD["spec"], **spec}}


def test_a_refused_change_of_a_pod_shows_the_difference() -> None:
    assert updated("pods", POD, pod(hostname="h")) == [
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
        "@@ -64,7 +64,7 @@\n"
        '   "SELinuxChangePolicy": null\n'
        "  },\n"
        '  "ImagePullSecrets": null,\n'
        '- "Hostname": "",\n'
        '+ "Hostname": "h",\n'
        '  "Subdomain": "",\n'
        '  "SetHostnameAsFQDN": null,\n'
        '  "Affinity": null,\n'
    ]


GATED = {"schedulingGates": [{"name": "g"}]}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (POD, pod(activeDeadlineSeconds=5), []),
        (
            pod(activeDeadlineSeconds=5),
            pod(activeDeadlineSeconds=6),
            ["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"],
        ),
        (
            pod(activeDeadlineSeconds=5),
            POD,
            ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"],
        ),
        (pod(terminationGracePeriodSeconds=-1), pod(terminationGracePeriodSeconds=1), []),
        (
            pod(**GATED, nodeSelector={"a": "b"}),
            pod(**GATED, nodeSelector={"a": "c"}),
            [
                'spec.nodeSelector: Invalid value: {"a":"c"}: only additions to spec.nodeSelector are allowed (no '
                "mutations or deletions)"
            ],
        ),
        (pod(**GATED, nodeSelector={"a": "b"}), pod(**GATED, nodeSelector={"a": "b", "c": "d"}), []),
        (pod(**GATED), POD, []),
        (
            POD,
            pod(**GATED),
            [
                "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'",
            ],
        ),
        (
            POD,
            {**POD, "metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}},
            [
                'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName '
                "if mirror "
                "pod annotation is set",
                "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
                'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName '
                "if mirror "
                "pod annotation is set",
            ],
        ),
    ],
)
def test_what_may_change_in_a_pod(old: Any, new: Any, expected: list[str]) -> None:
    assert updated("pods", old, new) == expected


def terminated(name: str, code: int) -> dict[str, Any]:
    return {"containerStatuses": [{"name": name, "state": {"terminated": {"exitCode": code}}}]}


RUNNING = {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}
COMPLETE = [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]
ENDED = {"conditions": COMPLETE, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z"}


@pytest.mark.parametrize(
    ("resource", "old", "new", "expected"),
    [
        (
            "pods",
            {**pod(restartPolicy="Never"), "status": terminated("c", 1)},
            {"status": RUNNING},
            ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"],
        ),
        ("pods", {**pod(restartPolicy="OnFailure"), "status": terminated("c", 1)}, {"status": RUNNING}, []),
        (
            "pods",
            POD,
            {"status": {"podIPs": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.5"}]}},
            [
                'status.podIPs: Invalid value: [{"IP":"1.2.3.4"},{"IP":"1.2.3.5"}]: may specify no more than '
                "one IP for "
                "each IP family"
            ],
        ),
        (
            "deployments.apps",
            {"spec": SELECTED},
            {"status": {"replicas": 1, "readyReplicas": 2}},
            ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"],
        ),
        (
            "replicasets.apps",
            {"spec": SELECTED},
            {"status": {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}},
            ["status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas"],
        ),
        (
            "statefulsets.apps",
            {"spec": SELECTED, "status": {"collisionCount": 2}},
            {"status": {"collisionCount": 1}},
            ["status.collisionCount: Invalid value: 1: cannot be decremented"],
        ),
        (
            "daemonsets.apps",
            {"spec": SELECTED},
            {"status": {"numberReady": -1}},
            ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"],
        ),
        ("jobs.batch", {"spec": JOB}, {"status": ENDED}, []),
        (
            "jobs.batch",
            {"spec": JOB},
            {"status": {"conditions": [{"type": "Failed", "status": "True"}], "startTime": "2026-01-01T00:00:00Z"}},
            [
                "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true "
                "condition"
            ],
        ),
        (
            "jobs.batch",
            {"spec": JOB, "status": ENDED},
            {"status": {**ENDED, "conditions": COMPLETE[:1], "completionTime": None}},
            ["status.conditions: Invalid value: cannot disable the terminal Complete=True condition"],
        ),
        (
            "jobs.batch",
            {"spec": JOB},
            {"status": {"ready": 2, "active": 1}},
            ["status.ready: Invalid value: 2: cannot set more ready pods than active"],
        ),
        (
            "namespaces",
            {"status": {"phase": "Active"}},
            {"status": {"phase": "Terminating"}},
            ["status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"],
        ),
        (
            "persistentvolumeclaims",
            {"spec": CLAIM},
            {"status": {"allocatedResourceStatuses": {"cpu": "NodeResizePending"}}},
            ['status.allocatedResourceStatuses: Unsupported value: "cpu": supported values: "storage"'],
        ),
        (
            "nodes",
            {},
            {"status": {"addresses": [{"type": "Hostname", "address": "a"}] * 2}},
            ['status.addresses[1]: Duplicate value: {"Type":"Hostname","Address":"a"}'],
        ),
    ],
)
def test_what_a_status_may_say(resource: str, old: Any, new: Any, expected: list[str]) -> None:
    assert reported(resource, old, {**old, **new}) == expected
