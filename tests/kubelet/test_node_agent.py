"""The node's own objects, against a real API server."""

from __future__ import annotations

import asyncio
from pathlib import Path

from keelback.api import conditions
from keelback.api.core_v1 import Node
from keelback.client import Client, InProcessTransport, StrategicMergePatch
from keelback.concurrency.clock import SystemClock
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.node_agent import NodeAgent
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.fake_runtime import FakeRuntime


class Recorder:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def event(self, obj: object, kind: str, reason: str, message: str, *, container: str = "") -> None:
        self.messages.append(message)


def test_a_node_declared_unknown_meanwhile_says_at_once_that_it_is_ready(tmp_path: Path) -> None:
    async def body() -> None:
        async with api_server() as server:
            client = Client(InProcessTransport(server.handle, ADMINISTRATOR))
            clock, recorder, seen = SystemClock(), Recorder(), list[Node]()
            config = KubeletConfig(node_name="node-1", node_ips=("10.0.0.1",), root=tmp_path)
            agent = NodeAgent(config, client, FakeRuntime(clock), clock, "fake://1", seen.append, recorder)
            await agent.register()
            await agent.report()
            # As the node lifecycle controller does to a node that was cut off.
            unknown = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]
            patch = StrategicMergePatch({"status": {"conditions": unknown}})
            await client.patch(Node, "node-1", "", patch, subresource="status")
            recorder.messages.clear()
            await agent.report()
            node = await client.get(Node, "node-1")
            assert conditions.is_true(node.status.conditions, "Ready")
            assert recorder.messages == ["Node node-1 status is now: NodeReady"]
            assert seen[-1].metadata.resource_version == node.metadata.resource_version
            # What is so already is not written again.
            await agent.report()
            assert (await client.get(Node, "node-1")).metadata.resource_version == node.metadata.resource_version

    asyncio.run(body())
