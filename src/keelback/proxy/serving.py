"""What a proxy answers over HTTP: its health, its metrics, and the health check node ports of Services.

A load balancer outside asks each node's health check port whether it has endpoints of a Service whose traffic stays on
the node (`externalTrafficPolicy: Local`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

import msgspec

from keelback.client.store import Key
from keelback.component import logs
from keelback.component.http import Handler, Request, Response, text_response
from keelback.component.metrics import CONTENT_TYPE
from keelback.component.serving import Server
from keelback.concurrency.clock import Clock
from keelback.proxy.config import ProxyConfig
from keelback.proxy.metrics import ProxyMetrics
from keelback.proxy.progress import Progress

_SWEEP_SECONDS = 1.0
_MAX_PORTS = 1000
_PROGRESS_SECONDS = 10.0
_MAX_DIGITS = 19
_log = logs.logger("proxy.serving")


class Served(Protocol):
    """What is asked of a proxy."""

    @property
    def config(self) -> ProxyConfig: ...
    @property
    def metrics(self) -> ProxyMetrics: ...
    @property
    def progress(self) -> Progress: ...
    def problem(self) -> str: ...
    def health_ports(self) -> dict[int, tuple[Key, int]]: ...


async def serve(proxy: Served, clock: Clock) -> None:
    """Serve until cancelled. A port that is taken is reported and tried again: rules matter more than health."""

    async def answer(request: Request) -> Response:
        if request.path == "/programmed":
            return await respond_when_programmed(proxy, request)
        return respond(proxy, request.path)

    async with contextlib.AsyncExitStack() as stack:
        servers: dict[int, Server] = {}
        stack.push_async_callback(_stop_all, servers)
        main = proxy.config.health_port
        while True:
            wanted = list(proxy.health_ports())[:_MAX_PORTS]
            for port in [port for port in servers if port != main and port not in wanted]:
                await servers.pop(port).shutdown(0)
            for port in (main, *wanted):
                if port not in servers:
                    handler = answer if port == main else _handler(proxy, port)
                    server = Server(handler, host="0.0.0.0", port=port)  # noqa: S104  (load balancers ask from outside)
                    try:
                        await server.start()
                        servers[port] = server
                    except OSError as error:
                        _log.warning("Could not listen for health checks", port=port, error=error)
            await clock.sleep(_SWEEP_SECONDS)


def respond(proxy: Served, path: str) -> Response:
    """The answers on the proxy's own port."""
    match path:
        case "/healthz" | "/livez":
            problem = proxy.problem()
            return text_response(problem or "ok", 503 if problem else 200)
        case "/metrics":
            return Response(200, {"content-type": CONTENT_TYPE}, proxy.metrics.registry.exposition())
        case "/proxyMode":
            return text_response("nftables")
        case _:
            return text_response("404 page not found\n", 404)


async def respond_when_programmed(proxy: Served, request: Request) -> Response:
    """200 once this node's rules follow a version of EndpointSlices (`?revision=`), 503 where they do not in time.

    Kubelets of other nodes ask, before they stop a pod.
    """
    name, _, text = request.query.partition("=")
    if name != "revision" or not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        return text_response("revision must be a number\n", 400)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PROGRESS_SECONDS):
            await proxy.progress.wait(int(text))
            return text_response("ok")
    return text_response(f"the rules follow revision {proxy.progress.revision}\n", 503)


def respond_for_service(proxy: Served, port: int) -> Response:
    """The answer on a Service's health check node port: 503 where this node has no endpoint of it."""
    key, count = proxy.health_ports().get(port, (("", ""), 0))
    body = {
        "service": {"namespace": key[0], "name": key[1]},
        "localEndpoints": count,
        "serviceProxyHealthy": not proxy.problem(),
    }
    is_healthy = count > 0 and not proxy.problem()
    return Response(200 if is_healthy else 503, {"content-type": "application/json"}, msgspec.json.encode(body))


def _handler(proxy: Served, port: int) -> Handler:
    async def answer(request: Request) -> Response:
        return respond_for_service(proxy, port)

    return answer


async def _stop_all(servers: dict[int, Server]) -> None:
    for server in servers.values():
        await server.shutdown(0)
