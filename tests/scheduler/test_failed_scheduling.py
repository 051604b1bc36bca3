"""The whole sentence of each case in which a pod fits nowhere, as kube-scheduler 1.36 has it, and as later ones do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Make = Callable[..., Any]

NO_CLAIMS = "no new claims to deallocate"
UNHELPFUL = "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."


def affinity(*names: list[str]) -> dict[str, Any]:
    """Of terms that name nodes."""
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": name} for name in names]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


async def nothing(world: Any) -> None:
    """As it is."""


async def low_pods(world: Any) -> None:
    """All full of less important pods, of which the removal is no help for a pod of three cpus."""
    for number in range(2):
        await world.add_pod(f"low-{number}", cpu="2", priority=1)
    await world.until(lambda: all(world.node_of(f"low-{number}") for number in range(2)))


async def tainted(world: Any) -> None:
    """One tainted node."""
    await world.add_node("n1", cpu="2", taints=[{"key": "k", "effect": "NoSchedule"}])


CASES: dict[str, tuple[Callable[[Any], Awaitable[None]], dict[str, Any], str]] = {
    "larger than any node": (
        nothing,
        {"cpu": "3", "priority": 9},
        f"0/2 nodes are available: 2 Insufficient cpu. {NO_CLAIMS}, {UNHELPFUL}",
    ),
    "nobody less important": (
        low_pods,
        {"cpu": "1", "priority": 1},
        f"0/2 nodes are available: 2 Insufficient cpu. {NO_CLAIMS}, "
        "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.",
    ),
    "it preempts": (low_pods, {"cpu": "1", "priority": 9}, "0/2 nodes are available: 2 Insufficient cpu."),
    "it never preempts": (
        low_pods,
        {"cpu": "1", "priority": 9, "preemptionPolicy": "Never"},
        f"0/2 nodes are available: 2 Insufficient cpu. {NO_CLAIMS}, "
        "preemption: not eligible due to preemptionPolicy=Never.",
    ),
    "a taint and too little": (
        tainted,
        {"cpu": "3"},
        f"0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s). {NO_CLAIMS}, {UNHELPFUL}",
    ),
    "a node that is not there": (
        nothing,
        {"affinity": affinity(["gone"])},
        f"0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. {NO_CLAIMS}, {UNHELPFUL}",
    ),
    "one node, and no room on it": (
        nothing,
        {"cpu": "3", "affinity": affinity(["n1"])},
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [NodeAffinity]. "
        f"{NO_CLAIMS}, {UNHELPFUL}",
    ),
    "names that contradict one another": (
        nothing,
        {"affinity": affinity(["n0"], ["n1"])},
        "0/2 nodes are available: pod affinity terms conflict. not found",
    ),
    "a claim that is not there": (
        nothing,
        {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
        '0/2 nodes are available: persistentvolumeclaim "data" not found. not found',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_condition_and_the_event_say(make_world: Make, case: str) -> None:
    prepare, spec, expected = CASES[case]

    async def scenario() -> None:
        world = make_world()
        for number in range(2):
            await world.add_node(f"n{number}", cpu="2")
        async with world.running():
            await prepare(world)
            await world.settle()
            await world.add_pod("incoming", **spec)
            await world.until(lambda: world.messages("incoming", "FailedScheduling"))
            assert world.messages("incoming", "FailedScheduling")[0] == expected
            if case != "it preempts":
                assert world.condition("incoming")["message"] == expected

    asyncio.run(scenario())


def test_without_nodes_and_behind_gates_nothing_was_tried(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        async with world.running():
            await world.add_pod("incoming")
            await world.add_pod("gated", schedulingGates=[{"name": "example.com/wait"}])
            await world.until(lambda: world.condition("incoming") and world.condition("gated"))
            assert world.condition("incoming")["message"] == "no nodes available to schedule pods"
            assert world.condition("gated")["message"] == "Scheduling is blocked due to non-empty scheduling gates"
            assert world.messages("gated", "FailedScheduling") == []

    asyncio.run(scenario())


def test_other_versions_do_not_speak_of_claims(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world(speaks_of_claims=False)
        await world.add_node("n0", cpu="2")
        async with world.running():
            await world.add_pod("incoming", cpu="3")
            await world.until(lambda: world.condition("incoming"))
            assert world.condition("incoming")["message"] == (
                "0/1 nodes are available: 1 Insufficient cpu. "
                "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
            )

    asyncio.run(scenario())
