"""Which nodes the API says are Ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from keelback.api import conditions
from keelback.api.core_v1 import Node
from keelback.apimachinery.meta import Object, Value, narrow
from keelback.auth.users import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from keelback.client import Change, Client, Informer
from keelback.concurrency.clock import Clock


class ReadinessCondition(Value):
    type: str
    status: str


class ReadinessStatus(Value):
    conditions: tuple[ReadinessCondition, ...] = ()


@narrow(Node)
class NodeReadiness(Object):
    """What is read of a node here."""

    status: ReadinessStatus = ReadinessStatus()


def is_ready(node: NodeReadiness) -> bool:
    """Whether the node says of itself that it is Ready."""
    return conditions.is_true(node.status.conditions, "Ready")


async def node_states(client: Client) -> dict[str, str]:
    """`Ready` or `NotReady` of every node, by name."""
    nodes = (await client.list(NodeReadiness)).items
    return {node.metadata.name: "Ready" if is_ready(node) else "NotReady" for node in nodes}


async def wait_ready(api: Any, names: Collection[str], clock: Clock, ready: Callable[[str], None]) -> None:
    """Call `ready` with the name of each node when it is; return when all were."""
    waiting = set(names)
    done = asyncio.Event()

    def observe(change: Change[NodeReadiness]) -> None:
        name = change.object.metadata.name
        if name in waiting and change.type != "DELETED" and is_ready(change.object):
            waiting.discard(name)
            ready(name)
        if not waiting:
            done.set()

    identity = UserInfo("system:apiserver", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))
    informer = Informer(api.client(identity, "keelback-up"), NodeReadiness, clock=clock)
    informer.subscribe(observe)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(informer.run())
        await done.wait()
        following.cancel()
