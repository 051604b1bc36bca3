"""The members of an etcd cluster: one is spoken to; when it fails, and another does not, that one is from then on.

What a failure means for a request (it was not begun, or nobody knows) is told here, by etcd's own words.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import grpc
import grpc.aio

from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.storage._proto import etcd_pb2 as pb
from keelback.storage.protocol import Unavailable

PROBE_INTERVAL_SECONDS = 0.5
PROBE_SECONDS = 0.7
AGAIN_PROBE_SECONDS = 0.4
AGAIN_SECONDS = 0.1
LEADER_CHANGE_SECONDS = 0.5
"""How long a write that was begun under a leader that is no more is waited for."""
_DEFAULT_PORT = 2379
# A member that has lost the others says so at once instead of letting a request wait.
_METADATA = (("hasleader", "true"),)
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # etcd refuses pings that come more often than every five seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

log = logger("etcd")


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The authority of etcd's members, and how this server shows them who it is. Each may be left empty."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


class Failure(Enum):
    """What is known of a request that failed."""

    NOT_BEGUN = auto()
    """It may be sent again, to whomever."""
    UNKNOWN = auto()
    """It may have happened or not."""
    OVERLOADED = auto()
    """Not begun: etcd has too much to do."""
    TOO_LARGE = auto()
    COMPACTED = auto()
    FUTURE = auto()
    REFUSED = auto()
    """Not done, and the same request would not be done later: no space, no permission."""


_BY_WORDS = (
    ("failed to connect to all addresses", Failure.NOT_BEGUN),
    ("etcdserver: no leader", Failure.NOT_BEGUN),
    ("etcdserver: not capable", Failure.NOT_BEGUN),
    ("etcdserver: too many requests", Failure.OVERLOADED),
    ("etcdserver: request is too large", Failure.TOO_LARGE),
    ("received message larger than max", Failure.TOO_LARGE),
    ("required revision has been compacted", Failure.COMPACTED),
    ("required revision is a future revision", Failure.FUTURE),
    ("database space exceeded", Failure.REFUSED),
)
_BY_CODE = {
    grpc.StatusCode.PERMISSION_DENIED: Failure.REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: Failure.REFUSED,
    grpc.StatusCode.INVALID_ARGUMENT: Failure.REFUSED,
    grpc.StatusCode.UNIMPLEMENTED: Failure.REFUSED,
}


def failure_of(error: grpc.aio.AioRpcError) -> Failure:
    """What an error says about its request."""
    details = error.details() or ""
    for words, failure in _BY_WORDS:
        if words in details:
            return failure
    return _BY_CODE.get(error.code(), Failure.UNKNOWN)


def is_unreachable(error: grpc.aio.AioRpcError) -> bool:
    """Whether the member is away, or cut off from the others: what etcd itself says of a request is something else."""
    details = error.details() or ""
    return error.code() is grpc.StatusCode.UNAVAILABLE and (
        not details.startswith("etcdserver: ") or details in ("etcdserver: no leader", "etcdserver: server stopped")
    )


def is_own_end() -> bool:
    """Whether a CancelledError is for the task that runs: gRPC raises it also where somebody cancelled the call."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class GivenUp(Exception):
    """A call was given up because its member, or its leader, is no more. What it asked for may have happened."""


@dataclass(eq=False, slots=True)
class Endpoint:
    """One member and the calls to it that are under way."""

    name: str
    channel: Any
    calls: dict[str, Any] = field(default_factory=dict)
    under_way: dict[Any, int] = field(default_factory=dict)
    """Calls, and under which raft term they were begun."""
    streams: set[Any] = field(default_factory=set)

    def give_up(self, *, before_term: int = 0) -> None:
        """End the calls under way, or those that were begun before a term; with all of them the streams too."""
        for call, term in list(self.under_way.items()):
            if not before_term or term < before_term:
                call.cancel()
        if not before_term:
            for stream in list(self.streams):
                stream.cancel()


class Endpoints:
    """The members. `run` watches over the one that is spoken to."""

    def __init__(self, servers: Sequence[str], tls: TLSFiles, clock: Clock) -> None:
        """Raises Unavailable for what is no address, or no certificate."""
        self._clock = clock
        self._endpoints = [Endpoint(server, _channel(server, tls)) for server in servers]
        if not self._endpoints:
            raise Unavailable("no etcd server is named")
        self._at = 0
        self.term = 0
        """The raft term that was seen last: a new one is a new leader."""
        self.revision = 0
        """The newest of etcd's revisions that any answer has named."""
        self._late: asyncio.TimerHandle | None = None

    @property
    def current(self) -> Endpoint:
        """The member that is spoken to."""
        return self._endpoints[self._at]

    async def call(self, method: str, request: Any, answer: Any, timeout_seconds: float) -> Any:
        """One attempt at the current member. Raises AioRpcError and GivenUp."""
        return await self._call(self.current, method, request, answer, timeout_seconds)

    def stream(self, method: str, answer: Any) -> tuple[Endpoint, Any]:
        """A two-way stream to the current member, which ends with its being spoken to."""
        endpoint = self.current
        make = endpoint.channel.stream_stream(
            method, request_serializer=_serialized, response_deserializer=answer.FromString
        )
        call = make(metadata=_METADATA)
        endpoint.streams.add(call)
        call.add_done_callback(endpoint.streams.discard)
        return endpoint, call

    def download(self, method: str, request: Any, answer: Any, timeout_seconds: float) -> Any:
        """An answer in pieces."""
        make = self.current.channel.unary_stream(
            method, request_serializer=_serialized, response_deserializer=answer.FromString
        )
        return make(request, timeout=timeout_seconds)

    def leave(self, endpoint: Endpoint) -> None:
        """Speak to the next member if this one is spoken to: it could not be reached."""
        if endpoint is self.current and len(self._endpoints) > 1:
            self._move((self._at + 1) % len(self._endpoints), "it cannot be reached")

    async def run(self) -> NoReturn:
        """Ask the current member regularly whether it can still do its work; move where another can."""
        while True:
            await self._clock.sleep(PROBE_INTERVAL_SECONDS)
            await self._probe()

    async def close(self) -> None:
        """End all."""
        if self._late is not None:
            self._late.cancel()
        for endpoint in self._endpoints:
            endpoint.give_up()
            await endpoint.channel.close()

    async def _probe(self) -> None:
        asked = self.current
        if await self._answers(asked, PROBE_SECONDS):
            return
        # Perhaps no member can answer: then whoever can first, once a leader is found.
        while asked is self.current and len(self._endpoints) > 1:
            found = await self._first_that_answers()
            if found is asked:
                return
            if found is not None and asked is self.current:
                self._move(self._endpoints.index(found), "it does not answer, and another does")
                # What waits for the member that was left would wait in vain.
                asked.give_up()
            await self._clock.sleep(AGAIN_SECONDS)

    async def _first_that_answers(self) -> Endpoint | None:
        """Of all members, asked at once; None when none does in time."""
        asked = [asyncio.ensure_future(self._answers(endpoint, AGAIN_PROBE_SECONDS)) for endpoint in self._endpoints]
        try:
            for answered in asyncio.as_completed(asked):
                if await answered:
                    return next(
                        endpoint
                        for endpoint, one in zip(self._endpoints, asked, strict=True)
                        if one.done() and one.result()
                    )
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return None

    async def _answers(self, endpoint: Endpoint, seconds: float) -> bool:
        """Whether the member can read what a majority agrees on."""
        request = pb.RangeRequest(key=b"\0", limit=1, count_only=True)
        try:
            await self._call(endpoint, "/etcdserverpb.KV/Range", request, pb.RangeResponse, seconds)
        except grpc.aio.AioRpcError as error:
            # A new leader was just found: this member follows it.
            return "leader changed" in (error.details() or "")
        except GivenUp:
            return False
        return True

    def _move(self, to: int, why: str) -> None:
        left, self._at = self.current, to
        log.warning("Speaking to another etcd member", left=left.name, now=self.current.name, why=why)
        for stream in list(left.streams):
            stream.cancel()

    async def _call(self, endpoint: Endpoint, method: str, request: Any, answer: Any, timeout_seconds: float) -> Any:
        make = endpoint.calls.get(method)
        if make is None:
            make = endpoint.calls[method] = endpoint.channel.unary_unary(
                method, request_serializer=_serialized, response_deserializer=answer.FromString
            )
        call = make(request, timeout=timeout_seconds, metadata=_METADATA)
        endpoint.under_way[call] = self.term
        try:
            answered = await call
        except asyncio.CancelledError:
            if is_own_end():
                raise
            raise GivenUp(f"{endpoint.name} was given up") from None
        finally:
            del endpoint.under_way[call]
        header = answered.header
        if header.revision > self.revision:
            self.revision = header.revision
        if header.raft_term > self.term:
            self._see_term(header.raft_term)
        return answered

    def _see_term(self, term: int) -> None:
        is_change, self.term = self.term > 0, term
        if is_change and self._late is None:
            self._late = asyncio.get_running_loop().call_later(LEADER_CHANGE_SECONDS, self._give_up_late)

    def _give_up_late(self) -> None:
        """A write that went to the leader before this one is answered by nobody."""
        self._late = None
        for endpoint in self._endpoints:
            endpoint.give_up(before_term=self.term)


def _serialized(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded


def _channel(server: str, tls: TLSFiles) -> Any:
    scheme, target = _target(server)
    if scheme == "http":
        return grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
    try:
        ca, certificate, key = (
            Path(path).read_bytes() if path else None for path in (tls.ca, tls.certificate, tls.key)
        )
    except OSError as error:
        raise Unavailable(f"the files for TLS to etcd cannot be read: {error}") from error
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.aio.secure_channel(target, credentials, options=_CHANNEL_OPTIONS)


def _target(server: str) -> tuple[str, str]:
    """The scheme, and the address as gRPC writes it."""
    if server.startswith("unix:///"):
        return "http", server
    parts = urlsplit(server if "://" in server else f"http://{server}")
    host = parts.hostname
    with contextlib.suppress(ValueError):
        port = parts.port or _DEFAULT_PORT
        if host and parts.scheme in ("http", "https"):
            return parts.scheme, _grpc_address(host, port)
    raise Unavailable(f"{server} is no address of an etcd server, such as https://10.0.0.1:2379")


def _grpc_address(host: str, port: int) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"dns:///{host}:{port}"
    return f"ipv4:{address}:{port}" if address.version == 4 else f"ipv6:[{address}]:{port}"
