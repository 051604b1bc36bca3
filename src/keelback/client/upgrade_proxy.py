"""An upgraded connection passed on, byte for byte: exec, attach and port-forward from the API server to a kubelet."""

from __future__ import annotations

from typing import Final

from keelback.client.transport import Transport
from keelback.component.connection import splice
from keelback.component.http import AnyResponse, Connection, Request, UpgradeResponse

# What the two ends agree on the protocol by. Who the client is stays here: the kubelet knows the API server only.
_PASSED_ON: Final = (
    "connection",
    "upgrade",
    "x-stream-protocol-version",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "user-agent",
    "accept",
)
_OWN: Final = frozenset(("host", "authorization", "content-length", "transfer-encoding"))


async def pass_on(
    transport: Transport,
    request: Request,
    path: str,
    query: str,
    *,
    timeout_seconds: float = 30.0,
    all_headers: bool = False,
) -> AnyResponse:
    """Ask `transport`'s server for what `request` asks, under another path; with `all_headers` (a proxy to who knows
    what) with all it says but who it is.

    Where that server switches protocols the two connections are joined; otherwise its answer is the answer.
    Raises OSError or TimeoutError where the server is not reached.
    """
    kept = request.headers.keys() - _OWN if all_headers else _PASSED_ON
    headers = {name: value for name, value in request.headers.items() if name in kept}
    asked = Request(request.method, path, query, headers, request.body, header_lines=request.header_lines)
    answer, upstream = await transport.upgrade(asked, timeout_seconds=timeout_seconds)
    if upstream is None:
        return answer
    joined = upstream

    async def serve(connection: Connection) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        connection.write(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode("latin-1"))
        await splice(connection, joined)

    return UpgradeResponse(serve)
