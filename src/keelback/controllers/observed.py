"""The narrow types that controllers hold in thousands: only the fields that some controller reads.

All controllers share these, so that a process watches pods and nodes once each.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from keelback.api.core_v1 import (
    Affinity,
    AttachedVolume,
    ConfigMap,
    ContainerPort,
    Node,
    NodeAddress,
    PersistentVolumeClaimVolumeSource,
    Pod,
    PodExtendedResourceClaimStatus,
    PodIP,
    PodResourceClaim,
    PodResourceClaimStatus,
    PodSchedulingGroup,
    Secret,
    Taint,
    Toleration,
)
from keelback.apimachinery.meta import ManagedFieldsEntry, Object, ObjectMeta, Value, named, narrow, written


class HeldMeta(ObjectMeta):
    """Metadata without what no controller reads: `managedFields`, often half of an object, and `generateName`."""

    # No field on the wire has these names, so nothing is ever decoded into them.
    managed_fields: tuple[ManagedFieldsEntry, ...] = msgspec.field(default=(), name="-managedFields")
    generate_name: str = msgspec.field(default="", name="-generateName")


class ContainerView(Value):
    name: str = ""
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str | None = None


class VolumeView(Value):
    name: str = ""
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    ephemeral: Value | None = None


class PodSpecView(Value):
    node_name: str = ""
    hostname: str = ""
    subdomain: str = ""
    host_network: bool = False
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    containers: tuple[ContainerView, ...] = ()
    init_containers: tuple[ContainerView, ...] = ()
    volumes: tuple[VolumeView, ...] = ()
    resource_claims: tuple[PodResourceClaim, ...] = ()
    scheduling_group: PodSchedulingGroup | None = None


class EndView(Value):
    exit_code: int = 0
    finished_at: datetime | None = None


class ContainerStateView(Value):
    terminated: EndView | None = None


class ContainerStatusView(Value):
    name: str = ""
    restart_count: int = 0
    state: ContainerStateView = ContainerStateView()


class PodConditionView(Value):
    type: str = ""
    status: str = ""
    reason: str = ""
    last_transition_time: datetime | None = None


class PodStatusView(Value):
    phase: str = ""
    reason: str = ""
    pod_ip: str = named("podIP", "")
    pod_ips: tuple[PodIP, ...] = named("podIPs", ())
    start_time: datetime | None = None
    conditions: tuple[PodConditionView, ...] = ()
    container_statuses: tuple[ContainerStatusView, ...] = ()
    init_container_statuses: tuple[ContainerStatusView, ...] = ()
    resource_claim_statuses: tuple[PodResourceClaimStatus, ...] = ()
    extended_resource_claim_status: PodExtendedResourceClaimStatus | None = None


@narrow(Pod)
class PodView(Object):
    """A pod as controllers see it."""

    metadata: HeldMeta = written(HeldMeta())
    spec: PodSpecView = written(PodSpecView())
    status: PodStatusView = written(PodStatusView())


class NodeSpecView(Value):
    pod_cidr: str = named("podCIDR", "")
    pod_cidrs: tuple[str, ...] = named("podCIDRs", ())
    provider_id: str = named("providerID", "")
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


class NodeConditionView(Value):
    type: str = ""
    status: str = ""
    last_heartbeat_time: datetime | None = None
    last_transition_time: datetime | None = None


class NodeStatusView(Value):
    allocatable: Mapping[str, str] = {}
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[NodeConditionView, ...] = ()
    volumes_attached: tuple[AttachedVolume, ...] = ()
    volumes_in_use: tuple[str, ...] = ()


@narrow(Node)
class NodeView(Object):
    """A node as controllers see it."""

    metadata: HeldMeta = written(HeldMeta())
    spec: NodeSpecView = written(NodeSpecView())
    status: NodeStatusView = written(NodeStatusView())


@narrow(ConfigMap)
class ConfigMapName(Object):
    """A ConfigMap without its data, which may be large: all that matters is that one was made, changed or deleted."""

    metadata: HeldMeta = written(HeldMeta())


SERVICE_ACCOUNT_TOKEN = "kubernetes.io/service-account-token"  # noqa: S105 - a type's name, no secret
BOOTSTRAP_TOKEN = "bootstrap.kubernetes.io/token"  # noqa: S105 - a type's name, no secret


@narrow(Secret)
class SecretType(Object):
    """A Secret without its data: what it is for decides who must read the rest."""

    metadata: HeldMeta = written(HeldMeta())
    type: str = ""
