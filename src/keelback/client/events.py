"""Events about objects, correlated before they are written as client-go does it.

What repeats becomes a count, what is similar becomes one combined event, and an object that causes events without end
is cut short. An event is a hint for people: one that cannot be written is logged and dropped.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeAlias, TypeVar

from keelback.api.core_v1 import Event, EventSource, ObjectReference
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.client.client import Client
from keelback.client.patches import StrategicMergePatch
from keelback.component import logs
from keelback.concurrency.clock import Clock
from keelback.concurrency.deadlines import Deadlines

# Upstream's defaults.
_SIMILAR_MESSAGES: Final = 10
_SIMILAR_SECONDS: Final = 600.0
_BURST: Final = 25
_REFILL_SECONDS: Final = 300.0
_REMEMBERED: Final = 4096
_WRITE_SECONDS: Final = 5.0
_COMBINED: Final = "(combined from similar events): "
_MAX_MESSAGE: Final = 1024

Key: TypeAlias = tuple[str, ...]
K = TypeVar("K")
V = TypeVar("V")

_log = logs.logger("events")


class _Remembered(OrderedDict[K, V], Generic[K, V]):
    """A map that forgets what was used longest ago."""

    def recall(self, key: K) -> V | None:
        found = self.get(key)
        if found is not None:
            self.move_to_end(key)
        return found

    def remember(self, key: K, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > _REMEMBERED:
            self.popitem(last=False)


@dataclass(slots=True)
class _Similar:
    messages: dict[str, None] = field(default_factory=dict)
    seen: float = 0.0


@dataclass(slots=True)
class _Bucket:
    tokens: float = _BURST
    filled: float = 0.0


@dataclass(slots=True)
class _Written:
    name: str  # empty until it has been written
    namespace: str
    first: datetime
    count: int
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether the server has answered to its creation, one way or the other: before, it cannot be counted up."""
    told: int = 0
    """The last count that it was changed to."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What the correlation made of one event: the message to write and what to count it under.

    Where `is_quiet`, the object has caused too many events: this one is counted, and told of with a later one.
    """

    key: Key
    message: str
    is_quiet: bool = False


class EventCorrelator:
    """Decides as what an event is written, and whether now. Pure but for what it remembers."""

    def __init__(self) -> None:
        self._similar: _Remembered[Key, _Similar] = _Remembered()
        self._buckets: _Remembered[Key, _Bucket] = _Remembered()

    def correlate(
        self, reference: ObjectReference, event_type: str, reason: str, message: str, now: float
    ) -> Occurrence:
        """What to write; `now` in monotonic seconds."""
        about = (reference.kind, reference.namespace, reference.name, reference.uid, reference.api_version)
        is_quiet = not self._allow(about, now)
        group = (*about, event_type, reason)
        similar = self._similar.recall(group)
        if similar is None or now - similar.seen > _SIMILAR_SECONDS:
            similar = _Similar()
            self._similar.remember(group, similar)
        similar.seen = now
        similar.messages[message] = None
        if len(similar.messages) < _SIMILAR_MESSAGES:
            return Occurrence((*group, reference.field_path, message), message, is_quiet)
        similar.messages.pop(next(iter(similar.messages)))
        return Occurrence(group, f"{_COMBINED}{message}", is_quiet)

    def _allow(self, about: Key, now: float) -> bool:
        bucket = self._buckets.recall(about)
        if bucket is None:
            bucket = _Bucket(filled=now)
            self._buckets.remember(about, bucket)
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.filled) / _REFILL_SECONDS)
        bucket.filled = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


class EventRecorder:
    """Writes core/v1 Events in the name of one component on one host."""

    def __init__(self, client: Client, component: str, host: str, clock: Clock) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock
        self._correlator = EventCorrelator()
        self._deadlines = Deadlines()
        self._written: _Remembered[Key, _Written] = _Remembered()

    async def event(
        self,
        obj: Object | ObjectReference,
        event_type: str,
        reason: str,
        message: str,
        *,
        field_path: str = "",
    ) -> None:
        """Write that something happened to `obj`; `event_type` is Normal or Warning, `field_path` a part of it."""
        reference = obj if isinstance(obj, ObjectReference) else reference_to(obj, field_path)
        monotonic = self._clock.monotonic()
        occurrence = self._correlator.correlate(reference, event_type, reason, message[:_MAX_MESSAGE], monotonic)
        if occurrence.is_quiet:
            self._count_quietly(occurrence, reference)
            return
        try:
            with self._deadlines.within(_WRITE_SECONDS):
                await self._write(reference, event_type, reason, occurrence)
        except (errors.StatusError, OSError, TimeoutError) as error:
            _log.debug("Failed to write an event", reason=reason, object=reference.name, error=error)

    async def _write(self, reference: ObjectReference, event_type: str, reason: str, occurrence: Occurrence) -> None:
        now = self._clock.now()
        written = self._written.recall(occurrence.key)
        if written is not None and written.name:
            try:
                await self._count(written, occurrence, now)
                return
            except errors.NotFound:
                pass  # it has expired: written anew, its count goes on
        elif written is not None:
            written.count += 1
        count = written.count if written is not None else 1
        first = written.first if written is not None else now
        event = self._made(reference, event_type, reason, occurrence.message, first, now, count)
        kept = _Written(event.metadata.name, event.metadata.namespace, first, count)
        self._written.remember(occurrence.key, kept)
        try:
            await self._client.create(event)
        finally:
            kept.answered.set()

    def _count_quietly(self, occurrence: Occurrence, reference: ObjectReference) -> None:
        written = self._written.recall(occurrence.key)
        if written is None:
            written = _Written("", reference.namespace, self._clock.now(), 0)
            self._written.remember(occurrence.key, written)
        written.count += 1

    async def _count(self, written: _Written, occurrence: Occurrence, now: datetime) -> None:
        written.count += 1
        if not written.answered.is_set():
            await written.answered.wait()
            if written.told == written.count:
                return  # another that has waited for the answer has told of this one too
        written.told = written.count
        tree = {"count": written.count, "lastTimestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}", "message": occurrence.message}
        await self._client.patch(Event, written.name, written.namespace, StrategicMergePatch(tree))

    def _made(
        self,
        reference: ObjectReference,
        event_type: str,
        reason: str,
        message: str,
        first: datetime,
        now: datetime,
        count: int,
    ) -> Event:
        nanoseconds = int(now.timestamp() * 1_000_000) * 1000
        # Two events of one object in one microsecond would collide: the key makes the name its own.
        suffix = nanoseconds + zlib.crc32(f"{reason}\0{message}".encode()) % 1000
        return Event(
            metadata=ObjectMeta(name=f"{reference.name}.{suffix:x}", namespace=reference.namespace or "default"),
            involved_object=reference,
            reason=reason,
            message=message,
            source=EventSource(component=self._component, host=self._host),
            first_timestamp=first.replace(microsecond=0),
            last_timestamp=now.replace(microsecond=0),
            count=count,
            type=event_type,
            reporting_component=self._component,
            reporting_instance=self._host,
        )


def reference_to(obj: Object, field_path: str = "") -> ObjectReference:
    """A reference that says which state of which object is meant."""
    return ObjectReference(
        kind=obj.kind,
        api_version=obj.api_version,
        namespace=obj.metadata.namespace,
        name=obj.metadata.name,
        uid=obj.metadata.uid,
        resource_version=obj.metadata.resource_version,
        field_path=field_path,
    )
