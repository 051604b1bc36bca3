"""What a server and a client say to each other, apart from how the bytes travel.

A `Handler` turns a `Request` into one of three responses. `keelback.component.serving.Server` puts a handler on a
socket; an in-process transport calls it directly.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias
from urllib.parse import parse_qsl

import msgspec

IN_PROCESS = "in-process"
"""The `remote` of a request that no network carried."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request, its body complete.

    `path` is decoded once and has no query; `query` is the raw text after `?`. Header names are lower-case; a repeated
    header's values are joined by ", ". `identity` is set only by a transport that has itself established who calls
    (the in-process one); from the network it is always None. `header_lines` are the lines of headers that came on
    several: `header_values` reads them.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    peer_certificate: bytes | None = None
    remote: str = ""
    identity: object = None
    header_lines: tuple[tuple[str, str], ...] = ()


def header_values(request: Request, name: str) -> tuple[str, ...]:
    """The values of a header that may come on several lines, one for each: a value may have a comma in it."""
    value = request.headers.get(name)
    if value is None:
        return ()
    return tuple(text for known, text in request.header_lines if known == name) or (value,)


Body: TypeAlias = bytes | Sequence[bytes]


class Pieces(list[bytes]):
    """A body in pieces that nobody changes any more: what they sum up to is found out once."""

    __slots__ = ("_size_bytes",)
    _size_bytes: int

    @property
    def size_bytes(self) -> int:
        """How many bytes they are together."""
        if not hasattr(self, "_size_bytes"):
            self._size_bytes = sum(map(len, self))
        return self._size_bytes


class Pace(Protocol):
    """Lets others have their turn between the pieces of one large answer."""

    def begin(self) -> None:
        """A piece is about to be sent."""
        ...

    def sent(self, size_bytes: int) -> None:
        """A piece has been sent."""
        ...

    @property
    def is_due(self) -> bool:
        """Whether to await `turn` before the next piece: to be asked when there is room for it."""
        ...

    async def turn(self) -> None:
        """Return when it is this answer's turn again."""
        ...


class Response(msgspec.Struct, frozen=True, gc=False):
    """A complete response. A body given as several pieces is written without being joined first, at a `pace` if any."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: Body = b""
    pace: Pace | None = None

    def content(self) -> bytes:
        """The body in one piece."""
        return self.body if isinstance(self.body, bytes) else b"".join(self.body)


class LastResponse(Response, frozen=True, gc=False):
    """A complete response after which the connection is closed."""


class Writer(Protocol):
    """The sending end of a streaming response. What is written in one call travels as one chunk."""

    @property
    def closed(self) -> bool:
        """Whether the other side has gone or the server is shutting down: nothing written now arrives."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes to be sent; follow with `drain` wherever much may be written."""
        ...

    async def drain(self) -> None:
        """Return once the other side has room for more, or has gone."""
        ...

    async def wait_closed(self) -> None:
        """Return when the other side has gone or the server is shutting down."""
        ...


class Connection(Protocol):
    """A raw byte stream in both directions: a connection that has left HTTP."""

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        ...

    @property
    def can_half_close(self) -> bool:
        """Whether `write_eof` reaches the other side while reading goes on: not over TLS."""
        ...

    async def read(self, max_bytes: int = 65536) -> bytes:
        """The next bytes, at least one; empty at the end of the stream."""
        ...

    async def read_exactly(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises asyncio.IncompleteReadError where the stream ends before."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes to be sent."""
        ...

    def write_eof(self) -> None:
        """Say that nothing more will be sent, where the transport can (TLS cannot); reading goes on."""
        ...

    async def drain(self) -> None:
        """Return once the other side has room for more. Raises ConnectionError when it has gone."""
        ...

    def close(self) -> None:
        """Send what is queued, then close."""
        ...

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        ...


class StreamingResponse(msgspec.Struct, frozen=True):
    """A response that `serve` writes piece by piece; it ends when `serve` returns."""

    status: int
    headers: Mapping[str, str]
    serve: Callable[[Writer], Awaitable[None]]


class UpgradeResponse(msgspec.Struct, frozen=True):
    """The connection leaves HTTP: `serve` gets it raw, with all bytes not yet read, and writes the 101 itself."""

    serve: Callable[[Connection], Awaitable[None]]


AnyResponse: TypeAlias = Response | StreamingResponse | UpgradeResponse
Handler: TypeAlias = Callable[[Request], Awaitable[AnyResponse]]

JSON_HEADERS: Mapping[str, str] = {"content-type": "application/json"}
TEXT_HEADERS: Mapping[str, str] = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}


def text_response(text: str, status: int = 200) -> Response:
    """A plain text response, as health checks and errors before the API give."""
    return Response(status, TEXT_HEADERS, text.encode())


def parse_query(query: str) -> list[tuple[str, str]]:
    """The parameters of a raw query in order; those without a value have the empty string."""
    return parse_qsl(query, keep_blank_values=True) if query else []


def query_values(query: str) -> dict[str, str]:
    """The parameters of a raw query, the first of each name: what Kubernetes reads of a single-valued parameter."""
    values: dict[str, str] = {}
    for name, value in parse_query(query):
        values.setdefault(name, value)
    return values


def query_flag(value: str | None) -> bool:
    """A boolean parameter as the API server reads it: absent, "0" and "false" in any case are False, all else True."""
    return value is not None and value != "0" and value.lower() != "false"


def parse_bool(text: str) -> bool:
    """A boolean as Go's strconv.ParseBool takes it, for flags. Raises ValueError for other text."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f"invalid boolean value {text!r}: use true or false")
