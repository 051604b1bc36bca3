"""The protection controllers: claims used by pods, volumes bound to claims, and attributes classes named by either,
are not deleted before that ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keelback.api import owners
from keelback.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from keelback.api.storage_v1 import VolumeAttributesClass
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object
from keelback.client import MergePatch
from keelback.controllers.observed import PodView
from keelback.controllers.pod_volumes import claims_of
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
CLASS_FINALIZER = "kubernetes.io/vac-protection"


def classes_of_claim(claim: PersistentVolumeClaim) -> frozenset[str]:
    """The attributes classes that a claim asks for, has, or is being changed to."""
    status = claim.status
    changing = status.modify_volume_status
    named = (
        claim.spec.volume_attributes_class_name,
        status.current_volume_attributes_class_name,
        changing.target_volume_attributes_class_name if changing is not None else None,
    )
    return frozenset(one for one in named if one)


def classes_of_volume(volume: PersistentVolume) -> frozenset[str]:
    """The attributes class of a volume, if it has one."""
    return frozenset(one for one in (volume.spec.volume_attributes_class_name,) if one)


def finalizers_wanted(held: Sequence[str], finalizer: str, *, is_deleting: bool, is_used: bool) -> tuple[str, ...]:
    """The finalizers an object should have: protected until it is both deleted and not used."""
    if is_deleting and not is_used:
        return tuple(one for one in held if one != finalizer)
    return tuple(held) if finalizer in held or is_deleting else (*held, finalizer)


def uses(pod: PodView, claim: PersistentVolumeClaim) -> bool:
    """Whether a pod keeps a claim from going: once it is placed and as long as it is there, ended or not.

    A claim that was made for the pod does not wait for one whose deletion waits for nothing but finalizers: that
    might wait for the claim.
    """
    if not pod.spec.node_name:
        return False
    name = claim.metadata.name
    if any(one.persistent_volume_claim and one.persistent_volume_claim.claim_name == name for one in pod.spec.volumes):
        return True
    is_shut_down = pod.metadata.deletion_timestamp is not None and pod.metadata.deletion_grace_period_seconds == 0
    return not is_shut_down and name in claims_of(pod) and owners.is_controlled_by(claim, pod)


@dataclass(frozen=True, slots=True)
class ClaimProtectionReconciler:
    """Looks at a claim when it or a pod that names it changes."""

    context: Context
    name: ClassVar = "persistentvolumeclaim-protection-controller"
    role: ClassVar = "pvc-protection-controller"
    component: ClassVar = "pvc-protection-controller"
    kind: ClassVar = PersistentVolumeClaim
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(PodView, "by-claim", _claim_keys)
        return (Source(PodView, _claim_keys),)

    async def reconcile(self, claim: PersistentVolumeClaim) -> Result:
        metadata = claim.metadata
        is_deleting = metadata.deletion_timestamp is not None
        store = self.context.caches.store(PodView)
        is_used = any(uses(pod, claim) for pod in store.by_index("by-claim", (metadata.namespace, metadata.name)))
        if is_deleting and not is_used and CLAIM_FINALIZER in metadata.finalizers:
            # A pod that the cache has not seen yet must not lose its data.
            listed = await self.context.client.list(PodView, metadata.namespace)
            is_used = any(uses(pod, claim) for pod in listed.items or ())
        wanted = finalizers_wanted(metadata.finalizers, CLAIM_FINALIZER, is_deleting=is_deleting, is_used=is_used)
        await _write(self.context, PersistentVolumeClaim, claim, wanted)
        return DONE


@dataclass(frozen=True, slots=True)
class VolumeProtectionReconciler:
    """Looks at a volume when it changes: its phase says whether a claim has it."""

    context: Context
    name: ClassVar = "persistentvolume-protection-controller"
    role: ClassVar = "pv-protection-controller"
    component: ClassVar = "pv-protection-controller"
    kind: ClassVar = PersistentVolume
    owns: ClassVar = ()

    async def reconcile(self, volume: PersistentVolume) -> Result:
        metadata = volume.metadata
        is_deleting = metadata.deletion_timestamp is not None
        is_used = volume.status.phase == "Bound"
        wanted = finalizers_wanted(metadata.finalizers, VOLUME_FINALIZER, is_deleting=is_deleting, is_used=is_used)
        await _write(self.context, PersistentVolume, volume, wanted)
        return DONE


@dataclass(frozen=True, slots=True)
class ClassProtectionReconciler:
    """Looks at a VolumeAttributesClass when it, or a claim or volume that names it, changes."""

    context: Context
    name: ClassVar = "volumeattributesclass-protection-controller"
    role: ClassVar = "volumeattributesclass-protection-controller"
    component: ClassVar = "volumeattributesclass-protection-controller"
    kind: ClassVar = VolumeAttributesClass
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(PersistentVolumeClaim, "by-attributes-class", _keys_of_claim)
        self.context.caches.index(PersistentVolume, "by-attributes-class", _keys_of_volume)
        return (Source(PersistentVolumeClaim, _keys_of_claim), Source(PersistentVolume, _keys_of_volume))

    async def reconcile(self, attributes: VolumeAttributesClass) -> Result:
        metadata = attributes.metadata
        key = ("", metadata.name)
        caches = self.context.caches
        is_used = any(
            True
            for cls in (PersistentVolumeClaim, PersistentVolume)
            for _ in caches.store(cls).by_index("by-attributes-class", key)
        )
        is_deleting = metadata.deletion_timestamp is not None
        wanted = finalizers_wanted(metadata.finalizers, CLASS_FINALIZER, is_deleting=is_deleting, is_used=is_used)
        await _write(self.context, VolumeAttributesClass, attributes, wanted)
        return DONE


async def _write(context: Context, cls: type[Object], obj: Object, wanted: tuple[str, ...]) -> None:
    metadata = obj.metadata
    if wanted == tuple(metadata.finalizers):
        return
    changed = {"finalizers": list(wanted) or None, "resourceVersion": metadata.resource_version}
    try:
        await context.client.patch(cls, metadata.name, metadata.namespace, MergePatch({"metadata": changed}))
    except errors.NotFound:
        return


def _claim_keys(pod: PodView) -> list[tuple[str, str]]:
    return [(pod.metadata.namespace, name) for name in claims_of(pod)]


def _keys_of_claim(claim: PersistentVolumeClaim) -> list[tuple[str, str]]:
    return [("", name) for name in classes_of_claim(claim)]


def _keys_of_volume(volume: PersistentVolume) -> list[tuple[str, str]]:
    return [("", name) for name in classes_of_volume(volume)]
