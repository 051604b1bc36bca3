"""Questions and answers pass the relay unread, by datagram and by stream, for nodes only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from typing import cast

from keelback.network import name_relay
from keelback.network.name_relay import NameRelay

NODES = IPv4Network("127.0.0.0/8")
QUERY = b"\x12\x34question"


class Echo(asyncio.DatagramProtocol):
    """A name server that answers with what it was asked, in capitals."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        # A forged answer first: its number is another one.
        self.transport.sendto(b"\x00\x00forged", address)
        self.transport.sendto(data[:2] + data[2:].upper(), address)


async def stream_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = await reader.readexactly(2)
    data = await reader.readexactly(int.from_bytes(size, "big"))
    writer.write(size + data[:2] + data[2:].upper())
    writer.close()


@contextlib.asynccontextmanager
async def relay(clients: IPv4Network) -> AsyncIterator[tuple[str, int]]:
    """A relay before a server that answers, and one that does not; where it listens."""
    loop = asyncio.get_running_loop()
    upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    upstream.bind(("127.0.0.1", 0))
    transport, _ = await loop.create_datagram_endpoint(Echo, sock=upstream)
    port = transport.get_extra_info("sockname")[1]
    server = await asyncio.start_server(stream_echo, "127.0.0.1", port)
    unused = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    unused.bind(("127.0.0.1", 0))
    nobody = unused.getsockname()
    unused.close()
    listener = socket.create_server(("127.0.0.1", 0))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(listener.getsockname())
    serving = asyncio.ensure_future(NameRelay(clients, [nobody, ("127.0.0.1", port)]).serve(datagrams, listener))
    await asyncio.sleep(0)
    try:
        yield listener.getsockname()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        transport.close()
        server.close()
        datagrams.close()


def test_servers_are_those_of_resolv_conf_in_order() -> None:
    text = "# resolver\nsearch a b\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0\nnameserver\n"
    assert name_relay.name_servers(text) == [("127.0.0.53", 53), ("::1", 53)]


def test_a_datagram_is_answered_by_the_first_server_that_does() -> None:
    async def scenario() -> bytes:
        async with relay(NODES) as address:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_sendto(client, QUERY, address)
                return (await loop.sock_recvfrom(client, 512))[0]

    assert asyncio.run(scenario()) == b"\x12\x34QUESTION"


async def ask_by_stream(clients: IPv4Network) -> bytes:
    async with relay(clients) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(len(QUERY).to_bytes(2, "big") + QUERY)
        try:
            return (await reader.read())[2:]
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


def test_a_stream_is_answered_too() -> None:
    assert asyncio.run(ask_by_stream(NODES)) == b"\x12\x34QUESTION"


def test_pods_are_not_served() -> None:
    assert asyncio.run(ask_by_stream(IPv4Network("10.89.0.0/16"))) == b""
