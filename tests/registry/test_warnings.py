"""What is let through with a warning, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.registry.builtin import strategies

STRATEGIES = {one.kind.__kind__.resource: one for one in strategies()}


STORED = ("csistoragecapacities.storage.k8s.io", "runtimeclasses.node.k8s.io", "storageclasses.storage.k8s.io")
"""What is said of these is said again with every update."""


def warned(resource: str, tree: dict[str, Any]) -> list[str]:
    strategy = STRATEGIES[resource]
    made = strategy.default(
        codecs.convert(strategy.kind, {**tree, "metadata": {"name": "x", **tree.get("metadata", {})}})
    )
    if resource not in ("nodes", "persistentvolumeclaims", "persistentvolumes", "services", *STORED):
        assert list(strategy.warnings(made, made)) == [], "an update that touches nothing is not told again"
    return list(strategy.warnings(made, None))


def pod(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", "image": "i"}], **fields}}


def of(**container: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "c", "image": "i", **container}])


def port(**fields: Any) -> dict[str, Any]:
    return {"containerPort": 80, **fields}


OLD = "beta.kubernetes.io/os"
SUCCEEDED = 'deprecated since v1.14; use "kubernetes.io/os" instead'
NODE_TERMS = [{"matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}]}]
SPREAD = {"maxSkew": 1, "topologyKey": "failure-domain.beta.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
C = "spec.containers[0]"


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (pod(), []),
        (
            pod(nodeSelector={"beta.kubernetes.io/arch": "amd64"}),
            ['spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead'],
        ),
        (
            pod(
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": NODE_TERMS}
                    }
                }
            ),
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]"
                ".matchExpressions[0].key: beta.kubernetes.io/os is deprecated since v1.14; use "
                '"kubernetes.io/os" instead'
            ],
        ),
        (
            pod(topologySpreadConstraints=[SPREAD]),
            [
                "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated "
                'since v1.17; use "topology.kubernetes.io/zone" instead',
                "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
            ],
        ),
        (
            {**pod(), "metadata": {"annotations": {"scheduler.alpha.kubernetes.io/critical-pod": ""}}},
            [
                "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "
                '"priorityClassName" field instead'
            ],
        ),
        (
            {**pod(), "metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "runtime/default"}}},
            [
                "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "
                '"seccompProfile" field instead'
            ],
        ),
        (
            pod(volumes=[{"name": "v", "glusterfs": {"endpoints": "e", "path": "p"}}]),
            ["spec.volumes[0].glusterfs: deprecated in v1.25, non-functional in v1.26+"],
        ),
        (
            pod(hostAliases=[{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}]),
            ['spec.hostAliases[1].ip: duplicate ip "1.2.3.4"'],
        ),
        (
            pod(imagePullSecrets=[{"name": "a"}, {"name": "a"}, {}]),
            [
                'spec.imagePullSecrets[1].name: duplicate name "a"',
                'spec.imagePullSecrets[2].name: invalid empty name ""',
            ],
        ),
        (
            of(resources={"requests": {"memory": "100m"}}),
            [f'{C}.resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer'],
        ),
        (
            of(env=[{"name": "A", "value": "a"}, {"name": "A", "value": "b"}]),
            [f'{C}.env[1]: hides previous definition of "A", which may be dropped when using apply'],
        ),
        (of(env=[{"name": "A", "value": "a"}, {"name": "A", "value": "$(A)b"}]), []),
        (
            of(ports=[port(), port()]),
            [f"{C}.ports[1]: duplicate port definition with {C}.ports[0]"],
        ),
        (
            of(ports=[port(hostPort=1), port()]),
            [f"{C}.ports[1]: overlapping port definition with {C}.ports[0]"],
        ),
        (
            of(ports=[port(hostPort=1), port(hostPort=1, hostIP="1.2.3.4")]),
            [f"{C}.ports[1]: dangerously ambiguous port definition with {C}.ports[0]"],
        ),
        (
            {**pod(), "metadata": {"name": "a.b"}},
            [
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS "
                "label is recommended: [must not contain dots]"
            ],
        ),
        (
            pod(terminationGracePeriodSeconds=-1),
            ["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"],
        ),
    ],
)
def test_what_a_pod_had_better_not_say(tree: dict[str, Any], expected: list[str]) -> None:
    assert warned("pods", tree) == expected


@pytest.mark.parametrize(
    ("resource", "tree", "expected"),
    [
        (
            "deployments.apps",
            {"spec": {"template": pod(imagePullSecrets=[{}])}},
            ['spec.template.spec.imagePullSecrets[0].name: invalid empty name ""'],
        ),
        (
            "deployments.apps",
            {
                "spec": {
                    "template": {
                        **pod(),
                        "metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}},
                    }
                }
            },
            [
                "spec.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: "
                "deprecated since "
                'v1.30; use the "appArmorProfile" field instead'
            ],
        ),
        (
            "services",
            {"spec": {"clusterIP": "None", "sessionAffinity": "ClientIP", "externalName": "a"}},
            [
                "spec.SessionAffinity is ignored for headless services",
                'spec.externalName is ignored when spec.type is not "ExternalName"',
            ],
        ),
        (
            "persistentvolumes",
            {"spec": {"persistentVolumeReclaimPolicy": "Recycle"}},
            [
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
                "recommended "
                "approach is to use dynamic provisioning."
            ],
        ),
        (
            "persistentvolumes",
            {"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "a"}}, "spec": {"cephfs": {}}},
            [
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "
                '"storageClassName" attribute instead',
                "spec.cephfs: deprecated in v1.28, non-functional in v1.31+",
            ],
        ),
        (
            "ingresses.networking.k8s.io",
            {"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}},
            ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"],
        ),
        (
            STORED[0],
            {"nodeTopology": {"matchLabels": {OLD: "a"}, "matchExpressions": [{"key": OLD, "operator": "Exists"}]}},
            [
                f"nodeTopology.matchExpressions[0].key: {OLD} is {SUCCEEDED}",
                f"nodeTopology.matchLabels.{OLD}: {SUCCEEDED}",
            ],
        ),
        (STORED[1], {"scheduling": {"nodeSelector": {OLD: "a"}}}, [f"scheduling.nodeSelector: {SUCCEEDED}"]),
        (
            STORED[2],
            {"allowedTopologies": [{"matchLabelExpressions": [{"key": OLD, "values": ["a"]}]}]},
            [f"allowedTopologies[0].matchLabelExpressions[0].key: {SUCCEEDED}"],
        ),
        (
            "jobs.batch",
            {"spec": {"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001}},
            [
                "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
                "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
            ],
        ),
        (
            "nodes",
            {"spec": {"configSource": {}, "externalID": "a"}},
            [
                "spec.configSource: the feature is removed",
                "spec.externalID: this field is deprecated, and is unused by Kubernetes",
            ],
        ),
        (
            "serviceaccounts",
            {"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}},
            [
                "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate "
                "namespaces to isolate access to mounted secrets"
            ],
        ),
        (
            "persistentvolumeclaims",
            {"spec": {"resources": {"requests": {"storage": "100m"}}}},
            ['spec.resources.requests[storage]: fractional byte value "100m" is invalid, must be an integer'],
        ),
    ],
)
def test_what_other_kinds_had_better_not_say(resource: str, tree: dict[str, Any], expected: list[str]) -> None:
    assert warned(resource, tree) == expected
