"""A server: a handler on a TCP port or a unix socket, with TLS, limits and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import weakref
from collections.abc import Callable, Sequence
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from keelback.component import client_certificates
from keelback.component.arrivals import ArrivalOrder
from keelback.component.http import Handler, Response, text_response
from keelback.component.http1 import FIRST_REQUEST_SECONDS, HTTPConnection
from keelback.component.http1_requests import Limits
from keelback.component.metrics import Registry
from keelback.component.tls_listener import TLSListener
from keelback.concurrency.clock import Clock, SystemClock

__all__ = ["Limits", "Server", "publish_handshakes", "server_context"]

_SWEEP_SECONDS: Final = 5.0
_HANDSHAKE_SECONDS: Final = 10.0
_FLUSH_SECONDS: Final = 2.0
_BACKLOG: Final = 1024
# As upstream's listener: a client that has vanished is noticed though nothing is sent to it.
_KEEP_ALIVE_SECONDS: Final = 180


def server_context(certificate: str | Path, key: str | Path, client_ca: str | Path | None = None) -> ssl.SSLContext:
    """A TLS context for a server: TLS 1.2 and up. With `client_ca` clients are asked for a certificate signed by it.

    A client without one is let in, for it may have a token. So is one with a certificate that is expired or of another
    authority: **whoever reads `Request.peer_certificate` must judge it**, and can then say what is wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        client_certificates.accept_unverified(context)
    return context


def publish_handshakes(metrics: Registry, servers: Sequence[Server]) -> None:
    """Tell how many handshakes have failed, under the name that API servers give it."""
    failed = metrics.counter(
        "apiserver_tls_handshake_errors_total", "Number of requests dropped with 'TLS handshake error from' error"
    )
    metrics.before_collection(lambda: failed.set(sum(one.failed_handshakes for one in servers)))


class Server:
    """Serves a handler from `start` to `shutdown`. `port` 0 lets the system choose; `bound_port` then tells.

    A `listener` that listens already, perhaps in another network namespace, is served instead of `host` and `port`.
    """

    def __init__(
        self,
        handler: Handler,
        ssl_context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        unix_path: str | None = None,
        listener: socket.socket | None = None,
        limits: Limits | None = None,
        too_large: Callable[[int], Response] | None = None,
        clock: Clock | None = None,
        shares_port: bool = False,
    ) -> None:
        """With `shares_port` another process may listen on the port too."""
        self.handler = handler
        self.limits = limits or Limits()
        self.too_large = too_large or _too_large
        self.closing = False
        self.keeps_alive = True
        self._ssl_context = ssl_context
        self._host = host
        self._port = port
        self._unix_path = unix_path
        self._listener = listener
        self._shares_port = shares_port
        self._clock = clock or SystemClock()
        self._connections: set[HTTPConnection] = set()
        # Those whose handshake fails are never heard of again.
        self._shaking_hands: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._arrived = asyncio.Event()
        self._is_over = False
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._server: asyncio.Server | None = None
        self._tls_listener: TLSListener | None = None
        self._bound_port = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._date = ""
        self._date_expires = 0.0

    @property
    def bound_port(self) -> int:
        """The port that is listened on."""
        assert self._bound_port, "the server has not been started"
        return self._bound_port

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def failed_handshakes(self) -> int:
        """How many connections have not got as far as a request, for what their client said of TLS."""
        return 0 if self._tls_listener is None else self._tls_listener.failures

    async def start(self) -> None:
        """Listen. Raises OSError where the address is taken."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.arrivals = ArrivalOrder(loop.call_soon)
        tls = self._ssl_context
        if self._unix_path is not None:
            _unlink(self._unix_path)
            self._server = await loop.create_unix_server(
                self._protocol,
                self._unix_path,
                backlog=_BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if tls else None,
            )
            os.chmod(self._unix_path, 0o600)
        else:
            await self._listen(loop, tls)
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep_again)

    async def _listen(self, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext | None) -> None:
        if tls is not None:
            listener = self._listener or _listening(self._host, self._port, shares_port=self._shares_port)
            listener.listen(_BACKLOG)
            self._tls_listener = TLSListener(listener, tls, self._protocol, _HANDSHAKE_SECONDS)
            listeners = [listener]
        else:
            if self._listener is not None:
                self._server = await loop.create_server(self._protocol, sock=self._listener, backlog=_BACKLOG)
            else:
                self._server = await loop.create_server(
                    self._protocol,
                    self._host,
                    self._port,
                    backlog=_BACKLOG,
                    reuse_address=True,
                    reuse_port=self._shares_port or None,
                )
            listeners = list(self._server.sockets)
        for one in listeners:
            # Accepted connections inherit these.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_SECONDS)
        self._bound_port = int(listeners[0].getsockname()[1])

    async def shutdown(self, grace_seconds: float = 10.0) -> None:
        """Accept nobody, end streams, let requests finish for the grace time, then close what is left."""
        self.closing = True
        self.keeps_alive = False
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        if self._tls_listener is not None:
            self._tls_listener.close()
        deadline = self._loop.time() + grace_seconds
        for connection in tuple(self._connections):
            connection.stop()
        await asyncio.sleep(0)  # those that were accepted just now begin to shake hands
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(grace_seconds, FIRST_REQUEST_SECONDS)):
                while self._shaking_hands:
                    self._arrived.clear()
                    await self._arrived.wait()
        tasks = [connection.task for connection in self._connections]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=1.0)
        # What was written last may still be on its way.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(min(deadline, self._loop.time() + _FLUSH_SECONDS)):
                await self._emptied.wait()
        self._is_over = True
        for connection in tuple(self._connections):
            connection.abort()
        if self._tls_listener is not None:
            self._tls_listener.abort()
        if self._server is not None:
            await self._server.wait_closed()
        if self._unix_path is not None:
            _unlink(self._unix_path)

    def sweep(self) -> None:
        """Close connections that idle, and those whose request does not arrive: one timer for all of them."""
        now = self._loop.time()
        for connection in tuple(self._connections):
            if not connection.busy:
                allowed = self.limits.header_seconds if connection.receiving else self.limits.idle_seconds
                if now - connection.since > allowed:
                    connection.abort() if connection.receiving else connection.close_idle()
            elif connection.stalled_since and now - connection.stalled_since > self.limits.stall_seconds:
                connection.abort()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown(grace_seconds=1.0)

    # What connections ask.

    def date(self) -> str:
        """The Date header's value, made once a second."""
        now = self._loop.time()
        if now >= self._date_expires:
            self._date = format_datetime(self._clock.now(), usegmt=True)
            self._date_expires = now + 1.0
        return self._date

    def opened(self, connection: HTTPConnection) -> bool:
        """Count a connection; False where there are too many."""
        self._shaking_hands.discard(connection)
        self._arrived.set()
        if self._is_over or (self.closing and not connection.is_new):
            return False
        if len(self._connections) >= self.limits.connections:
            return False
        if self.closing:
            self._loop.call_soon(connection.stop)
        self._connections.add(connection)
        self._emptied.clear()
        return True

    def closed(self, connection: HTTPConnection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()

    def _protocol(self) -> HTTPConnection:
        connection = HTTPConnection(self)
        self._shaking_hands.add(connection)
        return connection

    def _sweep_again(self) -> None:
        self.sweep()
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep_again)


def _too_large(limit_bytes: int) -> Response:
    return text_response(f"the request's body is larger than {limit_bytes} bytes\n", 413)


def _listening(host: str, port: int, *, shares_port: bool) -> socket.socket:
    """A socket bound to the address. Raises OSError where that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG, reuse_port=shares_port)
    except OSError as error:
        # In the words of asyncio's own servers.
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        text = f"error while attempting to bind on address {(host, port)!r}: {why}"
        raise OSError(error.errno, text) from error


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
