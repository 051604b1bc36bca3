"""Events of events.k8s.io/v1: the same objects as the events of core/v1, in newer words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api import core_v1
from keelback.api.events_v1 import Event
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry import conversions
from keelback.registry.events import TTL_SECONDS, of_every_version
from keelback.registry.events import EventStrategy as CoreEventStrategy
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import Column, Strategy

_LEAST_SERIES: Final = 2


def _through_core(column: Column) -> Column:
    return Column(
        column.name,
        lambda event, now: column.value(conversions.event_to_core(event), now),
        column.type,
        column.priority,
        column.description,
        column.format,
    )


class EventStrategy(Strategy[Event]):
    kind = Event
    storage_kind = core_v1.Event
    counts_generations = False
    ttl_seconds = TTL_SECONDS
    leads_with_name = False
    columns = tuple(_through_core(column) for column in CoreEventStrategy.columns)

    def from_storage(self, data: bytes) -> bytes:
        return conversions.event_from_storage(data)

    def to_storage(self, data: bytes) -> bytes:
        return conversions.event_to_storage(data)

    def validate(self, new: Event) -> Iterator[FieldError]:
        yield from of_every_version(conversions.event_to_core(new), "reportingController")
        yield from _series(new)
        if not new.event_time:
            yield required("eventTime")
        if new.type not in ("Normal", "Warning"):
            yield invalid("type", "", f"has invalid value: {new.type}")
        for path, is_set in (
            ("firstTimestamp", new.deprecated_first_timestamp is not None),
            ("lastTimestamp", new.deprecated_last_timestamp is not None),
            ("count", new.deprecated_count != 0),
            ("source", bool(new.deprecated_source.component or new.deprecated_source.host)),
        ):
            if is_set:
                yield invalid(path, "", "needs to be unset")

    def validate_update(self, new: Event, old: Event) -> Iterator[FieldError]:
        yield from of_every_version(conversions.event_to_core(new), "reportingController")
        if new.series != old.series:
            yield from _series(new)
        for path, value, before in (
            ("involvedObject", new.regarding, old.regarding),
            ("reason", new.reason, old.reason),
            ("message", new.note, old.note),
            ("source", new.deprecated_source, old.deprecated_source),
            ("firstTimestamp", new.deprecated_first_timestamp, old.deprecated_first_timestamp),
            ("lastTimestamp", new.deprecated_last_timestamp, old.deprecated_last_timestamp),
            ("count", new.deprecated_count, old.deprecated_count),
            # Upstream looks at the reason twice.
            ("reason", new.reason, old.reason),
            ("type", new.type, old.type),
            ("eventTime", new.event_time, old.event_time),
            ("action", new.action, old.action),
            ("related", new.related, old.related),
            ("reportingController", new.reporting_controller, old.reporting_controller),
            ("reportingInstance", new.reporting_instance, old.reporting_instance),
        ):
            if value != before:
                yield invalid(path, internal(value), "field is immutable")


def _series(new: Event) -> Iterator[FieldError]:
    if new.series is None:
        return
    if new.series.count < _LEAST_SERIES:
        yield invalid("series.count", "", f"should be at least {_LEAST_SERIES}")
    if not new.series.last_observed_time:
        yield required("series.lastObservedTime")
