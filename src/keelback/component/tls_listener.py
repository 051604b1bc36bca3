"""Accepts connections for TLS, and tells who speaks HTTP without it so, in Go's words, rather than hang up.

The first bytes are looked at before the handshake takes them (crypto/tls, RecordHeaderError).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from keelback.component.logs import logger

_HEADER_BYTES: Final = 5
_HTTP: Final = frozenset((b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"))
_NOT_HTTPS: Final = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
_AT_ONCE: Final = 100
"""How many are accepted before others have their turn."""
_REST_SECONDS: Final = 1.0
"""How long nobody is accepted when the process has no room for more, as asyncio does."""
_READ_BYTES: Final = 1 << 16
_log = logger("serving")


class TLSListener:
    """Owns a listening socket and its connections until they have shaken hands; after that they are the protocol's."""

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        make_protocol: Callable[[], asyncio.Protocol],
        handshake_seconds: float,
    ) -> None:
        self._listener = listener
        self._context = context
        self._make_protocol = make_protocol
        self._handshake_seconds = handshake_seconds
        self._loop = asyncio.get_running_loop()
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        self._handshakes: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.failures = 0
        """How many connections ended before they had shaken hands."""
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept nobody any more. Those who have come go on."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    def abort(self) -> None:
        """Close on those who have not shaken hands yet."""
        self.close()
        for one in tuple(self._silent):
            self._dismiss(one)
        for task in self._handshakes:
            task.cancel()

    def _listen(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("Nobody more can be accepted for now", error=str(error))
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(_REST_SECONDS, self._listen)
                return
            accepted.setblocking(False)
            with contextlib.suppress(OSError):  # it may be gone already
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._look(accepted, self._make_protocol())

    def _look(self, accepted: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            head = accepted.recv(_HEADER_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            self._silent[accepted] = self._loop.call_later(self._handshake_seconds, self._dismiss, accepted)
            self._loop.add_reader(accepted.fileno(), self._heard, accepted, protocol)
            return
        except OSError:
            head = b""
        if head in _HTTP:
            self.failures += 1
            self._answer_plainly(accepted)
        elif head:
            task = self._loop.create_task(self._shake_hands(accepted, protocol))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)
        else:
            accepted.close()

    def _heard(self, accepted: socket.socket, protocol: asyncio.Protocol) -> None:
        self._loop.remove_reader(accepted.fileno())
        self._silent.pop(accepted).cancel()
        self._look(accepted, protocol)

    def _dismiss(self, accepted: socket.socket) -> None:
        self._loop.remove_reader(accepted.fileno())
        self._silent.pop(accepted).cancel()
        accepted.close()

    def _answer_plainly(self, accepted: socket.socket) -> None:
        try:
            # What was not read when a connection is closed resets it, and the answer may be lost with that.
            accepted.recv(_READ_BYTES)
            accepted.send(_NOT_HTTPS)
        except OSError:
            pass  # who has gone needs no answer
        finally:
            accepted.close()

    async def _shake_hands(self, accepted: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._context, ssl_handshake_timeout=self._handshake_seconds
            )
        except (OSError, asyncio.CancelledError) as error:
            self.failures += 1
            _log.debug("A TLS handshake failed", error=str(error))
            accepted.close()
