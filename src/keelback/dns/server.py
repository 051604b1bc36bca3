"""The DNS server of one node: UDP and TCP in front of the pure answers, forwarding behind them.

It runs in the node's network namespace. Names of the cluster are answered from memory at once; only forwarded questions
wait, each in a task of its own, of which there are at most so many.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

from dnslib import QTYPE, RCODE, DNSRecord

from keelback.client import Change, Client, Informer
from keelback.client.store import Key
from keelback.component import logs
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock
from keelback.dns import addresses, messages
from keelback.dns.answers import Answer, Zone, answer
from keelback.dns.cache import AnswerCache
from keelback.dns.config import DNSConfig
from keelback.dns.forwarding import Forwarder
from keelback.dns.messages import Question, Refused
from keelback.dns.observed import EndpointSlice, Namespace, Service
from keelback.dns.records import Records, records_of

SERVICE_NAME: Final = "kubernetes.io/service-name"
_BY_SERVICE: Final = "by-service"
_MAX_CONNECTIONS: Final = 256
_IDLE_SECONDS: Final = 10.0
_log = logs.logger("dns")


class Observer:
    """Keeps records current from the API."""

    def __init__(self, client: Client, clock: Clock, *, namespaces: bool = False) -> None:
        self.records = Records(set() if namespaces else None)
        self.services = Informer(client, Service, clock=clock)
        self.slices = Informer(client, EndpointSlice, indexes={_BY_SERVICE: _service_key}, clock=clock)
        self.namespaces = Informer(client, Namespace, clock=clock) if namespaces else None

    @property
    def synced(self) -> bool:
        """Whether it is known which names do not exist."""
        return all(informer.synced for informer in self._informers())

    async def run(self) -> None:
        """Observe until cancelled."""
        self.services.subscribe(
            lambda change: self._renew((change.object.metadata.namespace, change.object.metadata.name))
        )
        self.slices.subscribe(self._slice_changed)
        if self.namespaces is not None:
            self.namespaces.subscribe(self._namespace_changed)
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers():
                tasks.create_task(informer.run())

    def _informers(self) -> list[Informer[Service] | Informer[EndpointSlice] | Informer[Namespace]]:
        return [self.services, self.slices, *([self.namespaces] if self.namespaces is not None else [])]

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        for key in {key for one in (change.old, change.new) if one is not None for key in _service_key(one)}:
            self._renew(key)

    def _namespace_changed(self, change: Change[Namespace]) -> None:
        known = self.records.namespaces
        if known is None:
            return
        if change.new is None:
            known.discard(change.object.metadata.name)
        else:
            known.add(change.object.metadata.name)

    def _renew(self, key: Key) -> None:
        service = self.services.store.get(*key)
        if service is None:
            self.records.remove(key)
        else:
            self.records.put(records_of(service, self.slices.store.by_index(_BY_SERVICE, key)))


class DNSServer:
    """Answers messages. Until the observer is synced, names it does not know are failures and not denied."""

    def __init__(
        self,
        observer: Observer,
        zone: Zone,
        forwarder: Forwarder,
        cache: AnswerCache,
        chance: random.Random | None = None,
        registry: Registry | None = None,
    ) -> None:
        registry = registry or Registry()
        self._observer = observer
        self._zone = zone
        self._forwarder = forwarder
        self._cache = cache
        self._chance = chance or random.Random()
        self._requests = registry.counter("coredns_dns_requests_total", "Counter of DNS requests made", ("proto",))
        self._responses = registry.counter(
            "coredns_dns_responses_total", "Counter of response status codes", ("rcode",)
        )

    def respond_here(self, message: bytes, *, over_tcp: bool = False) -> bytes | Question:
        """The reply, empty for none; or the question, where somebody else must be asked."""
        self._requests.inc("tcp" if over_tcp else "udp")
        try:
            question = messages.parse(message)
        except Refused as refusal:
            return self._counted(refusal.reply)
        found = answer(self._observer.records, self._zone, question.labels, question.qtype)
        if found is None or found.alias:
            return question
        if not self._observer.synced and not found.answers:
            # That a name is not known yet does not mean that there is none.
            return self._counted(messages.error(message, RCODE.SERVFAIL))
        return self._reply(question, found, over_tcp)

    async def respond(self, message: bytes, *, over_tcp: bool = False) -> bytes:
        """The reply to a message, empty for none."""
        here = self.respond_here(message, over_tcp=over_tcp)
        return here if isinstance(here, bytes) else await self.respond_elsewhere(here, message, over_tcp=over_tcp)

    async def respond_elsewhere(self, question: Question, message: bytes, *, over_tcp: bool = False) -> bytes:
        """The reply that takes others' answers."""
        found = answer(self._observer.records, self._zone, question.labels, question.qtype)
        if found is not None and found.alias:
            return self._reply(question, await self._follow(question, found, over_tcp), over_tcp)
        theirs = await self._ask_outside(message, question.labels, over_tcp)
        return self._counted(theirs or messages.error(message, RCODE.SERVFAIL))

    async def _ask_outside(self, message: bytes, labels: Sequence[str], over_tcp: bool) -> bytes | None:
        kept = self._cache.get(message)
        # What came by TCP may be more than a datagram takes: those who ask by UDP hear so from the source.
        if kept is not None and (over_tcp or len(kept) <= messages.PLAIN_BYTES):
            return kept
        theirs = await self._forwarder.ask(message, labels, over_tcp=over_tcp)
        if theirs is not None:
            self._cache.put(message, theirs)
        return theirs

    async def _follow(self, question: Question, found: Answer, over_tcp: bool) -> Answer:
        """Complete an answer that goes on outside the cluster: stub resolvers do not do that themselves."""
        asked = DNSRecord.question(found.alias, QTYPE.get(question.qtype))
        labels = found.alias.lower().split(".")
        theirs = await self._ask_outside(bytes(asked.pack()), labels, over_tcp)
        if theirs is None:
            return replace(found, rcode=RCODE.SERVFAIL)
        try:
            parsed = DNSRecord.parse(theirs)
        except Exception:
            return replace(found, rcode=RCODE.SERVFAIL)
        return replace(found, rcode=parsed.header.rcode, answers=(*found.answers, *parsed.rr), authority=())

    def _reply(self, question: Question, found: Answer, over_tcp: bool) -> bytes:
        limit = messages.MAX_BYTES if over_tcp else question.size_bytes
        return self._counted(messages.reply(question, found, limit_bytes=limit, chance=self._chance))

    def _counted(self, reply: bytes) -> bytes:
        if reply:
            self._responses.inc(str(RCODE.forward.get(reply[3] & 0xF, reply[3] & 0xF)))
        return reply


class Datagrams(asyncio.DatagramProtocol):
    """UDP in front of a server; `tasks` owns the questions that wait."""

    def __init__(self, server: DNSServer, tasks: asyncio.TaskGroup) -> None:
        self._server = server
        self._tasks = tasks
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            here = self._server.respond_here(data)
        except Exception as error:
            _log.exception("Failed to answer", error)
            here = messages.error(data, RCODE.SERVFAIL)
        if isinstance(here, bytes):
            self._send(here, addr)
        else:
            self._tasks.create_task(self._respond(here, data, addr))

    async def _respond(self, question: Question, data: bytes, addr: tuple[str, int]) -> None:
        try:
            self._send(await self._server.respond_elsewhere(question, data), addr)
        except Exception as error:
            _log.exception("Failed to answer", error)
            self._send(messages.error(data, RCODE.SERVFAIL), addr)

    def _send(self, reply: bytes, addr: tuple[str, int]) -> None:
        if reply and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)


async def serve_stream(server: DNSServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the questions of one TCP connection, one after another, until it ends or is idle too long."""
    try:
        while True:
            async with asyncio.timeout(_IDLE_SECONDS):
                length = int.from_bytes(await reader.readexactly(2), "big")
                message = await reader.readexactly(length)
            reply = await server.respond(message, over_tcp=True)
            if not reply:
                return
            async with asyncio.timeout(_IDLE_SECONDS):
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        pass
    except Exception as error:
        _log.exception("Failed to answer", error)
    finally:
        writer.close()


async def serve(
    server: DNSServer, host: str, port: int, tasks: asyncio.TaskGroup, stack: contextlib.AsyncExitStack
) -> int:
    """Listen by UDP and TCP on one address until `stack` ends; the port, which 0 lets the system choose."""
    loop = asyncio.get_running_loop()
    slots = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if slots.locked():
            writer.close()
            return
        async with slots:
            await serve_stream(server, reader, writer)

    listener = await stack.enter_async_context(await asyncio.start_server(accept, host, port))
    bound = int(listener.sockets[0].getsockname()[1])
    transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(server, tasks), local_addr=(host, bound))
    stack.callback(transport.close)
    return bound


async def run(client: Client, config: DNSConfig, clock: Clock) -> None:
    """Serve the cluster's names in this process's network namespace until cancelled. Raises OSError at the start."""
    if config.interface:
        await addresses.ensure(config.addresses, config.interface)
    zone = Zone(tuple(config.domain.lower().strip(".").split(".")), config.addresses, config.ttl_seconds)
    own = frozenset(config.addresses)
    forwarder = Forwarder(config.resolv_conf, own, config.forward_seconds, config.stub_domains)
    observer = Observer(client, clock, namespaces=config.observe_namespaces)
    server = DNSServer(observer, zone, forwarder, AnswerCache(clock))
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for address in config.addresses:
            await serve(server, address, config.port, tasks, stack)
        _log.info("Serving DNS", addresses=config.addresses, domain=config.domain)
        tasks.create_task(observer.run())


def _service_key(one: EndpointSlice) -> list[Key]:
    name = one.metadata.labels.get(SERVICE_NAME, "")
    return [(one.metadata.namespace, name)] if name else []
