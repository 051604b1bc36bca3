"""DNS behind the real API server: names as soon as objects exist."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dnslib import RCODE, DNSRecord

from keelback.api.core_v1 import Namespace, Service, ServicePort, ServiceSpec
from keelback.api.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Client, InProcessTransport
from keelback.concurrency.clock import SystemClock
from keelback.dns.answers import Zone
from keelback.dns.cache import AnswerCache
from keelback.dns.forwarding import Forwarder
from keelback.dns.server import SERVICE_NAME, DNSServer, Observer
from keelback.testing.api import ADMINISTRATOR, api_server


async def play() -> None:
    async with api_server() as server:
        client = Client(InProcessTransport(server.handle, ADMINISTRATOR))
        await client.create(Namespace(metadata=ObjectMeta(name="shop")))
        observer = Observer(client, SystemClock())
        dns = DNSServer(observer, Zone(), Forwarder(Path("/none"), frozenset()), AnswerCache(SystemClock()))
        observing = asyncio.create_task(observer.run())

        async def answered(name: str, expected: set[str], qtype: str = "A") -> None:
            async with asyncio.timeout(20):
                while True:
                    reply = DNSRecord.parse(await dns.respond(DNSRecord.question(name, qtype).pack()))
                    if {str(record.rdata) for record in reply.rr} == expected:
                        return
                    await asyncio.sleep(0)

        try:
            ports = (ServicePort(name="http", port=80),)
            web = Service(metadata=ObjectMeta(name="web", namespace="shop"), spec=ServiceSpec(ports=ports))
            address = (await client.create(web)).spec.cluster_ip
            await answered("web.shop.svc.cluster.local", {address})
            await answered("_http._tcp.web.shop.svc.cluster.local", {"0 100 80 web.shop.svc.cluster.local."}, "SRV")
            spec = ServiceSpec(cluster_ip="None", ports=ports)
            await client.create(Service(metadata=ObjectMeta(name="db", namespace="shop"), spec=spec))
            metadata = ObjectMeta(name="db-1", namespace="shop", labels={SERVICE_NAME: "db"})
            endpoint = Endpoint(addresses=("10.244.0.5",), hostname="db-0")
            port = EndpointPort(name="http", port=8080)
            await client.create(
                EndpointSlice(metadata=metadata, address_type="IPv4", endpoints=(endpoint,), ports=(port,))
            )
            await answered("db-0.db.shop.svc.cluster.local", {"10.244.0.5"})
            await answered("5.0.244.10.in-addr.arpa", {"db-0.db.shop.svc.cluster.local."}, "PTR")
            await client.delete(Service, "web", "shop")
            await answered("web.shop.svc.cluster.local", set())
            gone = await dns.respond(DNSRecord.question("web.shop.svc.cluster.local").pack())
            assert DNSRecord.parse(gone).header.rcode == RCODE.NXDOMAIN
        finally:
            observing.cancel()
            await asyncio.gather(observing, return_exceptions=True)


def test_names_appear_and_go_with_their_objects() -> None:
    asyncio.run(play())
