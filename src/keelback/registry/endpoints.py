"""Endpoints: of old; every request is told of their successor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from keelback.api.core_v1 import EndpointPort, Endpoints, EndpointSubset
from keelback.apimachinery import addresses, names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.registry import addresses_of_endpoints
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Column, Strategy

_SHOWN = 3
_PROTOCOLS = ("SCTP", "TCP", "UDP")


def _addresses(endpoints: Endpoints, _now: datetime) -> str:
    shown = [text for subset in endpoints.subsets for text in _of_subset(subset)]
    if not shown:
        return NONE
    text = ",".join(shown[:_SHOWN])
    return f"{text} + {len(shown) - _SHOWN} more..." if len(shown) > _SHOWN else text


def _of_subset(subset: EndpointSubset) -> Iterable[str]:
    ports: tuple[EndpointPort | None, ...] = subset.ports or (None,)
    for port in ports:
        for address in subset.addresses:
            host = f"[{address.ip}]" if port is not None and ":" in address.ip else address.ip
            yield host if port is None else f"{host}:{port.port}"


class EndpointsStrategy(Strategy[Endpoints]):
    kind = Endpoints
    checks_metadata_as_new = True
    storage_path = "services/endpoints"
    is_created_by_update = True
    counts_generations = False
    deprecation_warning = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    columns = (Column("Endpoints", _addresses), AGE)

    def validate(self, new: Endpoints) -> Iterator[FieldError]:
        for index, subset in enumerate(new.subsets):
            yield from _subset(subset, f"subsets[{index}]")

    def validate_update(self, new: Endpoints, old: Endpoints) -> Iterator[FieldError]:
        # Subsets that older versions let through may stay.
        return self.validate(new) if new.subsets != old.subsets else iter(())


def _subset(subset: EndpointSubset, path: str) -> Iterator[FieldError]:
    if not subset.addresses and not subset.not_ready_addresses:
        yield required(path, "must specify `addresses` or `notReadyAddresses`")
    for field, given in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
        for index, address in enumerate(given):
            here = f"{path}.{field}[{index}]"
            for complaint in addresses.ip_address(address.ip):
                yield invalid(f"{here}.ip", address.ip, complaint)
            if address.hostname:
                for complaint in names.dns1123_label(address.hostname):
                    yield invalid(f"{here}.hostname", address.hostname, complaint)
            if address.node_name is not None:
                for complaint in names.dns1123_subdomain(address.node_name):
                    yield invalid(f"{here}.nodeName", address.node_name, complaint)
            yield from addresses_of_endpoints.special(address.ip, f"{here}.ip")
    for index, port in enumerate(subset.ports):
        yield from _port(port, f"{path}.ports[{index}]", needs_name=len(subset.ports) > 1)


def _port(port: EndpointPort, path: str, *, needs_name: bool) -> Iterator[FieldError]:
    if port.name:
        for complaint in names.dns1123_label(port.name):
            yield invalid(f"{path}.name", port.name, complaint)
    elif needs_name:
        yield required(f"{path}.name")
    for complaint in names.port_number(port.port):
        yield invalid(f"{path}.port", port.port, complaint)
    if not port.protocol:
        yield required(f"{path}.protocol")
    elif port.protocol not in _PROTOCOLS:
        yield not_supported(f"{path}.protocol", port.protocol, _PROTOCOLS)
    if port.app_protocol is not None:
        for complaint in names.qualified_name(port.app_protocol):
            yield invalid(f"{path}.appProtocol", port.app_protocol, complaint)
