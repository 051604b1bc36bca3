"""What is wrong with objects of storage.k8s.io, node.k8s.io and discovery.k8s.io, in upstream's words and order."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import codecs
from keelback.registry.builtin import strategies

STRATEGIES = {one.kind.__kind__.resource: one for one in strategies()}
DNS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def problems(resource: str, tree: dict[str, Any]) -> list[str]:
    strategy = STRATEGIES[resource]
    made = strategy.default(codecs.convert(strategy.kind, {"metadata": {"name": "x"}, **tree}))
    return [f"{one.field}: {one.body}" for one in strategy.validate(made)]


def endpoint(**given: Any) -> dict[str, Any]:
    return {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], **given}]}


def volume(**source: Any) -> dict[str, Any]:
    place = {"key": "k", "operator": "Exists"}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [place]}]}}
    return {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "nodeAffinity": affinity, **source}


MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
CAPACITIES = "csistoragecapacities.storage.k8s.io"
ATTACHMENTS = "volumeattachments.storage.k8s.io"
SLICES = "endpointslices.discovery.k8s.io"
CLASSES = "storageclasses.storage.k8s.io"
RUNTIMES = "runtimeclasses.node.k8s.io"
ATTACHED = {"attacher": "d.example.com", "nodeName": "n"}


@pytest.mark.parametrize(
    ("resource", "tree", "wanted"),
    [
        (SLICES, endpoint(nodeName="n", hostname="h", hints={"forZones": [{"name": "z"}]}), []),
        (SLICES, endpoint(nodeName="N"), [f'endpoints[0].nodeName: Invalid value: "N": {DNS}']),
        (
            SLICES,
            endpoint(hints={"forZones": [{"name": "z"}, {"name": "z"}]}),
            ['endpoints[0].hints.forZones[1].name: Duplicate value: "z"'],
        ),
        (
            SLICES,
            endpoint(hints={"forZones": [{"name": f"z{one}"} for one in range(9)]}),
            ["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"],
        ),
        (
            SLICES,
            endpoint(addresses=[f"10.0.0.{one}" for one in range(1, 102)]),
            ["endpoints[0].addresses: Too many: 101: must have at most 100 items"],
        ),
        (
            "persistentvolumes",
            {"metadata": {"name": "x", "annotations": {MOUNT_OPTIONS: "ro"}}, "spec": volume(local={"path": "/a"})},
            [f"metadata.annotations.{MOUNT_OPTIONS}: Forbidden: may not specify mount options for this volume type"],
        ),
        ("persistentvolumes", {"spec": volume(nfs={"server": "s", "path": "/"}, flexVolume={"driver": "a/b"})}, []),
        (
            "persistentvolumes",
            {"spec": volume(glusterfs={"endpoints": "e", "path": "p", "endpointsNamespace": ""})},
            [
                'spec.glusterfs.endpointsNamespace: Invalid value: "": if the endpointnamespace is set, it must be a '
                "valid namespace name"
            ],
        ),
        ("persistentvolumes", {"spec": volume(csi={"volumeHandle": "h"})}, ["spec.csi.driver: Required value"]),
        (
            CAPACITIES,
            {"storageClassName": "A", "capacity": "-1Gi"},
            [
                f'storageClassName: Invalid value: "A": {DNS}',
                'capacity: Invalid value: "-1Gi": must be greater than or equal to 0',
            ],
        ),
        (
            ATTACHMENTS,
            {"spec": {**ATTACHED, "source": {"persistentVolumeName": ""}}},
            [
                "spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName",
                f'spec.source.persistentVolumeName: Invalid value: "": {DNS}',
            ],
        ),
        (
            ATTACHMENTS,
            {"spec": {**ATTACHED, "source": {"persistentVolumeName": "a", "inlineVolumeSpec": {}}}},
            ["spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
        ),
        (
            CLASSES,
            {"provisioner": "e.com/p", "parameters": {"": "x"}},
            ['parameters: Invalid value: "": field can not be empty.'],
        ),
        (
            CLASSES,
            {
                "provisioner": "e.com/p",
                "allowedTopologies": [
                    {"matchLabelExpressions": [{"key": "a", "values": ["x", "x"]}, {"key": "a", "values": []}]}
                ],
            },
            [
                'allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "x"',
                "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
                'allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "a"',
            ],
        ),
        (
            RUNTIMES,
            {"handler": "runc", "scheduling": {"tolerations": [{"operator": "Exists"}, {"operator": "Exists"}]}},
            ['scheduling.tolerations[1]: Duplicate value: {"operator":"Exists"}'],
        ),
    ],
)
def test_refusals(resource: str, tree: dict[str, Any], wanted: list[str]) -> None:
    assert problems(resource, tree) == wanted
