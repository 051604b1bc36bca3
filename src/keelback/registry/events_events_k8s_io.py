"""Events of events.k8s.io/v1: the same objects as the events of core/v1, in newer words."""

from __future__ import annotations

from keelback.api import core_v1
from keelback.api.events_v1 import Event
from keelback.registry import conversions
from keelback.registry.events import TTL_SECONDS
from keelback.registry.events import EventStrategy as CoreEventStrategy
from keelback.registry.strategy import Column, Strategy


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
