"""What DNS knows of the cluster: the records of each Service, findable by name and by address.

`records_of` is pure; `Records` only holds its results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from keelback.client.store import Key
from keelback.dns.observed import EndpointSlice, Service


class Port(NamedTuple):
    """A named port of a Service or endpoint. The protocol is lower case."""

    name: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """One address behind a Service, and the label it has below the Service's name."""

    label: str
    address: str
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """All that is answered about one Service. `addresses` are its own: none when it is headless."""

    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    external_name: str = ""
    ports: tuple[Port, ...] = ()
    endpoints: tuple[EndpointRecord, ...] = ()

    @property
    def is_headless(self) -> bool:
        return not self.addresses and not self.external_name


def records_of(service: Service, slices: Sequence[EndpointSlice]) -> ServiceRecord:
    """The records of a Service. Endpoints count while they are ready, or are to be published although they are not."""
    namespace, name = service.metadata.namespace, service.metadata.name
    spec = service.spec
    if spec.type == "ExternalName":
        return ServiceRecord(namespace, name, external_name=spec.external_name.rstrip("."))
    addresses = () if spec.cluster_ip in {"", "None"} else (spec.cluster_ips or (spec.cluster_ip,))
    found: dict[tuple[str, str], EndpointRecord] = {}
    for one in slices:
        ports = tuple(Port(port.name, port.protocol.lower(), port.port) for port in one.ports or () if port.port)
        for endpoint in one.endpoints or ():
            # The endpoints controller says "ready" where the Service publishes whoever is not.
            if endpoint.conditions.ready is False:
                continue
            for address in endpoint.addresses:
                label = (endpoint.hostname or dashed(address)).lower()
                found[label, address] = EndpointRecord(label, address, ports)
    ports = tuple(Port(port.name, port.protocol.lower(), port.port) for port in spec.ports)
    return ServiceRecord(namespace, name, addresses, "", ports, tuple(found.values()))


def dashed(address: str) -> str:
    """An address as one label: `10-0-0-1`, `fd00--1`."""
    return address.replace(".", "-").replace(":", "-")


@dataclass(slots=True)
class Records:
    """All Services and namespaces (None: any may exist). `serial` grows with each change."""

    namespaces: set[str] | None = None
    serial: int = 1
    _services: dict[Key, ServiceRecord] = field(default_factory=dict)
    _names: dict[str, dict[tuple[Key, str], None]] = field(default_factory=dict)

    def has_namespace(self, name: str) -> bool:
        return self.namespaces is None or name in self.namespaces

    def service(self, namespace: str, name: str) -> ServiceRecord | None:
        return self._services.get((namespace, name))

    def names_of(self, address: str) -> list[tuple[str, str, str]]:
        """(label, service, namespace) of whoever has an address; the label is empty for a Service's own."""
        return sorted((label, name, namespace) for ((namespace, name), label) in self._names.get(address, ()))

    def put(self, record: ServiceRecord) -> None:
        """Replace what was known of a Service."""
        key = (record.namespace, record.name)
        if self._services.get(key) == record:
            return
        self.remove(key)
        self._services[key] = record
        for address, label in _labels(record):
            self._names.setdefault(address, {})[key, label] = None
        self.serial += 1

    def remove(self, key: Key) -> None:
        """Forget a Service."""
        record = self._services.pop(key, None)
        if record is None:
            return
        for address, label in _labels(record):
            held = self._names.get(address, {})
            held.pop((key, label), None)
            if not held:
                self._names.pop(address, None)
        self.serial += 1


def _labels(record: ServiceRecord) -> list[tuple[str, str]]:
    own = [(address, "") for address in record.addresses]
    return own + [(endpoint.address, endpoint.label) for endpoint in record.endpoints]
