"""An upgraded connection passes through the API server to the kubelet untouched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from keelback.client.https import HTTPSTransport, client_context
from keelback.client.upgrade_proxy import pass_on
from keelback.component import remotecommand, websocket
from keelback.component.http import AnyResponse, Request, Response
from keelback.component.remotecommand import CommandStreams, Wanted
from keelback.component.serving import Server, server_context
from keelback.component.websocket import WebSocket

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def shout(streams: CommandStreams) -> Any:
    assert streams.stdin is not None
    assert streams.stdout is not None
    while data := await streams.stdin.read():
        await streams.stdout.write(data.upper())
    return remotecommand.SUCCESS


async def kubelet(request: Request) -> AnyResponse:
    if request.peer_certificate is None or "authorization" in request.headers:
        return Response(401, {}, b"only the API server, by its certificate")
    if request.path != "/exec/default/web/main":
        return Response(404, {}, b"no such pod")
    return remotecommand.respond(request, Wanted.of(request), shout)


def test_clients_reach_the_command_through_two_tls_connections(run: Run, authority: Any) -> None:
    tls = server_context(authority.server.certificate, authority.server.key, authority.ca)
    certified = client_context(authority.ca_text, authority.client.certificate, authority.client.key)

    async def scenario() -> tuple[bytes, list[bytes], int]:
        async with Server(kubelet, tls) as node:
            to_kubelet = HTTPSTransport(f"https://localhost:{node.bound_port}", certified)

            async def front(request: Request) -> AnyResponse:
                return await pass_on(to_kubelet, request, f"/exec/default{request.path}/main", request.query)

            async with Server(front, tls) as server:
                address = f"https://localhost:{server.bound_port}"
                client = HTTPSTransport(address, client_context(authority.ca_text), token="t")
                query = "stdin=1&stdout=1"

                headers = remotecommand.client_headers()
                answer, connection = await client.upgrade(Request("POST", "/web", query, headers))
                assert connection is not None
                assert answer.headers["x-stream-protocol-version"] == "v4.channel.k8s.io"
                streams = await remotecommand.connect(connection, Wanted(True, True))
                assert streams.stdin is not None
                assert streams.stdout is not None
                await streams.stdin.write(b"x" * 200_000)
                await streams.stdin.close_write()
                by_spdy = b""
                while data := await streams.stdout.read():
                    by_spdy += data
                await streams.close()

                headers = websocket.client_headers(("v5.channel.k8s.io",))
                _, connection = await client.upgrade(Request("GET", "/web", query, headers))
                assert connection is not None
                socket = WebSocket(connection, is_client=True)
                await socket.send(b"\0hello")
                await socket.send(b"\xff\0")
                by_websocket = []
                while (message := await socket.read()) is not None:
                    by_websocket.append(message[1])

                refused, nothing = await client.upgrade(Request("GET", "/other", query, headers))
                assert nothing is None
                await client.close()
                await to_kubelet.close()
                await asyncio.sleep(0)
                return by_spdy, by_websocket, refused.status

    by_spdy, by_websocket, refused = run(scenario())
    assert by_spdy == b"X" * 200_000
    assert by_websocket[:2] == [b"\1", b"\1HELLO"]
    assert refused == 404
