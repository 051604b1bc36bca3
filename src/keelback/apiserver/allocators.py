"""Cluster IPs and node ports for Services: chosen at random from their ranges, never given out twice.

Which ports are taken is read from the cache of Services, so that nothing has to be repaired after a crash: a port that
no Service holds is free. One that is being given out is claimed (`port_claims`). Addresses are objects of their own.
"""

from __future__ import annotations

import ipaddress
import random
from typing import Any

from keelback.api.core_v1 import Service
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.port_claims import PortClaims
from keelback.apiserver.service_addresses import ServiceAddresses, held_by, internal
from keelback.apiserver.watch_cache import WatchCache
from keelback.registry.service_specs import address_problems, needs_health_check

NODE_PORTS = (30000, 32767)
_ATTEMPTS = 64


class ServiceAllocator:
    """Gives Services what their type needs. `node_ports` is inclusive."""

    def __init__(
        self,
        lookup: CacheLookup,
        addresses: ServiceAddresses,
        claims: PortClaims,
        chance: random.Random,
        node_ports: tuple[int, int] = NODE_PORTS,
    ) -> None:
        self._lookup = lookup
        self._addresses = addresses
        self._chance = chance
        self._claims = claims
        self._node_ports = node_ports

    async def allocate(self, new: Service, old: Service | None, *, dry_run: bool) -> Service:
        """The Service with addresses and ports. Raises Invalid where what it asks for is taken or out of range."""
        spec = new.spec
        if spec.type == "ExternalName":
            if old is not None and old.spec.type != "ExternalName":
                return replace(new, spec=replace(spec, cluster_ip="", cluster_ips=()))
            return new
        if old is None:
            _check_addresses(new)
        self._check_families(new)
        addressed = replace(new, spec=await self._with_cluster_ip(new, old, dry_run=dry_run))
        allocated = None
        giving = _Giving(self._claims, dry_run=dry_run)
        try:
            spec = await self._with_node_ports(addressed, old, giving)
            allocated = replace(new, spec=await self._with_health_check_port(replace(new, spec=spec), old, giving))
        finally:
            if allocated is None:
                await giving.let_go(*giving.ports)
                if not dry_run:
                    await self.give_back(addressed, old)
        return allocated

    async def settle(self, obj: Service) -> None:
        """Let go of the claims to its ports: the Service itself says now whose they are."""
        await self._claims.release((*(one.node_port for one in obj.spec.ports), obj.spec.health_check_node_port))

    async def give_back(self, dropped: Service, kept: Service | None) -> None:
        """Let go of the addresses of `dropped` that `kept` has not. Ports are free when no Service has them."""
        still_held = () if kept is None else held_by(kept)
        for address in held_by(dropped):
            if address not in still_held and _is_address(address):
                await self._addresses.give_back(address, dropped)

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

    async def _with_health_check_port(self, service: Service, old: Service | None, giving: _Giving) -> Any:
        spec = service.spec
        if not needs_health_check(spec):
            return spec
        wanted = spec.health_check_node_port
        if wanted and old is not None and wanted == old.spec.health_check_node_port:
            return spec
        if wanted:
            problem = await self._problem(wanted, service, giving)
            if problem:
                raise internal(f"failed to allocate requested HealthCheck NodePort {wanted}: {problem}")
        chosen = wanted or await self._free_port(service, giving)
        return replace(spec, health_check_node_port=chosen)

    async def _problem(self, port: int, service: Service, giving: _Giving) -> str:
        """Why a Service cannot have a port that it asks for; empty where it has it now."""
        low, high = self._node_ports
        if not low <= port <= high:
            return f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        return "" if await self._give(port, service, giving) else "provided port is already allocated"

    async def _give(self, port: int, service: Service, giving: _Giving) -> bool:
        """Whether the Service gets the port: nobody has it, and nobody is being given it."""
        services = self._lookup.cache(Service.__kind__)
        if port in giving.ports or port in self._taken(service):
            return False
        seen = services.last_change
        if not await giving.claim(port, services):
            return False
        # What was written before the claim may have come only now.
        if services.last_change == seen or port not in self._taken(service):
            return True
        await giving.let_go(port)
        return False

    def _taken(self, new: Service) -> set[int]:
        """The ports that other Services hold."""
        own = (new.metadata.namespace, new.metadata.name)
        ports: set[int] = set()
        for service in self._lookup.scan(Service):
            if (service.metadata.namespace, service.metadata.name) == own:
                continue
            ports.update(one.node_port for one in service.spec.ports if one.node_port)
            if service.spec.health_check_node_port:
                ports.add(service.spec.health_check_node_port)
        return ports

    async def _with_cluster_ip(self, new: Service, old: Service | None, *, dry_run: bool) -> Any:
        spec = new.spec
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

    async def _with_node_ports(self, new: Service, old: Service | None, giving: _Giving) -> Any:
        spec = new.spec
        wants = spec.type == "NodePort" or (
            spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
        )
        if not wants:
            if old is not None and old.spec.type in ("NodePort", "LoadBalancer"):
                return replace(spec, ports=tuple(replace(one, node_port=0) for one in spec.ports))
            return spec
        before = {} if old is None else {(one.protocol, one.port): one.node_port for one in old.spec.ports}
        own = {one.node_port for one in old.spec.ports} if old is not None else set()
        ports = []
        for at, port in enumerate(spec.ports):
            wanted = port.node_port or before.get((port.protocol, port.port), 0)
            if wanted and wanted not in own:
                problem = await self._problem(wanted, new, giving)
                if problem:
                    found = errors.invalid(f"spec.ports[{at}].nodePort", wanted, problem)
                    raise errors.Invalid.of(Service.__kind__, new.metadata.name, [found])
            ports.append(replace(port, node_port=wanted or await self._free_port(new, giving)))
        return replace(spec, ports=tuple(ports))

    async def _free_port(self, service: Service, giving: _Giving) -> int:
        low, high = self._node_ports
        start = low + first_dynamic_port(high - low + 1)
        taken = self._taken(service) | {port.node_port for port in service.spec.ports}
        for _ in range(_ATTEMPTS):
            port: int = self._chance.randint(start, high)
            if port not in taken and await self._give(port, service, giving):
                return port
        for port in (*range(start, high + 1), *range(low, start)):
            if port not in taken and await self._give(port, service, giving):
                return port
        raise internal("failed to allocate a nodePort: range is full")


def _check_addresses(service: Service) -> None:
    """Refuse addresses that do not fit each other before any is given out."""
    spec = service.spec
    if spec.cluster_ip and not spec.cluster_ips:
        spec = replace(spec, cluster_ips=(spec.cluster_ip,))
    problems = list(address_problems(spec, (), "spec"))
    if problems:
        raise errors.Invalid.of(Service.__kind__, service.metadata.name, problems)


class _Giving:
    """The ports that one write gives out. A dry run claims none."""

    def __init__(self, claims: PortClaims, *, dry_run: bool) -> None:
        self._claims = claims
        self._dry_run = dry_run
        self.ports: set[int] = set()

    async def claim(self, port: int, services: WatchCache) -> bool:
        """Whether the port is this write's to give."""
        if not self._dry_run and not await self._claims.claim(port, services):
            return False
        self.ports.add(port)
        return True

    async def let_go(self, *ports: int) -> None:
        """Not to give these after all."""
        self.ports.difference_update(ports)
        if not self._dry_run:
            await self._claims.release(ports)


def first_dynamic_port(size: int) -> int:
    """Where the part of a range of ports begins that is not left to those who ask for a port (KEP-3668)."""
    return 0 if size <= 16 else min(max(16, size // 32), 128)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
