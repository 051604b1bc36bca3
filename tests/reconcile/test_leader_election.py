from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from keelback.client import Client, InProcessTransport
from keelback.component.http import Request, Response
from keelback.reconcile.leader_election import LeaderElector, LostLeadership
from keelback.testing.clock import HandClock


class OneLease:
    """A server that keeps one Lease, by compare and swap, and can be cut off."""

    def __init__(self) -> None:
        self.lease: dict[str, dict[str, object]] | None = None
        self.version = 0
        self.cut_off: set[str] = set()

    def client(self, name: str) -> Client:
        async def handle(request: Request) -> Response:
            if name in self.cut_off:
                raise OSError("cut off")
            return self._answer(request)

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
    def __init__(self, name: str, server: OneLease, clock: HandClock, leaders: set[str]) -> None:
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
