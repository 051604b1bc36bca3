"""What the informers say of claims, device classes and slices, brought to the pods that wait for it. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keelback.api.resource_v1 import DeviceClass, ResourceClaim, ResourceSlice
from keelback.api.resource_v1alpha3 import DeviceTaintRule
from keelback.client.informer import Change
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduling import pod_claims
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.device_objects import ClaimChange, ClaimKey, DeviceObjects
from keelback.scheduling.dynamic_resources import DynamicResources
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

HELD_BACK: Final = "DynamicResources: claims"
"""Under this name, which is no plugin's, pods are held back until their own claims are there: no other event helps."""


class DeviceObservation:
    """Keeps the devices of a `ClusterObjects` current."""

    def __init__(
        self,
        objects: ClusterObjects,
        nodes: NodeTable,
        queue: SchedulingQueue,
        monotonic: Callable[[], float],
        wake: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when any pod may find devices that it did not find before."""
        self._objects = objects
        self._nodes = nodes
        self._queue = queue
        self._monotonic = monotonic
        self._wake = wake
        self._changed = changed
        self._users: dict[ClaimKey, set[str]] = {}
        """By claim the pods that have named it, as long as one of them waits."""

    @property
    def devices(self) -> DeviceObjects:
        """All that is known of devices."""
        return self._objects.devices

    def claim(self, key: ClaimKey) -> ResourceClaim | None:
        """A claim as it was last seen or written."""
        return self.devices.claims.get(key)

    def on_claim(self, change: Change[ResourceClaim]) -> None:
        """A claim came, went or changed."""
        metadata = change.object.metadata
        self._put((metadata.namespace, metadata.name), change.new)

    def learn(self, claim: ResourceClaim) -> None:
        """Know what was written before the informer tells of it."""
        self._put((claim.metadata.namespace, claim.metadata.name), claim)

    def on_class(self, change: Change[DeviceClass]) -> None:
        """A device class came, went or changed."""
        if self.devices.put_class(change.object.metadata.name, change.new):
            # Which resources nodes must have themselves is another matter from now on.
            self._nodes.version += 1
        self._objects.version += 1
        self._changed()

    def on_slice(self, change: Change[ResourceSlice]) -> None:
        """A driver offers more, fewer or other devices."""
        self.devices.put_slice(change.object.metadata.name, change.new)
        self._objects.version += 1
        self._changed()

    def on_taint_rule(self, change: Change[DeviceTaintRule]) -> None:
        """An administrator's rule taints devices, or does no longer."""
        if self.devices.put_taint_rule(change.object.metadata.name, change.new):
            self._objects.version += 1
            self._changed()

    def is_held_back(self, pod: PodInfo) -> bool:
        """Whether one of the pod's claims is not there yet, or not the pod's."""
        return pod.devices is not None and pod_claims.missing_claim(self.devices, pod) is not None

    def waits(self, pod: PodInfo) -> None:
        """A pod waits for its claims, or for devices for them."""
        if pod.devices is not None:
            for one in pod.devices.claims:
                if one.claim:
                    self._users.setdefault((pod.namespace, one.claim), set()).add(pod.devices.uid)

    def freed(self) -> None:
        """Devices that were reserved are not taken after all."""
        self._objects.version += 1
        self._changed()

    def _put(self, key: ClaimKey, new: ResourceClaim | None) -> None:
        change = self.devices.put_claim(key, new)
        if change is ClaimChange.NONE:
            return
        self._objects.version += 1
        if change is ClaimChange.FREED:
            self._changed()
        self._tell_users(key)

    def _tell_users(self, key: ClaimKey) -> None:
        waiting = {uid for uid in self._users.pop(key, ()) if uid in self._queue}
        if not waiting:
            return
        self._users[key] = waiting
        concerned = [uid for uid in waiting if self._is_concerned(uid)]
        if self._queue.retry(concerned, self._monotonic(), "ResourceClaimUpdate"):
            self._wake()

    def _is_concerned(self, uid: str) -> bool:
        queued = self._queue.get(uid)
        if queued is None:
            return False
        return queued.place == "gated" or not queued.plugins or DynamicResources.name in queued.plugins
