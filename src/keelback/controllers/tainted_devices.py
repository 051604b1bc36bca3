"""Taints of devices, whether a driver or an administrator's rule gave them, and who must let go of a device for one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keelback.api.resource_v1 import (
    DeviceRequestAllocationResult,
    DeviceTaint,
    ResourceClaim,
    ResourceSlice,
)
from keelback.api.resource_v1alpha3 import DeviceTaintRule
from keelback.reconcile.caches import SharedCaches
from keelback.scheduling.device_taint_rules import selects
from keelback.scheduling.devices import tolerates

NO_EXECUTE = "NoExecute"
_BY_POOL = "by-pool"


@dataclass(frozen=True, slots=True)
class Eviction:
    """From when on whoever uses a device must go, and by which rules, if it is rules that say so."""

    due: datetime
    rules: frozenset[str] = frozenset()
    """Their uids."""


def eviction_time(
    result: DeviceRequestAllocationResult, taints: Iterable[DeviceTaint], now: datetime
) -> datetime | None:
    """When those who use the device must go: a time not after `now` means at once, None never."""
    earliest: datetime | None = None
    for taint in taints:
        if taint.effect != NO_EXECUTE:
            continue
        since = taint.time_added or now
        fitting = [one for one in result.tolerations if tolerates(one, taint)]
        if not fitting:
            due = since
        else:
            limits = [one.toleration_seconds for one in fitting if one.toleration_seconds is not None]
            if not limits:
                continue
            due = since + timedelta(seconds=max(0, min(limits)))
        earliest = due if earliest is None else min(earliest, due)
    return earliest


def eviction(
    claim: ResourceClaim, slices: Iterable[ResourceSlice], rules: Sequence[DeviceTaintRule], now: datetime
) -> Eviction | None:
    """Whether, when and why those who use the claim must go. `slices` are at least those of its devices' pools."""
    if claim.status.allocation is None:
        return None
    found: list[Eviction] = []
    newest = newest_slices(slices)
    for result in claim.status.allocation.devices.results:
        for rule in rules:
            if selects(rule, result.driver, result.pool, result.device):
                due = eviction_time(result, [rule.spec.taint], now)
                found += [Eviction(due, frozenset({rule.metadata.uid}))] if due is not None else []
        taints = [
            taint
            for one in newest
            if (one.spec.driver, one.spec.pool.name) == (result.driver, result.pool)
            for device in one.spec.devices
            if device.name == result.device
            for taint in device.taints
        ]
        due = eviction_time(result, taints, now)
        found += [Eviction(due)] if due is not None else []
    if not found:
        return None
    return Eviction(min(one.due for one in found), frozenset().union(*(one.rules for one in found)))


def newest_slices(slices: Iterable[ResourceSlice]) -> list[ResourceSlice]:
    """Of a pool that is being published anew only the newest generation counts."""
    held = list(slices)
    newest: dict[tuple[str, str], int] = {}
    for one in held:
        pool = (one.spec.driver, one.spec.pool.name)
        newest[pool] = max(newest.get(pool, 0), one.spec.pool.generation)
    return [one for one in held if one.spec.pool.generation == newest[one.spec.driver, one.spec.pool.name]]


def index_by_pool(caches: SharedCaches) -> None:
    """Have claims and slices found by pool."""
    caches.index(ResourceClaim, _BY_POOL, _pools)
    caches.index(ResourceSlice, _BY_POOL, _pool)


def claims_of_pool(caches: SharedCaches, driver: str, pool: str) -> list[ResourceClaim]:
    """The claims that have a device of a pool."""
    return caches.store(ResourceClaim).by_index(_BY_POOL, (driver, pool))


def slices_of_claim(caches: SharedCaches, claim: ResourceClaim) -> list[ResourceSlice]:
    """The slices of the pools from which a claim has devices."""
    store = caches.store(ResourceSlice)
    return [one for pool in sorted(set(_pools(claim))) for one in store.by_index(_BY_POOL, pool)]


def _pools(claim: ResourceClaim) -> list[tuple[str, str]]:
    allocation = claim.status.allocation
    return [] if allocation is None else [(one.driver, one.pool) for one in allocation.devices.results]


def _pool(slice_: ResourceSlice) -> list[tuple[str, str]]:
    return [(slice_.spec.driver, slice_.spec.pool.name)]
