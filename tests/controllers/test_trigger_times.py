"""The time on endpoints: that of the earliest change they answer to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keelback.api.core_v1 import PodCondition, Service
from keelback.apimachinery.meta import ObjectMeta
from keelback.controllers import trigger_times
from keelback.controllers.observed import HeldMeta, PodStatusView, PodView
from keelback.controllers.trigger_times import TriggerTimes

START = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE = Service(metadata=ObjectMeta(name="web", namespace="default", creation_timestamp=START))


def became_ready(name: str, seconds: int) -> PodView:
    condition = PodCondition(type="Ready", status="True", last_transition_time=START + timedelta(seconds=seconds))
    return PodView(metadata=HeldMeta(name=name), status=PodStatusView(conditions=(condition,)))


def test_a_new_service_is_its_own_cause_and_pods_are_later() -> None:
    times = TriggerTimes()
    assert times.observe(SERVICE, [became_ready("a", 5)]) == START
    assert times.observe(SERVICE, [became_ready("a", 5)]) is None
    assert times.observe(SERVICE, [became_ready("a", 9), became_ready("b", 7)]) == START + timedelta(seconds=7)
    times.forget("default", "web")
    assert times.observe(SERVICE, []) == START


def test_the_annotation_goes_with_the_time() -> None:
    marked = trigger_times.annotated({"mine": "1"}, START)
    assert marked == {"mine": "1", "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"}
    assert trigger_times.annotated(marked, None) == {"mine": "1"}
