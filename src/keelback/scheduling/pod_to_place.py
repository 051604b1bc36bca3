"""What the scheduler reads of a pod: the narrow type its informer holds, and what one asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from keelback.api import core_v1
from keelback.api.core_v1 import (
    Affinity,
    ContainerPort,
    Pod,
    PodCondition,
    PodResourceClaim,
    PodResourceClaimStatus,
    ResourceRequirements,
    Toleration,
    TopologySpreadConstraint,
)
from keelback.api.pods import amount
from keelback.apimachinery import meta
from keelback.apimachinery.meta import Value, written
from keelback.scheduling.csi_migration import InTree, translated


class RestartRuleToPlace(Value):
    """What a rule of a container does."""

    action: str = ""


class ContainerToPlace(Value):
    """What placing a pod needs to know of a container."""

    name: str = ""
    image: str = ""
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str | None = None
    restart_policy_rules: tuple[RestartRuleToPlace, ...] = ()


class ClaimSource(Value):
    """The claim that a volume names."""

    claim_name: str = ""


class EphemeralSource(Value):
    """That a volume has a claim made for it."""


class VolumeToPlace(Value):
    """What placing a pod needs to know of a volume."""

    name: str = ""
    persistent_volume_claim: ClaimSource | None = None
    ephemeral: EphemeralSource | None = None
    aws_elastic_block_store: core_v1.AWSElasticBlockStoreVolumeSource | None = None
    azure_disk: core_v1.AzureDiskVolumeSource | None = None
    cinder: core_v1.CinderVolumeSource | None = None
    gce_persistent_disk: core_v1.GCEPersistentDiskVolumeSource | None = None
    iscsi: core_v1.ISCSIVolumeSource | None = None
    rbd: core_v1.RBDVolumeSource | None = None


class SpecToPlace(Value):
    """What placing a pod needs to know of its spec."""

    affinity: Affinity | None = None
    containers: tuple[ContainerToPlace, ...] = ()
    host_network: bool = False
    host_users: bool | None = None
    init_containers: tuple[ContainerToPlace, ...] = ()
    node_name: str = ""
    node_selector: Mapping[str, str] = {}
    overhead: Mapping[str, str] = {}
    preemption_policy: str | None = None
    priority: int | None = None
    resource_claims: tuple[PodResourceClaim, ...] = ()
    resources: ResourceRequirements | None = None
    scheduler_name: str = "default-scheduler"
    scheduling_gates: tuple[core_v1.PodSchedulingGate, ...] = ()
    scheduling_group: core_v1.PodSchedulingGroup | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    volumes: tuple[VolumeToPlace, ...] = ()


class ContainerStatusToPlace(Value):
    """What a container of a running pod was given and has, which differs from what it asks for while it is resized."""

    name: str = ""
    allocated_resources: Mapping[str, str] = {}
    resources: ResourceRequirements | None = None


class StatusToPlace(Value):
    """What placing a pod needs to know of its status."""

    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatusToPlace, ...] = ()
    init_container_statuses: tuple[ContainerStatusToPlace, ...] = ()
    nominated_node_name: str = ""
    phase: str = ""
    resource_claim_statuses: tuple[PodResourceClaimStatus, ...] = ()
    start_time: datetime | None = None


@meta.narrow(Pod)
class PodToPlace(meta.Object):
    """A pod, as far as the scheduler reads it."""

    spec: SpecToPlace = written(SpecToPlace())
    status: StatusToPlace = written(StatusToPlace())


def effective_spec(pod: PodToPlace) -> SpecToPlace:
    """The spec with the requests that count: while a container is resized, the most of what it asks for and has.

    A resize that the node can never grant counts for nothing.
    """
    spec, status = pod.spec, pod.status
    if not status.container_statuses and not status.init_container_statuses:
        return spec
    infeasible = any(one.type == "PodResizePending" and one.reason == "Infeasible" for one in status.conditions)
    statuses = {one.name: one for one in (*status.init_container_statuses, *status.container_statuses)}
    containers = tuple(_effective(one, statuses.get(one.name), infeasible) for one in spec.containers)
    init_containers = tuple(_effective(one, statuses.get(one.name), infeasible) for one in spec.init_containers)
    changed = any(
        one is not other
        for one, other in zip((*containers, *init_containers), (*spec.containers, *spec.init_containers), strict=True)
    )
    return meta.replace(spec, containers=containers, init_containers=init_containers) if changed else spec


def claims_of(pod: PodToPlace) -> tuple[str, ...]:
    """The names of the claims that the pod's volumes use."""
    found = []
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            found.append(volume.persistent_volume_claim.claim_name)
        elif volume.ephemeral is not None:
            found.append(f"{pod.metadata.name}-{volume.name}")
    return tuple(found)


def required_features(spec: SpecToPlace) -> frozenset[str]:
    """The features that nodes may have or not, and that a pod of this spec needs of its node."""
    found = set()
    rules = (rule for one in (*spec.containers, *spec.init_containers) for rule in one.restart_policy_rules)
    if any(rule.action == "RestartAllContainers" for rule in rules):
        found.add("RestartAllContainersOnContainerExits")
    if spec.host_network and spec.host_users is False:
        found.add("UserNamespacesHostNetworkSupport")
    return frozenset(found)


def in_tree_of(pod: PodToPlace) -> tuple[InTree, ...]:
    """The disks that the pod names itself and a CSI driver may attach."""
    return tuple(found for volume in pod.spec.volumes if (found := translated(volume)) is not None)


def disks_of(pod: PodToPlace) -> tuple[tuple[tuple[str, ...], bool], ...]:
    """The disks that the pod names itself and that two pods of a node cannot both have, unless both only read them.

    A volume that is reached in several ways is several disks. One of AWS is never shared.
    """
    found: list[tuple[tuple[str, ...], bool]] = []
    for volume in pod.spec.volumes:
        if (ebs := volume.aws_elastic_block_store) is not None:
            found.append((("aws", ebs.volume_id), False))
        if (disk := volume.gce_persistent_disk) is not None:
            found.append((("gce", disk.pd_name), disk.read_only))
        if (iscsi := volume.iscsi) is not None:
            found.append((("iscsi", iscsi.iqn), iscsi.read_only))
        if (rbd := volume.rbd) is not None:
            found += [(("rbd", monitor, rbd.pool, rbd.image), rbd.read_only) for monitor in rbd.monitors]
    return tuple(found)


def _effective(
    container: ContainerToPlace, status: ContainerStatusToPlace | None, infeasible: bool
) -> ContainerToPlace:
    if status is None or status.resources is None:
        return container
    asked, given, has = container.resources.requests, status.allocated_resources, status.resources.requests
    if given == asked == has:
        return container
    requests: dict[str, str] = {} if infeasible else dict(asked)
    for source in (given, has):
        for name, number in source.items():
            if amount(name, number) > amount(name, requests.get(name, "0")):
                requests[name] = number
    if requests == asked:
        return container
    return meta.replace(container, resources=meta.replace(container.resources, requests=requests))
