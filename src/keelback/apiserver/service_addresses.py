"""The addresses of Services: each is an IPAddress object in one of the ServiceCIDRs (KEP-1880).

The object is made before the Service that gets the address: its name is the address, so that the store itself sees to
it that nobody gets one twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn, TypeAlias

from keelback.api import conditions
from keelback.api.core_v1 import Service
from keelback.api.networking_v1 import IPAddress, IPAddressSpec, ParentReference, ServiceCIDR
from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.apiserver.deletion import Deletion
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.resource_store import ResourceStore, Write
from keelback.apiserver.watch_cache import WatchOptions
from keelback.component.logs import logger
from keelback.component.metrics import Counter, Registry
from keelback.concurrency.clock import Clock
from keelback.concurrency.rounds import Round, next_round

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_CIDR: Final = "kubernetes"
MANAGED_BY: Final = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
_FAMILY: Final = "ipaddress.kubernetes.io/ip-family"
_ATTEMPTS: Final = 64
_REPAIR_SECONDS: Final = 180.0
_RETRY_SECONDS: Final = 0.1
_GRACE: Final = timedelta(seconds=60)
"""How long an address may be without its Service: the Service is written after it."""
_log = logger("service-addresses")


class _Unasked:
    """Admission of what the server itself writes."""

    async def admit(self, operation: str, obj: Any, old: Any) -> Any:
        return obj

    async def validate(self, operation: str, obj: Any, old: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Repair:
    """What brings the addresses into step with the Services."""

    create: tuple[IPAddress, ...]
    delete: tuple[IPAddress, ...]


def plan(services: Iterable[Service], addresses: Iterable[IPAddress], now: datetime) -> Repair:
    """Make an address for each that a Service has, and let go of those whose Service has them no more."""
    wanted = {one: service for service in services for one in held_by(service)}
    existing = {one.metadata.name: one for one in addresses}
    stale = [
        one
        for name, one in existing.items()
        if one.metadata.labels.items() >= MANAGED_BY.items()
        and (name not in wanted or not _is_parent(one.spec.parent_ref, wanted[name]))
        and (one.metadata.creation_timestamp is None or now - one.metadata.creation_timestamp > _GRACE)
    ]
    gone = {one.metadata.name for one in stale}
    missing = (
        of(address, service) for address, service in wanted.items() if address not in existing or address in gone
    )
    return Repair(create=tuple(missing), delete=tuple(stale))


def held_by(service: Service) -> tuple[str, ...]:
    """The addresses that a Service has been given."""
    if service.spec.type == "ExternalName" or service.spec.cluster_ip in ("", "None"):
        return ()
    return service.spec.cluster_ips or (service.spec.cluster_ip,)


def of(address: str, service: Service) -> IPAddress:
    """The object that gives an address to a Service."""
    family = f"IPv{ipaddress.ip_address(address).version}"
    meta = service.metadata
    parent = ParentReference(resource="services", namespace=meta.namespace, name=meta.name)
    return IPAddress(
        metadata=ObjectMeta(name=address, labels={_FAMILY: family, **MANAGED_BY}), spec=IPAddressSpec(parent_ref=parent)
    )


def _is_parent(reference: ParentReference, service: Service) -> bool:
    meta = service.metadata
    return (reference.resource, reference.namespace, reference.name) == ("services", meta.namespace, meta.name)


def first_dynamic(network: Network) -> int:
    """Where the part of a range begins that is not left to those who ask for an address (KEP-3070)."""
    size = network.num_addresses
    return 0 if size <= 16 else min(max(16, size // 16), 256)


class ServiceAddresses:
    """Takes addresses for Services and gives them back."""

    def __init__(
        self,
        lookup: CacheLookup,
        store: Callable[[], ResourceStore[IPAddress]],
        default: Network,
        chance: random.Random,
        clock: Clock,
        metrics: Registry,
    ) -> None:
        """`store` gives the resource's store, which is made after the one of Services."""
        self._lookup = lookup
        self._store = store
        self._default = default
        self._chance = chance
        self._clock = clock
        labels = ("cidr", "scope")
        self._given = metrics.counter(
            "kube_apiserver_clusterip_allocator_allocation_total", "Number of Cluster IPs allocations", labels
        )
        self._refused = metrics.counter(
            "kube_apiserver_clusterip_allocator_allocation_errors_total",
            "Number of errors trying to allocate Cluster IPs",
            labels,
        )

    @property
    def version(self) -> int:
        """4 or 6: the family that Services have addresses of."""
        return self._default.version

    async def take(self, wanted: str, service: Service, *, dry_run: bool) -> str:
        """The address that a Service asks for, or any if it asks for none. Raises Invalid and InternalError."""
        scope = "static" if wanted else "dynamic"
        try:
            given = await self._take(wanted, service, dry_run=dry_run)
        except errors.StatusError:
            self._count(self._refused, wanted, scope)
            raise
        if not dry_run:
            self._count(self._given, given, scope)
        return given

    def _count(self, counter: Counter, address: str, scope: str) -> None:
        """By the range it is of, or that of the cluster where it is of none."""
        found = (str(one) for one in self._networks() if address and ipaddress.ip_address(address) in one)
        counter.inc(next(found, str(self._default)), scope)

    async def _take(self, wanted: str, service: Service, *, dry_run: bool) -> str:
        if wanted:
            return await self._take_wanted(wanted, service, dry_run=dry_run)
        async for address in self._free():
            if dry_run or await self._claim(address, service):
                return address
        raise internal("failed to allocate a serviceIP: range is full")

    async def give_back(self, address: str, service: Service) -> None:
        """Let go of an address of a Service, if it was given to that by an allocator."""
        try:
            found = await self._store().get("", address)
        except errors.NotFound:
            return
        if found.metadata.labels.items() >= MANAGED_BY.items() and _is_parent(found.spec.parent_ref, service):
            await self._let_go(found)

    async def _let_go(self, address: IPAddress) -> None:
        """Delete this one, and none that another server may have made in its place."""
        options = Deletion(propagation_policy="Background", uid=address.metadata.uid)
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._store().delete("", address.metadata.name, options, self._write())

    async def repair(self) -> None:
        """Bring the addresses into step with the Services."""
        planned = plan(self._lookup.scan(Service), self._lookup.scan(IPAddress), self._clock.now())
        for one in planned.delete:
            _log.info("Letting go of an address that no Service has", address=one.metadata.name)
            await self._let_go(one)
        for one in planned.create:
            try:
                await self._store().create(one, self._write())
            except errors.AlreadyExists:
                parent = one.spec.parent_ref
                _log.warning(
                    "A Service has an address that belongs to another", address=one.metadata.name, service=parent.name
                )

    async def run(self) -> NoReturn:
        """Put back at once what somebody deletes while a Service has it, and repair from time to time: whatever
        happened, it is in step again within minutes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repair_again_and_again())
            group.create_task(self._follow_deletions())
        raise AssertionError("unreachable")

    async def _repair_again_and_again(self) -> NoReturn:
        while True:
            await next_round(self._clock, _REPAIR_SECONDS, Round.LOOK)
            await self.repair()

    async def _follow_deletions(self) -> NoReturn:
        cache = self._lookup.cache(IPAddress.__kind__)
        while True:
            watcher = await cache.watch(WatchOptions())
            while records := await watcher.next_records():
                for record in records:
                    if record.type == "DELETED":
                        await self._put_back(codecs.decode(IPAddress, record.object))
            await self._clock.sleep(_RETRY_SECONDS)

    async def _put_back(self, deleted: IPAddress) -> None:
        parent = deleted.spec.parent_ref
        if (parent.group, parent.resource) != ("", "services"):
            return
        # The caches follow one watch of the store: a Service that let go of its address is seen to have done so.
        service = self._lookup.peek(Service, parent.name, parent.namespace)
        if service is not None and deleted.metadata.name in held_by(service):
            await self._claim(deleted.metadata.name, service)

    async def _take_wanted(self, wanted: str, service: Service, *, dry_run: bool) -> str:
        address = ipaddress.ip_address(wanted)
        network = next((one for one in self._networks() if address in one), None)
        problem = ""
        if network is None:
            problem = "the provided network does not match the current range"
        elif not _is_usable(address, network):
            problem = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {network}"
        elif dry_run:
            taken = await self._is_taken(wanted)
            problem = "provided IP is already allocated" if taken else ""
        elif not await self._claim(wanted, service):
            problem = "provided IP is already allocated"
        if problem:
            found = errors.invalid("spec.clusterIPs", [wanted], f"failed to allocate IP {wanted}: {problem}")
            raise errors.Invalid.of(Service.__kind__, service.metadata.name, [found])
        return wanted

    def _networks(self) -> Iterator[Network]:
        """The ranges that are ready, that of the cluster's start first. It counts even before its object is seen."""
        found = {one.metadata.name: one for one in self._lookup.scan(ServiceCIDR)}
        if DEFAULT_CIDR not in found:
            yield self._default
        for _, cidr in sorted(found.items(), key=lambda item: (item[0] != DEFAULT_CIDR, item[0])):
            ready = conditions.find(cidr.status.conditions, "Ready")
            is_default = cidr.metadata.name == DEFAULT_CIDR and ready is None
            if cidr.metadata.deletion_timestamp is None and (is_default or (ready and ready.status == "True")):
                for text in cidr.spec.cidrs:
                    network = ipaddress.ip_network(text)
                    if network.version == self.version:
                        yield network

    async def _free(self) -> AsyncIterator[str]:
        """Addresses that seem free: at random from the dynamic part of each range, then whatever is left."""
        networks = list(self._networks())
        for network in networks:
            low, high = first_dynamic(network), network.num_addresses - (2 if network.version == 4 else 1)
            for _ in range(_ATTEMPTS):
                address = str(network[self._chance.randint(max(low, 1), max(high, 1))])
                if self._lookup.peek(IPAddress, address) is None:
                    yield address
        for network in networks:
            usable = range(1, network.num_addresses - (1 if network.version == 4 else 0))
            start = first_dynamic(network)
            for offset in (*usable[start:], *usable[:start]) if len(usable) < 1 << 16 else usable:
                address = str(network[offset])
                if self._lookup.peek(IPAddress, address) is None:
                    yield address
                if not offset % 1024:
                    await asyncio.sleep(0)

    async def _claim(self, address: str, service: Service) -> bool:
        try:
            await self._store().create(of(address, service), self._write())
        except errors.AlreadyExists:
            return False
        return True

    async def _is_taken(self, address: str) -> bool:
        try:
            await self._store().get("", address)
        except errors.NotFound:
            return False
        return True

    def _write(self) -> Write:
        return Write(now=self._clock.now(), manager="kube-apiserver", admission=_Unasked())


def _is_usable(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: Network) -> bool:
    if address == network.network_address:
        return False
    return network.version == 6 or address != network.broadcast_address


def internal(text: str) -> errors.InternalError:
    """As upstream says what should not have happened."""
    return errors.InternalError.of(text)
