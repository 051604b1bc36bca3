"""Sessions with a container runtime's streaming server, by the URL that CRI's Exec, Attach and PortForward return.

The server listens on the loopback of the node's network namespace: `make_socket` makes the sockets there.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from keelback.client.https import HTTPSTransport
from keelback.component import portforward, remotecommand
from keelback.component.http import Connection, Request
from keelback.component.portforward import Forwarder
from keelback.component.remotecommand import CommandStreams, Wanted


async def command(url: str, wanted: Wanted, make_socket: Callable[[], socket.socket] | None = None) -> CommandStreams:
    """The streams of an exec or attach session, to be closed. Raises OSError or TimeoutError where it is refused."""
    return await remotecommand.connect(await _upgrade(url, remotecommand.client_headers(), make_socket), wanted)


@asynccontextmanager
async def forwarder(url: str, make_socket: Callable[[], socket.socket] | None = None) -> AsyncIterator[Forwarder]:
    """A port-forward session, for as many connections as wanted."""
    async with Forwarder(await _upgrade(url, portforward.client_headers(), make_socket)) as opened:
        yield opened


async def _upgrade(url: str, headers: dict[str, str], make_socket: Callable[[], socket.socket] | None) -> Connection:
    parts = urlsplit(url)
    transport = HTTPSTransport(f"{parts.scheme}://{parts.netloc}", make_socket=make_socket)
    answer, connection = await transport.upgrade(Request("POST", parts.path, parts.query, headers))
    await transport.close()
    if connection is None:
        text = answer.content()[:500].decode(errors="replace").strip()
        raise ConnectionError(f"the runtime refused a streaming session: {answer.status} {text}")
    return connection
