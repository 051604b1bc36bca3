"""Events of events.k8s.io: what a change may change."""

from __future__ import annotations

from keelback.api.core_v1 import ObjectReference
from keelback.api.events_v1 import Event, EventSeries
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.registry.events_events_k8s_io import EventStrategy

STRATEGY = EventStrategy()
TIME = "2026-01-01T00:00:00.000000Z"
EVENT = Event(
    metadata=ObjectMeta(name="e", namespace="default"),
    regarding=ObjectReference(namespace="default", kind="Pod", name="p"),
    event_time=TIME,
    reporting_controller="example.com/c",
    reporting_instance="c-1",
    action="Starting",
    reason="Started",
    type="Normal",
)


def changes(new: Event, old: Event = EVENT) -> list[str]:
    return [f"{one.field}: {one.body}" for one in STRATEGY.validate_update(new, old)]


def test_an_event_says_the_same_for_ever_but_for_its_series() -> None:
    assert list(STRATEGY.validate(EVENT)) == []
    assert changes(replace(EVENT, series=EventSeries(count=2, last_observed_time=TIME))) == []
    assert changes(replace(EVENT, reason="Stopped", type="Warning")) == [
        'reason: Invalid value: "Stopped": field is immutable',
        'reason: Invalid value: "Stopped": field is immutable',
        'type: Invalid value: "Warning": field is immutable',
    ]


def test_a_series_has_at_least_two_events() -> None:
    assert changes(replace(EVENT, series=EventSeries(count=1))) == [
        'series.count: Invalid value: "": should be at least 2',
        "series.lastObservedTime: Required value",
    ]
    assert changes(replace(EVENT, series=EventSeries(count=1)), replace(EVENT, series=EventSeries(count=1))) == []
