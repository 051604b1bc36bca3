"""Cluster IPs and node ports for Services: chosen at random from their ranges, never given out twice.

What is taken is read from the cache of Services and from reservations of writes still under way, so that nothing has to
be repaired after a crash: an address that no Service holds is free.
"""

from __future__ import annotations

import ipaddress
import random
from typing import Any

from keelback.api.core_v1 import Service
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace
from keelback.apiserver.lookup import CacheLookup
from keelback.concurrency.clock import Clock
from keelback.registry.service_specs import needs_health_check

_ATTEMPTS = 64
_RESERVED_SECONDS = 5.0


class ServiceAllocator:
    """Gives Services what their type needs. `service_cidr` such as 10.96.0.0/16; `node_ports` is inclusive."""

    def __init__(
        self,
        lookup: CacheLookup,
        chance: random.Random,
        service_cidr: str,
        clock: Clock,
        node_ports: tuple[int, int] = (30000, 32767),
    ) -> None:
        self._lookup = lookup
        self._chance = chance
        self._network = ipaddress.ip_network(service_cidr)
        self._node_ports = node_ports
        self._clock = clock
        # Until when something is held for a write that the cache does not show yet.
        self._reserved: dict[str | int, float] = {}

    async def allocate(self, new: Service, old: Service | None, *, dry_run: bool) -> Service:
        """The Service with addresses and ports. Raises Invalid where what it asks for is taken or out of range."""
        spec = new.spec
        if spec.type == "ExternalName":
            if old is not None and old.spec.type != "ExternalName":
                return replace(new, spec=replace(spec, cluster_ip="", cluster_ips=()))
            return new
        self._check_families(new)
        spec = self._with_cluster_ip(new, old)
        spec = self._with_node_ports(replace(new, spec=spec), old)
        return replace(new, spec=self._with_health_check_port(replace(new, spec=spec), old))

    def _check_families(self, service: Service) -> None:
        """Refuse families that this cluster has no range of; a headless Service that selects nothing may name any."""
        spec = service.spec
        if spec.cluster_ip == "None" and not spec.selector:
            return
        own = f"IPv{self._network.version}"
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
        _, taken = self._taken(service)
        if wanted:
            low, high = self._node_ports
            problem = ""
            if wanted in taken:
                problem = "provided port is already allocated"
            elif not low <= wanted <= high:
                problem = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
            if problem:
                raise errors.InternalError(f"failed to allocate requested HealthCheck NodePort {wanted}: {problem}")
        chosen = wanted or self._free_port(taken | {port.node_port for port in spec.ports})
        self._reserve(chosen)
        return replace(spec, health_check_node_port=chosen)

    def _taken(self, new: Service) -> tuple[set[str], set[int]]:
        """What other Services hold, and what is held for writes under way."""
        own = (new.metadata.namespace, new.metadata.name)
        addresses: set[str] = set()
        ports: set[int] = set()
        for service in self._lookup.scan(Service):
            if (service.metadata.namespace, service.metadata.name) == own:
                continue
            addresses.update(one for one in (service.spec.cluster_ip, *service.spec.cluster_ips) if one)
            ports.update(one.node_port for one in service.spec.ports if one.node_port)
            if service.spec.health_check_node_port:
                ports.add(service.spec.health_check_node_port)
        now = self._clock.monotonic()
        for value, until in list(self._reserved.items()):
            if until < now or value in addresses or value in ports:
                del self._reserved[value]
            elif isinstance(value, str):
                addresses.add(value)
            else:
                ports.add(value)
        return addresses, ports

    def _reserve(self, value: str | int) -> None:
        self._reserved[value] = self._clock.monotonic() + _RESERVED_SECONDS

    def _with_cluster_ip(self, new: Service, old: Service | None) -> Any:
        spec = new.spec
        if not spec.cluster_ip and spec.cluster_ips:
            spec = replace(spec, cluster_ip=spec.cluster_ips[0])
        if not spec.cluster_ip and old is not None and old.spec.cluster_ip and old.spec.type != "ExternalName":
            spec = replace(spec, cluster_ip=old.spec.cluster_ip, cluster_ips=old.spec.cluster_ips)
        if spec.cluster_ip == "None" or (
            old is not None and spec.cluster_ip and spec.cluster_ip == old.spec.cluster_ip
        ):
            return replace(spec, cluster_ips=spec.cluster_ips or (spec.cluster_ip,))
        taken, _ = self._taken(new)
        if spec.cluster_ip:
            self._check_address(new, spec.cluster_ip, taken)
            chosen = spec.cluster_ip
        else:
            chosen = self._free_address(taken)
        self._reserve(chosen)
        return replace(spec, cluster_ip=chosen, cluster_ips=(chosen,))

    def _check_address(self, service: Service, address: str, taken: set[str]) -> None:
        problem = ""
        try:
            inside = ipaddress.ip_address(address) in self._network
        except ValueError:
            return  # validation says it better
        if not inside:
            problem = (
                f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. "
                f"The range of valid IPs is {self._network}"
            )
        elif address in taken:
            problem = f"failed to allocate IP {address}: provided IP is already allocated"
        if problem:
            found = errors.invalid("spec.clusterIPs", [address], problem)
            raise errors.Invalid.of(Service.__kind__, service.metadata.name, [found])

    def _free_address(self, taken: set[str]) -> str:
        size = self._network.num_addresses
        # The lower part is left to those who ask for an address (KEP-3070).
        reserved = min(max(16, size // 16), 256)
        for start in (reserved if size > 2 * reserved else 1, 1):
            for _ in range(_ATTEMPTS):
                address = str(self._network[self._chance.randrange(start, size - 1)])
                if address not in taken:
                    return address
        for offset in range(1, size - 1):
            if (address := str(self._network[offset])) not in taken:
                return address
        raise errors.InternalError("failed to allocate a serviceIP: range is full")

    def _with_node_ports(self, new: Service, old: Service | None) -> Any:
        spec = new.spec
        wants = spec.type == "NodePort" or (
            spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is not False
        )
        if not wants:
            if old is not None and old.spec.type in ("NodePort", "LoadBalancer"):
                return replace(spec, ports=tuple(replace(one, node_port=0) for one in spec.ports))
            return spec
        _, taken = self._taken(new)
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
        for _ in range(_ATTEMPTS):
            if (port := self._chance.randint(low, high)) not in taken:
                return port
        for port in range(low, high + 1):
            if port not in taken:
                return port
        raise errors.InternalError("failed to allocate a nodePort: range is full")
