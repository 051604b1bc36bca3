"""Writes what a pod takes of devices into its claims before it is bound, and takes it back where it is not bound.

A claim gets its allocation and its first user from one writer: whoever comes second is told so by the version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keelback.api.core_v1 import Pod, PodExtendedResourceClaimStatus
from keelback.api.resource_v1 import (
    AllocationResult,
    DeviceClaim,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimSpec,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, OwnerReference, replace
from keelback.client import Client
from keelback.client.patches import MergePatch, StrategicMergePatch
from keelback.component import logs
from keelback.concurrency.clock import Clock
from keelback.scheduler.device_observation import DeviceObservation
from keelback.scheduler.event_queue import QueueingRecorder
from keelback.scheduling import pod_claims
from keelback.scheduling.device_objects import EXTENDED_RESOURCE_CLAIM, ClaimKey
from keelback.scheduling.device_reservations import ClaimReservation, DeviceReservation, ExtendedReservation
from keelback.scheduling.pod_claims import BindingFailed
from keelback.scheduling.pod_to_place import PodToPlace

_log = logs.logger("scheduler")

FINALIZER: Final = "resource.kubernetes.io/delete-protection"
_ATTEMPTS: Final = 5
_POLL_SECONDS: Final = 0.5


class DevicesNotBound(Exception):
    """A pod's claims could not be given their devices, or these did not become usable."""


@dataclass(frozen=True, slots=True)
class DeviceBinding:
    """Writes for one pod after the other."""

    client: Client
    clock: Clock
    observation: DeviceObservation

    async def bind(
        self, pod: PodToPlace, node_name: str, reservation: DeviceReservation, recorder: QueueingRecorder
    ) -> None:
        """Have the claims say what the pod takes; return when its devices can be used. Raises DevicesNotBound."""
        for one in reservation.claims:
            if not one.is_reserved:
                self.observation.learn(await self._bind(pod, one))
        if reservation.extended is not None:
            await self._bind_extended(pod, reservation.extended)
        keys = [one.key for one in reservation.claims]
        if any(_must_wait(self.observation.claim(key)) for key in keys):
            message = f"waiting for binding conditions for device on node {node_name}"
            await recorder.event(pod, "Normal", "BindingConditionsPending", message)
            await self._wait(keys, reservation.binding_timeout_seconds)

    async def unbind(self, pod: PodToPlace, reservation: DeviceReservation) -> None:
        """Have the claims name the pod no more; they keep their devices. A failed write is left to be seen later."""
        try:
            await self._unbind(pod.metadata.uid, reservation)
        except (errors.StatusError, OSError, TimeoutError) as error:
            _log.warning("Failed to take claims back", pod=pod.metadata.name, error=error)

    async def _unbind(self, uid: str, reservation: DeviceReservation) -> None:
        for one in reservation.claims:
            claim = self.observation.claim(one.key)
            if claim is not None and any(user.uid == uid for user in claim.status.reserved_for):
                status = {"reservedFor": [{"$patch": "delete", "uid": uid}]}
                patch = StrategicMergePatch({"metadata": {"uid": claim.metadata.uid}, "status": status})
                await self._patch(one.key, patch, "status")
        made = self.observation.devices.extended_claim(uid)
        if made is not None:
            await self.remove(made)

    async def free(self, claim: ResourceClaim) -> None:
        """Have a claim give back its devices. One that somebody has begun to use keeps them.

        One that stands for a pod's extended resources is deleted: the pod gets another.
        """
        if EXTENDED_RESOURCE_CLAIM in claim.metadata.annotations:
            await self.remove(claim)
            return
        metadata = {"resourceVersion": claim.metadata.resource_version}
        status = {"allocation": None, "reservedFor": None, "devices": None}
        await self._patch(_key(claim), MergePatch({"metadata": metadata, "status": status}), "status")

    async def remove(self, claim: ResourceClaim) -> None:
        """Delete a claim that was made for a pod's extended resources; one that is gone is no failure."""
        name, namespace = claim.metadata.name, claim.metadata.namespace
        try:
            latest = await self.client.get(ResourceClaim, name, namespace)
            if FINALIZER in latest.metadata.finalizers:
                await self._set_finalizers(latest, [one for one in latest.metadata.finalizers if one != FINALIZER])
            await self.client.delete(ResourceClaim, name, namespace, uid=claim.metadata.uid)
        except errors.NotFound:
            return

    async def _bind(self, pod: PodToPlace, one: ClaimReservation) -> ResourceClaim:
        claim = self.observation.claim(one.key)
        for _ in range(_ATTEMPTS):
            if claim is None or claim.metadata.uid != one.uid or claim.metadata.deletion_timestamp is not None:
                raise DevicesNotBound(f"claim {'/'.join(one.key)} got deleted in the meantime")
            try:
                if one.allocation is None:
                    return await self._reserve(claim, pod)
                if claim.status.allocation is not None:
                    raise DevicesNotBound(f"claim {'/'.join(one.key)} got allocated elsewhere in the meantime")
                return await self._allocate(claim, one.allocation, pod)
            except errors.Conflict:
                claim = await self.client.get(ResourceClaim, one.key[1], one.key[0])
            except errors.NotFound:
                claim = None
        raise DevicesNotBound(f"claim {'/'.join(one.key)} is changed again and again")

    async def _allocate(self, claim: ResourceClaim, allocation: AllocationResult, pod: PodToPlace) -> ResourceClaim:
        """The claim with its devices and its first user, protected from being deleted."""
        if FINALIZER not in claim.metadata.finalizers:
            claim = await self._set_finalizers(claim, [*claim.metadata.finalizers, FINALIZER])
        allocation = replace(allocation, allocation_timestamp=self.clock.now())
        metadata = {"resourceVersion": claim.metadata.resource_version}
        users = [*claim.status.reserved_for, consumer(pod)]
        status = {"allocation": allocation, "reservedFor": users}
        return await self._patch(_key(claim), MergePatch({"metadata": metadata, "status": status}), "status")

    async def _reserve(self, claim: ResourceClaim, pod: PodToPlace) -> ResourceClaim:
        """An allocated claim with one more user. Others may add themselves at the same time."""
        status = {"reservedFor": [consumer(pod)]}
        patch = StrategicMergePatch({"metadata": {"uid": claim.metadata.uid}, "status": status})
        return await self._patch(_key(claim), patch, "status")

    async def _bind_extended(self, pod: PodToPlace, one: ExtendedReservation) -> None:
        """Make the claim, and say in the pod's status which of its containers' resources are which requests."""
        stale = self.observation.devices.extended_claim(pod.metadata.uid)
        if stale is not None:
            await self.remove(stale)
        metadata = pod.metadata
        owner = OwnerReference(api_version="v1", kind="Pod", name=metadata.name, uid=metadata.uid, controller=True)
        claim = await self.client.create(
            ResourceClaim(
                metadata=ObjectMeta(
                    generate_name=f"{metadata.name}-extended-resources-",
                    namespace=metadata.namespace,
                    annotations={EXTENDED_RESOURCE_CLAIM: "true"},
                    owner_references=(owner,),
                ),
                spec=ResourceClaimSpec(devices=DeviceClaim(requests=one.requests)),
            )
        )
        self.observation.devices.rename_reservation(one.uid, claim.metadata.uid)
        self.observation.learn(claim)
        self.observation.learn(
            await self._bind(pod, ClaimReservation(_key(claim), claim.metadata.uid, one.allocation, is_reserved=False))
        )
        said = PodExtendedResourceClaimStatus(request_mappings=one.mappings, resource_claim_name=claim.metadata.name)
        patch = StrategicMergePatch(
            {"metadata": {"uid": metadata.uid}, "status": {"extendedResourceClaimStatus": said}}
        )
        await self.client.patch(Pod, metadata.name, metadata.namespace, patch, "status")

    async def _wait(self, keys: list[ClaimKey], timeout_seconds: float) -> None:
        deadline = self.clock.monotonic() + timeout_seconds
        while True:
            claims = [self.observation.claim(key) for key in keys]
            if any(claim is None for claim in claims):
                raise DevicesNotBound("a claim got deleted in the meantime")
            try:
                if all(claim is not None and pod_claims.is_ready(claim) for claim in claims):
                    return
            except BindingFailed as error:
                raise DevicesNotBound(str(error)) from None
            if self.clock.monotonic() >= deadline:
                raise DevicesNotBound("device binding timeout: timed out waiting for binding conditions")
            await self.clock.sleep(_POLL_SECONDS)

    async def _set_finalizers(self, claim: ResourceClaim, finalizers: list[str]) -> ResourceClaim:
        metadata = {"resourceVersion": claim.metadata.resource_version, "finalizers": finalizers or None}
        return await self._patch(_key(claim), MergePatch({"metadata": metadata}))

    async def _patch(
        self, key: ClaimKey, patch: MergePatch | StrategicMergePatch, subresource: str = ""
    ) -> ResourceClaim:
        namespace, name = key
        return await self.client.patch(ResourceClaim, name, namespace, patch, subresource)


def consumer(pod: PodToPlace) -> ResourceClaimConsumerReference:
    """A pod as a claim's status names those who use it."""
    return ResourceClaimConsumerReference(resource="pods", name=pod.metadata.name, uid=pod.metadata.uid)


def _must_wait(claim: ResourceClaim | None) -> bool:
    allocation = claim.status.allocation if claim is not None else None
    return allocation is not None and any(one.binding_conditions for one in allocation.devices.results)


def _key(claim: ResourceClaim) -> ClaimKey:
    return claim.metadata.namespace, claim.metadata.name
