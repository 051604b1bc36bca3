"""The persistentvolume-attach-detach controller: a VolumeAttachment for each CSI volume that a node's pods use.

A driver's attacher does the work and says so in the attachment's status; this controller says what is wanted, keeps a
volume of one node from another, and waits with a detachment until the kubelet has unmounted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from keelback.api import conditions, pods, taints
from keelback.api.core_v1 import AttachedVolume, PersistentVolume, PersistentVolumeClaim
from keelback.api.storage_v1 import CSIDriver, VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Change, MergePatch
from keelback.controllers.observed import NodeView, PodView
from keelback.controllers.pod_volumes import claims_of
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after

MANAGED = "volumes.kubernetes.io/controller-managed-attach-detach"
KEEP_TERMINATED = "volumes.kubernetes.io/keep-terminated-pod-volumes"
_SHARED_MODES = frozenset({"ReadOnlyMany", "ReadWriteMany"})
_FORCED_AFTER_SECONDS = 360.0


def attachment_name(handle: str, driver: str, node: str) -> str:
    """The name that the CSI plugin of kubelets looks for."""
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()


def volume_name(volume: PersistentVolume) -> str:
    """What a node's status calls the volume; empty for one that no driver attaches."""
    csi = volume.spec.csi
    return "" if csi is None else f"kubernetes.io/csi/{csi.driver}^{csi.volume_handle}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Volumes to attach to the node, attachments to undo, and when to look again."""

    attach: tuple[PersistentVolume, ...] = ()
    refused: tuple[tuple[PersistentVolume, str], ...] = ()
    """Volumes that another node has, and who has them."""
    detach: tuple[VolumeAttachment, ...] = ()
    again_after_seconds: float | None = None


def plan(
    node: NodeView,
    wanted: Mapping[str, PersistentVolume],
    attachments: Sequence[VolumeAttachment],
    volumes: Mapping[str, PersistentVolume],
    now: datetime,
    *,
    forces: bool = True,
) -> Plan:
    """Decide for one node. `wanted` are its volumes by name, `attachments` those of all nodes that concern them."""
    own = [one for one in attachments if one.spec.node_name == node.metadata.name]
    held = {one.spec.source.persistent_volume_name for one in own}
    attach, refused = [], []
    for name, volume in wanted.items():
        if name in held:
            continue
        elsewhere = [
            one
            for one in attachments
            if one.spec.source.persistent_volume_name == name and one.spec.node_name != node.metadata.name
        ]
        if elsewhere and not _SHARED_MODES & set(volume.spec.access_modes):
            refused.append((volume, elsewhere[0].spec.node_name))
        else:
            attach.append(volume)
    detach, delays = [], []
    for one in own:
        name = one.spec.source.persistent_volume_name or ""
        if name in wanted or one.metadata.deletion_timestamp is not None or not name:
            continue
        known = volumes.get(name)
        left = 0.0 if known is None else _seconds_to_detachment(node, volume_name(known), now, forces=forces)
        if left is None:
            continue
        if left > 0:
            delays.append(left)
        else:
            detach.append(one)
    return Plan(tuple(attach), tuple(refused), tuple(detach), min(delays, default=None))


def _seconds_to_detachment(node: NodeView, name: str, now: datetime, *, forces: bool) -> float | None:
    """0 for a volume that may be detached now; None where only the kubelet, or an administrator, can change that."""
    if name not in node.status.volumes_in_use:
        return 0.0
    if any(one.key == taints.OUT_OF_SERVICE for one in node.spec.taints):
        return 0.0
    ready = conditions.find(node.status.conditions, "Ready")
    if ready is None or ready.status == "True" or ready.last_transition_time is None:
        return None
    if not forces:
        return None
    # A node that is not well for so long will not say any more that it has unmounted.
    due = ready.last_transition_time + timedelta(seconds=_FORCED_AFTER_SECONDS)
    return max(0.0, (due - now).total_seconds())


def attached_volumes(
    node: NodeView, attachments: Iterable[VolumeAttachment], volumes: Mapping[str, PersistentVolume]
) -> tuple[AttachedVolume, ...]:
    """What the node's status should say is attached."""
    names = {
        volume_name(volumes[name])
        for one in attachments
        if one.spec.node_name == node.metadata.name
        and one.status.attached
        and one.metadata.deletion_timestamp is None
        and (name := one.spec.source.persistent_volume_name or "") in volumes
    }
    return tuple(AttachedVolume(name=name) for name in sorted(names))


@dataclass(frozen=True, slots=True)
class AttachDetachReconciler:
    """Looks at a node when its pods, their claims or its attachments change."""

    context: Context
    forces: bool = True
    """Whether volumes are taken from a node that has been away for too long (`--disable-force-detach-on-timeout`)."""
    name: ClassVar = "persistentvolume-attach-detach-controller"
    role: ClassVar = "attachdetach-controller"
    component: ClassVar = "attachdetach-controller"
    kind: ClassVar = NodeView
    owns: ClassVar = ()
    reads: ClassVar = (CSIDriver,)

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(PodView, "by-node", lambda pod: [pod.spec.node_name])
        self.context.caches.index(PodView, "by-claim", _claim_keys)
        return (
            Source(PodView, _node_of_user, _matters),
            Source(VolumeAttachment, self._nodes_of_attachment),
            Source(PersistentVolumeClaim, self._nodes_of_claim, _bond_changed),
            Source(PersistentVolume, self._nodes_of_volume),
        )

    def is_relevant(self, change: Change[Any]) -> bool:
        old, new = change.old, change.new
        return old is None or new is None or _seen(old) != _seen(new)

    async def reconcile(self, node: NodeView) -> Result:
        if MANAGED not in node.metadata.annotations:
            return DONE
        caches = self.context.caches
        volumes = {one.metadata.name: one for one in caches.store(PersistentVolume).list()}
        users = self._wanted(node, volumes)
        wanted = {name: volumes[name] for name in users}
        attachments = caches.store(VolumeAttachment).list()
        decided = plan(node, wanted, attachments, volumes, self.context.now(), forces=self.forces)
        going = {one.metadata.uid for one in decided.detach}
        staying = [one for one in attachments if one.metadata.uid not in going]
        # The kubelet learns that a volume goes before it goes.
        await self._report(node, attached_volumes(node, staying, volumes))
        for attachment in decided.detach:
            metadata = attachment.metadata
            await self.context.client.delete(VolumeAttachment, metadata.name, uid=metadata.uid)
        for volume in decided.attach:
            await self._attach(node, volume)
        await self._say(node, users, decided, attachments)
        seconds = decided.again_after_seconds
        return DONE if seconds is None else again_after(seconds)

    def _wanted(self, node: NodeView, volumes: Mapping[str, PersistentVolume]) -> dict[str, list[PodView]]:
        """The names of the volumes that the node's pods use and a driver must attach, each with those pods."""
        found: dict[str, list[PodView]] = {}
        claims = self.context.caches.store(PersistentVolumeClaim)
        drivers = self.context.caches.store(CSIDriver)
        keeps = node.metadata.annotations.get(KEEP_TERMINATED) == "true"
        for pod in self.context.caches.store(PodView).by_index("by-node", node.metadata.name):
            if pods.is_terminal(pod) and not keeps:
                continue
            for name in claims_of(pod):
                claim = claims.get(pod.metadata.namespace, name)
                volume = volumes.get(claim.spec.volume_name) if claim is not None else None
                if claim is None or volume is None or volume.spec.csi is None or claim.status.phase != "Bound":
                    continue
                driver = drivers.get("", volume.spec.csi.driver)
                if driver is None or driver.spec.attach_required:
                    found.setdefault(volume.metadata.name, []).append(pod)
        return found

    async def _attach(self, node: NodeView, volume: PersistentVolume) -> None:
        csi = volume.spec.csi
        assert csi is not None
        name = attachment_name(csi.volume_handle, csi.driver, node.metadata.name)
        source = VolumeAttachmentSource(persistent_volume_name=volume.metadata.name)
        spec = VolumeAttachmentSpec(attacher=csi.driver, node_name=node.metadata.name, source=source)
        try:
            await self.context.client.create(VolumeAttachment(metadata=ObjectMeta(name=name), spec=spec))
        except errors.AlreadyExists:
            return

    async def _report(self, node: NodeView, attached: tuple[AttachedVolume, ...]) -> None:
        if {one.name for one in attached} == {one.name for one in node.status.volumes_attached}:
            return
        status = {"volumesAttached": [patches.tree(one) for one in attached] or None}
        patch = MergePatch({"metadata": {"uid": node.metadata.uid}, "status": status})
        await self.context.client.patch(NodeView, node.metadata.name, "", patch, "status")

    async def _say(
        self,
        node: NodeView,
        users: Mapping[str, Sequence[PodView]],
        decided: Plan,
        attachments: Iterable[VolumeAttachment],
    ) -> None:
        event = self.context.events.event
        known = {one.name for one in node.status.volumes_attached}
        for one in attachments:
            name = one.spec.source.persistent_volume_name or ""
            if one.spec.node_name != node.metadata.name or name not in users:
                continue
            volume = self.context.caches.store(PersistentVolume).get("", name)
            failure = one.status.attach_error
            for pod in users[name]:
                if one.status.attached and volume is not None and volume_name(volume) not in known:
                    message = f'AttachVolume.Attach succeeded for volume "{name}" '
                    await event(pod, "Normal", "SuccessfulAttachVolume", message)
                elif failure is not None and not one.status.attached:
                    message = f'AttachVolume.Attach failed for volume "{name}" : {failure.message}'
                    await event(pod, "Warning", "FailedAttachVolume", message)
        for volume, elsewhere in decided.refused:
            for pod in users[volume.metadata.name]:
                message = self._multi_attach_message(volume, elsewhere, pod)
                await event(pod, "Warning", "FailedAttachVolume", message)

    def _multi_attach_message(self, volume: PersistentVolume, elsewhere: str, pod: PodView) -> str:
        start = f'Multi-Attach error for volume "{volume.metadata.name}" '
        reference = volume.spec.claim_ref
        key = (reference.namespace, reference.name) if reference is not None else ("", "")
        others = [
            one
            for one in self.context.caches.store(PodView).by_index("by-claim", key)
            if one.spec.node_name == elsewhere and not pods.is_terminal(one)
        ]
        near = sorted(one.metadata.name for one in others if one.metadata.namespace == pod.metadata.namespace)
        if not near:
            return start + "Volume is already exclusively attached to one node and can't be attached to another"
        return start + f"Volume is already used by pod(s) {', '.join(near)}"

    def _nodes_of_claim(self, claim: PersistentVolumeClaim) -> list[tuple[str, str]]:
        key = (claim.metadata.namespace, claim.metadata.name)
        users = self.context.caches.store(PodView).by_index("by-claim", key)
        return [("", pod.spec.node_name) for pod in users if pod.spec.node_name]

    def _nodes_of_attachment(self, attachment: VolumeAttachment) -> list[tuple[str, str]]:
        """Its own node, and those that may wait for it to end."""
        name = attachment.spec.source.persistent_volume_name or ""
        volume = self.context.caches.store(PersistentVolume).get("", name)
        others = [] if volume is None else self._nodes_of_volume(volume)
        return [("", attachment.spec.node_name), *others]

    def _nodes_of_volume(self, volume: PersistentVolume) -> list[tuple[str, str]]:
        reference = volume.spec.claim_ref
        if reference is None or volume.spec.csi is None:
            return []
        users = self.context.caches.store(PodView).by_index("by-claim", (reference.namespace, reference.name))
        return [("", pod.spec.node_name) for pod in users if pod.spec.node_name]


def _claim_keys(pod: PodView) -> list[tuple[str, str]]:
    return [(pod.metadata.namespace, name) for name in claims_of(pod)]


def _node_of_user(pod: PodView) -> list[tuple[str, str]]:
    return [("", pod.spec.node_name)] if pod.spec.node_name and claims_of(pod) else []


def _matters(change: Change[PodView]) -> bool:
    old, new = change.old, change.new
    if old is None or new is None:
        return True
    return old.spec.node_name != new.spec.node_name or pods.is_terminal(old) != pods.is_terminal(new)


def _bond_changed(change: Change[PersistentVolumeClaim]) -> bool:
    old, new = change.old, change.new
    return (
        old is None
        or new is None
        or (old.spec.volume_name, old.status.phase) != (new.spec.volume_name, new.status.phase)
    )


def _seen(node: NodeView) -> object:
    """What of a node decides about its volumes: not its heartbeats."""
    ready = conditions.find(node.status.conditions, "Ready")
    status = node.status
    return (
        MANAGED in node.metadata.annotations,
        status.volumes_attached,
        status.volumes_in_use,
        node.spec.taints,
        ready.status if ready is not None else "",
    )
