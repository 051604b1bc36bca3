"""Asking the node's own resolvers about names that are not the cluster's.

Messages are passed on whole, under an identifier and from a port of our own that a liar would have to guess.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from keelback.component import logs

_ROUNDS: Final = 2
_MAX_SERVERS: Final = 3
_MAX_IN_FLIGHT: Final = 1000
_log = logs.logger("dns.forwarding")


class Upstream(NamedTuple):
    """A server to ask."""

    address: str
    port: int


def parse_resolv_conf(text: str) -> tuple[Upstream, ...]:
    """The name servers of a resolv.conf, as many as resolvers use."""
    words = [line.split() for line in text.splitlines()]
    found = [Upstream(line[1], 53) for line in words if len(line) > 1 and line[0] == "nameserver"]
    return tuple(found[:_MAX_SERVERS])


def parse_upstream(text: str) -> Upstream:
    """`10.0.0.1`, `10.0.0.1:5353`, `fd00::1` or `[fd00::1]:5353`."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return Upstream(address, int(port.removeprefix(":") or 53))
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return Upstream(address, int(port))
    return Upstream(text, 53)


@dataclass(slots=True)
class Forwarder:
    """Asks the servers for a name one after another, but never the `own` addresses: that would be a loop."""

    resolv_conf: Path
    own: frozenset[str]
    timeout_seconds: float = 2.0
    stub_domains: Mapping[str, Sequence[str]] = field(default_factory=dict)
    chance: random.Random = field(default_factory=random.SystemRandom)
    in_flight: int = 0
    _read_at: float = -1.0
    _servers: tuple[Upstream, ...] = ()

    def servers(self, labels: Sequence[str]) -> tuple[Upstream, ...]:
        """Whom to ask about a name: the longest stub domain that it is in, else the node's resolvers."""
        for start in range(len(labels)):
            stubs = self.stub_domains.get(".".join(labels[start:]))
            if stubs is not None:
                return tuple(parse_upstream(stub) for stub in stubs)
        try:
            changed_at = self.resolv_conf.stat().st_mtime
            if changed_at != self._read_at:
                self._servers = parse_resolv_conf(self.resolv_conf.read_text(errors="replace"))
                self._read_at = changed_at
        except OSError:
            self._servers, self._read_at = (), -1.0
        return tuple(server for server in self._servers if server.address not in self.own)

    async def ask(self, message: bytes, labels: Sequence[str], *, over_tcp: bool = False) -> bytes | None:
        """The answer to a message of at least a header's length, or None where nobody gives one in time."""
        servers = self.servers(labels)
        if self.in_flight >= _MAX_IN_FLIGHT:
            return None
        self.in_flight += 1
        try:
            for _ in range(_ROUNDS):
                for server in servers:
                    found = await self._ask_one(server, message, over_tcp)
                    if found is not None:
                        return message[:2] + found[2:]
        finally:
            self.in_flight -= 1
        return None

    async def _ask_one(self, server: Upstream, message: bytes, over_tcp: bool) -> bytes | None:
        identifier = self.chance.randbytes(2)
        asked = identifier + message[2:]
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await (_exchange_tcp(server, asked) if over_tcp else _exchange_udp(server, asked))
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            _log.debug("A name server did not answer", server=server.address, error=error)
            return None


class _OneAnswer(asyncio.DatagramProtocol):
    def __init__(self, identifier: bytes, answered: asyncio.Future[bytes]) -> None:
        self._identifier = identifier
        self._answered = answered

    def datagram_received(self, data: bytes, addr: object) -> None:
        if _is_answer(data, self._identifier) and not self._answered.done():
            self._answered.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc)


async def _exchange_udp(server: Upstream, message: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _OneAnswer(message[:2], answered), remote_addr=(server.address, server.port)
    )
    try:
        transport.sendto(message)
        return await answered
    finally:
        transport.close()


async def _exchange_tcp(server: Upstream, message: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        writer.write(len(message).to_bytes(2, "big") + message)
        await writer.drain()
        length = int.from_bytes(await reader.readexactly(2), "big")
        found = await reader.readexactly(length)
        if not _is_answer(found, message[:2]):
            raise ConnectionError("not an answer to what was asked")
        return found
    finally:
        writer.close()


def _is_answer(data: bytes, identifier: bytes) -> bool:
    return len(data) >= 12 and data[:2] == identifier and bool(data[2] & 0x80)
