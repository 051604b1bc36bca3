"""exec, attach and port-forward: whichever protocol the client speaks, the runtime is spoken to in SPDY.

The runtime's streaming server listens on the node's loopback; of the protocols that it has, only SPDY can end stdin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from keelback.apimachinery.meta import Status
from keelback.client.https import HTTPSTransport
from keelback.component import portforward, remotecommand
from keelback.component.http import Connection, Request, Response, UpgradeResponse
from keelback.component.portforward import Forwarder
from keelback.component.remotecommand import CommandStreams, Stream, Wanted
from keelback.cri.runtime import ContainerRuntimeError


async def dial(url: str, headers: dict[str, str]) -> Connection:
    """A raw connection to the runtime's streaming server. Raises OSError, TimeoutError."""
    target = urlsplit(url)
    transport = HTTPSTransport(f"{target.scheme}://{target.netloc}")
    response, connection = await transport.upgrade(Request("POST", target.path, target.query, headers))
    if connection is None:
        text = response.content().decode(errors="replace").strip()
        raise ConnectionError(text or f"the container runtime answered {response.status}")
    return connection


def command(request: Request, wanted: Wanted, url: str) -> Response | UpgradeResponse:
    """Carry an exec or attach session between the client and the runtime's `url`."""

    async def serve(client: CommandStreams) -> Status | None:
        try:
            connection = await dial(url, remotecommand.client_headers())
            runtime = await remotecommand.connect(connection, wanted)
        except (OSError, TimeoutError) as error:
            return remotecommand.failure(f"error dialing the container runtime: {error}")
        await remotecommand.bridge(client, runtime)
        return None

    return remotecommand.respond(request, wanted, serve)


def forward(request: Request, url: Callable[[int], Awaitable[str]]) -> Response | UpgradeResponse:
    """Carry connections to ports of a pod; `url` gives a session of the runtime's for one of them."""

    async def serve(port: int, data: Stream, error: Stream) -> None:
        try:
            connection = await dial(await url(port), portforward.client_headers())
            async with Forwarder(connection) as runtime:
                runtime_data, runtime_error = await runtime.open(port)
                await portforward.bridge(data, error, runtime_data, runtime_error)
        except* (ContainerRuntimeError, OSError, TimeoutError) as group:
            text = "; ".join(str(one) for one in group.exceptions)
            await error.write(f"error forwarding port {port} to the pod: {text}".encode())

    return portforward.respond(request, serve)
