"""What is answered to one question, by the Kubernetes DNS specification 1.1. Pure.

Names of the cluster's domain are answered here and nowhere else; reverse names only where the cluster knows the
address. Everything else is somebody else's to answer. Where the specification is silent, CoreDNS is followed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dnslib import AAAA, CNAME, NS, PTR, QTYPE, RCODE, RR, SOA, SRV, TXT, A

from keelback.dns.records import EndpointRecord, Port, Records, ServiceRecord

VERSION = "1.1.0"
_MAX_ALIASES = 8


@dataclass(frozen=True, slots=True)
class Zone:
    """The cluster's domain: its labels, where its name server is, and how long answers hold."""

    labels: tuple[str, ...] = ("cluster", "local")
    server_addresses: tuple[str, ...] = ("10.96.0.10",)
    ttl_seconds: int = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """`alias`, if any, is a name outside the domain at which the answer goes on."""

    rcode: int = RCODE.NOERROR
    answers: tuple[RR, ...] = ()
    authority: tuple[RR, ...] = ()
    additional: tuple[RR, ...] = ()
    alias: str = ""


@dataclass(frozen=True, slots=True)
class _Found:
    """A name that exists, and what it holds. `data` are records of any type but those that are addresses."""

    addresses: tuple[str, ...] = ()
    alias: str = ""
    data: tuple[Any, ...] = ()
    services: tuple[tuple[SRV, tuple[tuple[str, str], ...]], ...] = ()


def answer(records: Records, zone: Zone, labels: Sequence[str], qtype: int) -> Answer | None:
    """The answer to a question about the name of these labels (lower case), or None where it is not for us to say."""
    size = len(zone.labels)
    if tuple(labels[-size:]) == zone.labels:
        return _in_zone(records, zone, tuple(labels[:-size]), qtype)
    address = reverse_address(labels)
    names = records.names_of(address) if address else []
    if not names:
        return None
    pointers = [PTR(_name(zone, label, name, namespace, "svc")) for label, name, namespace in names]
    if qtype not in {QTYPE.PTR, QTYPE.ANY}:
        return _nothing(records, zone)
    return Answer(answers=tuple(_rr(labels, pointer, zone) for pointer in pointers))


def reverse_address(labels: Sequence[str]) -> str:
    """The address that a name below in-addr.arpa or ip6.arpa stands for, or nothing."""
    try:
        match tuple(labels[-2:]):
            case ("in-addr", "arpa") if len(labels) == 6:
                return str(ipaddress.IPv4Address(".".join(reversed(labels[:4]))))
            case ("ip6", "arpa") if len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
                return str(ipaddress.IPv6Address(int("".join(reversed(labels[:32])), 16)))
    except ValueError:
        pass
    return ""


def _in_zone(records: Records, zone: Zone, labels: tuple[str, ...], qtype: int) -> Answer:
    answers: list[RR] = []
    for _ in range(_MAX_ALIASES):
        found = _find(records, zone, labels)
        owner = (*labels, *zone.labels)
        if found is None:
            return Answer(RCODE.NXDOMAIN, tuple(answers), (_authority(records, zone),))
        if found.alias:
            answers.append(_rr(owner, CNAME(found.alias), zone))
            target = tuple(found.alias.lower().split("."))
            if qtype == QTYPE.CNAME:
                return Answer(answers=tuple(answers))
            if target[-len(zone.labels) :] != zone.labels:
                return Answer(answers=tuple(answers), alias=found.alias)
            labels = target[: -len(zone.labels)]
            continue
        held, additional = _of_type(found, zone, qtype, owner)
        answers += held
        return Answer(
            answers=tuple(answers),
            authority=() if held else (_authority(records, zone),),
            additional=tuple(additional),
        )
    return Answer(RCODE.SERVFAIL)


def _find(records: Records, zone: Zone, labels: tuple[str, ...]) -> _Found | None:
    """What a name of the domain holds; None where there is no such name."""
    match labels:
        case ():
            return _Found(data=(_soa(records, zone), NS(_name(zone, "ns", "dns"))))
        case ("dns-version",):
            return _Found(data=(TXT(VERSION),))
        case ("svc",) | ("pod",) | ("dns",):
            return _Found()
        case ("ns", "dns"):
            return _Found(zone.server_addresses)
        case (namespace, "svc" | "pod"):
            return _Found() if records.has_namespace(namespace) else None
        case (label, namespace, "pod"):
            address = _undashed(label)
            return _Found((address,)) if address and records.has_namespace(namespace) else None
        case (*below, name, namespace, "svc"):
            service = records.service(namespace, name)
            return _below_service(zone, service, tuple(below)) if service is not None else None
        case _:
            return None


def _below_service(zone: Zone, service: ServiceRecord, labels: tuple[str, ...]) -> _Found | None:
    if service.external_name:
        return _Found(alias=service.external_name) if not labels else None
    match labels:
        case ():
            if service.is_headless and not service.endpoints:
                return None
            services = tuple(_services(zone, service, lambda port: True))
            return _Found(service.addresses or _addresses(service.endpoints), services=services)
        case (label,) if label.startswith("_"):
            has_any = any(True for _ in _services(zone, service, lambda port: f"_{port.protocol}" == label))
            return _Found() if has_any else None
        case (label,):
            found = [endpoint for endpoint in service.endpoints if label in {endpoint.label, _label_of(endpoint)}]
            return _Found(_addresses(found)) if found else None
        case (name, protocol) if name.startswith("_") and protocol.startswith("_"):
            services = tuple(
                _services(zone, service, lambda port: (f"_{port.name}", f"_{port.protocol}") == (name, protocol))
            )
            return _Found(services=services) if services else None
        case _:
            return None


def _services(zone: Zone, service: ServiceRecord, wanted: Any) -> Iterator[tuple[SRV, tuple[tuple[str, str], ...]]]:
    """SRV records, each with the name and addresses of its target."""
    if service.addresses:
        target = _name(zone, service.name, service.namespace, "svc")
        ports = [port for port in service.ports if wanted(port)]
        pairs = [(port, target, tuple((target, address) for address in service.addresses)) for port in ports]
    else:
        # Addresses of one host name are one target.
        hosts: dict[tuple[Port, str], list[str]] = {}
        for endpoint in service.endpoints:
            target = _name(zone, endpoint.label, service.name, service.namespace, "svc")
            for port in endpoint.ports:
                if wanted(port):
                    hosts.setdefault((port, target), []).append(endpoint.address)
        pairs = [
            (port, target, tuple((target, address) for address in found)) for (port, target), found in hosts.items()
        ]
    for port, target, addresses in pairs:
        weight = max(1, 100 // sum(other.port == port.port for other, _, _ in pairs)) if len(pairs) < 100 else 1
        yield SRV(priority=0, weight=weight, port=port.port, target=target), addresses


def _of_type(found: _Found, zone: Zone, qtype: int, owner: Sequence[str]) -> tuple[list[RR], list[RR]]:
    match qtype:
        case QTYPE.A | QTYPE.AAAA:
            wanted = 4 if qtype == QTYPE.A else 6
            held = [address for address in found.addresses if ipaddress.ip_address(address).version == wanted]
            return [_rr(owner, _address(address), zone) for address in dict.fromkeys(held)], []
        case QTYPE.SRV:
            targets = dict.fromkeys(pair for _, addresses in found.services for pair in addresses)
            additional = [_rr(target.split("."), _address(address), zone) for target, address in targets]
            return [_rr(owner, record, zone) for record, _ in found.services], additional
        case _:
            return [_rr(owner, data, zone) for data in found.data if _type_of(data) == qtype], []


def _nothing(records: Records, zone: Zone) -> Answer:
    return Answer(authority=(_authority(records, zone),))


def _authority(records: Records, zone: Zone) -> RR:
    return _rr(zone.labels, _soa(records, zone), zone)


def _soa(records: Records, zone: Zone) -> SOA:
    times = (records.serial & 0xFFFFFFFF, 7200, 1800, 86400, zone.ttl_seconds)
    return SOA(_name(zone, "ns", "dns"), _name(zone, "hostmaster"), times)


def _address(text: str) -> Any:
    return AAAA(text) if ":" in text else A(text)


def _addresses(endpoints: Iterable[EndpointRecord]) -> tuple[str, ...]:
    return tuple(endpoint.address for endpoint in endpoints)


def _label_of(endpoint: EndpointRecord) -> str:
    return endpoint.address.replace(".", "-").replace(":", "-")


def _undashed(label: str) -> str:
    """The address of a pod's label, or nothing."""
    if not re.fullmatch(r"[0-9a-f-]+", label):
        return ""
    for text in (label.replace("-", "."), label.replace("-", ":")):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            continue
    return ""


def _name(zone: Zone, *labels: str) -> str:
    return ".".join((*(label for label in labels if label), *zone.labels))


def _rr(owner: Sequence[str], data: Any, zone: Zone) -> RR:
    return RR([label.encode("latin-1") for label in owner], _type_of(data), ttl=zone.ttl_seconds, rdata=data)


def _type_of(data: Any) -> int:
    number: int = getattr(QTYPE, type(data).__name__)
    return number
