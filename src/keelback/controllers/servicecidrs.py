"""The service-cidr controller: says which ranges of addresses are ready, and keeps one that Services still need."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from keelback.api import conditions
from keelback.api.networking_v1 import IPAddress, ServiceCIDR
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Condition, Object, narrow
from keelback.client import MergePatch
from keelback.controllers.observed import HeldMeta
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
READY = "Ready"
_MANAGED_BY = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io")
_STILL_NEEDED = (
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
)


@narrow(IPAddress)
class IPAddressView(Object):
    """An address: all that matters of it are its name and who manages it."""

    metadata: HeldMeta = HeldMeta()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a range should say of itself, and whether it is held."""

    finalizers: tuple[str, ...]
    ready: Condition | None


def plan(cidr: ServiceCIDR, others: Iterable[ServiceCIDR], addresses: Iterable[IPAddressView], now: datetime) -> Plan:
    """Held from its first sight until it is deleted and no address is left that lies in no other range."""
    held = cidr.metadata.finalizers
    if cidr.metadata.deletion_timestamp is None:
        finalizers = held if FINALIZER in held else (*held, FINALIZER)
        return Plan(finalizers, _ready("True", "", "Kubernetes Service CIDR is ready", now))
    if FINALIZER not in held:
        return Plan(held, None)
    if is_needed(cidr, others, addresses):
        return Plan(held, _ready("False", "Terminating", _STILL_NEEDED, now))
    return Plan(tuple(one for one in held if one != FINALIZER), None)


def is_needed(cidr: ServiceCIDR, others: Iterable[ServiceCIDR], addresses: Iterable[IPAddressView]) -> bool:
    """Whether an address of a Service lies in the range and in no other that stays."""
    own = tuple(map(ipaddress.ip_network, cidr.spec.cidrs))
    staying = tuple(
        ipaddress.ip_network(text)
        for one in others
        if one.metadata.name != cidr.metadata.name and one.metadata.deletion_timestamp is None
        for text in one.spec.cidrs
    )
    key, manager = _MANAGED_BY
    for one in addresses:
        if one.metadata.labels.get(key) != manager:
            continue
        address = ipaddress.ip_address(one.metadata.name)
        if any(address in network for network in own) and not any(address in network for network in staying):
            return True
    return False


def _ready(status: str, reason: str, message: str, now: datetime) -> Condition:
    return Condition(type=READY, status=status, reason=reason, message=message, last_transition_time=now)


@dataclass(frozen=True, slots=True)
class ServiceCIDRReconciler:
    """Looks at a range when it changes, and at ranges that wait for their end when an address or a range goes."""

    context: Context
    name: ClassVar = "service-cidr-controller"
    role: ClassVar = "service-cidrs-controller"
    component: ClassVar = "service-cidr-controller"
    kind: ClassVar = ServiceCIDR
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        return (Source(IPAddressView, self._waiting), Source(ServiceCIDR, self._waiting))

    def _waiting(self, _changed: Any) -> list[tuple[str, str]]:
        ranges = self.context.caches.store(ServiceCIDR).list()
        return [("", one.metadata.name) for one in ranges if one.metadata.deletion_timestamp is not None]

    async def reconcile(self, cidr: ServiceCIDR) -> Result:
        caches = self.context.caches
        # The lists are looked at only where something may end.
        is_deleting = cidr.metadata.deletion_timestamp is not None
        addresses = caches.store(IPAddressView).list() if is_deleting else ()
        planned = plan(cidr, caches.store(ServiceCIDR).list(), addresses, self.context.now())
        try:
            if planned.finalizers != tuple(cidr.metadata.finalizers):
                changed = {
                    "finalizers": list(planned.finalizers) or None,
                    "resourceVersion": cidr.metadata.resource_version,
                }
                cidr = await self.context.client.patch(
                    ServiceCIDR, cidr.metadata.name, "", MergePatch({"metadata": changed})
                )
            await self._say(cidr, planned.ready)
        except errors.NotFound:
            pass
        return DONE

    async def _say(self, cidr: ServiceCIDR, ready: Condition | None) -> None:
        if ready is None:
            return
        current = conditions.find(cidr.status.conditions, READY)
        if current is not None and current.status == ready.status:
            return
        others = [one for one in cidr.status.conditions if one.type != READY]
        listed = [msgspec.to_builtins(one) for one in (*others, ready)]
        patch = MergePatch({"status": {"conditions": listed}})
        await self.context.client.patch(ServiceCIDR, cidr.metadata.name, "", patch, "status")
