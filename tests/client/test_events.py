"""Events are counted, combined and bounded."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from keelback.api.core_v1 import ObjectReference, Pod
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Client, EventRecorder, InProcessTransport
from keelback.client.events import EventCorrelator
from keelback.component.http import Request, Response

POD = Pod(metadata=ObjectMeta(name="web", namespace="shop", uid="u1", resource_version="7"))
REFERENCE = ObjectReference(kind="Pod", namespace="shop", name="web", uid="u1", api_version="v1")


class SteppingClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Events:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}

    async def handle(self, request: Request) -> Response:
        tree = msgspec.json.decode(request.body)
        if request.method == "POST":
            assert request.path == "/api/v1/namespaces/shop/events"
            self.held[tree["metadata"]["name"]] = tree
            return Response(201, {}, request.body)
        name = request.path.rpartition("/")[2]
        if name not in self.held:
            status = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
            return Response(404, {}, msgspec.json.encode(status))
        self.held[name].update(tree)
        return Response(200, {}, msgspec.json.encode(self.held[name]))

    def said(self) -> list[tuple[str, int]]:
        return [(event["message"], event["count"]) for event in self.held.values()]


def record(events: Events, clock: SteppingClock, messages: list[str]) -> None:
    async def scenario() -> None:
        recorder = EventRecorder(Client(InProcessTransport(events.handle)), "kubelet", "node-1", clock)
        for message in messages:
            if message == "forget":
                events.held.clear()
            else:
                await recorder.event(POD, "Warning", "BackOff", message)
            clock.seconds += 1

    asyncio.run(scenario())


def test_what_repeats_is_counted() -> None:
    events = Events()
    record(events, SteppingClock(), ["again"] * 5 + ["other"])
    assert events.said() == [("again", 5), ("other", 1)]
    event = next(iter(events.held.values()))
    assert event["involvedObject"]["uid"] == "u1"
    assert event["source"] == {"component": "kubelet", "host": "node-1"}
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:04Z")


def test_what_is_similar_is_combined() -> None:
    events = Events()
    record(events, SteppingClock(), [f"attempt {number}" for number in range(15)])
    said = events.said()
    assert len(said) == 10
    assert said[-1] == ("(combined from similar events): attempt 14", 6)


def test_of_what_happens_at_once_the_first_is_written_before_the_others_are_counted() -> None:
    events, asked = Events(), []

    async def handle_late(request: Request) -> Response:
        if request.method == "POST":
            await asyncio.sleep(0)
        response = await events.handle(request)
        asked.append((request.method, response.status))
        return response

    async def scenario() -> None:
        recorder = EventRecorder(Client(InProcessTransport(handle_late)), "kubelet", "node-1", SteppingClock())
        await asyncio.gather(*(recorder.event(POD, "Normal", "Made", f"pod {number}") for number in range(20)))

    asyncio.run(scenario())
    assert sorted(count for _, count in events.said()) == [1] * 9 + [11]
    assert asked == [("POST", 201)] * 10 + [("PATCH", 200)]


def test_an_event_that_expired_is_written_anew_with_its_count() -> None:
    events = Events()
    record(events, SteppingClock(), ["again", "again", "forget", "again"])
    assert events.said() == [("again", 3)]


def test_an_object_that_never_stops_is_cut_short() -> None:
    correlator = EventCorrelator()
    passed = [correlator.correlate(REFERENCE, "Normal", f"R{number}", "m", 0.0) for number in range(100)]
    assert sum(not occurrence.is_quiet for occurrence in passed) == 25
    assert not correlator.correlate(REFERENCE, "Normal", "later", "m", 301.0).is_quiet
    assert correlator.correlate(REFERENCE, "Normal", "later", "m", 302.0).is_quiet


def test_what_was_not_written_for_its_number_is_counted_all_the_same() -> None:
    events = Events()
    record(events, SteppingClock(), ["again"] * 300)
    # 25 at once and one each five minutes; the last is written at the 300th second or not at all.
    assert events.said() == [("again", 25)]
    events = Events()
    record(events, SteppingClock(), ["again"] * 302)
    assert events.said() == [("again", 301)]


def test_an_event_that_was_too_many_at_first_is_written_when_there_is_room() -> None:
    events = Events()
    others = [f"{number}" for number in range(9)] + ["more"] * 16
    record(events, SteppingClock(), [*others, *["again"] * 280])
    assert max(count for _, count in events.said()) > 16


def test_a_server_that_refuses_does_not_disturb() -> None:
    async def refuse(request: Request) -> Response:
        return Response(500, {}, b"broken")

    async def scenario() -> None:
        recorder = EventRecorder(Client(InProcessTransport(refuse)), "kubelet", "node-1", SteppingClock())
        await recorder.event(POD, "Normal", "Started", "fine")

    asyncio.run(scenario())
