"""WebSocket (RFC 6455) on a connection that leaves HTTP: the server's side and the client's, without extensions."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from typing import Final

from keelback.component.http import Connection, Request, Response, UpgradeResponse, text_response

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_MESSAGE: Final = 16 << 20
_FIN: Final = 0x80
_MASKED: Final = 0x80


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """Why a WebSocket ended."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    TOO_LARGE = 1009
    INTERNAL_ERROR = 1011


class WebSocketError(ConnectionError):
    """The other side broke the protocol."""

    def __init__(self, message: str, code: CloseCode = CloseCode.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


class WebSocket:
    """Messages in both directions. Pings are answered while reading."""

    def __init__(self, connection: Connection, *, is_client: bool = False) -> None:
        self._connection = connection
        self._is_client = is_client
        self._close_sent = False

    @property
    def closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._close_sent or self._connection.closed

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        await self._connection.wait_closed()

    async def read(self) -> tuple[Opcode, bytes] | None:
        """The next text or binary message, or None when the other side has closed.

        Raises WebSocketError, after saying so to the other side, for what is not WebSocket.
        """
        try:
            message = await self._read_message()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            message = None
        except WebSocketError as error:
            self.close(error.code, str(error))
            raise
        if message is None:
            self._connection.close()
        return message

    async def send(self, data: bytes, opcode: Opcode = Opcode.BINARY) -> None:
        """Send one message. Raises ConnectionError when the connection is gone."""
        if self.closed:
            raise ConnectionResetError("the WebSocket is closed")
        self._write_frame(opcode, data)
        await self._connection.drain()

    def write(self, data: bytes) -> None:
        """Queue one binary message; follow with `drain`."""
        self._write_frame(Opcode.BINARY, data)

    async def drain(self) -> None:
        """Return once there is room for more. Raises ConnectionError when the connection is gone."""
        await self._connection.drain()

    async def ping(self, data: bytes = b"") -> None:
        """Keep the connection from idling."""
        await self.send(data, Opcode.PING)

    def close(self, code: CloseCode = CloseCode.NORMAL, reason: str = "") -> None:
        """Say why, then close the connection once what is queued has been sent."""
        if not self._close_sent and not self._connection.closed:
            self._close_sent = True
            self._write_frame(Opcode.CLOSE, struct.pack(">H", code) + reason.encode()[:120])
        self._connection.close()

    async def _read_message(self) -> tuple[Opcode, bytes] | None:
        pieces: list[bytes] = []
        first: Opcode | None = None
        size = 0
        while True:
            is_last, opcode, data = await self._read_frame()
            if opcode is Opcode.CLOSE:
                if not self._close_sent and not self._connection.closed:
                    self._close_sent = True
                    self._write_frame(Opcode.CLOSE, data[:2])
                return None
            if opcode is Opcode.PING:
                if not self.closed:
                    self._write_frame(Opcode.PONG, data)
                continue
            if opcode is Opcode.PONG:
                continue
            if (opcode is Opcode.CONTINUATION) != (first is not None):
                raise WebSocketError("fragments are out of order")
            first = first or opcode
            size += len(data)
            if size > _MAX_MESSAGE:
                raise WebSocketError("a message is too large", CloseCode.TOO_LARGE)
            pieces.append(data)
            if is_last:
                return first, pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _read_frame(self) -> tuple[bool, Opcode, bytes]:
        first, second = await self._connection.read_exactly(2)
        if first & 0x70:
            raise WebSocketError("no extension was agreed on")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise WebSocketError("unknown opcode") from None
        masked, size = bool(second & _MASKED), second & 0x7F
        if masked == self._is_client:
            raise WebSocketError("clients mask, servers do not")
        if opcode >= Opcode.CLOSE and (size > 125 or not first & _FIN):
            raise WebSocketError("a control frame is too long or fragmented")
        if size == 126:
            (size,) = struct.unpack(">H", await self._connection.read_exactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self._connection.read_exactly(8))
        if size > _MAX_MESSAGE:
            raise WebSocketError("a frame is too large", CloseCode.TOO_LARGE)
        mask = await self._connection.read_exactly(4) if masked else b""
        data = await self._connection.read_exactly(size) if size else b""
        return bool(first & _FIN), opcode, _masked(data, mask) if masked else data

    def _write_frame(self, opcode: Opcode, data: bytes) -> None:
        size = len(data)
        mask_bit = _MASKED if self._is_client else 0
        if size < 126:
            head = struct.pack(">BB", _FIN | opcode, mask_bit | size)
        elif size < 1 << 16:
            head = struct.pack(">BBH", _FIN | opcode, mask_bit | 126, size)
        else:
            head = struct.pack(">BBQ", _FIN | opcode, mask_bit | 127, size)
        if self._is_client:
            mask = os.urandom(4)
            data = mask + _masked(data, mask)
        self._connection.write(head + data)


def is_upgrade(request: Request, protocol: str) -> bool:
    """Whether a request asks to leave HTTP for `protocol`."""
    tokens = {token.strip().lower() for token in request.headers.get("connection", "").split(",")}
    return "upgrade" in tokens and request.headers.get("upgrade", "").lower() == protocol.lower()


def offered_protocols(request: Request) -> tuple[str, ...]:
    """The subprotocols a client offers, in its order."""
    text = request.headers.get("sec-websocket-protocol", "")
    return tuple(name for part in text.split(",") if (name := part.strip()))


def respond(
    request: Request,
    protocols: Sequence[str],
    serve: Callable[[WebSocket, str], Awaitable[None]],
) -> Response | UpgradeResponse:
    """Take a connection over as a WebSocket with the client's first subprotocol that is among `protocols`.

    "" among them stands for none. A client that offers only others is refused, as is one of another version.
    """
    offered = offered_protocols(request)
    key = request.headers.get("sec-websocket-key", "")
    if request.headers.get("sec-websocket-version") != "13" or not key:
        return Response(400, {"content-type": "text/plain", "sec-websocket-version": "13"}, b"not WebSocket 13\n")
    chosen = next((name for name in offered or ("",) if name in protocols), None)
    if chosen is None:
        return text_response(f"none of the subprotocols {', '.join(offered) or '(none)'} is supported here\n", 400)

    async def upgraded(connection: Connection) -> None:
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines.append(f"Sec-WebSocket-Accept: {accept_key(key)}")
        if chosen:
            lines.append(f"Sec-WebSocket-Protocol: {chosen}")
        connection.write("\r\n".join([*lines, "", ""]).encode())
        socket = WebSocket(connection)
        try:
            await serve(socket, chosen)
        except BaseException:
            socket.close(CloseCode.INTERNAL_ERROR)
            raise
        socket.close()

    return UpgradeResponse(upgraded)


def accept_key(key: str) -> str:
    """What proves to a client that the server understood its handshake."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def client_headers(protocols: Sequence[str] = ()) -> dict[str, str]:
    """The headers of a client's handshake, with a fresh key."""
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
    }
    return {**headers, "sec-websocket-protocol": ", ".join(protocols)} if protocols else headers


def _masked(data: bytes, mask: bytes) -> bytes:
    # One operation on a long integer is far faster than a loop over bytes.
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
