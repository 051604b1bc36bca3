"""The scheduler as a component: it waits for its turn to lead, and writes events as the scheduler they are from."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from keelback.client import Client, InProcessTransport
from keelback.scheduler.config import SchedulerConfig
from keelback.scheduler.run import run

Make = Callable[..., Any]


def test_the_leader_schedules_and_its_events_are_in_the_api(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1")
        await world.add_pod("web")
        client = Client(InProcessTransport(world.server.handle), clock=world.clock)
        config = SchedulerConfig(leader_elect=True)
        task = asyncio.create_task(run(client, config, world.clock, random.Random(1), host="here"))
        await world.until(lambda: any(path.startswith("events/") for path in world.server.objects))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert world.node_of("web") == "n1"
        assert "leases/kube-system/kube-scheduler" in world.server.objects
        (event,) = [obj for path, obj in world.server.objects.items() if path.startswith("events/")]
        assert (event["reason"], event["source"]["component"]) == ("Scheduled", "default-scheduler")
        assert event["involvedObject"]["name"] == "web"
        assert event["involvedObject"]["kind"] == "Pod"

    asyncio.run(scenario())
