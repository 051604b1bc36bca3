"""What the informers say, brought into the node table, the cluster's objects and the queue. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from keelback.api.pods import amount
from keelback.apimachinery.meta import Object
from keelback.client.informer import Change
from keelback.scheduler.awaited_victims import AwaitedVictims
from keelback.scheduler.device_observation import DeviceObservation
from keelback.scheduler.observed_types import (
    Attachment,
    Budget,
    Claim,
    Driver,
    NamespaceLabels,
    NodeDrivers,
    PodGroupToPlace,
    ReplicaSetSelector,
    ReplicationControllerSelector,
    ServiceSelector,
    StatefulSetSelector,
    StorageCapacity,
    Volume,
    VolumeClass,
    VolumeSpec,
)
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduling import csi_migration, label_selectors
from keelback.scheduling.cluster_objects import (
    AttachedVolume,
    BudgetInfo,
    CapacityInfo,
    ClaimInfo,
    ClassInfo,
    ClusterObjects,
    VolumeInfo,
)
from keelback.scheduling.events import Event
from keelback.scheduling.node_info import NodeToPlaceOn
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_groups import GroupKey, PodGroupInfo, PodGroups
from keelback.scheduling.pod_info import Owner, PodInfo, PodShapes
from keelback.scheduling.pod_to_place import PodToPlace

_SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
_BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
_FILESYSTEM: Final = "Filesystem"
_NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"


_K = TypeVar("_K")
_I = TypeVar("_I")


class Observation:
    """The scheduler's picture of the cluster. One callback for each kind; `wake` is called when there may be work."""

    def __init__(
        self,
        scheduler_names: tuple[str, ...],
        queue: SchedulingQueue,
        monotonic: Callable[[], float],
        wake: Callable[[], None],
        groups: PodGroups | None = None,
        handled: Callable[[float, str], None] = lambda seconds, event: None,
    ) -> None:
        """`handled` is told how long it took to wake pods after an event."""
        self._handled = handled
        """`groups` are kept where pod groups are looked at."""
        self.groups = groups
        self.nodes = NodeTable()
        self.objects = ClusterObjects()
        self.shapes = PodShapes()
        self.assumed: dict[str, str] = {}
        """By uid, the node of each pod that was given one here and is not yet seen to have it."""
        self.nominated: dict[str, PlacedPod] = {}
        """By uid, the pods that wait for room to be made on a node, as if they were there."""
        self.awaited = AwaitedVictims()
        self._scheduler_names = scheduler_names
        self._queue = queue
        self._monotonic = monotonic
        self._wake = wake
        self.devices = DeviceObservation(
            self.objects, self.nodes, queue, monotonic, wake, lambda: self._happened(Event.DEVICES_CHANGED)
        )

    def on_node(self, change: Change[NodeToPlaceOn]) -> None:
        """A node came, went or changed."""
        if change.new is None:
            self.nodes.remove_node(change.object.metadata.name)
            self._happened(Event.NODE_REMOVED)
        else:
            self._happened(*self.nodes.set_node(change.new))

    def on_pod(self, change: Change[PodToPlace]) -> None:
        """A pod came, went, changed or was bound."""
        new, old = change.new, change.old
        if new is not None and old is not None and new.metadata.uid != old.metadata.uid:
            self._forget(old)
        if self.groups is not None and change.object.spec.scheduling_group is not None:
            self._see_member(self.groups, change)
            return
        self._see(change)

    def _see(self, change: Change[PodToPlace]) -> None:
        new, old = change.new, change.old
        if new is None or new.status.phase in ("Succeeded", "Failed"):
            self._forget(change.object)
        elif new.spec.node_name:
            self._see_assigned(new)
        else:
            self._see_pending(old, new)

    def on_pod_group(self, change: Change[PodGroupToPlace]) -> None:
        """A pod group came, went or changed."""
        assert self.groups is not None
        metadata, new = change.object.metadata, change.new
        key = (metadata.namespace, metadata.name)
        if new is None:
            self.groups.infos.pop(key, None)
            return
        gang = new.spec.scheduling_policy.gang
        self.groups.infos[key] = PodGroupInfo(gang.min_count if gang is not None else None)
        self._retry_group(self.groups, key, "PodGroupAdd" if change.old is None else "PodGroupUpdate")

    def on_namespace(self, change: Change[NamespaceLabels]) -> None:
        """A namespace's labels may have changed."""
        labels = change.new.metadata.labels if change.new is not None else None
        if self.nodes.set_namespace(change.object.metadata.name, labels):
            self._happened(Event.NAMESPACE_CHANGED)

    def on_service(self, change: Change[ServiceSelector]) -> None:
        """A Service may pick other pods."""
        metadata = change.object.metadata
        self.objects.set_service(
            metadata.namespace, metadata.name, change.new.spec.selector if change.new is not None else None
        )

    def on_owner(self, change: Change[ReplicaSetSelector] | Change[StatefulSetSelector]) -> None:
        """A ReplicaSet or StatefulSet may pick other pods."""
        selector = label_selectors.compile_selector(change.new.spec.selector) if change.new is not None else None
        self.objects.set_owner(change.object.metadata.namespace, _owner(change.object), selector)

    def on_replication_controller(self, change: Change[ReplicationControllerSelector]) -> None:
        """A ReplicationController may pick other pods."""
        selector = label_selectors.equals(change.new.spec.selector) if change.new is not None else None
        self.objects.set_owner(change.object.metadata.namespace, _owner(change.object), selector)

    def on_claim(self, change: Change[Claim]) -> None:
        """A claim came, went or was bound."""
        metadata = change.object.metadata
        info = compile_claim(change.new) if change.new is not None else None
        self._put(self.objects.claims, (metadata.namespace, metadata.name), info)

    def on_volume(self, change: Change[Volume]) -> None:
        """A volume came, went or was bound."""
        info = compile_volume(change.new) if change.new is not None else None
        self._put(self.objects.volumes, change.object.metadata.name, info)

    def on_class(self, change: Change[VolumeClass]) -> None:
        """A storage class came or went."""
        new = change.new
        info = None
        if new is not None:
            info = ClassInfo(
                waits_for_consumer=new.volume_binding_mode == "WaitForFirstConsumer",
                provisions=new.provisioner != _NO_PROVISIONER,
                provisioner=new.provisioner,
                allowed_topologies=tuple(
                    tuple((one.key, one.values) for one in term.match_label_expressions)
                    for term in new.allowed_topologies
                ),
            )
        self._put(self.objects.classes, change.object.metadata.name, info)

    def on_node_drivers(self, change: Change[NodeDrivers]) -> None:
        """A node takes more or fewer volumes of a CSI driver."""
        drivers = (change.new.spec.drivers or ()) if change.new is not None else ()
        limits = {
            one.name: one.allocatable.count
            for one in drivers
            if one.allocatable is not None and one.allocatable.count is not None
        }
        annotations = change.new.metadata.annotations if change.new is not None else {}
        migrated = frozenset(filter(None, annotations.get(csi_migration.MIGRATED_ANNOTATION, "").split(",")))
        if self.objects.set_node_drivers(change.object.metadata.name, limits, migrated):
            self._happened(Event.VOLUMES_CHANGED)

    def on_attachment(self, change: Change[Attachment]) -> None:
        """A volume is attached to a node, or is no longer."""
        name, old, new = change.object.metadata.name, change.old, change.new
        changed = False
        if old is not None and (new is None or new.spec.node_name != old.spec.node_name):
            changed = self.objects.set_attachment(old.spec.node_name, name, None)
        if new is not None:
            changed |= self.objects.set_attachment(new.spec.node_name, name, compile_attachment(new))
        if changed:
            self._happened(Event.VOLUMES_CHANGED)

    def on_driver(self, change: Change[Driver]) -> None:
        """A CSI driver publishes how much storage there is, or no longer does."""
        publishes = change.new is not None and change.new.spec.storage_capacity
        self._put(self.objects.drivers_with_capacity, change.object.metadata.name, publishes or None)

    def on_capacity(self, change: Change[StorageCapacity]) -> None:
        """There is more or less storage somewhere."""
        metadata = change.object.metadata
        info = compile_capacity(change.new) if change.new is not None else None
        self._put(self.objects.capacities, (metadata.namespace, metadata.name), info)

    def on_budget(self, change: Change[Budget]) -> None:
        """A disruption budget came, went or has other numbers."""
        metadata, new = change.object.metadata, change.new
        if new is None:
            self.objects.budgets.pop((metadata.namespace, metadata.name), None)
            return
        self.objects.budgets[(metadata.namespace, metadata.name)] = BudgetInfo(
            namespace=metadata.namespace,
            selector=label_selectors.compile_selector(new.spec.selector),
            disruptions_allowed=new.status.disruptions_allowed,
            disrupted_pods=frozenset(new.status.disrupted_pods),
        )

    def nominate(self, pod: PodToPlace, node_name: str) -> None:
        """Promise a waiting pod a node; an empty name takes the promise back."""
        if node_name:
            self.nominated[pod.metadata.uid] = self.placed(pod, node_name)
            self._queue.single_out(pod.metadata.uid)
        else:
            self.nominated.pop(pod.metadata.uid, None)

    def outbid(self, priority: int, node_name: str) -> list[PlacedPod]:
        """Take back the promises of a node to pods of lower priority; whose they were."""
        lost = [pod for pod in self.nominated.values() if pod.node_name == node_name and pod.info.priority < priority]
        for pod in lost:
            del self.nominated[pod.uid]
        return lost

    def placed(self, pod: PodToPlace, node_name: str, info: PodInfo | None = None) -> PlacedPod:
        """The pod as the node table counts it; `info` where its shape is known already."""
        metadata, status = pod.metadata, pod.status
        return PlacedPod(
            uid=metadata.uid,
            namespace=metadata.namespace,
            name=metadata.name,
            node_name=node_name,
            info=info or self.shapes.of(pod),
            terminating=metadata.deletion_timestamp is not None,
            preempted=any(
                one.type == "DisruptionTarget" and one.reason == "PreemptionByScheduler" for one in status.conditions
            ),
            start_time=status.start_time.timestamp() if status.start_time is not None else float("inf"),
        )

    def _see_member(self, groups: PodGroups, change: Change[PodToPlace]) -> None:
        pod = change.object
        assert pod.spec.scheduling_group is not None
        key = (pod.metadata.namespace, pod.spec.scheduling_group.pod_group_name)
        is_new = False
        if change.old is not None and change.old.metadata.uid != pod.metadata.uid:
            groups.forget(key, change.old.metadata.uid)
        if change.new is None or pod.status.phase in ("Succeeded", "Failed"):
            groups.forget(key, pod.metadata.uid)
        else:
            is_new = groups.see(key, pod.metadata.uid, pod.spec.node_name)
        self._see(change)
        if is_new:
            self._retry_group(groups, key, "AssignedPodAdd" if pod.spec.node_name else "UnschedulablePodAdd")

    def _retry_group(self, groups: PodGroups, key: GroupKey, cause: str) -> None:
        if self._queue.retry(groups.members(key), self._monotonic(), cause):
            self._wake()

    def _see_assigned(self, pod: PodToPlace) -> None:
        uid, node_name = pod.metadata.uid, pod.spec.node_name
        assumed = self.assumed.pop(uid, None)
        if assumed is not None and assumed != node_name:
            # Somebody else bound it elsewhere: what was decided here is void.
            self.nodes.remove_pod(assumed, uid)
        self._queue.remove(uid)
        self.nominated.pop(uid, None)
        self.awaited.forget(uid)
        known = self.nodes.pod(node_name, uid)
        placed = self.placed(pod, node_name)
        self.nodes.add_pod(placed)
        if known is None or assumed is not None:
            self._happened(Event.ASSIGNED_POD_ADDED)
        elif known.info is not placed.info or known.terminating != placed.terminating:
            self._happened(Event.ASSIGNED_POD_CHANGED)

    def _see_pending(self, old: PodToPlace | None, pod: PodToPlace) -> None:
        uid = pod.metadata.uid
        if pod.spec.scheduler_name not in self._scheduler_names or pod.metadata.deletion_timestamp is not None:
            self._queue.remove(uid)
            self.nominated.pop(uid, None)
            return
        if uid in self.assumed:
            # Its node is decided and on its way.
            return
        info = self.shapes.of(pod)
        self.devices.waits(info)
        if uid in self._queue:
            if old is not None and old.status.nominated_node_name != pod.status.nominated_node_name:
                self.nominate(pod, pod.status.nominated_node_name)
            self._queue.update(pod, info, self._monotonic())
        else:
            self._queue.add(pod, info, self._monotonic())
            if pod.status.nominated_node_name:
                self.nominate(pod, pod.status.nominated_node_name)
        self._wake()

    def _forget(self, pod: PodToPlace) -> None:
        uid = pod.metadata.uid
        self._queue.remove(uid)
        promised = self.nominated.pop(uid, None)
        node_name = self.assumed.pop(uid, "") or pod.spec.node_name
        if (node_name and self.nodes.remove_pod(node_name, uid) is not None) or promised is not None:
            self._happened(self.gone(uid))
        self.awaited.forget(uid)

    def gone(self, uid: str) -> Event:
        """What it means for others that a pod is not on its node any more; who waited for its end is tried at once."""
        was_victim, preemptors = self.awaited.gone(uid)
        if preemptors and self._queue.activate(preemptors, self._monotonic()):
            self._wake()
        return Event.VICTIM_REMOVED if was_victim else Event.ASSIGNED_POD_REMOVED

    def _put(self, infos: dict[_K, _I], key: _K, info: _I | None) -> None:
        if infos.get(key) == info:
            return
        if info is None:
            del infos[key]
        else:
            infos[key] = info
        self.objects.version += 1
        self._happened(Event.VOLUMES_CHANGED)

    def _happened(self, *events: Event) -> None:
        if not events:
            return
        started = self._monotonic()
        if self._queue.happened(events, started):
            self._wake()
        self._handled(self._monotonic() - started, events[0].label)


def compile_claim(claim: Claim) -> ClaimInfo:
    """What scheduling reads of a claim."""
    metadata, spec = claim.metadata, claim.spec
    return ClaimInfo(
        volume_name=spec.volume_name,
        storage_class=spec.storage_class_name or "",
        phase=claim.status.phase,
        access_modes=spec.access_modes,
        storage_bytes=amount("storage", spec.resources.requests.get("storage", "0")),
        selector=label_selectors.compile_selector(spec.selector) if spec.selector is not None else (),
        is_bound=bool(spec.volume_name) and _BIND_COMPLETED in metadata.annotations,
        terminating=metadata.deletion_timestamp is not None,
        selected_node=metadata.annotations.get(_SELECTED_NODE, ""),
        volume_mode=spec.volume_mode or _FILESYSTEM,
    )


def compile_volume(volume: Volume) -> VolumeInfo:
    """What scheduling reads of a volume."""
    spec = volume.spec
    return VolumeInfo(
        node_affinity=spec.node_affinity.required if spec.node_affinity is not None else None,
        storage_class=spec.storage_class_name,
        phase=volume.status.phase,
        access_modes=spec.access_modes,
        storage_bytes=amount("storage", spec.capacity.get("storage", "0")),
        labels=volume.metadata.labels,
        claim=(spec.claim_ref.namespace, spec.claim_ref.name) if spec.claim_ref is not None else None,
        volume_mode=spec.volume_mode or _FILESYSTEM,
        **_driven(spec),
    )


def compile_attachment(attachment: Attachment) -> AttachedVolume:
    """What scheduling reads of an attachment."""
    source = attachment.spec.source
    inline = source.inline_volume_spec
    return AttachedVolume(source.persistent_volume_name or "", **(_driven(inline) if inline is not None else {}))


def _driven(spec: VolumeSpec) -> dict[str, str]:
    # What a CSI driver knows the volume by, be it of that driver or of the plugin that it takes over from.
    if spec.csi is not None:
        return {"driver": spec.csi.driver, "handle": spec.csi.volume_handle}
    plugin, driver, handle = csi_migration.translated(spec) or ("", "", "")
    return {"driver": driver, "handle": handle, "plugin": plugin}


def compile_capacity(capacity: StorageCapacity) -> CapacityInfo:
    """What scheduling reads of a storage capacity."""
    largest = capacity.maximum_volume_size or capacity.capacity
    return CapacityInfo(
        storage_class=capacity.storage_class_name,
        node_topology=label_selectors.compile_selector(capacity.node_topology),
        largest_bytes=amount("storage", largest) if largest is not None else -1,
    )


def _owner(obj: Object) -> Owner:
    return Owner(obj.api_version, obj.kind, obj.metadata.name)
