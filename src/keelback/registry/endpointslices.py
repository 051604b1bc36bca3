"""EndpointSlices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from keelback.api.discovery_v1 import EndpointSlice, ForNode, ForZone
from keelback.apimachinery import addresses, names, validation
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required, too_many
from keelback.apimachinery.meta import replace
from keelback.registry import addresses_of_endpoints
from keelback.registry.cells import first_and_count
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MOST_ENDPOINTS = 1000
_MOST_ADDRESSES = 100
_MOST_TOPOLOGY = 16
_MOST_HINTS = 8


def _ports(endpoint_slice: EndpointSlice) -> str:
    if not endpoint_slice.ports:
        return "<unset>"
    return first_and_count([str(port.port) if port.port is not None else "*" for port in endpoint_slice.ports])


def _endpoints(endpoint_slice: EndpointSlice, _now: datetime) -> str:
    if not endpoint_slice.endpoints:
        return "<unset>"
    return first_and_count([address for one in endpoint_slice.endpoints for address in one.addresses])


class EndpointSliceStrategy(Strategy[EndpointSlice]):
    kind = EndpointSlice
    checks_metadata_twice = False
    checks_metadata_as_new = True
    columns = (
        text("AddressType", lambda one: one.address_type),
        text("Ports", _ports),
        Column("Endpoints", _endpoints),
        AGE,
    )

    def spec_changed(self, new: EndpointSlice, old: EndpointSlice) -> bool:
        return new.metadata.labels != old.metadata.labels or super().spec_changed(new, old)

    def validate(self, new: EndpointSlice) -> Iterator[FieldError]:
        if not new.address_type:
            yield required("addressType")
        elif new.address_type not in _TYPES:
            yield not_supported("addressType", new.address_type, _TYPES)
        yield from _validate_ports(new)
        yield from _endpoint_problems(new)

    def prepare_for_update(self, new: EndpointSlice, old: EndpointSlice) -> EndpointSlice:
        # The store keeps no empty lists, and a slice that says the same again is the same.
        return replace(new, endpoints=new.endpoints or None, ports=new.ports or None)

    def validate_update(self, new: EndpointSlice, old: EndpointSlice) -> Iterator[FieldError]:
        # Endpoints that older versions let through may stay.
        yield from self.validate(new if new.endpoints != old.endpoints else replace(new, endpoints=None))
        if new.address_type != old.address_type:
            yield invalid("addressType", new.address_type, "field is immutable")

    def warnings(self, new: EndpointSlice, old: EndpointSlice | None) -> Iterable[str]:
        if new.address_type == "FQDN" and (old is None or old.address_type != "FQDN"):
            return ("addressType: FQDN endpoints are deprecated",)
        return ()


def _endpoint_problems(new: EndpointSlice) -> Iterator[FieldError]:
    endpoints = new.endpoints or ()
    if len(endpoints) > _MOST_ENDPOINTS:
        yield too_many("endpoints", len(endpoints), _MOST_ENDPOINTS)
        return
    for index, endpoint in enumerate(endpoints):
        path = f"endpoints[{index}]"
        if not endpoint.addresses:
            yield required(f"{path}.addresses", "must contain at least 1 address")
        elif len(endpoint.addresses) > _MOST_ADDRESSES:
            yield too_many(f"{path}.addresses", len(endpoint.addresses), _MOST_ADDRESSES)
        for place, address in enumerate(endpoint.addresses):
            yield from _address(new.address_type, address, f"{path}.addresses", place)
        if endpoint.node_name is not None:
            for complaint in names.dns1123_subdomain(endpoint.node_name):
                yield invalid(f"{path}.nodeName", endpoint.node_name, complaint)
        topology = endpoint.deprecated_topology
        if len(topology) > _MOST_TOPOLOGY:
            yield too_many(f"{path}.deprecatedTopology", len(topology), _MOST_TOPOLOGY)
        yield from validation.label_map(topology, f"{path}.deprecatedTopology")
        if endpoint.hostname is not None:
            for complaint in names.dns1123_label(endpoint.hostname):
                yield invalid(f"{path}.hostname", endpoint.hostname, complaint)
        if endpoint.hints is not None:
            yield from _hints(endpoint.hints.for_zones, f"{path}.hints.forZones", names.label_value)
            yield from _hints(endpoint.hints.for_nodes, f"{path}.hints.forNodes", names.dns1123_subdomain)


def _hints(
    hints: Sequence[ForZone | ForNode], path: str, check: Callable[[str], names.Complaints]
) -> Iterator[FieldError]:
    if len(hints) > _MOST_HINTS:
        yield too_many(path, len(hints), _MOST_HINTS)
        return
    for index, hint in enumerate(hints):
        if hint.name in {one.name for one in hints[:index]}:
            yield duplicate(f"{path}[{index}].name", hint.name)
        for complaint in check(hint.name):
            yield invalid(f"{path}[{index}].name", hint.name, complaint)


def _address(kind: str, address: str, path: str, place: int) -> Iterator[FieldError]:
    here = f"{path}[{place}]"
    if kind == "FQDN":
        yield from _domain_name(address, here)
    elif kind in _TYPES:
        if not addresses.ip_address(address) and kind != f"IPv{addresses.family(address)}":
            # Upstream does not say which of the addresses.
            yield invalid(path, address, f"must be an {kind} address")
        yield from addresses_of_endpoints.problems(address, here)


def _domain_name(name: str, path: str) -> Iterator[FieldError]:
    """Everything wrong with a fully qualified domain name (apimachinery's IsFullyQualifiedDomainName)."""
    if not name:
        yield required(path)
        return
    name = name.removesuffix(".")
    complaints = names.dns1123_subdomain(name)
    if complaints:
        yield invalid(path, name, ",".join(complaints))
        return
    labels = name.split(".")
    if len(labels) < 2:
        yield invalid(path, name, "should be a domain with at least two segments separated by dots")
        return
    for label in labels:
        complaints = names.dns1123_label(label)
        if complaints:
            yield invalid(path, label, ",".join(complaints))
            return


def _validate_ports(new: EndpointSlice) -> Iterator[FieldError]:
    seen: set[str] = set()
    ports = new.ports or ()
    if len(ports) > 20000:
        yield too_many("ports", len(ports), 20000)
        return
    for index, port in enumerate(ports):
        path = f"ports[{index}]"
        if port.name:
            for complaint in names.dns1123_label(port.name):
                yield invalid(f"{path}.name", port.name, complaint)
        if port.name in seen:
            yield duplicate(f"{path}.name", port.name)
        seen.add(port.name)
        if port.protocol not in _PROTOCOLS:
            yield not_supported(f"{path}.protocol", port.protocol, _PROTOCOLS)
        if port.app_protocol is not None:
            for complaint in names.qualified_name(port.app_protocol):
                yield invalid(f"{path}.appProtocol", port.app_protocol, complaint)
