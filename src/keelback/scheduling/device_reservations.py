"""What a pod that has been given a node takes of devices, until its claims' status says so."""

from __future__ import annotations

from dataclasses import dataclass

from keelback.api.core_v1 import ContainerExtendedResourceRequest
from keelback.api.resource_v1 import AllocationResult, DeviceRequest
from keelback.scheduling.device_objects import ClaimKey, DeviceObjects


@dataclass(frozen=True, slots=True)
class ClaimReservation:
    """One claim. `allocation` is what it is to get; None where it has that already."""

    key: ClaimKey
    uid: str
    allocation: AllocationResult | None
    is_reserved: bool
    """Its status names the pod already, from an attempt before."""


@dataclass(frozen=True, slots=True)
class ExtendedReservation:
    """The claim that stands for a pod's extended resources: it is made when the pod is bound."""

    uid: str
    """What it is known by until then."""
    requests: tuple[DeviceRequest, ...]
    mappings: tuple[ContainerExtendedResourceRequest, ...]
    allocation: AllocationResult


@dataclass(frozen=True, slots=True)
class DeviceReservation:
    """All that is to be written before the pod can be bound."""

    claims: tuple[ClaimReservation, ...]
    extended: ExtendedReservation | None = None
    binding_timeout_seconds: float = 0.0
    """How long devices may take to become usable."""
    waits: bool = False
    """Some devices must be attached first."""


def take(devices: DeviceObjects, reservation: DeviceReservation) -> None:
    """Count the devices as taken."""
    for claim in reservation.claims:
        if claim.allocation is not None:
            devices.reserve(claim.uid, claim.allocation)
    if reservation.extended is not None:
        devices.reserve(reservation.extended.uid, reservation.extended.allocation)


def give_back(devices: DeviceObjects, reservation: DeviceReservation) -> bool:
    """Count out again what is not written; whether devices became free."""
    uids = [claim.uid for claim in reservation.claims if claim.allocation is not None]
    if reservation.extended is not None:
        uids.append(reservation.extended.uid)
    freed = [devices.release(uid) for uid in uids]
    return any(freed)
