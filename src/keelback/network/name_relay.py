"""The machine's own name servers, as seen from a fabric: cluster DNS forwards to the gateway what it does not know.

Nodes cannot reach the machine's resolver (it may even be on its loopback); this relays whole messages, unread, from the
process that lives in the machine's own namespace. It serves nodes only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import cast

PORT = 53
_ANSWER_SECONDS = 4.0
_IN_FLIGHT = 512
_MESSAGE_BYTES = 65_535

Server = tuple[str, int]
RESOLV_CONF = Path("/etc/resolv.conf")


def name_servers(resolv_conf: str) -> list[Server]:
    """The servers that text of resolv.conf's form names, in its order."""
    words = (line.split() for line in resolv_conf.splitlines())
    return [(row[1], PORT) for row in words if len(row) > 1 and row[0] == "nameserver"]


@dataclass(slots=True)
class NameRelay:
    """Passes queries of `clients` to the first of `servers` that answers."""

    clients: IPv4Network
    servers: Sequence[Server]
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_IN_FLIGHT))

    async def serve(self, datagrams: socket.socket, listener: socket.socket) -> None:
        """Serve UDP and TCP until cancelled. Both sockets are bound, and belong to the fabric."""
        server = await asyncio.start_server(self._handle, sock=listener)
        async with server, asyncio.TaskGroup() as group:

            def receive(transport: asyncio.DatagramTransport, query: bytes, client: Server) -> None:
                # A full house drops: resolvers ask again, and a queue of stale questions helps nobody.
                if self._serves(client) and not self._slots.locked():
                    group.create_task(self._answer_datagram(transport, query, client))

            loop = asyncio.get_running_loop()
            # A transport of its own socket: the caller's is the caller's to close.
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(receive), sock=datagrams.dup())
            try:
                await asyncio.Event().wait()
            finally:
                transport.close()

    async def ask(self, query: bytes) -> bytes | None:
        """The first server's answer to a message, None when none gives one."""
        for server in self.servers:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await _ask_datagram(server, query)
        return None

    async def _answer_datagram(self, datagrams: asyncio.DatagramTransport, query: bytes, client: Server) -> None:
        async with self._slots:
            answer = await self.ask(query)
        if answer is not None:
            datagrams.sendto(answer, client)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One query of a TCP connection: resolvers come this way when an answer did not fit a datagram."""
        try:
            if not self._serves(writer.get_extra_info("peername")):
                return
            async with self._slots, asyncio.timeout(_ANSWER_SECONDS * len(self.servers)):
                query = await _read_message(reader)
                for server in self.servers:
                    with contextlib.suppress(OSError):
                        answer = await _ask_stream(server, query)
                        writer.write(len(answer).to_bytes(2, "big") + answer)
                        await writer.drain()
                        return
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            # The client asks again elsewhere; there is no message that says less.
            pass
        finally:
            writer.close()

    def _serves(self, client: Server | None) -> bool:
        return client is not None and ipaddress.ip_address(client[0]) in self.clients


class _Datagrams(asyncio.DatagramProtocol):
    """Hands over what arrives. (uvloop has no `sock_recvfrom`.)"""

    def __init__(self, receive: Callable[[asyncio.DatagramTransport, bytes, Server], None]) -> None:
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport has the methods but not the base class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Server) -> None:
        if self._transport is not None:
            self._receive(self._transport, data, addr)


async def _ask_datagram(server: Server, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    # A socket for each question: its port is part of what an answer must match.
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, server)
        await loop.sock_sendall(connection, query)
        while True:
            answer = await loop.sock_recv(connection, _MESSAGE_BYTES)
            if answer[:2] == query[:2]:
                return answer


async def _ask_stream(server: Server, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        await writer.drain()
        return await _read_message(reader)
    finally:
        writer.close()


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
