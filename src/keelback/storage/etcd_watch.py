"""A watch of etcd that outlives its stream: it goes on at the next revision, with no event lost and none told twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import grpc.aio

from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.storage._proto import etcd_pb2 as pb
from keelback.storage.etcd_endpoints import Endpoint, Endpoints, is_own_end, is_unreachable
from keelback.storage.etcd_keys import WHOLE_KEY_SPACE, KeySpace
from keelback.storage.protocol import Compacted, Event, KeyValue, Unavailable, WatchBatch

RETRY_SECONDS = 0.1
OPEN_SECONDS = 2.0
_WATCH = "/etcdserverpb.Watch/Watch"

log = logger("etcd")


class EtcdWatch:
    """See `protocol.Watch`. Reads its stream when it is asked for more: a slow reader is gRPC's flow control to bear.

    With an empty prefix it listens to all of etcd and skips what is others'. So its revision keeps up with etcd's
    whoever writes, which is how a reader knows that it has heard all: etcd 3.4 cannot be asked for its progress.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        keys: KeySpace,
        clock: Clock,
        prefix: str,
        from_revision: int,
        *,
        with_previous: bool,
        forget: Callable[[EtcdWatch], None],
    ) -> None:
        """`from_revision` is etcd's own."""
        self._endpoints = endpoints
        self._keys = keys
        self._clock = clock
        self._next = from_revision
        self.is_whole = not prefix
        """Whether it listens to all of etcd."""
        self.is_waiting = False
        """Whether somebody waits for the next event."""
        first, end = WHOLE_KEY_SPACE if self.is_whole else keys.range(prefix)
        # From one revision earlier: etcd would accept the one it was compacted at, whose deletions it has forgotten.
        self._request = pb.WatchCreateRequest(key=first, range_end=end, prev_kv=with_previous, fragment=True)
        self._with_previous = with_previous
        self._forget = forget
        self._call: Any = None
        self._member: Endpoint | None = None
        self._opening: asyncio.Future[None] | None = None
        self._ended: Exception | None = None
        self._is_broken = False
        """Whether it was said that the stream is lost, and no other has answered since."""

    @property
    def heard(self) -> int:
        """The revision, of etcd's own, up to which everything was heard."""
        return self._next - 1

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        while True:
            if self._ended is not None:
                raise self._ended
            try:
                events = await self._read()
                batch = self._batch(events)
            except Compacted as error:
                self._end(error)
                raise
            if batch is not None:
                return batch

    def close(self) -> None:
        self._end(StopAsyncIteration())

    def fail(self, why: str) -> None:
        """End with Unavailable: the store is closed."""
        self._end(Unavailable(why))

    def reconnect(self) -> None:
        """Drop the stream, which is no longer believed in, and go on with another."""
        if self._opening is not None and not self._opening.done():
            self._opening.set_result(None)
        if self._call is not None:
            self._call.cancel()

    def _end(self, reason: Exception) -> None:
        if self._ended is None:
            self._ended = reason
            self._forget(self)
            self.reconnect()

    async def _read(self) -> list[Any]:
        """The events of the next answer, which is whole however large; none where there was only word from etcd."""
        events: list[Any] = []
        while True:
            if self._call is None:
                events = []
                if not await self._open():
                    return []
            self.is_waiting = True
            try:
                answer = await self._call.read()
            except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
                await self._lost(error)
                return []
            finally:
                self.is_waiting = False
            if answer is grpc.aio.EOF:
                await self._lost(None)
                return []
            if answer.compact_revision:
                offset = self._keys.offset
                raise Compacted(self._next + offset, answer.compact_revision + offset)
            if answer.canceled:
                log.warning("etcd ended a watch", reason=answer.cancel_reason)
                await self._lost(None)
                return []
            events += answer.events
            self._is_broken = False
            if not answer.fragment:
                return events

    async def _open(self) -> bool:
        request = pb.WatchCreateRequest()
        request.CopyFrom(self._request)
        request.start_revision = max(self._next - 1, 1)
        self._member, self._call = self._endpoints.stream(_WATCH, pb.WatchResponse)
        writing = asyncio.ensure_future(self._call.write(pb.WatchRequest(create_request=request)))
        self._opening = asyncio.get_running_loop().create_future()
        try:
            # gRPC does not wake a writer when a call is cancelled that has not begun.
            await asyncio.wait((writing, self._opening), timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                await self._lost(None)
                return False
            writing.result()
        except (grpc.aio.AioRpcError, asyncio.CancelledError, asyncio.InvalidStateError) as error:
            await self._lost(error)
            return False
        finally:
            writing.cancel()
            self._opening = None
        return True

    async def _lost(self, error: BaseException | None) -> None:
        """The stream is gone: wait a moment before the next, elsewhere if that member is away."""
        call, self._call = self._call, None
        call.cancel()
        if isinstance(error, asyncio.CancelledError):
            if is_own_end():
                raise error
            if self._ended is None:
                return
        if self._ended is None:
            if isinstance(error, grpc.aio.AioRpcError):
                if not self._is_broken:
                    log.warning("The watch of etcd goes on with another stream", error=error.details())
                self._is_broken = True
                if self._member is not None and is_unreachable(error):
                    self._endpoints.leave(self._member)
            await self._clock.sleep(RETRY_SECONDS)

    def _batch(self, events: list[Any]) -> WatchBatch | None:
        """What is new in an answer; None for nothing."""
        told = [event for event in events if event.kv.mod_revision >= self._next]
        if not told:
            return None
        self._next = told[-1].kv.mod_revision + 1
        made = [made for made in map(self._event, told) if made is not None]
        # Somebody else's keys are no news but that time has passed.
        return WatchBatch(made, self._next - 1 + self._keys.offset) if made or self.is_whole else None

    def _event(self, event: Any) -> Event | None:
        name = self._keys.name(event.kv.key)
        if name is None:
            return None
        is_deletion = event.type == pb.Event.DELETE
        previous = None
        if event.HasField("prev_kv"):
            previous = key_value(event.prev_kv, name, self._keys.offset)
        elif self._with_previous and (is_deletion or event.kv.create_revision != event.kv.mod_revision):
            # A compaction came between the change and its being told.
            revision = event.kv.mod_revision + self._keys.offset
            raise Compacted(revision, revision)
        return Event("delete" if is_deletion else "put", key_value(event.kv, name, self._keys.offset), previous)


def key_value(kv: Any, name: str, offset: int) -> KeyValue:
    """What etcd says of a key, in the numbers of this store."""
    created = kv.create_revision + offset if kv.create_revision else 0
    return KeyValue(name, kv.value, created, kv.mod_revision + offset)
