"""What placing a pod reads besides nodes and pods: Services and owners for spreading, claims and volumes, budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from keelback.api.core_v1 import NodeSelector
from keelback.scheduling import label_selectors
from keelback.scheduling.device_objects import DeviceObjects
from keelback.scheduling.label_selectors import Requirements, Selector
from keelback.scheduling.pod_info import Owner, PodInfo

_MOST_SHAPES: Final = 20_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClaimInfo:
    """A PersistentVolumeClaim."""

    volume_name: str = ""
    storage_class: str = ""
    phase: str = "Pending"
    access_modes: tuple[str, ...] = ()
    storage_bytes: int = 0
    selector: Selector = ()
    is_bound: bool = False
    terminating: bool = False
    selected_node: str = ""
    """The node that a provisioner was told to make the volume for."""
    volume_mode: str = "Filesystem"


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """A PersistentVolume."""

    node_affinity: NodeSelector | None = None
    storage_class: str = ""
    phase: str = "Available"
    access_modes: tuple[str, ...] = ()
    storage_bytes: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    claim: tuple[str, str] | None = None
    volume_mode: str = "Filesystem"
    driver: str = ""
    """The CSI driver; empty for volumes of other kinds."""
    handle: str = ""
    """What the driver knows the volume by."""
    plugin: str = ""
    """The in-tree plugin whose volume it is, which the driver attaches where that has taken over."""


@dataclass(frozen=True, slots=True)
class AttachedVolume:
    """What a VolumeAttachment names: a PersistentVolume, or a volume that a pod names itself."""

    volume_name: str = ""
    driver: str = ""
    handle: str = ""
    plugin: str = ""


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A StorageClass."""

    waits_for_consumer: bool
    provisions: bool
    """It has a provisioner that makes volumes, rather than `kubernetes.io/no-provisioner`."""
    provisioner: str = ""
    allowed_topologies: tuple[tuple[tuple[str, tuple[str, ...]], ...], ...] = ()
    """Where it makes them, if not everywhere: any term, in which every label has one of its values."""


@dataclass(frozen=True, slots=True)
class CapacityInfo:
    """A CSIStorageCapacity: how large a volume of a class may be in a part of the cluster."""

    storage_class: str
    node_topology: Selector
    largest_bytes: int
    """Less than nothing where the driver did not say."""


@dataclass(frozen=True, slots=True)
class BudgetInfo:
    """A PodDisruptionBudget."""

    namespace: str
    selector: Selector
    disruptions_allowed: int
    disrupted_pods: frozenset[str] = frozenset()


class ClusterObjects:
    """Looked up by name; whoever fills it says what changed."""

    def __init__(self) -> None:
        self.claims: dict[tuple[str, str], ClaimInfo] = {}
        self.volumes: dict[str, VolumeInfo] = {}
        self.classes: dict[str, ClassInfo] = {}
        self.budgets: dict[tuple[str, str], BudgetInfo] = {}
        self.capacities: dict[tuple[str, str], CapacityInfo] = {}
        self.drivers_with_capacity: dict[str, bool] = {}
        """The CSI drivers that publish `capacities`."""
        self.volume_limits: dict[str, dict[str, int]] = {}
        """By node, how many volumes of a CSI driver it takes, where its CSINode says so."""
        self.migrated_plugins: dict[str, frozenset[str]] = {}
        """By node, the in-tree plugins whose volumes CSI drivers attach there."""
        self.limits_version = 0
        self.attachments: dict[str, dict[str, AttachedVolume]] = {}
        """By node and name, the VolumeAttachments."""
        self.attachments_version = 0
        self._kept: dict[str, tuple[Any, Any]] = {}
        self.devices = DeviceObjects()
        self.version = 0
        """Rises with every change, for answers that are kept."""
        self._services: dict[str, dict[str, Mapping[str, str]]] = {}
        self._owners: dict[tuple[str, Owner], Requirements] = {}
        self._default_selectors: dict[PodInfo, Selector] = {}

    def set_node_drivers(self, node_name: str, limits: dict[str, int], migrated: frozenset[str]) -> bool:
        """Learn how many volumes of each driver a node takes, and whose else they attach; whether that is new."""
        if (self.volume_limits.get(node_name, {}), self.migrated_plugins.get(node_name, frozenset())) == (
            limits,
            migrated,
        ):
            return False
        self.volume_limits.pop(node_name, None)
        self.migrated_plugins.pop(node_name, None)
        if limits:
            self.volume_limits[node_name] = limits
        if migrated:
            self.migrated_plugins[node_name] = migrated
        self.limits_version += 1
        self.version += 1
        return True

    def set_attachment(self, node_name: str, name: str, attached: AttachedVolume | None) -> bool:
        """Learn that a volume is attached to a node, or (None) no longer; whether that is new."""
        volumes = self.attachments.setdefault(node_name, {})
        known = volumes.get(name)
        if attached is not None:
            volumes[name] = attached
        else:
            volumes.pop(name, None)
            if not volumes:
                del self.attachments[node_name]
        if known == attached:
            return False
        self.attachments_version += 1
        self.version += 1
        return True

    def kept(self, name: str, valid_for: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What was made of these objects the last time, for as long as it is valid for the same."""
        known = self._kept.get(name)
        if known is None or known[0] != valid_for:
            known = self._kept[name] = valid_for, make()
        found: T = known[1]
        return found

    def set_service(self, namespace: str, name: str, selector: Mapping[str, str] | None) -> None:
        """Learn which pods a Service picks; None when it is gone or picks none."""
        services = self._services.setdefault(namespace, {})
        if services.get(name) == selector:
            return
        if selector is None:
            services.pop(name, None)
        else:
            services[name] = selector
        self._changed()

    def set_owner(self, namespace: str, owner: Owner, selector: Requirements | None) -> None:
        """Learn which pods a ReplicaSet, StatefulSet or ReplicationController picks; None when it is gone."""
        key = (namespace, owner)
        if self._owners.get(key) == selector:
            return
        if selector is None:
            self._owners.pop(key, None)
        else:
            self._owners[key] = selector
        self._changed()

    def default_selector(self, pod: PodInfo) -> Selector:
        """What picks the pods that are spread together with this one: its Services' and its owner's selectors."""
        pod = pod.shape
        known = self._default_selectors.get(pod, ())
        if known == () and pod not in self._default_selectors:
            if len(self._default_selectors) >= _MOST_SHAPES:
                self._default_selectors.clear()
            known = self._default_selectors[pod] = self._merge_selectors(pod)
        return known

    def _merge_selectors(self, pod: PodInfo) -> Requirements:
        merged: dict[str, str] = {}
        for selector in self._services.get(pod.namespace, {}).values():
            if all(pod.labels.get(key) == value for key, value in selector.items()):
                merged.update(selector)
        requirements = label_selectors.equals(merged)
        owned = self._owners.get((pod.namespace, pod.owner), ()) if pod.owner else ()
        return requirements + tuple(one for one in owned if one not in requirements)

    def _changed(self) -> None:
        self._default_selectors.clear()
        self.version += 1
