"""The way out of a fabric: an HTTP proxy for image pulls, in the process that lives in the machine's own namespace.

Nodes have no route to the world, and giving them one would take rules in the machine's firewall. Their containerd asks
this proxy instead (`HTTPS_PROXY`): names are resolved and connections made as the machine itself does. It serves nodes
only, not pods, and never reaches the machine's loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network

PORT = 3128
_HEAD_BYTES = 16 << 10
_HEAD_SECONDS = 10.0
_CONNECT_SECONDS = 15.0
_IDLE_SECONDS = 300.0
_CONNECTIONS = 256
_CHUNK_BYTES = 64 << 10

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[str, int], Awaitable[Streams]]


class Refused(Exception):
    """The proxy will not, or cannot, go where it was asked to."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def dial(host: str, port: int) -> Streams:
    """Connect from where this process is. `Refused` for the machine itself and for what cannot be reached."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [address for *_, address in found if is_outside(str(address[0]))]
            if not addresses:
                raise Refused(403, f"{host} is this machine: nodes have no business there")
            return await asyncio.open_connection(str(addresses[0][0]), port, limit=_CHUNK_BYTES)
    except TimeoutError:
        raise Refused(504, f"{host}:{port} does not answer") from None
    except OSError as error:
        raise Refused(502, f"{host}:{port}: {error.strerror or error}") from None


def is_outside(address: str) -> bool:
    """Whether an address is neither this machine's loopback nor reachable on one link only."""
    value = ipaddress.ip_address(address.partition("%")[0])
    return not (value.is_loopback or value.is_link_local or value.is_unspecified or value.is_multicast)


@dataclass(slots=True)
class EgressProxy:
    """Serves CONNECT and plain `GET http://…` to clients of `clients`."""

    clients: IPv4Network
    dial: Dial = dial
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONNECTIONS))

    async def serve(self, listener: socket.socket) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._handle, sock=listener, limit=_HEAD_BYTES)
        async with server:
            await server.serve_forever()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._slots:
                await self._answer(reader, writer)
        except Refused as refusal:
            # Clients show the status line and nothing else of a proxy's answer, so the reason stands there.
            reason = " ".join(str(refusal).split())
            head = f"HTTP/1.1 {refusal.status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            with contextlib.suppress(OSError):
                writer.write(head.encode("latin-1", "replace"))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever asked is gone, or never asked: there is nobody to tell.
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Read before refusing: closing with unread bytes would reset the connection and lose the reason.
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        peer = writer.get_extra_info("peername")
        if peer is None or ipaddress.ip_address(peer[0]) not in self.clients:
            raise Refused(403, "this proxy serves nodes only")
        host, port, forwarded = parse_head(head)
        upstream_reader, upstream_writer = await self.dial(host, port)
        try:
            if forwarded:
                upstream_writer.write(forwarded)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, upstream_writer))
                group.create_task(_copy(upstream_reader, writer))
        except* (OSError, TimeoutError):
            pass
        finally:
            upstream_writer.close()


def parse_head(head: bytes) -> tuple[str, int, bytes]:
    """Host, port, and what to send there first: nothing for CONNECT, else the request as its origin expects it."""
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = lines[0].split(" ")
        if method == "CONNECT":
            host, port = _authority(target, 443)
            return host, port, b""
        scheme, separator, rest = target.partition("://")
        if scheme != "http" or not separator:
            raise Refused(400, "this proxy takes CONNECT, and http:// requests")
        authority, slash, path = rest.partition("/")
        host, port = _authority(authority, 80)
    except ValueError:
        raise Refused(400, "not a request to a proxy") from None
    # One request for each connection: whatever the next one asks for would go to the same host unseen.
    kept = [line for line in lines[1:] if line and not line.lower().startswith(("proxy-", "connection:"))]
    request = [f"{method} {slash or '/'}{path} {version}", *kept, "Connection: close", "", ""]
    return host, port, "\r\n".join(request).encode("latin-1")


def _authority(text: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    number = int(port) if port else default_port
    if not host or not 0 < number < 65536:
        raise ValueError(text)
    return host, number


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        async with asyncio.timeout(_IDLE_SECONDS):
            chunk = await reader.read(_CHUNK_BYTES)
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
