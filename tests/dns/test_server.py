"""The server over loopback: UDP and TCP, what it forwards, and what it says before it knows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dnslib import QTYPE, RCODE, RR, A, DNSRecord

from keelback.api.core_v1 import Service, ServicePort, ServiceSpec
from keelback.api.discovery_v1 import Endpoint, EndpointSlice
from keelback.apimachinery.meta import ObjectMeta
from keelback.concurrency.clock import SystemClock
from keelback.dns.answers import Zone
from keelback.dns.cache import AnswerCache
from keelback.dns.forwarding import Forwarder, Upstream, parse_resolv_conf, parse_upstream
from keelback.dns.server import SERVICE_NAME, DNSServer, Observer, serve
from keelback.testing.api import Administrator, administrator

WEB = "web.shop.svc.cluster.local"


def service(name: str = "web", **spec: Any) -> Service:
    ports = (ServicePort(name="http", port=80),)
    return Service(metadata=ObjectMeta(name=name, namespace="shop"), spec=ServiceSpec(ports=ports, **spec))


class World:
    """A resolver outside that knows example.org, and the server in front of an API."""

    def __init__(self, api: Administrator) -> None:
        self.api = api
        self.observer = Observer(api.client, SystemClock(), namespaces=True)
        self.port = 0
        self.asked: list[str] = []

    def outside(self, message: bytes) -> bytes:
        asked = DNSRecord.parse(message)
        self.asked.append(str(asked.q.qname))
        found = asked.reply()
        found.add_answer(RR(asked.q.qname, QTYPE.A, rdata=A("192.0.2.80"), ttl=60))
        packed: bytes = found.pack()
        return packed

    async def ask(self, name: str, qtype: str = "A") -> DNSRecord:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", self.port))
            await loop.sock_sendall(client, DNSRecord.question(name, qtype).pack())
            async with asyncio.timeout(10):
                return DNSRecord.parse(await loop.sock_recv(client, 4096))

    async def ask_by_tcp(self, *names: str) -> list[DNSRecord]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        found = []
        for name in names:
            message = DNSRecord.question(name).pack()
            writer.write(len(message).to_bytes(2, "big") + message)
            async with asyncio.timeout(10):
                length = int.from_bytes(await reader.readexactly(2), "big")
                found.append(DNSRecord.parse(await reader.readexactly(length)))
        writer.close()
        await writer.wait_closed()
        return found

    async def observed(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not is_so():  # noqa: ASYNC110  (what is waited for has no event)
                await asyncio.sleep(0)


class _Outside(asyncio.DatagramProtocol):
    def __init__(self, world: World) -> None:
        self._world = world

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(self._world.outside(data), addr)


@asynccontextmanager
async def serving(api: Administrator, is_observing: bool = True) -> AsyncIterator[World]:
    world = World(api)
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Outside(world), local_addr=("127.0.0.1", 0))
        stack.callback(transport.close)
        stub = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
        forwarder = Forwarder(Path("/none"), frozenset(), stub_domains={"org": (stub,)})
        server = DNSServer(world.observer, Zone(), forwarder, AnswerCache(SystemClock()))
        world.port = await serve(server, "127.0.0.1", 0, tasks, stack)
        observing = tasks.create_task(world.observer.run()) if is_observing else None
        if observing:
            await world.observed(lambda: world.observer.synced)
        try:
            yield world
        finally:
            if observing:
                observing.cancel()


def play(scenario: Callable[[Administrator], Awaitable[None]]) -> None:
    async def main() -> None:
        async with administrator("shop") as api:
            await scenario(api)

    asyncio.run(main())


def test_names_follow_services_and_their_endpoints() -> None:
    async def scenario(api: Administrator) -> None:
        await api.put(service(cluster_ip="10.96.0.20"))
        async with serving(api) as world:
            assert str((await world.ask(WEB)).a.rdata) == "10.96.0.20"
            (nothing,) = await world.ask_by_tcp("db.shop.svc.cluster.local")
            assert nothing.header.rcode == RCODE.NXDOMAIN
            await api.put(service("db", cluster_ip="None"))
            metadata = ObjectMeta(name="db-1", namespace="shop", labels={SERVICE_NAME: "db"})
            endpoints = (Endpoint(addresses=("10.244.0.5",)),)
            await api.put(EndpointSlice(metadata=metadata, address_type="IPv4", endpoints=endpoints))
            await world.observed(lambda: world.observer.records.names_of("10.244.0.5"))
            found = await world.ask_by_tcp("db.shop.svc.cluster.local", WEB)
            assert [str(one.a.rdata) for one in found] == ["10.244.0.5", "10.96.0.20"]
            await api.delete(service())
            await world.observed(lambda: not world.observer.records.names_of("10.96.0.20"))
            assert (await world.ask(WEB)).header.rcode == RCODE.NXDOMAIN

    play(scenario)


def test_other_names_are_asked_outside() -> None:
    async def scenario(api: Administrator) -> None:
        async with serving(api) as world:
            found = await world.ask("www.example.org")
            assert str(found.a.rdata) == "192.0.2.80"
            # Whoever asks next is answered from memory.
            assert str((await world.ask("www.example.org")).a.rdata) == "192.0.2.80"
            assert world.asked == ["www.example.org."]
            # There is no resolver for these.
            assert (await world.ask("www.example.com")).header.rcode == RCODE.SERVFAIL

    play(scenario)


def test_an_external_name_is_followed_for_the_client() -> None:
    async def scenario(api: Administrator) -> None:
        await api.put(service("shopfront", type="ExternalName", external_name="www.example.org"))
        async with serving(api) as world:
            found = await world.ask("shopfront.shop.svc.cluster.local")
            assert [str(one.rdata) for one in found.rr] == ["www.example.org.", "192.0.2.80"]

    play(scenario)


def test_before_the_caches_are_complete_nothing_is_denied() -> None:
    async def scenario(api: Administrator) -> None:
        async with serving(api, is_observing=False) as world:
            assert (await world.ask(WEB)).header.rcode == RCODE.SERVFAIL
            assert str((await world.ask("www.example.org")).a.rdata) == "192.0.2.80"

    play(scenario)


def test_rubbish_hurts_nobody() -> None:
    async def scenario(api: Administrator) -> None:
        async with serving(api) as world:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(b"\x00\x03abc")
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"\xff" * 40, ("127.0.0.1", world.port))
            assert str((await world.ask("www.example.org")).a.rdata) == "192.0.2.80"

    play(scenario)


def test_resolvers_are_read_from_the_node_but_for_the_server_itself(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    forwarder = Forwarder(
        path, frozenset({"10.96.0.10"}), stub_domains={"corp.example": ("10.0.0.1", "[fd00::1]:5353")}
    )
    assert forwarder.servers(["www", "example", "org"]) == ()
    path.write_text("# none\nnameserver 10.96.0.10\nnameserver 172.18.0.1\nsearch corp\n")
    assert forwarder.servers(["www", "example", "org"]) == (Upstream("172.18.0.1", 53),)
    assert forwarder.servers(["www", "corp", "example"]) == (Upstream("10.0.0.1", 53), Upstream("fd00::1", 5353))


def test_addresses_of_resolvers() -> None:
    assert parse_upstream("fd00::1") == Upstream("fd00::1", 53)
    assert parse_upstream("10.0.0.1:5353") == Upstream("10.0.0.1", 5353)
    assert len(parse_resolv_conf("nameserver 1.1.1.1\n" * 5 + "nameserver\n")) == 3
