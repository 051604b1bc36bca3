"""When a pod may stop: its endpoint terminates, this node follows, and so does every other that is Ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from keelback.api import core_v1
from keelback.api.discovery_v1 import EndpointConditions
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Client, InProcessTransport
from keelback.component.http import Request
from keelback.component.serving import Server
from keelback.concurrency.clock import SystemClock
from keelback.proxy import serving
from keelback.proxy.config import ProxyConfig
from keelback.proxy.draining import EndpointDrain, ask_over_http, leaving, peers
from keelback.proxy.observed import Endpoint, EndpointSlice, Node, NodeStatus, TargetRef
from keelback.proxy.progress import Progress
from keelback.proxy.proxy import Proxy
from keelback.testing.api import Administrator, administrator

CONFIG = ProxyConfig("node-a", ("172.18.0.2",))
KEY = ("shop", "web")


def slice_of(revision: int, *endpoints: tuple[str, bool]) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name="web-1", namespace="shop", resource_version=str(revision)),
        address_type="IPv4",
        endpoints=tuple(
            Endpoint(
                addresses=("10.244.0.5",),
                conditions=EndpointConditions(ready=not terminating, serving=True, terminating=terminating),
                target_ref=TargetRef(uid=uid),
            )
            for uid, terminating in endpoints
        ),
    )


def node(name: str, address: str, ready: str = "True") -> core_v1.Node:
    return core_v1.Node(
        metadata=ObjectMeta(name=name),
        status=core_v1.NodeStatus(
            addresses=(core_v1.NodeAddress(type="InternalIP", address=address),),
            conditions=(core_v1.NodeCondition(type="Ready", status=ready),),
        ),
    )


def play(scenario: Callable[[Administrator], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), administrator() as api:
            await scenario(api)

    asyncio.run(main())


def test_a_pod_leaves_at_the_version_of_the_last_slice_that_has_it() -> None:
    assert leaving("a", [slice_of(7, ("a", True)), slice_of(9, ("a", True), ("b", False))]) == 9
    assert leaving("a", [slice_of(7, ("a", True)), slice_of(9, ("a", False))]) == 0
    assert leaving("a", [slice_of(9, ("b", True))]) is None


def test_only_other_nodes_that_are_ready_are_asked() -> None:
    nodes = [node("node-a", "1.1.1.1"), node("node-b", "1.1.1.2"), node("node-c", "1.1.1.3", "Unknown")]
    seen = [Node(metadata=one.metadata, status=_narrowed(one)) for one in nodes]
    assert peers(seen, "node-a") == ["1.1.1.2"]


def _narrowed(one: core_v1.Node) -> NodeStatus:
    return NodeStatus(addresses=one.status.addresses, conditions=one.status.conditions)


def test_it_waits_for_the_slice_then_for_this_node_and_then_for_the_others() -> None:
    async def scenario(api: Administrator) -> None:
        asked: list[tuple[str, int, int]] = []
        others = asyncio.Event()

        async def ask(address: str, port: int, revision: int) -> int:
            asked.append((address, port, revision))
            await others.wait()
            return 200 if len(asked) > 1 else 503

        await api.put(node("node-a", "172.18.0.2"))
        await api.put(node("node-b", "172.18.0.3"))
        drain = EndpointDrain(CONFIG, api.client, SystemClock(), ask)
        assert not await drain.wait_left("a", [KEY])  # no rules are written: nothing can be known
        progress, slices = Progress(), [slice_of(5, ("a", False))]
        progress.reach(6)
        drain.follow(progress, lambda key: slices if key == KEY else [])
        task = asyncio.create_task(drain.wait_left("a", [KEY]))
        slices[:] = [slice_of(8, ("a", True))]
        await asyncio.sleep(0)
        assert not asked
        progress.reach(8)
        while not asked:  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0)
        others.set()
        assert await task
        assert asked == [("172.18.0.3", 10256, 8)] * 2

    play(scenario)


def test_a_proxy_of_another_kind_cannot_be_waited_for() -> None:
    async def scenario(api: Administrator) -> None:
        async def ask(address: str, port: int, revision: int) -> int:
            return 404

        await api.put(node("node-b", "172.18.0.3"))
        drain = EndpointDrain(CONFIG, api.client, SystemClock(), ask)
        progress = Progress()
        progress.reach(9)
        drain.follow(progress, lambda key: [slice_of(8, ("a", True))])
        assert not await drain.wait_left("a", [KEY])

    play(scenario)


def test_the_answer_comes_once_the_rules_follow() -> None:
    async def scenario(api: Administrator) -> None:
        proxy = Proxy(api.client, CONFIG, SystemClock(), _NoKernel())

        async def handle(request: Request) -> Any:
            return await serving.respond_when_programmed(proxy, request)

        server = Server(handle, host="127.0.0.1", port=0)
        await server.start()
        try:
            asking = asyncio.create_task(ask_over_http("127.0.0.1", server.bound_port, 12))
            await asyncio.sleep(0)
            assert not asking.done()
            proxy.progress.reach(12)
            assert await asking == 200
        finally:
            await server.shutdown(0)

    play(scenario)


@pytest.mark.parametrize("query", ["", "revision=", "revision=-1", "revision=1x", "other=1", "revision=" + "9" * 30])
def test_what_is_no_version_is_refused(query: str) -> None:
    proxy = Proxy(Client(InProcessTransport(_no_server)), CONFIG, SystemClock(), _NoKernel())
    request = Request("GET", "/programmed", query)
    assert asyncio.run(serving.respond_when_programmed(proxy, request)).status == 400


async def _no_server(request: Request) -> Any:
    raise AssertionError("nothing is asked here")


class _NoKernel:
    async def apply(self, script: str) -> None:
        raise AssertionError("nothing is written here")
