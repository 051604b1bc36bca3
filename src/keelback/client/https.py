"""The transport over the network: HTTP/1.1 on kept connections, TLS with a client certificate or a bearer token.

Written on httptools rather than taken from a general client because every component pays for it on every request
(docs/adr/0005-front-door.md has the figures).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from keelback.client.http1 import ClientConnection, NotSentError
from keelback.client.transport import StreamedResponse
from keelback.component.connection import RawConnection, connected
from keelback.component.http import Connection, Request, Response
from keelback.concurrency.clock import Clock, SystemClock
from keelback.concurrency.outside import outside

# Below every server's own idle time (upstream: 90 s), so that a request rarely meets a connection just closed.
_IDLE_SECONDS: Final = 55.0
_KEPT_CONNECTIONS: Final = 32
_CONNECT_SECONDS: Final = 10.0
# As client-go's cached token source.
_TOKEN_SECONDS: Final = 60.0
# What may stand in a path as it is: names of RBAC objects have colons.
_PATH_SAFE: Final = "/:@!$&'()*+,;=~-._"
# Those a lost connection cannot have made happen twice.
_REPEATABLE: Final = frozenset(("GET", "HEAD", "OPTIONS"))


def client_context(
    ca_data: str | None = None,
    certificate: str | Path | None = None,
    key: str | Path | None = None,
    *,
    insecure: bool = False,
) -> ssl.SSLContext:
    """A TLS context for a client: trusts the PEM text `ca_data` (the system's authorities where it is None)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_data is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=ca_data)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


@dataclass(slots=True)
class TokenFile:
    """A bearer token kept in a file that somebody else renews: read again once a minute."""

    path: Path
    clock: Clock
    _token: str = ""
    _expires: float = 0.0

    def token(self) -> str:
        """The present token. Raises OSError where the file cannot be read and never could be."""
        now = self.clock.monotonic()
        if now >= self._expires:
            try:
                self._token = self.path.read_text().strip()
            except OSError:
                if not self._token:
                    raise
            self._expires = now + _TOKEN_SECONDS
        return self._token

    def forget(self) -> None:
        """Read again at the next request: the server refused the token."""
        self._expires = 0.0


class HTTPSTransport:
    """Requests to one server, given as `https://host:port` (or `http://`, or a unix socket by `unix_path`).

    `make_socket` makes sockets elsewhere than in the process's own network namespace; `host` is an address then.
    """

    def __init__(
        self,
        server: str,
        ssl_context: ssl.SSLContext | None = None,
        *,
        token: str = "",
        token_file: TokenFile | None = None,
        headers: Mapping[str, str] | None = None,
        server_name: str | None = None,
        unix_path: str | None = None,
        make_socket: Callable[[], socket.socket] | None = None,
        clock: Clock | None = None,
    ) -> None:
        address = urlsplit(server)
        self._host = address.hostname or "localhost"
        self._tls = address.scheme == "https"
        self._port = address.port or (443 if self._tls else 80)
        self._prefix = address.path.rstrip("/")
        self._context = (ssl_context or client_context()) if self._tls else None
        self._server_name = server_name or self._host
        self._unix_path = unix_path
        self._make_socket = make_socket
        self._token = token
        self._token_file = token_file
        self._clock = clock or SystemClock()
        lines = {"host": address.netloc.rpartition("@")[2], **(headers or {})}
        self._fixed_lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._idle: deque[tuple[float, ClientConnection]] = deque()
        self._closed = False

    @property
    def address(self) -> str:
        """The server's host and port, for messages."""
        return self._unix_path or f"{self._host}:{self._port}"

    async def send(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        """The complete response."""
        data = self._encode(request)
        with outside(timeout_seconds):
            return await self._sent(request, data, timeout_seconds)

    async def _sent(self, request: Request, data: bytes, timeout_seconds: float) -> Response:
        async with asyncio.timeout(timeout_seconds):
            while True:
                connection, reused = await self._connection()
                try:
                    response = await connection.send(data, head_only=request.method == "HEAD")
                except ConnectionError as error:
                    connection.abort()
                    # A kept connection that the server has closed meanwhile says nothing about the server.
                    if reused and (isinstance(error, NotSentError) or request.method in _REPEATABLE):
                        continue
                    raise
                except BaseException:
                    connection.abort()
                    raise
                self._keep(connection)
                if response.status == 401 and self._token_file is not None:
                    self._token_file.forget()
                return response

    @asynccontextmanager
    async def stream(
        self, request: Request, *, timeout_seconds: float = 30.0, idle_seconds: float = 0.0
    ) -> AsyncIterator[StreamedResponse]:
        """A response taken as it comes, on a connection of its own unless it ends in good order."""
        data = self._encode(request)
        async with asyncio.timeout(timeout_seconds):
            while True:
                connection, reused = await self._connection()
                try:
                    streamed = await connection.open(data, idle_seconds)
                    break
                except ConnectionError as error:
                    connection.abort()
                    if not (reused and (isinstance(error, NotSentError) or request.method in _REPEATABLE)):
                        raise
                except BaseException:
                    connection.abort()
                    raise
        try:
            yield streamed
        finally:
            self._keep(connection)

    async def upgrade(self, request: Request, *, timeout_seconds: float = 30.0) -> tuple[Response, Connection | None]:
        """Ask for another protocol: the answer's head and, where that is 101, the raw connection, now the caller's."""
        data = self._encode(request)
        async with asyncio.timeout(timeout_seconds):
            connection = await self._connect()
            try:
                response = await connection.send(data)
            except BaseException:
                connection.abort()
                raise
        if response.status != 101:
            self._keep(connection)
            return response, None
        raw: RawConnection = connection.hand_over()
        return response, raw

    async def close(self) -> None:
        """Give up kept connections; those in use end with their requests."""
        self._closed = True
        while self._idle:
            self._idle.popleft()[1].close()

    def renew(self, ssl_context: ssl.SSLContext) -> None:
        """Use another certificate from now on: kept connections, which show the old one, are given up."""
        self._context = ssl_context
        while self._idle:
            self._idle.popleft()[1].close()

    async def _connection(self) -> tuple[ClientConnection, bool]:
        now = self._clock.monotonic()
        idle = self._idle
        while idle and now - idle[0][0] > _IDLE_SECONDS:
            idle.popleft()[1].close()
        while idle:
            # The one used last is the likeliest to be alive, and lets the others grow old.
            _, connection = idle.pop()
            if connection.reusable:
                return connection, True
            connection.close()
        return await self._connect(), False

    async def _connect(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        make: Callable[[], ClientConnection] = ClientConnection
        name = self._server_name if self._context else None
        async with asyncio.timeout(_CONNECT_SECONDS):
            if self._unix_path is not None:
                _, protocol = await loop.create_unix_connection(
                    make, self._unix_path, ssl=self._context, server_hostname=name
                )
            elif self._make_socket is not None:
                made = await connected(self._make_socket(), self._host, self._port)
                _, protocol = await loop.create_connection(make, sock=made, ssl=self._context, server_hostname=name)
            else:
                _, protocol = await loop.create_connection(
                    make, self._host, self._port, ssl=self._context, server_hostname=name
                )
        return protocol

    def _keep(self, connection: ClientConnection) -> None:
        if connection.reusable and not self._closed and len(self._idle) < _KEPT_CONNECTIONS:
            self._idle.append((self._clock.monotonic(), connection))
        else:
            connection.close()

    def _encode(self, request: Request) -> bytes:
        target = self._prefix + quote(request.path, safe=_PATH_SAFE)
        if request.query:
            target = f"{target}?{request.query}"
        lines = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
        if request.header_lines:
            lines = _lines(request)
        token = self._token_file.token() if self._token_file is not None else self._token
        if token and "authorization" not in request.headers:
            lines += f"authorization: Bearer {token}\r\n"
        body = request.body
        if body or request.method in ("POST", "PUT", "PATCH"):
            lines += f"content-length: {len(body)}\r\n"
        head = f"{request.method} {target} HTTP/1.1\r\n{self._fixed_lines}{lines}\r\n"
        if head.count("\n") != head.count("\r\n"):
            raise ValueError("a header value has a line break")
        return head.encode("latin-1") + body


def _lines(request: Request) -> str:
    """Headers of which some have several lines. Raises ValueError for what could end one: these may name users."""
    repeated = {name for name, _ in request.header_lines}
    pairs = [(name, value) for name, value in request.headers.items() if name not in repeated]
    pairs.extend(request.header_lines)
    for pair in pairs:
        if any((character < " " and character != "\t") or character == "\x7f" for part in pair for character in part):
            raise ValueError(f"invalid header field value for {pair[0]!r}")
    return "".join([f"{name}: {value}\r\n" for name, value in pairs])
