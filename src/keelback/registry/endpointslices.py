"""EndpointSlices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from keelback.api.discovery_v1 import EndpointSlice
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required, too_many
from keelback.apimachinery.meta import replace
from keelback.registry import addresses_of_endpoints
from keelback.registry.cells import first_and_count
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")


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
    columns = (
        text("AddressType", lambda one: one.address_type),
        text("Ports", _ports),
        Column("Endpoints", _endpoints),
        AGE,
    )

    def validate(self, new: EndpointSlice) -> Iterator[FieldError]:
        if not new.address_type:
            yield required("addressType")
        elif new.address_type not in _TYPES:
            yield not_supported("addressType", new.address_type, _TYPES)
        if len(new.endpoints or ()) > 1000:
            yield too_many("endpoints", len(new.endpoints or ()), 1000)
        for index, endpoint in enumerate(new.endpoints or ()):
            path = f"endpoints[{index}].addresses"
            if not endpoint.addresses:
                yield required(path, "must contain at least 1 address")
            for place, address in enumerate(endpoint.addresses):
                yield from _address(new.address_type, address, f"{path}[{place}]")
        yield from _validate_ports(new)

    def prepare_for_update(self, new: EndpointSlice, old: EndpointSlice) -> EndpointSlice:
        # The store keeps no empty lists, and a slice that says the same again is the same.
        return replace(new, endpoints=new.endpoints or None, ports=new.ports or None)

    def validate_update(self, new: EndpointSlice, old: EndpointSlice) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.address_type != old.address_type:
            yield invalid("addressType", new.address_type, "field is immutable")

    def warnings(self, new: EndpointSlice, old: EndpointSlice | None) -> Iterable[str]:
        if new.address_type == "FQDN" and (old is None or old.address_type != "FQDN"):
            return ("addressType: FQDN endpoints are deprecated",)
        return ()


def _address(kind: str, address: str, path: str) -> Iterator[FieldError]:
    if kind == "FQDN":
        for complaint in names.dns1123_subdomain(address):
            yield invalid(path, address, complaint)
        return
    if not names.ip_address(address) and (":" in address) != (kind == "IPv6"):
        yield invalid(path, address, f"must be an {kind} address")
    yield from addresses_of_endpoints.problems(address, path)


def _validate_ports(new: EndpointSlice) -> Iterator[FieldError]:
    seen: set[str] = set()
    ports = new.ports or ()
    if len(ports) > 20000:
        yield too_many("ports", len(ports), 20000)
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
