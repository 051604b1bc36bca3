"""Claims, device classes and pools of devices as scheduling sees them, with what was decided and is not yet written.

A claim whose devices were chosen here has them from then on, whatever the informer says until it says the same.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

import msgspec

from keelback.api.resource_v1 import AllocationResult, DeviceClass, ResourceClaim, ResourceSlice
from keelback.api.resource_v1alpha3 import DeviceTaintRule
from keelback.scheduling import device_requests, device_taint_rules, devices
from keelback.scheduling.device_answers import DeviceAnswers
from keelback.scheduling.device_pools import DevicePools
from keelback.scheduling.device_requests import ClaimRequests
from keelback.scheduling.device_totals import DeviceTotals
from keelback.scheduling.device_usage import DeviceUsage
from keelback.scheduling.node_table import NodeTable

ClaimKey: TypeAlias = tuple[str, str]
"""Namespace and name."""

EXTENDED_RESOURCE_CLAIM: Final = "resource.kubernetes.io/extended-resource-claim"
"""The annotation of a claim that the scheduler made for a pod's extended resources."""
IMPLICIT_PREFIX: Final = "deviceclass.resource.kubernetes.io/"
"""A device class can be asked for as an extended resource of this prefix and its name."""
_MOST_ANSWERS: Final = 256


class ClaimChange(enum.Enum):
    """What a claim's new state means for pods that wait."""

    NONE = enum.auto()
    FREED = enum.auto()
    """Its devices may be had by others."""
    OWN = enum.auto()
    """It matters to the pods that use it, and to no other."""


class DeviceObjects:
    """Looked up by name; whoever fills it says what changed."""

    def __init__(self) -> None:
        self.claims: dict[ClaimKey, ResourceClaim] = {}
        self.classes: dict[str, DeviceClass] = {}
        self.pools = DevicePools()
        self.usage = DeviceUsage()
        self.monotonic: Callable[[], float] = lambda: 0.0
        """Seconds that never go backwards, for searches that take too long."""
        self.now: Callable[[], datetime] = lambda: datetime.min.replace(tzinfo=UTC)
        """For devices that take too long to become usable."""
        self.class_of: dict[str, DeviceClass] = {}
        """The classes whose devices can be asked for as extended resources, by resource."""
        self._reserved: dict[str, AllocationResult] = {}
        self._counted: dict[str, AllocationResult] = {}
        self._extended_claims: dict[str, ClaimKey] = {}
        self.changes = 0
        """Rises when devices are offered, withdrawn, taken or given back, and when their classes change."""
        self._totals: dict[str, DeviceTotals] = {}
        self._answers: OrderedDict[tuple[bytes, ...], DeviceAnswers] = OrderedDict()
        self._slices: dict[str, ResourceSlice] = {}
        self._rules: dict[str, DeviceTaintRule] = {}

    def put_class(self, name: str, new: DeviceClass | None) -> bool:
        """Learn a class's new state; None when it is gone. Whether it now stands for other extended resources."""
        if new is None:
            self.classes.pop(name, None)
        else:
            self.classes[name] = new
        # What claims ask for depends on their classes, and these change once in a while.
        self._answers.clear()
        self._totals.clear()
        self.changes += 1
        old, self.class_of = self.class_of, self._mapped()
        return {resource: one.metadata.name for resource, one in old.items()} != {
            resource: one.metadata.name for resource, one in self.class_of.items()
        }

    def put_slice(self, name: str, new: ResourceSlice | None) -> None:
        """Learn a slice's new state; None when it is gone."""
        self.changes += 1
        if new is None:
            self._slices.pop(name, None)
            self.pools.put(name, None)
        else:
            self._slices[name] = new
            self.pools.put(name, devices.compile_slice(new, self._rules.values()))

    def put_taint_rule(self, name: str, new: DeviceTaintRule | None) -> bool:
        """Learn a rule's new state; None when it is gone. Whether it taints other devices now, or otherwise."""
        old = self._rules.pop(name, None)
        if new is not None:
            self._rules[name] = new
        if old is not None and new is not None and old.spec == new.spec:
            return False
        concerned = [
            one
            for one in self._slices.values()
            for rule in (old, new)
            if rule is not None
            if device_taint_rules.may_concern(rule, one.spec.driver, one.spec.pool.name)
        ]
        for one in concerned:
            self.put_slice(one.metadata.name, one)
        return bool(concerned)

    def put_claim(self, key: ClaimKey, new: ResourceClaim | None) -> ClaimChange:
        """Learn a claim's new state, unless a later one is known already; None when it is gone."""
        old = self.claims.get(key)
        if new is None:
            return ClaimChange.NONE if old is None else self._forget(key, old)
        if old is not None and old.metadata.uid != new.metadata.uid:
            self._forget(key, old)
            old = None
        if old is not None and _version(new) < _version(old):
            return ClaimChange.NONE
        self.claims[key] = new
        uid = new.metadata.uid
        if new.metadata.annotations.get(EXTENDED_RESOURCE_CLAIM) == "true":
            for owner in new.metadata.owner_references:
                self._extended_claims[owner.uid] = key
        if new.status.allocation is not None:
            self._reserved.pop(uid, None)
            self._count(uid, new.status.allocation)
        elif uid not in self._reserved and self._count(uid, None):
            return ClaimChange.FREED
        # What drivers write beside the status is nobody's business.
        is_same = old is not None and (old.status, old.metadata.deletion_timestamp) == (
            new.status,
            new.metadata.deletion_timestamp,
        )
        return ClaimChange.NONE if is_same else ClaimChange.OWN

    def reserve(self, uid: str, allocation: AllocationResult) -> None:
        """Count a claim's devices as taken before its status says so."""
        self._reserved[uid] = allocation
        self._count(uid, allocation)

    def release(self, uid: str) -> bool:
        """Take back a reservation, if what it was for has not come to pass; whether devices became free."""
        return self._reserved.pop(uid, None) is not None and self._count(uid, None)

    def rename_reservation(self, uid: str, new: str) -> None:
        """A claim that was reserved for before it was made has got an identity."""
        allocation = self._reserved.pop(uid, None)
        if allocation is not None:
            self._counted.pop(uid)
            self._reserved[new] = self._counted[new] = allocation

    def is_reserved(self, uid: str) -> bool:
        """Whether the claim's devices were chosen here, and its status does not say so yet."""
        return uid in self._reserved

    def extended_claim(self, pod_uid: str) -> ResourceClaim | None:
        """The claim that was made for a pod's extended resources, if there is one."""
        key = self._extended_claims.get(pod_uid)
        return self.claims.get(key) if key is not None else None

    def answers(self, asked: Sequence[tuple[bytes, Callable[[], ClaimRequests]]]) -> DeviceAnswers:
        """Which nodes have the devices for claims: each by its `spec_key`, and what compiles it where it is new."""
        key = tuple(one for one, _ in asked)
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = DeviceAnswers([compiled() for _, compiled in asked], self.pools, self.usage)
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)
        else:
            self._answers.move_to_end(key)
        return found

    def totals(self, resource: str, nodes: NodeTable) -> DeviceTotals | None:
        """How many devices stand for an extended resource, node by node; None where none do."""
        device_class = self.class_of.get(resource)
        if device_class is None:
            return None
        found = self._totals.get(resource)
        if found is None:
            found = self._totals[resource] = DeviceTotals(device_class, self.pools, self.usage)
        found.bring_up_to_date(nodes)
        return found

    def compiled(self, claim: ResourceClaim) -> ClaimRequests:
        """What a claim asks for. Raises RequestError."""
        return device_requests.compile_claim(claim.spec.devices, self.classes, claim_name(claim))

    def _forget(self, key: ClaimKey, old: ResourceClaim) -> ClaimChange:
        del self.claims[key]
        for owner in old.metadata.owner_references:
            if self._extended_claims.get(owner.uid) == key:
                del self._extended_claims[owner.uid]
        self._reserved.pop(old.metadata.uid, None)
        return ClaimChange.FREED if self._count(old.metadata.uid, None) else ClaimChange.OWN

    def _count(self, uid: str, allocation: AllocationResult | None) -> bool:
        """Count a claim's devices as they are now; whether it had some that it has not any more."""
        old = self._counted.pop(uid, None)
        if allocation is not None:
            self._counted[uid] = allocation
        if old is not None and allocation is not None and old.devices.results == allocation.devices.results:
            return False
        self.changes += old is not None or allocation is not None
        if old is not None:
            self.usage.give_back(old)
        if allocation is not None:
            self.usage.take(allocation)
        return old is not None

    def _mapped(self) -> dict[str, DeviceClass]:
        # Of two classes with one name the newer counts, so that one can take the other's place.
        mapped: dict[str, DeviceClass] = {}
        for name in sorted(self.classes, reverse=True):
            one = self.classes[name]
            mapped[IMPLICIT_PREFIX + name] = one
            resource = one.spec.extended_resource_name
            if resource and (resource not in mapped or _made(one) >= _made(mapped[resource])):
                mapped[resource] = one
        return mapped


def spec_key(claim: ResourceClaim) -> bytes:
    """Equal for claims that ask for the same."""
    return msgspec.json.encode(claim.spec.devices)


def claim_name(claim: ResourceClaim) -> str:
    """What messages call a claim."""
    return f"{claim.metadata.namespace}/{claim.metadata.name}"


def _version(claim: ResourceClaim) -> int:
    return int(claim.metadata.resource_version or 0)


def _made(device_class: DeviceClass) -> float:
    made = device_class.metadata.creation_timestamp
    return made.timestamp() if made is not None else 0.0
