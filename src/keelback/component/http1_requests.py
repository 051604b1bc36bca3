"""What a client sends on an HTTP/1.1 connection, as requests: parsed by httptools, bounded, and refused as Go refuses.

The parser calls the reader for each piece; the reader calls the connection once a request begins and once it is whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from keelback.component.http import Request, Response, text_response
from keelback.component.http1_heads import header_name

_BAD_ESCAPE = re.compile(rb"%(?![0-9a-fA-F]{2})")

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}) \S+ HTTP/1\.[01]\r?\n")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of the server; sizes in bytes, times in seconds, as upstream has them."""

    body_bytes: int = 3 << 20
    header_bytes: int = 1 << 20
    connections: int = 20_000
    idle_seconds: float = 90.0
    header_seconds: float = 32.0
    stall_seconds: float = 300.0
    """How long a client may leave what was sent to it unread."""
    gzip_bytes: int = 128 << 10
    gzip_on_loopback: bool = False
    """Compressing costs more than it saves where both ends are one machine."""


class Arrival:
    """A request with what matters for the connection alone."""

    __slots__ = ("keep_alive", "request", "response", "upgrade")

    def __init__(self, request: Request, keep_alive: bool, upgrade: bool, response: Response | None = None) -> None:
        self.request = request
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self.response = response


class Receiver(Protocol):
    """Who is told of requests: the connection."""

    def request_began(self) -> None:
        """The first byte of a request has come."""
        ...

    def request_came(self, came: Arrival) -> None:
        """A request is whole."""
        ...

    def body_awaited(self) -> None:
        """The client sends its body only once it is told to go on (Expect: 100-continue)."""
        ...


class RequestRefused(Exception):
    """What came is no request that can be taken, and what follows it cannot be understood. `response` says why."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class RequestReader:
    """Makes requests of a connection's bytes. `peer_certificate` and `remote` become theirs."""

    def __init__(self, receiver: Receiver, limits: Limits, too_large: Callable[[int], Response]) -> None:
        self.peer_certificate: bytes | None = None
        self.remote = ""
        self.receiving = False
        self._receiver = receiver
        self._limits = limits
        self._too_large = too_large
        self._parser: Any = httptools.HttpRequestParser(self)
        self._method = ""
        """That of the request being read, where the parser does not know it."""
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_lines: dict[str, list[str]] = {}
        self._head_size = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._refused: Response | None = None

    @property
    def version(self) -> str:
        """The version of the latest request: "1.0" or "1.1"."""
        return str(self._parser.get_http_version())

    def feed(self, data: bytes) -> None:
        """Take what came. Raises RequestRefused, and HttpParserUpgrade where another protocol begins."""
        is_within = self.receiving
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise
        except httptools.HttpParserInvalidMethodError as error:
            found = None if is_within or self._method else _REQUEST_LINE.match(data)
            if found is None or _is_known(found[1]):
                raise RequestRefused(text_response(f"400 Bad Request: {error}", 400)) from error
            self._feed_unknown(found[1], data[found.end(1) :])
        except httptools.HttpParserError as error:
            raise RequestRefused(self._refused or text_response(f"400 Bad Request: {error}", 400)) from error

    def _feed_unknown(self, method: bytes, rest: bytes) -> None:
        """Take a request whose method the parser does not know, though any word may be one: as if it were a POST."""
        self._parser = httptools.HttpRequestParser(self)
        self._method = method.decode("ascii")
        try:
            self.feed(b"POST" + rest)
        except httptools.HttpParserUpgrade as upgrade:
            raise httptools.HttpParserUpgrade(upgrade.args[0] - len(b"POST") + len(method)) from None

    # The parser's side.

    def on_message_begin(self) -> None:
        self.receiving = True
        self._receiver.request_began()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        key = header_name(name)
        text = value.decode("latin-1")
        headers = self._headers
        if key in headers:
            self._header_lines.setdefault(key, [headers[key]]).append(text)
            text = f"{headers[key]}, {text}"
        headers[key] = text

    def on_headers_complete(self) -> None:
        headers = self._headers
        length = headers.get("content-length")
        if length is not None and int(length) > self._limits.body_bytes:
            self._refused = self._too_large(self._limits.body_bytes)
        elif (problem := self._head_problem()) is not None:
            self._refused = text_response(f"400 Bad Request{problem}", 400)
        elif "expect" in headers and headers["expect"].lower() == "100-continue":
            self._receiver.body_awaited()
        if self._refused is not None:
            raise _RefusedError

    def _head_problem(self) -> str | None:
        """What Go's server refuses although it parses."""
        host = self._headers.get("host")
        if host is None and self._parser.get_http_version() != "1.0":
            return ": missing required Host header"
        if host is not None and "," in host:
            return ": too many Host headers"
        if b"%" in self._url and _BAD_ESCAPE.search(self._url.partition(b"?")[0]):
            return ""
        return None

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._limits.body_bytes:
            self._refused = self._too_large(self._limits.body_bytes)
            raise _RefusedError
        self._body.append(body)

    def on_message_complete(self) -> None:
        parser = self._parser
        pieces = self._body
        body = b"" if not pieces else pieces[0] if len(pieces) == 1 else b"".join(pieces)
        keep_alive = parser.should_keep_alive()
        came = Arrival(self._request(body), keep_alive, parser.should_upgrade())
        self._url = b""
        self._headers = {}
        self._header_lines = {}
        self._head_size = 0
        if pieces:
            self._body = []
            self._body_size = 0
        self.receiving = False
        self._receiver.request_came(came)

    def _request(self, body: bytes) -> Request:
        target = self._url.decode("latin-1")
        if not target.startswith("/") and "://" in target:
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        path, _, query = target.partition("?")
        if "%" in path:
            path = unquote(path)
        method = self._method or self._parser.get_method().decode("ascii")
        self._method = ""
        lines = tuple((name, text) for name, texts in self._header_lines.items() for text in texts)
        return Request(method, path, query, self._headers, body, self.peer_certificate, self.remote, header_lines=lines)

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._limits.header_bytes:
            self._refused = text_response("431 Request Header Fields Too Large", 431)
            raise _RefusedError


def _is_known(method: bytes) -> bool:
    try:
        httptools.HttpRequestParser(None).feed_data(method + b" /")
    except httptools.HttpParserInvalidMethodError:
        return False
    except httptools.HttpParserError:
        pass
    return True


class _RefusedError(Exception):
    """Stops the parser: the request will not be taken."""
