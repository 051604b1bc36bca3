"""The claims of one pod: which they are, what keeps the pod from using them, and where those that have devices work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from keelback.api import owners
from keelback.api.resource_v1 import AllocatedDeviceStatus, DeviceRequestAllocationResult, ResourceClaim
from keelback.scheduling import device_requests, node_selectors
from keelback.scheduling.device_objects import DeviceObjects, claim_name
from keelback.scheduling.framework import Mask
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

MOST_CONSUMERS: Final = 256
"""How many pods can share a claim (ResourceClaimReservedForMaxSize)."""


class BindingFailed(Exception):
    """A driver says that a device cannot be made usable. The text is upstream's."""


def missing_claim(devices: DeviceObjects, pod: PodInfo) -> str | None:
    """Why the pod is not to be tried yet: one of its claims is not there, or is not its own; None if all are."""
    return next(_missing(devices, pod), None)


def claims_of(devices: DeviceObjects, pod: PodInfo) -> list[ResourceClaim]:
    """The pod's claims, in its own order; those that are not there are left out."""
    if pod.devices is None:
        return []
    # One that is named twice is one claim.
    names = dict.fromkeys(one.claim for one in pod.devices.claims if one.claim)
    found = (devices.claims.get((pod.namespace, name)) for name in names)
    return [claim for claim in found if claim is not None]


def obstacle(devices: DeviceObjects, pod: PodInfo) -> str | None:
    """Why the claims themselves keep the pod from every node; None if they do not."""
    for claim in claims_of(devices, pod):
        if claim.status.allocation is not None:
            if len(claim.status.reserved_for) >= MOST_CONSUMERS and not is_reserved_for(claim, pod):
                return "resourceclaim in use"
        elif devices.is_reserved(claim.metadata.uid):
            # Better wait for what another pod has begun: it may fail, and the claim go elsewhere.
            return f"resource claim {claim_name(claim)} is in the process of being allocated"
        elif missing := device_requests.missing_class(claim.spec.devices, devices.classes):
            return missing
    return None


def is_reserved_for(claim: ResourceClaim, pod: PodInfo) -> bool:
    """Whether the claim's status names the pod as one of its users."""
    return pod.devices is not None and any(one.uid == pod.devices.uid for one in claim.status.reserved_for)


def available(claim: ResourceClaim, nodes: NodeTable, now: datetime, timeout_seconds: float) -> Mask:
    """Where an allocated claim can be used: nowhere once its devices have failed to become usable."""
    allocation = claim.status.allocation
    assert allocation is not None
    if has_expired(claim, now, timeout_seconds):
        return np.zeros(len(nodes), np.bool_)
    if allocation.node_selector is None:
        return np.ones(len(nodes), np.bool_)
    return node_selectors.selector_mask(nodes, allocation.node_selector)


def has_expired(claim: ResourceClaim, now: datetime, timeout_seconds: float) -> bool:
    """Whether the claim's devices have failed to become usable, or were given long enough to."""
    allocation = claim.status.allocation
    if allocation is None or not any(one.binding_conditions for one in allocation.devices.results):
        return False
    try:
        if is_ready(claim):
            return False
    except BindingFailed:
        return True
    since = allocation.allocation_timestamp
    return since is not None and since + timedelta(seconds=timeout_seconds) < now


def is_ready(claim: ResourceClaim) -> bool:
    """Whether all devices that must be attached first are. Raises BindingFailed where a driver has given up."""
    allocation = claim.status.allocation
    if allocation is None:
        return False
    for result in allocation.devices.results:
        if not result.binding_conditions:
            continue
        status = _status(claim, result)
        if status is None:
            return False
        true = {one.type: one for one in status.conditions if one.status == "True"}
        for condition in result.binding_failure_conditions:
            failed = true.get(condition)
            if failed is not None:
                text = f'claim={claim.metadata.name}, reason={failed.reason}, message="{failed.message}"'
                raise BindingFailed(f"device binding failed: {text}")
        if any(condition not in true for condition in result.binding_conditions):
            return False
    return True


def _status(claim: ResourceClaim, result: DeviceRequestAllocationResult) -> AllocatedDeviceStatus | None:
    return next(
        (
            one
            for one in claim.status.devices
            if (one.driver, one.pool, one.device) == (result.driver, result.pool, result.device)
        ),
        None,
    )


def _missing(devices: DeviceObjects, pod: PodInfo) -> Iterator[str]:
    if pod.devices is None:
        return
    namespace, name = pod.namespace, pod.devices.name
    for one in pod.devices.claims:
        if one.claim is None:
            yield f'pod "{namespace}/{name}": ResourceClaim not created yet'
            continue
        if not one.claim:
            # What made claims for the pod saw that this one is not needed.
            continue
        claim = devices.claims.get((namespace, one.claim))
        if claim is None:
            yield f'could not find ResourceClaim "{namespace}/{one.claim}"'
        elif claim.metadata.deletion_timestamp is not None:
            yield f'resourceclaim "{one.claim}" is being deleted'
        elif one.is_generated and not _is_for(claim, pod.devices.uid):
            text = f"was not created for pod {namespace}/{name} (pod is not owner)"
            yield f"ResourceClaim {claim_name(claim)} {text}"


def _is_for(claim: ResourceClaim, pod_uid: str) -> bool:
    owner = owners.controller_of(claim)
    return owner is not None and owner.uid == pod_uid
