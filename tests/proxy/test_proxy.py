"""The loop: when it writes, what it writes, and what it does when the kernel refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from keelback.api.core_v1 import Service, ServicePort, ServiceSpec
from keelback.api.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import ObjectMeta
from keelback.proxy import serving
from keelback.proxy.config import ProxyConfig
from keelback.proxy.conntrack import arguments
from keelback.proxy.nft import NftError
from keelback.proxy.plan import Frontend
from keelback.proxy.proxy import SERVICE_NAME, Proxy
from keelback.testing.api import Administrator, administrator

CONFIG = ProxyConfig("node-a", ("172.18.0.2",), health_port=0)


class FakeKernel:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.failures = 0

    async def apply(self, script: str) -> None:
        if self.failures:
            self.failures -= 1
            raise NftError("no")
        self.scripts.append(script)


class StandingClock:
    """Every sleep is over at once."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def service(name: str = "web", address: str = "10.96.0.20", **spec: Any) -> Service:
    port = ServicePort(name="http", port=80)
    metadata = ObjectMeta(name=name, namespace="shop")
    return Service(metadata=metadata, spec=ServiceSpec(cluster_ip=address, ports=(port,), **spec))


def slice_of(*addresses: str, service: str = "web") -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name="web-1", namespace="shop", labels={SERVICE_NAME: service}),
        address_type="IPv4",
        endpoints=tuple(Endpoint(addresses=(address,), node_name="node-a") for address in addresses),
        ports=(EndpointPort(name="http", port=8080),),
    )


async def until(is_reached: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not is_reached():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0)


@asynccontextmanager
async def running(api: Administrator, kernel: FakeKernel) -> AsyncIterator[Proxy]:
    proxy = Proxy(api.client, CONFIG, StandingClock(), kernel)
    task = asyncio.create_task(proxy.run())
    try:
        yield proxy
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def play(scenario: Callable[[Administrator], Awaitable[None]]) -> None:
    async def main() -> None:
        async with administrator("shop") as api:
            await scenario(api)

    asyncio.run(main())


async def follow(api: Administrator) -> None:
    kernel = FakeKernel()
    await api.put(service())
    await api.put(slice_of("10.244.0.5"))
    async with running(api, kernel) as proxy:
        await until(lambda: kernel.scripts)
        assert kernel.scripts[0].startswith("add table ip keelback-proxy\ndelete table ip keelback-proxy\ntable ip")
        assert "10.96.0.20 . tcp . 80 : goto cluster1" in kernel.scripts[0]
        assert proxy.problem() == ""

        await api.put(slice_of("10.244.0.5", "10.244.0.6"))
        await until(lambda: len(kernel.scripts) == 2)
        assert "10.96.0.20 . tcp . 80 . 1 : 10.244.0.6 . 8080" in kernel.scripts[1]
        assert "table ip" not in kernel.scripts[1]

        # A slice that changes hands changes both.
        await api.put(service("other", "10.96.0.21"))
        await until(lambda: len(kernel.scripts) == 3)
        await api.put(slice_of("10.244.0.5", service="other"))
        await until(lambda: "10.96.0.21 . tcp . 80 : goto cluster1" in kernel.scripts[-1])
        assert "refused { 10.96.0.20 . tcp . 80 : goto refuse }" in kernel.scripts[-1]

        # After a refusal nobody knows what the kernel holds.
        kernel.failures = 2
        await api.delete(service())
        await until(lambda: len(kernel.scripts) == 5)
        assert kernel.scripts[-1].startswith("add table")
        assert "10.96.0.20" not in kernel.scripts[-1]
        assert proxy.problem() == ""
        assert proxy.metrics.failed_syncs.value() == 2


def test_the_table_is_replaced_once_and_updated_after() -> None:
    play(follow)


async def follow_nonsense(api: Administrator) -> None:
    kernel = FakeKernel()
    await api.put(service())
    await api.put(service("other", "10.96.0.21"))
    # A server that knew less about addresses let it in.
    nonsense = codecs.encode_stored(slice_of("not an address"))
    await api.store.put("/registry/endpointslices/shop/web-1", nonsense)
    async with running(api, kernel):
        await until(lambda: kernel.scripts)
        assert "10.96.0.21" in kernel.scripts[0]
        assert "10.96.0.20" not in kernel.scripts[0]


def test_a_service_that_makes_no_sense_harms_only_itself() -> None:
    play(follow_nonsense)


async def tell_health(api: Administrator) -> None:
    local = service(type="LoadBalancer", external_traffic_policy="Local", health_check_node_port=31000)
    await api.put(local)
    await api.put(slice_of("10.244.0.5"))
    kernel = FakeKernel()
    async with running(api, kernel) as proxy:
        assert serving.respond(proxy, "/healthz").status == 503
        await until(lambda: kernel.scripts)
        assert serving.respond(proxy, "/healthz").status == 200
        assert b"kubeproxy_sync_full_proxy_rules_total 1" in serving.respond(proxy, "/metrics").body
        found = serving.respond_for_service(proxy, 31000)
        assert found.status == 200
        assert json.loads(found.body) == {
            "service": {"namespace": "shop", "name": "web"},
            "localEndpoints": 1,
            "serviceProxyHealthy": True,
        }
        await api.put(slice_of())
        await until(lambda: serving.respond_for_service(proxy, 31000).status == 503)


def test_health_is_told_for_the_node_and_for_services() -> None:
    play(tell_health)


def test_flows_are_deleted_by_what_clients_connected_to() -> None:
    frontend = Frontend("10.96.0.53", "udp", 53)
    words = "-D -f ipv4 -p udp -d 10.96.0.53 --orig-port-dst 53"
    assert arguments(frontend, "10.244.0.5") == [*words.split(), "--dst-nat", "10.244.0.5"]
    assert arguments(frontend, "") == words.split()
