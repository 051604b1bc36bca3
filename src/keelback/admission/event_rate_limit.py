"""EventRateLimit: no source of events drowns the others. Off by default, since it needs limits to be given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation
from keelback.api.core_v1 import Event
from keelback.apimachinery import errors
from keelback.concurrency.clock import Clock


@dataclass(frozen=True, slots=True)
class Limit:
    """So many events a second, and so many at once, for each of what `type` tells apart.

    The types are Server, Namespace, User and SourceAndObject.
    """

    type: str
    qps: float
    burst: int
    cache_size: int = 4096


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class EventRateLimit(AdmissionPlugin):
    """A token bucket for each limit and each of its keys; the least recently used key is forgotten first."""

    name = "EventRateLimit"
    resources = frozenset({"events", "events.k8s.io/events"})
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(self, limits: Sequence[Limit], clock: Clock) -> None:
        self._limits = tuple(limits)
        self._clock = clock
        self._buckets: tuple[OrderedDict[str, _Bucket], ...] = tuple(OrderedDict() for _ in self._limits)

    async def validate(self, request: AdmissionRequest) -> None:
        if request.dry_run:
            return
        now = self._clock.monotonic()
        # Every limit is charged, even when one refuses: a noisy source is noisy towards all of them.
        allowed = [
            _take(limit, buckets, _key(limit, request), now)
            for limit, buckets in zip(self._limits, self._buckets, strict=True)
        ]
        for limit, is_allowed in zip(self._limits, allowed, strict=True):
            if not is_allowed:
                raise errors.TooManyRequests(f"limit reached on type {limit.type} for key {_key(limit, request)}")


def _take(limit: Limit, buckets: OrderedDict[str, _Bucket], key: str, now: float) -> bool:
    bucket = buckets.get(key)
    if bucket is None:
        bucket = buckets[key] = _Bucket(float(limit.burst), now)
        if len(buckets) > limit.cache_size:
            buckets.popitem(last=False)
    buckets.move_to_end(key)
    bucket.tokens = min(float(limit.burst), bucket.tokens + (now - bucket.filled_at) * limit.qps)
    bucket.filled_at = now
    if bucket.tokens < 1:
        return False
    bucket.tokens -= 1
    return True


def _key(limit: Limit, request: AdmissionRequest) -> str:
    match limit.type:
        case "Namespace":
            return request.namespace
        case "User":
            return request.user.name
        case "SourceAndObject" if isinstance(request.obj, Event):
            event, involved = request.obj, request.obj.involved_object
            return "".join(
                (
                    event.source.component,
                    event.source.host,
                    involved.kind,
                    involved.namespace,
                    involved.name,
                    involved.uid,
                    involved.api_version,
                )
            )
        case _:
            return ""
