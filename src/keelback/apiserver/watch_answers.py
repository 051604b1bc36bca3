"""The answers to watches: a stream of events that lasts until the client goes, its time is up, or it falls behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from keelback.apimachinery import codecs, errors, protobuf_encoding
from keelback.apiserver import negotiation, options, tables, websocket_watch
from keelback.apiserver.context import RequestContext
from keelback.apiserver.watch_cache import WatchCache
from keelback.apiserver.watch_stream import Watcher
from keelback.apiserver.watch_wire import WatchRecord
from keelback.component.http import AnyResponse, StreamingResponse, Writer
from keelback.concurrency.clock import Clock
from keelback.registry.strategy import Strategy

LAST_BOOKMARK_SECONDS = 2.0
"""How long before its end a watch gets its last bookmark, where it wants any."""
_STREAM_HEADERS = {
    "content-type": "application/json",
    "cache-control": "no-cache, private",
    "transfer-encoding": "chunked",
}


_WriteEvent: TypeAlias = Callable[[WatchRecord], bytes]


class WatchAnswers:
    """Those of one resource."""

    def __init__(self, strategy: Strategy[Any], cache: WatchCache, clock: Clock) -> None:
        self._strategy = strategy
        self._cache = cache
        self._clock = clock

    async def answer(self, context: RequestContext, accepted: negotiation.Accepted) -> AnyResponse:
        """The answer to a request for a watch. Raises what the cache raises, but for versions that are too old: that is
        an event of a watch that begins well."""
        if accepted.media_type == negotiation.YAML:
            raise errors.NotAcceptable(
                "only the following media types are accepted: application/json;stream=watch, "
                "application/vnd.kubernetes.protobuf;stream=watch"
            )
        wanted = options.watch_options(context, self._strategy)
        seconds = options.watch_seconds(context)
        timeout = context.watch_seconds() if seconds is None else seconds
        try:
            watcher = await self._cache.watch(wanted)
        except errors.Expired as expired:
            return self._expired_watch(expired, accepted)
        return self._streamed(watcher, context, accepted, timeout)

    def _expired_watch(self, expired: errors.Expired, accepted: negotiation.Accepted) -> StreamingResponse:
        event = _event("ERROR", codecs.encode(expired.status), accepted)

        async def serve(writer: Writer) -> None:
            writer.write(event)
            await writer.drain()

        return StreamingResponse(200, _stream_headers(accepted), serve)

    def _streamed(
        self, watcher: Watcher, context: RequestContext, accepted: negotiation.Accepted, timeout: float
    ) -> AnyResponse:
        write = self._event_writer(context, accepted)

        async def serve(writer: Writer) -> None:
            await _pump(watcher, writer, self._ending(watcher, timeout), write, context.initialized)

        if context.request.headers.get("upgrade", "").lower() == "websocket":
            return websocket_watch.respond(
                context.request, serve, is_protobuf=accepted.media_type == negotiation.PROTOBUF
            )
        return StreamingResponse(200, _stream_headers(accepted), serve)

    async def _ending(self, watcher: Watcher, timeout: float) -> None:
        """End the watch in time, after a last bookmark."""
        left = timeout
        if watcher.wants_bookmarks and timeout > LAST_BOOKMARK_SECONDS:
            left = LAST_BOOKMARK_SECONDS
            await self._clock.sleep(timeout - left)
            self._cache.send_bookmark(watcher)
        await self._clock.sleep(left)
        watcher.close("timeout")

    def _event_writer(self, context: RequestContext, accepted: negotiation.Accepted) -> _WriteEvent | None:
        if accepted.transform:
            include_object = context.query.get("includeObject", "Metadata")
            return _Transform(self._strategy, accepted, include_object, self._clock).event
        return attrgetter("frame") if accepted.media_type == negotiation.PROTOBUF else None


class _Transform:
    """Turns a watch's events into Tables or metadata; only the first Table has the column definitions."""

    def __init__(
        self, strategy: Strategy[Any], accepted: negotiation.Accepted, include_object: str, clock: Clock
    ) -> None:
        self._strategy = strategy
        self._accepted = accepted
        self._include_object = include_object
        self._clock = clock
        self._is_first = True

    def event(self, record: WatchRecord) -> bytes:
        return _event(record.type, self._object(record), self._accepted)

    def _object(self, record: WatchRecord) -> bytes:
        version = self._accepted.transform_version
        if self._accepted.transform != "Table":
            return tables.partial_metadata(record.object, version)
        first, self._is_first = self._is_first, False
        if record.type == "BOOKMARK":
            meta = msgspec.json.decode(record.object)["metadata"]
            return tables.table(
                self._strategy, [], self._clock.now(), version=version, list_meta=meta, with_definitions=first
            )
        return tables.table(
            self._strategy,
            [record.object],
            self._clock.now(),
            version=version,
            include_object=self._include_object,
            list_meta={"resourceVersion": str(record.revision)},
            with_definitions=first,
        )


def _event(type_: str, wire: bytes, accepted: negotiation.Accepted) -> bytes:
    """An object as one event of a watch."""
    if accepted.media_type == negotiation.PROTOBUF:
        return protobuf_encoding.watch_frame(type_, protobuf_encoding.from_json(wire))
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), wire)


def _stream_headers(accepted: negotiation.Accepted) -> dict[str, str]:
    if accepted.media_type != negotiation.PROTOBUF:
        return _STREAM_HEADERS
    return {**_STREAM_HEADERS, "content-type": f"{negotiation.PROTOBUF};stream=watch"}


async def _pump(
    watcher: Watcher,
    writer: Writer,
    ending: Coroutine[Any, Any, None],
    write: _WriteEvent | None,
    initialized: Callable[[], None],
) -> None:
    """Write a watch's events until it ends, the client goes, or its time is up. Without `write` they go in JSON.

    Once there is nothing left of how things were when it began, it is `initialized`.
    """

    async def end_with_client() -> None:
        await writer.wait_closed()
        watcher.close("closed")

    async with asyncio.TaskGroup() as group:
        enders = [group.create_task(ending), group.create_task(end_with_client())]
        try:
            is_initialized = False
            while True:
                if not is_initialized and watcher.is_initialized:
                    is_initialized = True
                    initialized()
                if write is None:
                    chunk = await watcher.next_bytes()
                else:
                    chunk = b"".join([write(one) for one in await watcher.next_records()])
                if not chunk or writer.closed:
                    break
                writer.write(chunk)
                await writer.drain()
        finally:
            watcher.close()
            for one in enders:
                one.cancel()
