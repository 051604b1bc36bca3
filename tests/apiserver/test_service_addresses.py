"""Addresses and node ports of Services: objects of their own, one Service each, in ranges that can be added."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keelback.api.core_v1 import Service, ServicePort, ServiceSpec
from keelback.api.networking_v1 import (
    IPAddress,
    IPAddressSpec,
    ParentReference,
    ServiceCIDR,
    ServiceCIDRSpec,
    ServiceCIDRStatus,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Condition, ObjectMeta, replace
from keelback.apiserver import service_addresses
from keelback.apiserver.allocators import first_dynamic_port
from keelback.apiserver.assembly import RunningAPIServer
from keelback.concurrency.clock import SystemClock
from keelback.storage.sqlite import open_store
from keelback.testing.api import ADMINISTRATOR, api_server

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def service(name: str, **spec: Any) -> Service:
    ports = spec.pop("ports", (ServicePort(port=80),))
    return Service(metadata=ObjectMeta(name=name, namespace="default"), spec=ServiceSpec(ports=ports, **spec))


async def addresses(api: RunningAPIServer) -> dict[str, str]:
    """Which Service has which address."""
    items = (await api.client(ADMINISTRATOR).list(IPAddress)).items
    return {one.metadata.name: one.spec.parent_ref.name for one in items}


def test_a_services_address_is_an_object_while_it_has_it() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            client = api.client(ADMINISTRATOR)
            assert await addresses(api) == {"10.96.0.1": "kubernetes", "10.96.0.10": "kube-dns"}
            made = await client.create(service("web"))
            (given,) = made.spec.cluster_ips
            held = await client.get(IPAddress, given)
            assert held.spec.parent_ref == ParentReference(resource="services", namespace="default", name="web")
            assert held.metadata.labels == {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            }
            external = replace(made, spec=replace(made.spec, type="ExternalName", external_name="a.example.com"))
            external = replace(external, spec=replace(external.spec, cluster_ip="", cluster_ips=()))
            await client.update(external)
            assert given not in await addresses(api)
            again = await client.create(service("api", cluster_ip=given))
            assert again.spec.cluster_ip == given
            await client.delete(Service, "api", "default")
            assert given not in await addresses(api)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("10.96.0.10", "provided IP is already allocated"),
        ("10.97.0.1", "the provided network does not match the current range"),
        ("10.96.0.0", "the provided IP (10.96.0.0) is not in the valid range. The range of valid IPs is 10.96.0.0/16"),
    ],
)
def test_addresses_that_cannot_be_given_are_refused(wanted: str, problem: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            with pytest.raises(errors.Invalid) as refused:
                await api.client(ADMINISTRATOR).create(service("web", cluster_ip=wanted))
            says = f'spec.clusterIPs: Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: {problem}'
            assert refused.value.message == f'Service "web" is invalid: {says}'

    asyncio.run(main())


def test_a_service_that_is_refused_keeps_no_address() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            client = api.client(ADMINISTRATOR)
            before = await addresses(api)
            with pytest.raises(errors.Invalid):
                await client.create(service("web", ports=(ServicePort(port=80, name="BAD NAME"),)))
            with pytest.raises(errors.Invalid):
                await client.create(service("web", type="NodePort", ports=(ServicePort(port=80, node_port=1),)))
            with pytest.raises(errors.AlreadyExists):
                await client.create(
                    Service(
                        metadata=ObjectMeta(name="kubernetes", namespace="default"),
                        spec=ServiceSpec(ports=(ServicePort(port=1),)),
                    )
                )
            assert await addresses(api) == before

    asyncio.run(main())


def test_an_address_that_somebody_reserved_is_not_given_out() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            client = api.client(ADMINISTRATOR)
            parent = ParentReference(group="example.com", resource="vips", name="one")
            spec = IPAddressSpec(parent_ref=parent)
            await client.create(IPAddress(metadata=ObjectMeta(name="10.96.5.5"), spec=spec))
            with pytest.raises(errors.Invalid, match="provided IP is already allocated"):
                await client.create(service("web", cluster_ip="10.96.5.5"))

    asyncio.run(main())


def test_a_range_that_is_ready_gives_addresses_too() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            client = api.client(ADMINISTRATOR)
            ready = Condition(type="Ready", status="True", last_transition_time=NOW, message="ready")
            cidr = ServiceCIDR(metadata=ObjectMeta(name="more"), spec=ServiceCIDRSpec(cidrs=("10.200.0.0/28",)))
            made = await client.create(cidr)
            with pytest.raises(errors.Invalid, match="does not match the current range"):
                await client.create(service("early", cluster_ip="10.200.0.5"))
            await client.update(replace(made, status=ServiceCIDRStatus(conditions=(ready,))), subresource="status")
            default = await client.get(ServiceCIDR, "kubernetes")
            assert [(one.type, one.status) for one in default.status.conditions] == [("Ready", "True")]
            # Once a watch has shown it, the server has seen it.
            events = client.watch(ServiceCIDR, resource_version=made.metadata.resource_version)
            await anext(events)
            await events.aclose()
            web = await client.create(service("web", cluster_ip="10.200.0.5"))
            assert (await addresses(api))[web.spec.cluster_ip] == "web"

    asyncio.run(main())


def test_an_address_that_is_deleted_under_its_service_comes_back() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), api_server() as api:
            client = api.client(ADMINISTRATOR)
            listed = await client.list(IPAddress)
            events = client.watch(IPAddress, resource_version=listed.metadata.resource_version)
            await client.delete(IPAddress, "10.96.0.1")
            seen = [(event.type, event.object.metadata.name) for event in [await anext(events), await anext(events)]]
            await events.aclose()
            assert seen == [("DELETED", "10.96.0.1"), ("ADDED", "10.96.0.1")]
            assert (await addresses(api))["10.96.0.1"] == "kubernetes"

    asyncio.run(main())


def test_what_a_crash_left_behind_is_put_right() -> None:
    other = ParentReference(resource="services", namespace="default", name="gone")
    labels = service_addresses.MANAGED_BY

    def address(name: str, age: timedelta, held: dict[str, str] | None = None) -> IPAddress:
        meta = ObjectMeta(name=name, creation_timestamp=NOW - age, labels=labels if held is None else held)
        return IPAddress(metadata=meta, spec=IPAddressSpec(parent_ref=other))

    services = [
        service("web", cluster_ip="10.96.0.7", cluster_ips=("10.96.0.7",)),
        service("none", cluster_ip="None", cluster_ips=("None",)),
    ]
    existing = [
        address("10.96.0.8", timedelta(minutes=5)),
        address("10.96.0.9", timedelta(seconds=5)),
        address("10.96.0.11", timedelta(minutes=5), {}),
    ]
    planned = service_addresses.plan(services, existing, NOW)
    assert [(one.metadata.name, one.spec.parent_ref.name) for one in planned.create] == [("10.96.0.7", "web")]
    assert [one.metadata.name for one in planned.delete] == ["10.96.0.8"]
    repaired = [*(one for one in existing if one not in planned.delete), *planned.create]
    assert service_addresses.plan(services, repaired, NOW) == service_addresses.Repair((), ())


def test_the_lower_part_of_a_range_is_left_to_those_who_ask() -> None:
    assert [first_dynamic_port(size) for size in (16, 100, 2768, 65536)] == [0, 16, 86, 128]

    async def main() -> None:
        async with asyncio.timeout(30), api_server(seed=random.Random(7).randrange(99)) as api:
            client = api.client(ADMINISTRATOR)
            for number in range(20):
                made = await client.create(service(f"web-{number}", type="NodePort"))
                assert made.spec.ports[0].node_port >= 30086
                assert int(made.spec.cluster_ip.split(".")[2]) >= 1
            asked = await client.create(
                service("asked", type="NodePort", ports=(ServicePort(port=1, node_port=30001),))
            )
            assert asked.spec.ports[0].node_port == 30001

    asyncio.run(main())


def test_a_server_that_starts_again_finds_its_services_as_they_are(tmp_path: Path) -> None:
    async def main() -> None:
        clock = SystemClock()
        seen = []
        for _ in range(2):
            store = await open_store(tmp_path / "store.db", clock)
            async with asyncio.timeout(30), api_server(clock, store=store) as api:
                services = (await api.client(ADMINISTRATOR).list(Service)).items
                seen.append({one.metadata.name: (one.metadata.uid, one.spec.cluster_ip) for one in services})
                assert (await addresses(api)).keys() == {"10.96.0.1", "10.96.0.10"}
        assert seen[0] == seen[1]

    asyncio.run(main())
