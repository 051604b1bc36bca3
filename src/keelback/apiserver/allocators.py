"""Cluster IPs and node ports for Services: chosen at random from their ranges, never given out twice.

Which ports are taken is read from the cache of Services and from reservations of writes still under way, so that
nothing has to be repaired after a crash: a port that no Service holds is free. Addresses are objects of their own.
"""

from __future__ import annotations

import ipaddress
import random
from typing import Any

from keelback.api.core_v1 import Service
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.service_addresses import ServiceAddresses, held_by, internal
from keelback.concurrency.clock import Clock
from keelback.registry.service_specs import needs_health_check

_ATTEMPTS = 64
_RESERVED_SECONDS = 5.0


class ServiceAllocator:
    """Gives Services what their type needs. `node_ports` is inclusive."""

    def __init__(
        self,
        lookup: CacheLookup,
        addresses: ServiceAddresses,
        chance: random.Random,
        clock: Clock,
        node_ports: tuple[int, int] = (30000, 32767),
    ) -> None:
        self._lookup = lookup
        self._addresses = addresses
        self._chance = chance
        self._node_ports = node_ports
        self._clock = clock
        # Until when a port is held for a write that the cache does not show yet.
        self._reserved: dict[int, float] = {}

    async def allocate(self, new: Service, old: Service | None, *, dry_run: bool) -> Service:
        """The Service with addresses and ports. Raises Invalid where what it asks for is taken or out of range."""
        spec = new.spec
        if spec.type == "ExternalName":
            if old is not None and old.spec.type != "ExternalName":
                return replace(new, spec=replace(spec, cluster_ip="", cluster_ips=()))
            return new
        self._check_families(new)
        addressed = replace(new, spec=await self._with_cluster_ip(new, old, dry_run=dry_run))
        allocated = None
        try:
            spec = self._with_node_ports(addressed, old)
            allocated = replace(new, spec=self._with_health_check_port(replace(new, spec=spec), old))
        finally:
            if allocated is None and not dry_run:
                await self.give_back(addressed, old)
        return allocated

    async def give_back(self, dropped: Service, kept: Service | None) -> None:
        """Let go of the addresses of `dropped` that `kept` has not. Ports are free when no Service has them."""
        still_held = () if kept is None else held_by(kept)
        for address in held_by(dropped):
            if address not in still_held and _is_address(address):
                await self._addresses.give_back(address)

    def _check_families(self, service: Service) -> None:
        """Refuse families that this cluster has no range of; a headless Service that selects nothing may name any."""
        spec = service.spec
        if spec.cluster_ip == "None" and not spec.selector:
            return
        own = f"IPv{self._addresses.version}"
        found = [
            errors.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
            for index, family in enumerate(spec.ip_families)
            if family in ("IPv4", "IPv6") and family != own
        ]
        if spec.ip_family_policy == "RequireDualStack":
            text = "this cluster is not configured for dual-stack services"
            found.append(errors.invalid("spec.ipFamilyPolicy", spec.ip_family_policy, text))
        if found:
            raise errors.Invalid.of(Service.__kind__, service.metadata.name, found)

    def _with_health_check_port(self, service: Service, old: Service | None) -> Any:
        spec = service.spec
        if not needs_health_check(spec):
            return spec
        wanted = spec.health_check_node_port
        if wanted and old is not None and wanted == old.spec.health_check_node_port:
            return spec
        taken = self._taken(service)
        if wanted:
            low, high = self._node_ports
            problem = ""
            if wanted in taken:
                problem = "provided port is already allocated"
            elif not low <= wanted <= high:
                problem = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
            if problem:
                raise internal(f"failed to allocate requested HealthCheck NodePort {wanted}: {problem}")
        chosen = wanted or self._free_port(taken | {port.node_port for port in spec.ports})
        self._reserve(chosen)
        return replace(spec, health_check_node_port=chosen)

    def _taken(self, new: Service) -> set[int]:
        """The ports that other Services hold, and those that are held for writes under way."""
        own = (new.metadata.namespace, new.metadata.name)
        ports: set[int] = set()
        for service in self._lookup.scan(Service):
            if (service.metadata.namespace, service.metadata.name) == own:
                continue
            ports.update(one.node_port for one in service.spec.ports if one.node_port)
            if service.spec.health_check_node_port:
                ports.add(service.spec.health_check_node_port)
        now = self._clock.monotonic()
        for port, until in list(self._reserved.items()):
            if until < now or port in ports:
                del self._reserved[port]
            else:
                ports.add(port)
        return ports

    def _reserve(self, port: int) -> None:
        self._reserved[port] = self._clock.monotonic() + _RESERVED_SECONDS

    async def _with_cluster_ip(self, new: Service, old: Service | None, *, dry_run: bool) -> Any:
        spec = new.spec
        if not spec.cluster_ip and spec.cluster_ips:
            spec = replace(spec, cluster_ip=spec.cluster_ips[0])
        if not spec.cluster_ip and old is not None and old.spec.cluster_ip and old.spec.type != "ExternalName":
            spec = replace(spec, cluster_ip=old.spec.cluster_ip, cluster_ips=old.spec.cluster_ips)
        if spec.cluster_ip == "None" or (
            old is not None and spec.cluster_ip and spec.cluster_ip == old.spec.cluster_ip
        ):
            return replace(spec, cluster_ips=spec.cluster_ips or (spec.cluster_ip,))
        if spec.cluster_ip and not _is_address(spec.cluster_ip):
            # Validation says it better.
            return replace(spec, cluster_ips=(spec.cluster_ip,))
        chosen = await self._addresses.take(spec.cluster_ip, new, dry_run=dry_run)
        return replace(spec, cluster_ip=chosen, cluster_ips=(chosen,))

    def _with_node_ports(self, new: Service, old: Service | None) -> Any:
        spec = new.spec
        wants = spec.type == "NodePort" or (
            spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
        )
        if not wants:
            if old is not None and old.spec.type in ("NodePort", "LoadBalancer"):
                return replace(spec, ports=tuple(replace(one, node_port=0) for one in spec.ports))
            return spec
        taken = self._taken(new)
        before = {} if old is None else {(one.protocol, one.port): one.node_port for one in old.spec.ports}
        own = {one.node_port for one in old.spec.ports} if old is not None else set()
        ports = []
        for at, port in enumerate(spec.ports):
            wanted = port.node_port or before.get((port.protocol, port.port), 0)
            if wanted and wanted not in own:
                self._check_port(new, at, wanted, taken)
            chosen = wanted or self._free_port(taken)
            taken.add(chosen)
            self._reserve(chosen)
            ports.append(replace(port, node_port=chosen))
        return replace(spec, ports=tuple(ports))

    def _check_port(self, service: Service, at: int, port: int, taken: set[int]) -> None:
        low, high = self._node_ports
        problem = ""
        if not low <= port <= high:
            problem = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        elif port in taken:
            problem = "provided port is already allocated"
        if problem:
            found = errors.invalid(f"spec.ports[{at}].nodePort", port, problem)
            raise errors.Invalid.of(Service.__kind__, service.metadata.name, [found])

    def _free_port(self, taken: set[int]) -> int:
        low, high = self._node_ports
        start = low + first_dynamic_port(high - low + 1)
        for _ in range(_ATTEMPTS):
            port: int = self._chance.randint(start, high)
            if port not in taken:
                return port
        for port in (*range(start, high + 1), *range(low, start)):
            if port not in taken:
                return port
        raise internal("failed to allocate a nodePort: range is full")


def first_dynamic_port(size: int) -> int:
    """Where the part of a range of ports begins that is not left to those who ask for a port (KEP-3668)."""
    return 0 if size <= 16 else min(max(16, size // 32), 128)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
