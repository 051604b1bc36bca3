"""What the API holds of simulated nodes, on a real API server, in time that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from keelback.api import conditions
from keelback.api.coordination_v1 import Lease
from keelback.api.core_v1 import Node
from keelback.client import Client, InProcessTransport, StrategicMergePatch
from keelback.simulation.config import SimulatedConfig, nodes
from keelback.simulation.nodes import LEASE_NAMESPACE, NodeKeeper
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock

UNKNOWN = StrategicMergePatch(
    {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}}
)


async def until(client: Client, name: str, seen: Callable[[Node], bool]) -> None:
    """Return once the API holds such a node; the test's own time limit is the deadline."""
    async for event in client.watch(Node, resource_version="0", field_selector=f"metadata.name={name}"):
        if seen(event.object):
            return


def is_ready(node: Node) -> bool:
    return conditions.is_true(node.status.conditions, "Ready")


@pytest.mark.parametrize("count", [1, 3])
def test_a_node_declared_unknown_says_at_once_that_it_is_ready(count: int) -> None:
    async def body() -> None:
        clock = HandClock()
        async with api_server() as server:
            client = Client(InProcessTransport(server.handle, ADMINISTRATOR))
            keeper = NodeKeeper(SimulatedConfig(nodes=nodes(count)), client, clock)
            await keeper.register()
            kept = asyncio.create_task(keeper.run())
            for _ in range(2):
                # As the node lifecycle controller does to nodes that were cut off. No time passes until they are back.
                for number in range(count):
                    patched = await client.patch(Node, f"node-{number}", "", UNKNOWN, subresource="status")
                    assert not is_ready(patched)
                for number in range(count):
                    await until(client, f"node-{number}", is_ready)
            kept.cancel()

    asyncio.run(body())


def test_a_node_that_is_there_already_is_told_that_it_is_back() -> None:
    async def body() -> None:
        clock = HandClock()
        async with api_server() as server:
            client = Client(InProcessTransport(server.handle, ADMINISTRATOR))
            config = SimulatedConfig(nodes=nodes(1))
            await NodeKeeper(config, client, clock).register()
            await client.patch(Node, "node-0", "", UNKNOWN, subresource="status")
            before = await client.get(Lease, "node-0", LEASE_NAMESPACE)
            clock.advance(100)
            upgraded = replace(config, kubelet_version="v1.37.0")
            await NodeKeeper(upgraded, client, clock).register()
            node = await client.get(Node, "node-0")
            assert is_ready(node)
            assert node.status.node_info.kubelet_version == "v1.37.0"
            assert node.status.node_info.architecture
            after = await client.get(Lease, "node-0", LEASE_NAMESPACE)
            assert after.spec.renew_time != before.spec.renew_time

    asyncio.run(body())
