"""Pods that preempted others are tried when the last of their victims is gone, and not for other pods' victims."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from keelback.scheduler.awaited_victims import AwaitedVictims

Make = Callable[..., Any]


def test_the_last_victim_frees_its_preemptor() -> None:
    awaited = AwaitedVictims()
    awaited.add("high", ["a", "b"])
    assert awaited.gone("x") == (False, ())
    assert awaited.gone("a") == (True, ())
    assert "high" in awaited
    assert awaited.gone("b") == (True, ("high",))
    assert "high" not in awaited
    assert awaited.gone("b") == (False, ())


def test_a_victim_is_awaited_by_all_who_preempted_it() -> None:
    awaited = AwaitedVictims()
    awaited.add("high", ["a"])
    awaited.add("higher", ["a", "b"])
    awaited.add("highest", ["a"])
    assert awaited.gone("a") == (True, ("high", "highest"))
    assert awaited.gone("b") == (True, ("higher",))
    awaited.add("high", ["c"])
    awaited.add("high", ["d"])
    assert awaited.gone("c") == (False, ())
    awaited.forget("high")
    assert awaited.gone("d") == (False, ())


def test_one_preemptor_is_not_tried_for_the_victims_of_another(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        for number in range(4):
            await world.add_node(f"n{number}", cpu="2")
        async with world.running():
            for number in range(8):
                await world.add_pod(f"low-{number}", cpu="1", priority=1)
            await world.until(lambda: all(world.node_of(f"low-{number}") for number in range(8)))
            for number in range(4):
                await world.add_pod(f"high-{number}", cpu="2", priority=100)
            await world.until(lambda: all(world.node_of(f"high-{number}") for number in range(4)))
            await world.settle()
        assert not any(f"pods/default/low-{number}" in world.server.objects for number in range(8))
        # Each is tried twice: once to preempt, once to be placed. Nobody's clock had to move.
        text = world.registry.exposition().decode()
        assert 'scheduler_schedule_attempts_total{result="unschedulable",profile="default-scheduler"} 4' in text
        assert 'scheduler_queue_incoming_pods_total{queue="active",event="ForceActivate"} 4' in text

    asyncio.run(scenario())


def test_a_victim_that_cannot_be_told_to_go_is_not_waited_for(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1", cpu="2")
        async with world.running():
            await world.add_pod("low", cpu="2", priority=1)
            await world.until(lambda: world.node_of("low"))
            world.server.refuse_deletion = True
            await world.add_pod("high", cpu="2", priority=100)
            await world.settle()
            world.server.refuse_deletion = False
            await world.settle()
            world.clock.advance(30)
            await world.until(lambda: world.node_of("high") == "n1")

    asyncio.run(scenario())
