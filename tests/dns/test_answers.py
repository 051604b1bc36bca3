"""Answers by the Kubernetes DNS specification 1.1, question by question."""

from __future__ import annotations

import pytest
from dnslib import QTYPE, RCODE

from keelback.api.core_v1 import ServicePort
from keelback.api.discovery_v1 import EndpointConditions, EndpointPort
from keelback.apimachinery.meta import ObjectMeta
from keelback.dns.answers import Answer, Zone, answer, reverse_address
from keelback.dns.observed import Endpoint, EndpointSlice, Service, ServiceSpec
from keelback.dns.records import Records, records_of

ZONE = Zone()


def service(name: str, **spec: object) -> Service:
    return Service(metadata=ObjectMeta(name=name, namespace="shop"), spec=ServiceSpec(**spec))


def slice_of(*endpoints: Endpoint, family: str = "IPv4") -> EndpointSlice:
    return EndpointSlice(address_type=family, endpoints=endpoints, ports=(EndpointPort(name="http", port=8080),))


@pytest.fixture
def records() -> Records:
    made = Records(namespaces={"shop", "default"})
    http = ServicePort(name="http", port=80)
    dual = service("web", cluster_ip="10.96.0.20", cluster_ips=("10.96.0.20", "fd00::20"), ports=(http,))
    made.put(records_of(dual, [slice_of(Endpoint(addresses=("10.244.0.9",)))]))
    slices = [
        slice_of(
            Endpoint(addresses=("10.244.0.5",), hostname="db-0"),
            Endpoint(addresses=("10.244.1.6",), hostname="db-1"),
            Endpoint(addresses=("10.244.1.7",), hostname="db-2", conditions=EndpointConditions(ready=False)),
        ),
        slice_of(Endpoint(addresses=("fd00:1::5",), hostname="db-0"), family="IPv6"),
    ]
    made.put(records_of(service("db", cluster_ip="None", ports=(http,)), slices))
    made.put(records_of(service("plain", cluster_ip="None"), [slice_of(Endpoint(addresses=("10.244.2.2",)))]))
    made.put(records_of(service("empty", cluster_ip="None"), []))
    made.put(records_of(service("outside", type="ExternalName", external_name="www.example.org"), []))
    made.put(records_of(service("alias", type="ExternalName", external_name="web.shop.svc.cluster.local"), []))
    made.put(records_of(service("loop", type="ExternalName", external_name="loop.shop.svc.cluster.local"), []))
    return made


def ask(records: Records, name: str, qtype: str = "A") -> Answer:
    found = answer(records, ZONE, name.split("."), getattr(QTYPE, qtype))
    assert found is not None
    return found


def data(found: Answer) -> list[str]:
    return [str(record.rdata) for record in found.answers]


@pytest.mark.parametrize(
    ("name", "qtype", "expected"),
    [
        ("web.shop.svc.cluster.local", "A", ["10.96.0.20"]),
        ("web.shop.svc.cluster.local", "AAAA", ["fd00::20"]),
        ("db.shop.svc.cluster.local", "A", ["10.244.0.5", "10.244.1.6"]),
        ("db-0.db.shop.svc.cluster.local", "A", ["10.244.0.5"]),
        ("db-0.db.shop.svc.cluster.local", "AAAA", ["fd00:1::5"]),
        ("10-244-2-2.plain.shop.svc.cluster.local", "A", ["10.244.2.2"]),
        ("outside.shop.svc.cluster.local", "CNAME", ["www.example.org."]),
        ("alias.shop.svc.cluster.local", "A", ["web.shop.svc.cluster.local.", "10.96.0.20"]),
        ("_http._tcp.web.shop.svc.cluster.local", "SRV", ["0 100 80 web.shop.svc.cluster.local."]),
        (
            "_http._tcp.db.shop.svc.cluster.local",
            "SRV",
            ["0 50 8080 db-0.db.shop.svc.cluster.local.", "0 50 8080 db-1.db.shop.svc.cluster.local."],
        ),
        ("20.0.96.10.in-addr.arpa", "PTR", ["web.shop.svc.cluster.local."]),
        ("5.0.244.10.in-addr.arpa", "PTR", ["db-0.db.shop.svc.cluster.local."]),
        ("10-244-3-4.shop.pod.cluster.local", "A", ["10.244.3.4"]),
        ("fd00--12.shop.pod.cluster.local", "AAAA", ["fd00::12"]),
        ("dns-version.cluster.local", "TXT", ['"1.1.0"']),
        ("ns.dns.cluster.local", "A", ["10.96.0.10"]),
        ("cluster.local", "NS", ["ns.dns.cluster.local."]),
    ],
)
def test_records(records: Records, name: str, qtype: str, expected: list[str]) -> None:
    found = ask(records, name, qtype)
    assert found.rcode == RCODE.NOERROR
    assert data(found) == expected
    assert not found.authority


def test_srv_brings_the_addresses_of_its_targets(records: Records) -> None:
    found = ask(records, "_http._tcp.db.shop.svc.cluster.local", "SRV")
    assert sorted((str(record.rname), str(record.rdata)) for record in found.additional) == [
        ("db-0.db.shop.svc.cluster.local.", "10.244.0.5"),
        ("db-0.db.shop.svc.cluster.local.", "fd00:1::5"),
        ("db-1.db.shop.svc.cluster.local.", "10.244.1.6"),
    ]


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("nope.shop.svc.cluster.local", RCODE.NXDOMAIN),
        ("db-2.db.shop.svc.cluster.local", RCODE.NXDOMAIN),
        ("db-9.db.shop.svc.cluster.local", RCODE.NXDOMAIN),
        ("_nope._tcp.web.shop.svc.cluster.local", RCODE.NXDOMAIN),
        ("empty.shop.svc.cluster.local", RCODE.NXDOMAIN),
        ("web.nowhere.svc.cluster.local", RCODE.NXDOMAIN),
        ("nowhere.svc.cluster.local", RCODE.NXDOMAIN),
        ("10-244-3-4.nowhere.pod.cluster.local", RCODE.NXDOMAIN),
        ("not-an-address.shop.pod.cluster.local", RCODE.NXDOMAIN),
        ("www.example.org.cluster.local", RCODE.NXDOMAIN),
        ("cluster.local", RCODE.NOERROR),
        ("svc.cluster.local", RCODE.NOERROR),
        ("shop.svc.cluster.local", RCODE.NOERROR),
        ("_tcp.web.shop.svc.cluster.local", RCODE.NOERROR),
        ("_http._tcp.web.shop.svc.cluster.local", RCODE.NOERROR),
        ("plain.shop.svc.cluster.local", RCODE.NOERROR),
    ],
)
def test_what_there_is_not_comes_with_how_long_to_remember_it(records: Records, name: str, rcode: int) -> None:
    found = ask(records, name, "MX")
    assert found.rcode == rcode
    assert not found.answers
    (soa,) = found.authority
    assert str(soa.rname) == "cluster.local."
    assert soa.rtype == QTYPE.SOA
    assert soa.ttl == ZONE.ttl_seconds


def test_an_alias_out_of_the_cluster_goes_on_elsewhere(records: Records) -> None:
    found = ask(records, "outside.shop.svc.cluster.local")
    assert data(found) == ["www.example.org."]
    assert found.alias == "www.example.org"


def test_aliases_in_a_circle_end(records: Records) -> None:
    assert ask(records, "loop.shop.svc.cluster.local").rcode == RCODE.SERVFAIL


@pytest.mark.parametrize("name", ["www.example.org", "local", "1.0.0.127.in-addr.arpa", "arpa", "x.in-addr.arpa"])
def test_other_names_are_for_others(records: Records, name: str) -> None:
    assert answer(records, ZONE, name.split("."), QTYPE.PTR) is None


def test_a_service_that_is_gone_leaves_nothing(records: Records) -> None:
    records.remove(("shop", "web"))
    assert ask(records, "web.shop.svc.cluster.local").rcode == RCODE.NXDOMAIN
    assert records.names_of("10.96.0.20") == []
    assert records.names_of("10.244.0.9") == []


def test_reverse_names_of_version_6() -> None:
    nibbles = "20010db8000000000000000000000001"
    assert reverse_address([*reversed(nibbles), "ip6", "arpa"]) == "2001:db8::1"
