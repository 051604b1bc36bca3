"""The proxy behind the real API server: the objects as clients write them, selectors, defaults and all."""

from __future__ import annotations

import asyncio

from keelback.api.core_v1 import Namespace, Service, ServicePort, ServiceSpec
from keelback.api.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Client, InProcessTransport, MergePatch
from keelback.concurrency.clock import SystemClock
from keelback.proxy.config import ProxyConfig
from keelback.proxy.proxy import SERVICE_NAME, Proxy
from keelback.testing.api import ADMINISTRATOR, api_server


class Kernel:
    """Keeps the last script and says when there is one."""

    def __init__(self) -> None:
        self.script = ""
        self.applied = asyncio.Condition()

    async def apply(self, script: str) -> None:
        async with self.applied:
            self.script = script
            self.applied.notify_all()

    async def got(self, *texts: str) -> None:
        async with asyncio.timeout(20), self.applied:
            await self.applied.wait_for(lambda: all(text in self.script for text in texts))


async def play() -> None:
    kernel = Kernel()
    async with api_server() as server:
        client = Client(InProcessTransport(server.handle, ADMINISTRATOR))
        proxy = Proxy(client, ProxyConfig("node-a", ("172.18.0.2",), health_port=0), SystemClock(), kernel)
        await client.create(Namespace(metadata=ObjectMeta(name="shop")))
        ports = (ServicePort(name="http", port=80),)
        headless = ServiceSpec(cluster_ip="None", ports=ports)
        await client.create(Service(metadata=ObjectMeta(name="db", namespace="shop"), spec=headless))
        spec = ServiceSpec(type="NodePort", ports=ports, session_affinity="ClientIP")
        web = await client.create(Service(metadata=ObjectMeta(name="web", namespace="shop"), spec=spec))
        task = asyncio.create_task(proxy.run())
        try:
            address, node_port = web.spec.cluster_ip, web.spec.ports[0].node_port
            await kernel.got("table ip", f"{address} . tcp . 80 : goto refuse")
            assert node_port
            metadata = ObjectMeta(name="web-1", namespace="shop", labels={SERVICE_NAME: "web"})
            endpoint = Endpoint(addresses=("10.244.0.5",), node_name="node-a")
            port = EndpointPort(name="http", port=8080)
            await client.create(
                EndpointSlice(metadata=metadata, address_type="IPv4", endpoints=(endpoint,), ports=(port,))
            )
            await kernel.got(
                f"{address} . tcp . 80 : goto cluster1for10800",
                f"172.18.0.2 . tcp . {node_port} : goto external1for10800",
                "10.244.0.5 . 8080",
            )
            # Another proxy is to take it over: ours lets go.
            label = {"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": "other"}}}
            await client.patch(Service, "web", "shop", MergePatch(label))
            await kernel.got(f"delete element ip keelback-proxy services {{ {address} . tcp . 80")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_services_as_clients_write_them() -> None:
    asyncio.run(play())
