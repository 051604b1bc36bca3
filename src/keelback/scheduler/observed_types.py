"""The narrow types that the scheduler's informers hold, besides those of nodes and pods: only what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from keelback.api.apps_v1 import ReplicaSet, StatefulSet
from keelback.api.core_v1 import (
    AWSElasticBlockStoreVolumeSource,
    AzureDiskVolumeSource,
    CinderPersistentVolumeSource,
    GCEPersistentDiskVolumeSource,
    Namespace,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    ReplicationController,
    Service,
    TopologySelectorTerm,
    VolumeNodeAffinity,
)
from keelback.api.policy_v1 import PodDisruptionBudget
from keelback.api.scheduling_v1alpha2 import PodGroup, PodGroupSchedulingPolicy
from keelback.api.storage_v1 import (
    CSIDriver,
    CSINode,
    CSINodeDriver,
    CSIStorageCapacity,
    StorageClass,
    VolumeAttachment,
)
from keelback.apimachinery.meta import Condition, LabelSelector, Object, Value, narrow, written


@narrow(Namespace)
class NamespaceLabels(Object):
    """A namespace."""


class ServiceSelectorSpec(Value):
    """Whom a Service picks."""

    selector: Mapping[str, str] | None = None


@narrow(Service)
class ServiceSelector(Object):
    """A Service."""

    spec: ServiceSelectorSpec = written(ServiceSelectorSpec())


class OwnerSelectorSpec(Value):
    """Whom an owner picks."""

    selector: LabelSelector | None = None


@narrow(ReplicaSet)
class ReplicaSetSelector(Object):
    """A ReplicaSet."""

    spec: OwnerSelectorSpec = written(OwnerSelectorSpec())


@narrow(StatefulSet)
class StatefulSetSelector(Object):
    """A StatefulSet."""

    spec: OwnerSelectorSpec = written(OwnerSelectorSpec())


class PlainSelectorSpec(Value):
    """Whom a ReplicationController picks."""

    selector: Mapping[str, str] = {}


@narrow(ReplicationController)
class ReplicationControllerSelector(Object):
    """A ReplicationController."""

    spec: PlainSelectorSpec = written(PlainSelectorSpec())


class RequestedStorage(Value):
    """How much a claim asks for."""

    requests: Mapping[str, str] = {}


class ClaimSpec(Value):
    """What a claim asks for and has."""

    access_modes: tuple[str, ...] = ()
    resources: RequestedStorage = RequestedStorage()
    selector: LabelSelector | None = None
    storage_class_name: str | None = None
    volume_mode: str | None = None
    volume_name: str = ""


class ClaimStatus(Value):
    """How far a claim's binding is."""

    phase: str = ""


@narrow(PersistentVolumeClaim)
class Claim(Object):
    """A PersistentVolumeClaim."""

    spec: ClaimSpec = written(ClaimSpec())
    status: ClaimStatus = written(ClaimStatus())


class DriverVolume(Value):
    """What a CSI driver knows a volume by."""

    driver: str = ""
    volume_handle: str = ""


class VolumeSpec(Value):
    """What a volume offers, and to whom."""

    access_modes: tuple[str, ...] = ()
    capacity: Mapping[str, str] = {}
    claim_ref: ObjectReference | None = None
    csi: DriverVolume | None = None
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    cinder: CinderPersistentVolumeSource | None = None
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = None
    node_affinity: VolumeNodeAffinity | None = None
    storage_class_name: str = ""
    volume_mode: str | None = None


class AttachedSource(Value):
    """The volume that an attachment is of."""

    inline_volume_spec: VolumeSpec | None = None
    persistent_volume_name: str | None = None


class AttachmentSpec(Value):
    """Which volume is to be where."""

    node_name: str = ""
    source: AttachedSource = AttachedSource()


@narrow(VolumeAttachment)
class Attachment(Object):
    """A VolumeAttachment."""

    spec: AttachmentSpec = written(AttachmentSpec())


class VolumeStatus(Value):
    """Whether a volume is taken."""

    phase: str = ""


@narrow(PersistentVolume)
class Volume(Object):
    """A PersistentVolume."""

    spec: VolumeSpec = written(VolumeSpec())
    status: VolumeStatus = written(VolumeStatus())


@narrow(StorageClass)
class VolumeClass(Object):
    """A StorageClass."""

    allowed_topologies: tuple[TopologySelectorTerm, ...] = ()
    provisioner: str = ""
    volume_binding_mode: str | None = None


class NodeDriversSpec(Value):
    """The CSI drivers that a node has."""

    drivers: tuple[CSINodeDriver, ...] | None = None


@narrow(CSINode)
class NodeDrivers(Object):
    """A CSINode."""

    spec: NodeDriversSpec = written(NodeDriversSpec())


class DriverSpec(Value):
    """What a CSI driver does for the scheduler."""

    storage_capacity: bool = False


@narrow(CSIDriver)
class Driver(Object):
    """A CSIDriver."""

    spec: DriverSpec = written(DriverSpec())


@narrow(CSIStorageCapacity)
class StorageCapacity(Object):
    """A CSIStorageCapacity."""

    capacity: str | None = None
    maximum_volume_size: str | None = None
    node_topology: LabelSelector | None = None
    storage_class_name: str = ""


class BudgetSpec(Value):
    """Whom a budget protects."""

    selector: LabelSelector | None = None


class BudgetStatus(Value):
    """How many it lets go."""

    disruptions_allowed: int = 0
    disrupted_pods: Mapping[str, datetime] = {}


@narrow(PodDisruptionBudget)
class Budget(Object):
    """A PodDisruptionBudget."""

    spec: BudgetSpec = written(BudgetSpec())
    status: BudgetStatus = written(BudgetStatus())


class GroupSpec(Value):
    """How a group's pods are placed."""

    scheduling_policy: PodGroupSchedulingPolicy = PodGroupSchedulingPolicy()


class GroupStatus(Value):
    """What has been said of it."""

    conditions: tuple[Condition, ...] = ()


@narrow(PodGroup)
class PodGroupToPlace(Object):
    """A PodGroup."""

    spec: GroupSpec = written(GroupSpec())
    status: GroupStatus = written(GroupStatus())
