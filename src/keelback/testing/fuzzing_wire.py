"""Requests as bytes on a connection, with things wrong that only show there: targets, headers, how a body is framed."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

from keelback.component.http import Request

_ODD_PARTS: Final = (
    *(
        "%",
        "%2",
        "%zz",
        "%00",
        "%2F",
        "%2f..%2f",
        "%25",
        "%252F",
        "%FF%FE",
        "%C3%A9",
        "%0d%0aX: y",
        "%20",
        "%3F",
        "%23",
    ),
    *("..", "../..", ".", "//", "\\", "é", "\x7f", "~", ";a=b", "a b", "*", "http://x/y", "a" * 9000),
)
_ODD_QUERIES: Final = (
    *("&", "&&=", "=", "%", "%zz=1", "a;b", "watch=1;x", "limit=1&limit=x", "a=%00", "é", "?", "x=" + "y" * 9000),
    *("fieldSelector=%GG", "labelSelector=a%2Bb", "resourceVersion=%31", "pretty=%74rue", "+=+", "timeout=-1s"),
)
_HEADERS: Final = (
    *(
        "Accept: ",
        "Accept: */*;q=x",
        "Accept: application/json;as=Table;v=v9;g=x",
        "Accept: ,,,;",
        "Accept: a/b" * 2000,
    ),
    *(
        "Content-Type: ",
        "Content-Type: application/json; charset=\xff",
        "Content-Encoding: gzip",
        "Content-Encoding: x",
    ),
    *("Accept-Encoding: gzip;q=0, *", "Authorization: ", "Authorization: Bearer", "Authorization: Bearer \xe9", "A:"),
    *("Authorization: Bearer a.b.c", "Authorization: Basic !!", "Audit-ID: \xe9\x01", "Audit-ID: " + "a" * 3000),
    *(
        "Impersonate-User: x",
        "Impersonate-Group: y",
        "Impersonate-Extra-%zz: 1",
        "Impersonate-Extra-: ",
        "Origin: null",
    ),
    *("X-Remote-User: admin", "X-Remote-Group: system:masters", "If-None-Match: *", 'If-None-Match: "', "If-Match: W/"),
    *(
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Connection: close, keep-alive, x",
        "Upgrade: SPDY/3.1",
        "Te: trailers",
    ),
    *(
        "Sec-WebSocket-Key: x",
        "Sec-WebSocket-Version: 99",
        "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.%",
    ),
    *(
        "Expect: 100-continue",
        "Expect: nothing",
        "Host: a",
        "Host: ",
        "Transfer-Encoding: gzip, chunked",
        "Range: bytes=-",
    ),
    *(
        "Traceparent: 00-zz-zz-00",
        "Traceparent: " + "0" * 4000,
        "Content-Length: -1",
        "Content-Length: 1, 2",
        "\x00: x",
    ),
    *("Content-Length: 99999999999999999999", " folded: x", "Na me: x", "X: " + "\t" * 500, "Cookie: " + "c" * 70_000),
)
_LINES: Final = (
    *(
        b"GET /api HTTP/3.0\r\n",
        b"GET\r\n",
        b"GET  /api  HTTP/1.1\r\n",
        b"GET /api\r\n",
        b"\r\n\r\nGET /api HTTP/1.1\r\n",
    ),
    *(
        b"GET /api HTTP/1.1\n",
        b"G\x00T /api HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ),
    *(b"OPTIONS * HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"GET api HTTP/1.1\r\n", b"BREW /api HTTP/1.1\r\n"),
)


class WireMaker:
    """Writes requests as bytes, one thing in some of them wrong."""

    def __init__(self, chance: random.Random, token: str) -> None:
        self._chance = chance
        self._token = token

    def written(self, request: Request) -> bytes:
        """The bytes to send. A request that is whole is followed by nothing."""
        chance = self._chance
        target = quote(request.path, safe="/:@!$&'()*+,;=-._~") + (f"?{request.query}" if request.query else "")
        if chance.random() < 0.4:
            target = self._odd_target(target)
        lines = [f"{name}: {value}" for name, value in request.headers.items()]
        lines += ["Host: x", f"Authorization: Bearer {self._token}"]
        for _ in range(chance.choice((0, 0, 1, 2, 5))):
            lines.insert(chance.randrange(len(lines) + 1), chance.choice(_HEADERS))
        framed = self._chance.choice(self._framings())(request.body, lines)
        first = f"{request.method} {target} HTTP/1.{chance.choice('1111110')}\r\n".encode("latin-1", "replace")
        if chance.random() < 0.05:
            first = chance.choice(_LINES)
        head = b"".join(line.encode("latin-1", "replace") + b"\r\n" for line in lines)
        whole = first + head + b"\r\n" + framed
        if chance.random() < 0.1:
            at = chance.randrange(len(whole))
            whole = whole[:at] + chance.choice((b"", b"\x00", b"\r\n", b"\n", b"\xff" * 9, b" ")) + whole[at + 1 :]
        return whole

    def pieces(self, whole: bytes) -> Sequence[bytes]:
        """The same bytes as they may arrive."""
        cuts = sorted(self._chance.randrange(len(whole) + 1) for _ in range(self._chance.choice((0, 0, 1, 3))))
        return [whole[start:end] for start, end in zip((0, *cuts), (*cuts, len(whole)), strict=True)]

    def _odd_target(self, target: str) -> str:
        chance = self._chance
        path, _, query = target.partition("?")
        if chance.random() < 0.6:
            parts = path.split("/")
            at = chance.randrange(len(parts))
            odd = chance.choice(_ODD_PARTS)
            parts[at] = chance.choice((odd, parts[at] + odd, "".join(f"%{ord(one) % 256:02x}" for one in parts[at])))
            path = "/".join(parts)
        else:
            query = chance.choice((query + "&", "")) + chance.choice(_ODD_QUERIES)
        return f"{path}?{query}" if query else path

    def _framings(self) -> Sequence[Callable[[bytes, list[str]], bytes]]:
        return (_with_length, _with_length, _with_length, self._chunked, _compressed, self._with_wrong_length)

    def _chunked(self, body: bytes, lines: list[str]) -> bytes:
        lines.append("Transfer-Encoding: chunked")
        pieces = self.pieces(body)
        framed = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces if one)
        return framed + self._chance.choice(
            (b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"zz\r\n", b"-1\r\n", b"")
        )

    def _with_wrong_length(self, body: bytes, lines: list[str]) -> bytes:
        lines.append(f"Content-Length: {max(0, len(body) + self._chance.choice((-3, -1, 1, 50)))}")
        return body


def _with_length(body: bytes, lines: list[str]) -> bytes:
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return body


def _compressed(body: bytes, lines: list[str]) -> bytes:
    small = gzip.compress(body, 1, mtime=0)
    lines += ["Content-Encoding: gzip", f"Content-Length: {len(small)}"]
    return small
