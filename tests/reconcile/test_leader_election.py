from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import msgspec
import pytest

from keelback.client import Client, InProcessTransport
from keelback.component.http import Request, Response
from keelback.concurrency.clock import Clock
from keelback.reconcile.leader_election import LeaderElector, LostLeadership
from keelback.testing.clock import HandClock
from keelback.testing.virtual_time import LoopClock, LoopThread


class OneLease:
    """A server that keeps one Lease, by compare and swap, and can be cut off."""

    def __init__(self) -> None:
        self.lease: dict[str, dict[str, object]] | None = None
        self.version = 0
        self.cut_off: set[str] = set()
        self.latency: Callable[[], float] = lambda: 0.0
        """How long a request takes to get there, and its answer back."""

    def client(self, name: str) -> Client:
        async def handle(request: Request) -> Response:
            if name in self.cut_off:
                raise OSError("cut off")
            await asyncio.sleep(self.latency())
            answer = self._answer(request)
            await asyncio.sleep(self.latency())
            return answer

        return Client(InProcessTransport(handle))

    def _answer(self, request: Request) -> Response:
        if request.method == "GET":
            return _response(self.lease, 200) if self.lease else _response({"reason": "NotFound", "code": 404}, 404)
        body = msgspec.json.decode(request.body)
        stale = self.lease is not None and body["metadata"].get("resourceVersion") != str(self.version)
        if stale:
            return _response({"reason": "Conflict", "code": 409}, 409)
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.lease = body
        return _response(body, 200)


def _response(body: object, status: int) -> Response:
    return Response(status, {}, msgspec.json.encode(body))


class Candidate:
    def __init__(self, name: str, server: OneLease, clock: Clock, leaders: set[str]) -> None:
        self.elector = LeaderElector(server.client(name), "kcm", name, clock, random.Random(name))
        self.name = name
        self.leaders = leaders

    async def lead(self) -> None:
        assert not self.leaders, "two lead at once"
        self.leaders.add(self.name)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.leaders.discard(self.name)


def test_one_leads_and_another_takes_over_when_it_is_cut_off() -> None:
    async def play() -> None:
        clock, server, leaders = HandClock(), OneLease(), set[str]()
        first = Candidate("first", server, clock, leaders)
        second = Candidate("second", server, clock, leaders)
        leading = asyncio.get_running_loop().create_task(first.elector.run(first.lead))
        await clock.pass_time(1)
        waiting = asyncio.get_running_loop().create_task(second.elector.run(second.lead))
        await clock.pass_time(60)
        assert leaders == {"first"}
        server.cut_off.add("first")
        await clock.pass_time(40)
        assert leaders == {"second"}
        with pytest.raises(LostLeadership):
            await leading
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(play())


def test_whoever_steps_down_lets_the_next_in_at_once() -> None:
    async def play() -> None:
        clock, server, leaders = HandClock(), OneLease(), set[str]()
        first = Candidate("first", server, clock, leaders)
        second = Candidate("second", server, clock, leaders)
        leading = asyncio.get_running_loop().create_task(first.elector.run(first.lead))
        await clock.pass_time(5)
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        waiting = asyncio.get_running_loop().create_task(second.elector.run(second.lead))
        await clock.pass_time(3)
        assert leaders == {"second"}
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(play())


@pytest.mark.parametrize("seed", range(10))
def test_two_never_lead_at_once_however_slow_the_server_is(seed: int) -> None:
    chance, thread = random.Random(seed), LoopThread()
    clock, server, leaders, led = LoopClock(thread.loop), OneLease(), set[str](), list[str]()
    server.latency = lambda: chance.choice((0.0, 0.0, 0.1, 1.0, 4.0, 9.0))

    async def candidate(name: str) -> None:
        while True:
            one = Candidate(name, server, clock, leaders)
            try:
                await one.elector.run(one.lead)
            except LostLeadership:
                led.append(name)

    async def play() -> None:
        running = [asyncio.create_task(candidate(name)) for name in "abc"]
        await asyncio.wait(running, timeout=1800.0)
        for one in running:
            one.cancel()
        ends = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends

    try:
        thread.run(play)
    finally:
        thread.close()
    assert led
