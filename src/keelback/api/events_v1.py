"""The types of events/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.api.core_v1 import EventSource, ObjectReference
from keelback.apimachinery.meta import Atomic, MicroTime, Object, Time, Value, kind, written


@kind("events.k8s.io/v1", "events", short_names=("ev",))
class Event(Object):
    action: str = ""
    deprecated_count: int = 0
    deprecated_first_timestamp: Time | None = written(None)
    deprecated_last_timestamp: Time | None = written(None)
    deprecated_source: EventSource = written(EventSource())
    event_time: MicroTime | None = written(None)
    note: str = ""
    reason: str = ""
    regarding: Annotated[ObjectReference, Atomic()] = written(ObjectReference())
    related: Annotated[ObjectReference | None, Atomic()] = None
    reporting_controller: str = ""
    reporting_instance: str = ""
    series: EventSeries | None = None
    type: str = ""


class EventSeries(Value):
    count: int = written(0)
    last_observed_time: MicroTime | None = written(None)
