"""The proxy takes nodes out, and nobody else, and nowhere near the machine itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network

import pytest

from keelback.network import egress
from keelback.network.egress import EgressProxy, Refused

NODES = IPv4Network("127.0.0.0/8")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"CONNECT registry:443 HTTP/1.1\r\n\r\n", ("registry", 443, b"")),
        (b"CONNECT [2001:db8::1]:5000 HTTP/1.1\r\n\r\n", ("2001:db8::1", 5000, b"")),
        (
            b"GET http://mirror:5000/v2/?a=b HTTP/1.1\r\nHost: mirror\r\nProxy-Connection: keep-alive\r\n\r\n",
            ("mirror", 5000, b"GET /v2/?a=b HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n"),
        ),
        (
            b"GET http://mirror HTTP/1.1\r\n\r\n",
            ("mirror", 80, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
        ),
    ],
)
def test_requests_are_passed_on_as_their_origin_expects(head: bytes, expected: tuple[str, int, bytes]) -> None:
    assert egress.parse_head(head) == expected


@pytest.mark.parametrize(
    "head",
    [b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"CONNECT host:0 HTTP/1.1\r\n\r\n", b"CONNECT :443 HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_proxy_request_is_refused(head: bytes) -> None:
    with pytest.raises(Refused):
        egress.parse_head(head)


@pytest.mark.parametrize(
    ("address", "outside"),
    [("93.184.216.34", True), ("127.0.0.1", False), ("::1", False), ("169.254.1.1", False), ("fe80::1%eth0", False)],
)
def test_the_machine_itself_is_not_outside(address: str, outside: bool) -> None:
    assert egress.is_outside(address) is outside


def test_the_machine_itself_is_not_dialled() -> None:
    with pytest.raises(Refused, match="this machine"):
        asyncio.run(egress.dial("localhost", 6443))


async def through(
    proxy: EgressProxy, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]
) -> bytes:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    serving = asyncio.ensure_future(proxy.serve(listener))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        return await talk(reader, writer)
    finally:
        writer.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def test_a_tunnel_carries_bytes_both_ways() -> None:
    async def scenario() -> bytes:
        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read(100)).upper())
            writer.close()

        server = await asyncio.start_server(upstream, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
            writer.write(b"CONNECT registry.example:443 HTTP/1.1\r\n\r\n")
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            writer.write(b"hello")
            return await reader.read()

        async def dial(host: str, _: int) -> egress.Streams:
            assert host == "registry.example"
            return await asyncio.open_connection("127.0.0.1", port)

        async with server:
            return await through(EgressProxy(NODES, dial), talk)

    assert asyncio.run(scenario()) == b"HELLO"


def test_pods_and_unreachable_places_are_told_why() -> None:
    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"CONNECT registry.example:443 HTTP/1.1\r\n\r\n")
        return await reader.read()

    async def unreachable(host: str, port: int) -> egress.Streams:
        raise Refused(502, f"{host}:{port}: no such host")

    assert b"502 registry.example:443: no such host" in asyncio.run(through(EgressProxy(NODES, unreachable), ask))
    assert b"serves nodes only" in asyncio.run(through(EgressProxy(IPv4Network("10.89.0.0/16"), unreachable), ask))
