"""The kubelet with its API: what `keelback kubelet` runs."""

from __future__ import annotations

import asyncio
import random

from keelback.client import Client
from keelback.concurrency.clock import Clock
from keelback.cri.runtime import ContainerRuntime
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.kubelet import Kubelet
from keelback.kubelet.server import KubeletServer
from keelback.kubelet.services import Endpoints


async def run(
    config: KubeletConfig,
    client: Client,
    runtime: ContainerRuntime,
    clock: Clock,
    chance: random.Random,
    endpoints: Endpoints | None = None,
) -> None:
    """Run a node's agent and its API until cancelled; its containers go on without it."""
    kubelet = Kubelet(config, client, runtime, clock, chance, endpoints=endpoints)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(KubeletServer(kubelet).run())
        tasks.create_task(kubelet.run())
