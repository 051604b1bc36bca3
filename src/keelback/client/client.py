"""The typed client: all a component knows of the API server.

Every method names a class; the class says its path (`__kind__`) and how much of an object is decoded, so a narrow type
costs only the fields it names. Every failure is a `StatusError`, or an OSError or TimeoutError where no answer came.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import urlencode

import msgspec

from keelback.apimachinery import errors
from keelback.apimachinery.codecs import decode, encode
from keelback.apimachinery.meta import DeleteOptions, ListMeta, Object, ObjectMeta, Preconditions, Status, Value
from keelback.client.patches import ApplyPatch, Patch
from keelback.client.transport import Transport
from keelback.component.http import Request, Response
from keelback.concurrency.clock import Clock, SystemClock

T = TypeVar("T", bound=Object)
S = TypeVar("S", bound=Object)
V = TypeVar("V", bound=Value)

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

# As client-go: a server that says when to come back is asked this often before its answer is passed on.
_MAX_RETRIES: Final = 10
# Beyond the time the server was asked to end the watch by, before the connection counts as dead.
_WATCH_GRACE_SECONDS: Final = 30.0


class ObjectList(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list, or all of it."""

    metadata: ListMeta
    items: list[T]

    @property
    def resource_version(self) -> str:
        """The version of the collection: a watch from here misses nothing."""
        return self.metadata.resource_version

    @property
    def continue_(self) -> str:
        """What to ask for the next page with; empty on the last."""
        return self.metadata.continue_


class WatchEvent(msgspec.Struct, Generic[T], frozen=True):
    """One change. Of a bookmark's object only the metadata means something."""

    type: EventType
    object: T


class _WireList(msgspec.Struct, Generic[T]):
    metadata: ListMeta = ListMeta()
    items: list[T] | None = None


class _WireEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _BookmarkObject(msgspec.Struct):
    metadata: ObjectMeta


class Client:
    """Reads and writes API objects over a transport.

    `user_agent` is also what the server derives a field manager from: start it with the component's upstream name.
    Without one, the transport's own is sent. Informers ask for watches of `watch_seconds` and up to twice that.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        user_agent: str = "",
        timeout_seconds: float = 30.0,
        watch_seconds: float = 300.0,
        clock: Clock | None = None,
    ) -> None:
        self.transport = transport
        self.watch_seconds = watch_seconds
        self._timeout_seconds = timeout_seconds
        self._clock = clock or SystemClock()
        self._reading = {"accept": "application/json", **({"user-agent": user_agent} if user_agent else {})}
        self._writing = {**self._reading, "content-type": "application/json"}

    async def get(self, cls: type[T], name: str, namespace: str = "", *, subresource: str = "") -> T:
        """The object of that name. Raises NotFound."""
        response = await self._send("GET", cls.__kind__.path(namespace, name, subresource))
        return decode(cls, response.content())

    async def list(
        self,
        cls: type[T],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
        resource_version: str = "",
    ) -> ObjectList[T]:
        """The objects of a namespace or, where none is given, of all."""
        query = _query(
            labelSelector=label_selector,
            fieldSelector=field_selector,
            limit=limit or "",
            resourceVersion=resource_version,
            **{"continue": continue_},
        )
        response = await self._send("GET", cls.__kind__.path(namespace), query)
        listed = _list_decoder(cls).decode(response.content())
        return ObjectList(listed.metadata, listed.items or [])

    async def create(self, obj: S, *, dry_run: bool = False) -> S:
        """The object as the server stored it. Raises AlreadyExists, Invalid, Forbidden."""
        path = obj.__kind__.path(obj.metadata.namespace)
        response = await self._send("POST", path, "dryRun=All" if dry_run else "", encode(obj))
        return decode(type(obj), response.content())

    async def update(self, obj: S, subresource: str = "") -> S:
        """The object as stored. Raises Conflict where its resource version is no longer the latest."""
        path = obj.__kind__.path(obj.metadata.namespace, obj.metadata.name, subresource)
        response = await self._send("PUT", path, "", encode(obj))
        return decode(type(obj), response.content())

    async def patch(self, cls: type[T], name: str, namespace: str, patch: Patch, subresource: str = "") -> T:
        """The object after the patch. An ApplyPatch creates what does not exist."""
        query = ""
        if isinstance(patch, ApplyPatch):
            query = _query(fieldManager=patch.field_manager, force="true" if patch.force else "")
        headers = {**self._reading, "content-type": patch.content_type}
        path = cls.__kind__.path(namespace, name, subresource)
        response = await self._send("PATCH", path, query, patch.body(), headers)
        return decode(cls, response.content())

    async def delete(
        self,
        cls: type[Object],
        name: str,
        namespace: str = "",
        *,
        propagation_policy: str | None = None,
        grace_period_seconds: int | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Ask for the object's deletion, which finalizers and grace may delay. Raises NotFound, Conflict."""
        options = _delete_options(propagation_policy, grace_period_seconds, uid, resource_version)
        await self._send("DELETE", cls.__kind__.path(namespace, name), "", options)

    async def delete_collection(
        self,
        cls: type[Object],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        propagation_policy: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> None:
        """Ask for the deletion of all objects that match."""
        query = _query(labelSelector=label_selector, fieldSelector=field_selector)
        options = _delete_options(propagation_policy, grace_period_seconds, None, None)
        await self._send("DELETE", cls.__kind__.path(namespace), query, options)

    async def create_subresource(
        self, cls: type[Object], name: str, namespace: str, subresource: str, obj: Value, result_type: type[V]
    ) -> V:
        """Post `obj` to `binding`, `eviction` or `token` of an object; the answer is decoded as `result_type`."""
        path = cls.__kind__.path(namespace, name, subresource)
        response = await self._send("POST", path, "", encode(obj))
        return decode(result_type, response.content())

    async def watch(
        self,
        cls: type[T],
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float = 300.0,
    ) -> AsyncGenerator[WatchEvent[T], None]:
        """The changes after `resource_version`, until the server ends the watch. Raises Expired where it is too old."""
        batches = self.watch_batches(
            cls,
            namespace,
            resource_version=resource_version,
            label_selector=label_selector,
            field_selector=field_selector,
            timeout_seconds=timeout_seconds,
        )
        async with aclosing(batches):
            async for batch in batches:
                for event in batch:
                    yield event

    async def watch_batches(
        self,
        cls: type[T],
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: float = 300.0,
        initial_events: bool = False,
    ) -> AsyncGenerator[builtins.list[WatchEvent[T]], None]:
        """As `watch`, with the events that arrived together kept together.

        With `initial_events` the state comes first as ADDED events, ended by a bookmark that `is_initial_end` knows.
        """
        query = _query(
            watch="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            allowWatchBookmarks="true",
            timeoutSeconds=int(timeout_seconds),
            sendInitialEvents="true" if initial_events else "",
            resourceVersionMatch="NotOlderThan" if initial_events else "",
        )
        request = Request("GET", cls.__kind__.path(namespace), query, self._reading)
        idle_seconds = timeout_seconds + _WATCH_GRACE_SECONDS
        opened = self.transport.stream(request, timeout_seconds=self._timeout_seconds, idle_seconds=idle_seconds)
        async with opened as response:
            if response.status >= 400:
                raise _failure(response.status, await response.content())
            rest = b""
            async for chunk in response.chunks():
                whole, newline, tail = (rest + chunk if rest else chunk).rpartition(b"\n")
                rest = tail
                if newline:
                    events, error = _decode_events(cls, whole.split(b"\n"))
                    if events:
                        yield events
                    if error is not None:
                        raise error

    async def request(
        self, method: str, path: str, query: str = "", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        """Any request, for what is not an object: discovery, logs, health. Raises StatusError for 400 and above."""
        return await self._send(method, path, query, body, headers)

    async def close(self) -> None:
        """Give up the transport's connections."""
        await self.transport.close()

    async def _send(
        self, method: str, path: str, query: str = "", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        request = Request(method, path, query, headers or (self._writing if body else self._reading), body)
        retries = 0
        while True:
            response = await self.transport.send(request, timeout_seconds=self._timeout_seconds)
            if response.status < 400:
                return response
            retry_after = response.headers.get("retry-after", "")
            if retries == _MAX_RETRIES or not retry_after.isdigit() or not _asks_again(response.status):
                raise _failure(response.status, response.content())
            retries += 1
            await self._clock.sleep(min(int(retry_after), 60))


def is_initial_end(obj: Object) -> bool:
    """Whether a bookmark's object ends the initial events of a streaming list."""
    return obj.metadata.annotations.get("k8s.io/initial-events-end") == "true"


# Making a decoder is costly, using it is not. Classes are few and live as long as the process.
_list_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def _list_decoder(cls: type[T]) -> msgspec.json.Decoder[_WireList[T]]:
    made = _list_decoders.get(cls)
    if made is None:
        made = _list_decoders[cls] = msgspec.json.Decoder(_WireList[cls])  # type: ignore[valid-type]
    return made


_event_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def _event_decoder(cls: type[T]) -> msgspec.json.Decoder[WatchEvent[T]]:
    made = _event_decoders.get(cls)
    if made is None:
        made = _event_decoders[cls] = msgspec.json.Decoder(WatchEvent[cls])  # type: ignore[valid-type]
    return made


_OF_OBJECTS: Final = (b'{"type":"ADDED"', b'{"type":"MODIFIED"', b'{"type":"DELETED"')
"""How events begin, whoever wrote them, that are of an object and of nothing else: they are read in one go."""
_wire_events = msgspec.json.Decoder(_WireEvent)
_bookmarks = msgspec.json.Decoder(_BookmarkObject)
_statuses = msgspec.json.Decoder(Status)


def _decode_events(cls: type[T], lines: list[bytes]) -> tuple[list[WatchEvent[T]], errors.StatusError | None]:
    """The events of some lines and, where one of them says so, why the watch has ended: what came before it counts."""
    events: list[WatchEvent[T]] = []
    decode_event = _event_decoder(cls).decode
    for line in lines:
        if line.startswith(_OF_OBJECTS):
            events.append(decode_event(line))
            continue
        if not line:
            continue
        wire = _wire_events.decode(line)
        match wire.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                events.append(WatchEvent(wire.type, decode(cls, wire.object)))
            case "BOOKMARK":
                events.append(WatchEvent("BOOKMARK", cls(metadata=_bookmarks.decode(wire.object).metadata)))
            case _:
                return events, errors.from_status(_statuses.decode(wire.object))
    return events, None


def _failure(status: int, body: bytes) -> errors.StatusError:
    try:
        answer = _statuses.decode(body)
    except msgspec.DecodeError:
        answer = Status()
    if not answer.code:
        # A proxy or a health check in the way answers text: the code alone says what happened.
        text = body[:500].decode(errors="replace").strip()
        answer = Status(status="Failure", message=text or f"the server answered {status}", code=status)
    return errors.from_status(answer)


def _asks_again(status: int) -> bool:
    return status == 429 or status >= 500


def _query(**parameters: str | int) -> str:
    given = {name: value for name, value in parameters.items() if value != ""}
    return urlencode(given) if given else ""


def _delete_options(policy: str | None, grace: int | None, uid: str | None, resource_version: str | None) -> bytes:
    if policy is None and grace is None and uid is None and resource_version is None:
        return b""
    conditions = None
    if uid is not None or resource_version is not None:
        conditions = Preconditions(uid=uid, resource_version=resource_version)
    return encode(DeleteOptions(grace_period_seconds=grace, preconditions=conditions, propagation_policy=policy))
