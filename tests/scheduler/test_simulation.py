"""From a seed: pods and nodes come and go, bindings fail; in the end the scheduler's picture is the server's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from keelback.api.pods import amount

Make = Callable[..., Any]


def bound_cpu(world: Any) -> dict[str, int]:
    """By node, the millicores that the server's bound pods request."""
    used: dict[str, int] = {}
    for path, pod in world.server.objects.items():
        node_name = pod["spec"].get("nodeName") if path.startswith("pods/") else None
        if node_name:
            cpu = pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]
            used[node_name] = used.get(node_name, 0) + amount("cpu", cpu)
    return used


async def disturb(world: Any, chance: random.Random, step: int) -> None:
    """One thing that may happen in a cluster."""
    pods = [path for path in world.server.objects if path.startswith("pods/")]
    nodes = [path for path in world.server.objects if path.startswith("nodes/")]
    match chance.randint(0, 9):
        case 0 | 1 | 2 | 3:
            priority = chance.choice((0, 0, 0, 5, 10))
            await world.add_pod(f"p-{step}", cpu=chance.choice(("500m", "1", "2")), priority=priority)
        case 4 if pods:
            await world.server.delete(chance.choice(pods))
        case 5:
            await world.add_node(f"n-{step}", cpu=chance.choice(("1", "2", "4")))
        case 6 if len(nodes) > 1:
            gone = chance.choice(nodes)
            await world.server.delete(gone)
            name = gone.rpartition("/")[2]
            for path in pods:
                if path in world.server.objects and world.server.objects[path]["spec"].get("nodeName") == name:
                    await world.server.delete(path)
        case 7:
            code = chance.choice((500, 503, 409))
            failing = chance.random()
            world.server.refuse_binding = lambda name: code if chance.random() < failing else 0
        case _:
            for _ in range(chance.randint(1, 20)):
                await asyncio.sleep(0)
            world.clock.advance(chance.random() * 3)


@pytest.mark.parametrize("seed", range(15))
def test_whatever_happens_no_node_is_overfilled_and_nothing_is_forgotten(make_world: Make, seed: int) -> None:
    async def scenario() -> None:
        chance = random.Random(seed)
        world = make_world(binding_workers=3)
        await world.add_node("first", cpu="4")
        async with world.running():
            for step in range(80):
                await disturb(world, chance, step)
            world.server.refuse_binding = lambda name: 0
            for _ in range(40):
                await world.settle()
                world.clock.advance(11)
            await world.settle()
            check(world)

    asyncio.run(scenario())


def check(world: Any) -> None:
    used = bound_cpu(world)
    observation = world.scheduler.observation
    table = observation.nodes
    assert not observation.assumed
    nodes = {path.rpartition("/")[2]: obj for path, obj in world.server.objects.items() if path.startswith("nodes/")}
    assert set(table.row_of) == set(nodes)
    for name, node in nodes.items():
        allocatable = amount("cpu", node["status"]["allocatable"]["cpu"])
        assert used.get(name, 0) <= allocatable
        assert int(table.requested("cpu")[table.row_of[name]]) == used.get(name, 0)
    pending = {
        obj["metadata"]["uid"]: amount("cpu", obj["spec"]["containers"][0]["resources"]["requests"]["cpu"])
        for path, obj in world.server.objects.items()
        if path.startswith("pods/") and not obj["spec"].get("nodeName")
    }
    free = {
        name: amount("cpu", node["status"]["allocatable"]["cpu"]) - used.get(name, 0) for name, node in nodes.items()
    }
    for uid, wanted in pending.items():
        assert uid in world.scheduler.queue
        assert all(wanted > left for left in free.values()), "a pod waits although it fits"
    assert sum(world.scheduler.queue.sizes.values()) == len(pending)
