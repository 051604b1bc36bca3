"""The protection controllers: claims used by pods, and volumes bound to claims, are not deleted before that ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keelback.api import pods
from keelback.api.core_v1 import PersistentVolume, PersistentVolumeClaim
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object
from keelback.client import MergePatch
from keelback.controllers.observed import PodView
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"


def claims_of(pod: PodView) -> tuple[str, ...]:
    """The names of the claims a pod uses, those of its ephemeral volumes included."""
    named = [one.persistent_volume_claim.claim_name for one in pod.spec.volumes if one.persistent_volume_claim]
    made = [f"{pod.metadata.name}-{one.name}" for one in pod.spec.volumes if one.ephemeral is not None]
    return (*named, *made)


def finalizers_wanted(held: Sequence[str], finalizer: str, *, is_deleting: bool, is_used: bool) -> tuple[str, ...]:
    """The finalizers an object should have: protected until it is both deleted and not used."""
    if is_deleting and not is_used:
        return tuple(one for one in held if one != finalizer)
    return tuple(held) if finalizer in held or is_deleting else (*held, finalizer)


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
        store = self.context.caches.store(PodView)
        users = store.by_index("by-claim", (metadata.namespace, metadata.name))
        # A pod that was never placed uses nothing; one that has ended has let go.
        is_used = any(pod.spec.node_name and not pods.is_terminal(pod) for pod in users)
        is_deleting = metadata.deletion_timestamp is not None
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
