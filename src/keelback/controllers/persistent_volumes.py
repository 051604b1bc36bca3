"""The persistentvolume binder: finds each claim a volume, and says of each volume whether somebody has it.

A bond is written on both sides, the volume's first: `claimRef` is what decides who has a volume.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

from keelback.api.core_v1 import ObjectReference, PersistentVolume, PersistentVolumeClaim
from keelback.api.storage_v1 import StorageClass
from keelback.apimachinery import errors, quantity
from keelback.apimachinery.meta import replace
from keelback.client import MergePatch, Store
from keelback.controllers import adoption
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Count, Level
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

BOUND_VOLUMES = Level(
    "pv_collector_bound_pv_count", "Gauge measuring number of persistent volume currently bound", ("storage_class",)
)
UNBOUND_VOLUMES = Level(
    "pv_collector_unbound_pv_count",
    "Gauge measuring number of persistent volume currently unbound",
    ("storage_class",),
)
_OF_CLAIM = ("namespace", "storage_class", "volume_attributes_class")
BOUND_CLAIMS = Level(
    "pv_collector_bound_pvc_count", "Gauge measuring number of persistent volume claim currently bound", _OF_CLAIM
)
UNBOUND_CLAIMS = Level(
    "pv_collector_unbound_pvc_count", "Gauge measuring number of persistent volume claim currently unbound", _OF_CLAIM
)
DEFAULTED = Count(
    "retroactive_storageclass_total",
    "Total number of successful retroactive StorageClass assignments to persistent volume claim",
)
NOT_DEFAULTED = Count(
    "retroactive_storageclass_errors_total",
    "Total number of failed retroactive StorageClass assignments to persistent volume claim",
)

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_NO_PROVISIONER = "kubernetes.io/no-provisioner"
_NEVER = datetime.min.replace(tzinfo=UTC)


def class_of(obj: PersistentVolume | PersistentVolumeClaim) -> str:
    """The name of its storage class; empty for none."""
    return obj.metadata.annotations.get(_BETA_CLASS) or obj.spec.storage_class_name or ""


def is_bound_to(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume names this claim: by uid or, reserved for it in advance, by name."""
    reference = volume.spec.claim_ref
    if reference is None:
        return False
    names = (reference.namespace, reference.name) == (claim.metadata.namespace, claim.metadata.name)
    return names and reference.uid in ("", claim.metadata.uid)


def mismatch(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    """Why the volume is not what the claim asks for, in upstream's words; empty where it is."""
    wanted = claim.spec.resources.requests.get("storage", "0")
    if volume.metadata.deletion_timestamp is not None:
        return f'the volume is marked for deletion "{volume.metadata.name}"'
    if _size(volume) < quantity.parse(wanted):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if (volume.spec.volume_attributes_class_name or "") != (claim.spec.volume_attributes_class_name or ""):
        return "volumeAttributesClassName does not match"
    if volume.spec.volume_mode != claim.spec.volume_mode:
        return "incompatible volumeMode"
    if not set(claim.spec.access_modes) <= set(volume.spec.access_modes):
        return "incompatible accessMode"
    return ""


def satisfies(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume is what the claim asks for and selects, whoever has it."""
    selector = claim.spec.selector
    is_selected = selector is None or adoption.by_selector(selector)(volume.metadata.labels)
    return is_selected and not mismatch(volume, claim)


def find_volume(claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]) -> PersistentVolume | None:
    """The volume reserved for the claim, else the smallest free one that satisfies it."""
    wanted = quantity.parse(claim.spec.resources.requests.get("storage", "0"))
    best: PersistentVolume | None = None
    for volume in volumes:
        if volume.metadata.deletion_timestamp is not None:
            continue
        if is_bound_to(volume, claim):
            if _size(volume) >= wanted and volume.spec.volume_mode == claim.spec.volume_mode:
                return volume
            continue
        is_free = volume.spec.claim_ref is None and volume.status.phase in ("Available", "Pending")
        if is_free and satisfies(volume, claim) and (best is None or _size(volume) < _size(best)):
            best = volume
    return best


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """The class of claims that name none: of several defaults the newest, then the first by name."""
    defaults = [one for one in classes if any(one.metadata.annotations.get(key) == "true" for key in _DEFAULT_CLASS)]
    by_name = sorted(defaults, key=lambda one: one.metadata.name)
    return max(by_name, key=lambda one: one.metadata.creation_timestamp or _NEVER, default=None)


@dataclass(frozen=True, slots=True)
class ClaimBindingReconciler:
    """One claim at a time: two workers could promise one volume twice."""

    context: Context
    provisions: bool = True
    """Whether volumes are asked for where there is none that fits (`--enable-dynamic-provisioning`)."""
    name: ClassVar = "persistentvolume-binder-controller"
    role: ClassVar = "persistent-volume-binder"
    component: ClassVar = "persistentvolume-controller"
    kind: ClassVar = PersistentVolumeClaim
    owns: ClassVar = ()
    reads: ClassVar = (StorageClass,)

    def sources(self) -> Sequence[Source]:
        return (Source(PersistentVolume, self._claims_for), Source(StorageClass, self._pending_of_class))

    async def reconcile(self, claim: PersistentVolumeClaim) -> Result:
        if claim.metadata.deletion_timestamp is not None:
            return DONE
        if BIND_COMPLETED in claim.metadata.annotations:
            await self._check(claim)
            return DONE
        if await self._give_default_class(claim):
            return DONE  # the claim is looked at again as it is now
        volumes = self.context.caches.store(PersistentVolume)
        if claim.spec.volume_name:
            named = volumes.get("", claim.spec.volume_name)
            if named is not None:
                await self._bind_to_named(claim, named)
            return DONE
        storage_class = self.context.caches.store(StorageClass).get("", class_of(claim))
        reserved = next((one for one in volumes.list() if is_bound_to(one, claim)), None)
        if reserved is None and _waits_for_consumer(claim, storage_class):
            message = "waiting for first consumer to be created before binding"
            await self.context.events.event(claim, "Normal", "WaitForFirstConsumer", message)
            return DONE
        found = find_volume(claim, volumes.list())
        if found is not None:
            await self._bind(claim, found)
        else:
            await self._ask_for_one(claim, storage_class)
        return DONE

    async def _bind_to_named(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """The claim asks for this volume and no other."""
        name = volume.metadata.name
        why = mismatch(volume, claim) if volume.spec.claim_ref is None else ""
        if why:
            message = f'Cannot bind to requested volume "{name}": {why}'
            await self.context.events.event(claim, "Warning", "VolumeMismatch", message)
        elif volume.spec.claim_ref is None or is_bound_to(volume, claim):
            await self._bind(claim, volume)
        else:
            message = f'volume "{name}" already bound to a different claim.'
            await self.context.events.event(claim, "Warning", "FailedBinding", message)

    async def _give_default_class(self, claim: PersistentVolumeClaim) -> bool:
        """A claim made when there was no default class gets the one there is now (https://kep.k8s.io/3333)."""
        if claim.spec.storage_class_name is not None or _BETA_CLASS in claim.metadata.annotations:
            return False
        found = default_class(self.context.caches.store(StorageClass).list())
        if found is None:
            return False
        name, namespace = claim.metadata.name, claim.metadata.namespace
        changed = {"metadata": {"uid": claim.metadata.uid}, "spec": {"storageClassName": found.metadata.name}}
        try:
            await self.context.client.patch(PersistentVolumeClaim, name, namespace, MergePatch(changed))
        except errors.StatusError:
            self.context.metrics.inc(NOT_DEFAULTED)
            raise
        self.context.metrics.inc(DEFAULTED)
        return True

    async def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        client = self.context.client
        reference = ObjectReference(
            api_version="v1",
            kind="PersistentVolumeClaim",
            namespace=claim.metadata.namespace,
            name=claim.metadata.name,
            uid=claim.metadata.uid,
            resource_version=claim.metadata.resource_version,
        )
        held = volume.spec.claim_ref
        if held is None or held.uid != claim.metadata.uid:
            metadata: dict[str, Any] = {"resourceVersion": volume.metadata.resource_version}
            if held is None:
                metadata["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
            patch = MergePatch({"metadata": metadata, "spec": {"claimRef": patches.tree(reference)}})
            volume = await client.patch(PersistentVolume, volume.metadata.name, "", patch)
        await patches.write_status(client, volume, volume.status, replace(volume.status, phase="Bound"))
        annotations = {BIND_COMPLETED: "yes"}
        spec: dict[str, object] = {}
        if claim.spec.volume_name != volume.metadata.name:
            annotations[BOUND_BY_CONTROLLER] = "yes"
            spec["volumeName"] = volume.metadata.name
        bond = MergePatch({"metadata": {"annotations": annotations, "uid": claim.metadata.uid}, "spec": spec})
        name, namespace = claim.metadata.name, claim.metadata.namespace
        claim = await client.patch(PersistentVolumeClaim, name, namespace, bond)
        await self._report(claim, volume)

    async def _check(self, claim: PersistentVolumeClaim) -> None:
        """A claim that is bound stays so; where its volume is gone or another's, its data is lost."""
        volume = self.context.caches.store(PersistentVolume).get("", claim.spec.volume_name)
        if not claim.spec.volume_name:
            message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
            await self._lose(claim, "ClaimLost", message)
        elif volume is None:
            message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            await self._lose(claim, "ClaimLost", message)
        elif volume.spec.claim_ref is None:
            await self._bind(claim, volume)
        elif is_bound_to(volume, claim):
            await self._report(claim, volume)
        else:
            message = "Two claims are bound to the same volume, this one is bound incorrectly"
            await self._lose(claim, "ClaimMisbound", message)

    async def _lose(self, claim: PersistentVolumeClaim, reason: str, message: str) -> None:
        if claim.status.phase == "Lost":
            return
        lost = replace(claim.status, phase="Lost", access_modes=(), capacity={})
        await patches.write_status(self.context.client, claim, claim.status, lost)
        await self.context.events.event(claim, "Warning", reason, message)

    async def _report(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        status = claim.status
        if status.phase != "Bound":
            capacity = {"storage": volume.spec.capacity.get("storage", "0")}
            modes = volume.spec.access_modes
            bound = replace(status, phase="Bound", access_modes=modes, capacity=capacity)
            await patches.write_status(self.context.client, claim, status, bound)

    async def _ask_for_one(self, claim: PersistentVolumeClaim, storage_class: StorageClass | None) -> None:
        provisioner = storage_class.provisioner if storage_class is not None else _NO_PROVISIONER
        if provisioner == _NO_PROVISIONER or not self.provisions:
            reason, message = "FailedBinding", "no persistent volumes available for this claim"
            if not class_of(claim):
                message += " and no storage class is set"
            elif storage_class is None:
                missing = class_of(claim)
                reason, message = "ProvisioningFailed", f'storageclass.storage.k8s.io "{missing}" not found'
            kind = "Warning" if reason == "ProvisioningFailed" else "Normal"
            await self.context.events.event(claim, kind, reason, message)
            return
        if claim.metadata.annotations.get(PROVISIONER) != provisioner:
            annotations = {PROVISIONER: provisioner, BETA_PROVISIONER: provisioner}
            patch = MergePatch({"metadata": {"annotations": annotations}})
            name, namespace = claim.metadata.name, claim.metadata.namespace
            await self.context.client.patch(PersistentVolumeClaim, name, namespace, patch)
        message = (
            "Waiting for a volume to be created either by the external provisioner "
            f"'{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify "
            "that the provisioner is running and correctly registered."
        )
        await self.context.events.event(claim, "Normal", "ExternalProvisioning", message)

    def _claims_for(self, volume: PersistentVolume) -> list[tuple[str, str]]:
        reference = volume.spec.claim_ref
        if reference is not None:
            return [(reference.namespace, reference.name)]
        return self._pending(class_of(volume))

    def _pending_of_class(self, storage_class: StorageClass) -> list[tuple[str, str]]:
        return [*self._pending(storage_class.metadata.name), *self._pending("")]

    def _pending(self, class_name: str) -> list[tuple[str, str]]:
        store = self.context.caches.store(PersistentVolumeClaim)
        return [
            (one.metadata.namespace, one.metadata.name)
            for one in store.list()
            if BIND_COMPLETED not in one.metadata.annotations and class_of(one) == class_name
        ]


@dataclass(frozen=True, slots=True)
class VolumePhaseReconciler:
    """Says of a volume whether it is free, bound, or left behind."""

    context: Context
    name: ClassVar = "persistentvolume-binder-controller"
    role: ClassVar = "persistent-volume-binder"
    component: ClassVar = "persistentvolume-controller"
    kind: ClassVar = PersistentVolume
    owns: ClassVar = ()

    def __post_init__(self) -> None:
        volumes = self.context.caches.store(PersistentVolume)
        claims = self.context.caches.store(PersistentVolumeClaim)
        for metric, is_bound in ((BOUND_VOLUMES, True), (UNBOUND_VOLUMES, False)):
            self.context.metrics.at_collection(metric, partial(_volume_levels, volumes, is_bound))
        for metric, is_bound in ((BOUND_CLAIMS, True), (UNBOUND_CLAIMS, False)):
            self.context.metrics.at_collection(metric, partial(_claim_levels, claims, is_bound))

    def sources(self) -> Sequence[Source]:
        return (Source(PersistentVolumeClaim, _volume_of),)

    async def reconcile(self, volume: PersistentVolume) -> Result:
        phase = await self._phase(volume)
        if phase != volume.status.phase:
            status = replace(volume.status, phase=phase, last_phase_transition_time=self.context.now())
            await patches.write_status(self.context.client, volume, volume.status, status)
        return DONE

    async def _phase(self, volume: PersistentVolume) -> str:
        reference = volume.spec.claim_ref
        if reference is None or not reference.uid:
            return "Available"
        if volume.status.phase in ("Released", "Failed"):
            return volume.status.phase  # only an administrator frees what somebody's data may still be on
        claim = self.context.caches.store(PersistentVolumeClaim).get(reference.namespace, reference.name)
        if claim is None:
            try:
                claim = await self.context.client.get(PersistentVolumeClaim, reference.name, reference.namespace)
            except errors.NotFound:
                return "Released"
        return "Bound" if claim.metadata.uid == reference.uid else "Released"


def _volume_levels(volumes: Store[PersistentVolume], is_bound: bool) -> dict[tuple[str, ...], float]:
    return dict(Counter((class_of(one),) for one in volumes.list() if (one.status.phase == "Bound") == is_bound))


def _claim_levels(claims: Store[PersistentVolumeClaim], is_bound: bool) -> dict[tuple[str, ...], float]:
    return dict(
        Counter(
            (one.metadata.namespace, class_of(one), one.spec.volume_attributes_class_name or "")
            for one in claims.list()
            if (one.status.phase == "Bound") == is_bound
        )
    )


def _waits_for_consumer(claim: PersistentVolumeClaim, storage_class: StorageClass | None) -> bool:
    if storage_class is None or storage_class.volume_binding_mode != "WaitForFirstConsumer":
        return False
    return SELECTED_NODE not in claim.metadata.annotations


def _size(volume: PersistentVolume) -> quantity.Quantity:
    return quantity.parse(volume.spec.capacity.get("storage", "0"))


def _volume_of(claim: PersistentVolumeClaim) -> list[tuple[str, str]]:
    return [("", claim.spec.volume_name)] if claim.spec.volume_name else []
