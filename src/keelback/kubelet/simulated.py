"""Simulated nodes: the Node API without a container runtime, thousands of nodes in one process over one watch of pods.

Its rule: all that a client can read of a node or a pod is as a kubelet would write it; only the containers are missing.
`simulated_pods.plan` decides what becomes of a pod next, `Fleet` carries it out; `simulated_nodes` keeps the nodes.
"""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import itertools
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from keelback.api.core_v1 import Pod
from keelback.apimachinery.errors import NotFound, StatusError
from keelback.client import Change, Client, Informer, StrategicMergePatch
from keelback.client.events import EventRecorder, reference_to
from keelback.component.http import AnyResponse, Request
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.kubelet.crash_loop import CrashLoop
from keelback.kubelet.simulated_config import SimulatedConfig, SimulatedNode, nodes
from keelback.kubelet.simulated_containers import Told, plan, problems_of, settled
from keelback.kubelet.simulated_nodes import NodeKeeper, node_object
from keelback.kubelet.simulated_pods import (
    SimulatedPod,
    Step,
    addresses,
    finished_status,
    is_eventful,
    running_status,
)
from keelback.kubelet.simulated_scripts import Scripts
from keelback.kubelet.simulated_streams import SimulatedStreams
from keelback.kubelet.simulated_usage import SimulatedUsage

__all__ = ["Fleet", "SimulatedConfig", "SimulatedNode", "node_object", "nodes", "run"]

WORKERS = 32
_BY_NODE = "by-node"

_log = logger("kubelet.simulated")


class AddressPool:
    """The pod addresses of one node: the lowest that is free."""

    def __init__(self, cidr: str) -> None:
        network = ipaddress.ip_network(cidr)
        self._fresh = map(str, itertools.islice(network.hosts(), 1, None))
        self._free: list[str] = []
        self._held: dict[str, str] = {}
        self._taken: set[str] = set()

    def take(self, uid: str) -> str:
        """The address of this pod, the same each time. Empty when none is left."""
        if uid not in self._held:
            address = heapq.heappop(self._free) if self._free else self._next_fresh()
            if not address:
                return ""
            self.hold(uid, address)
        return self._held[uid]

    def hold(self, uid: str, address: str) -> None:
        """Note that the pod has this address already."""
        self._held[uid] = address
        self._taken.add(address)

    def give_back(self, uid: str) -> None:
        """The pod is gone."""
        address = self._held.pop(uid, None)
        if address is not None:
            self._taken.discard(address)
            heapq.heappush(self._free, address)

    def _next_fresh(self) -> str:
        return next((address for address in self._fresh if address not in self._taken), "")


class Fleet:
    """All simulated nodes of one process, and their pods."""

    def __init__(
        self,
        config: SimulatedConfig,
        client: Client,
        clock: Clock,
        chance: random.Random | None = None,
        scripts: Scripts | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._keeper = NodeKeeper(config, client, clock, chance)
        self._nodes = {node.name: node for node in config.nodes}
        self._addresses = {
            node.name: AddressPool(node.pod_cidr or f"10.{64 + index // 256 % 64}.{index % 256}.0/24")
            for index, node in enumerate(config.nodes)
        }
        # A node may see its own pods only; one that is alone must not ask for more.
        selector = f"spec.nodeName={config.nodes[0].name}" if len(config.nodes) == 1 else "spec.nodeName!="
        by_node = {_BY_NODE: lambda pod: (pod.spec.node_name,)}
        self._informer = Informer(
            client, SimulatedPod, field_selector=selector, indexes=by_node, clock=clock, chance=chance
        )
        scripts = scripts or Scripts()
        self._usage = SimulatedUsage(scripts.usage)
        self._streams = SimulatedStreams(self._informer.store.get, scripts, clock)
        self._recorder = EventRecorder(client, "kubelet", "simulated", clock)
        # Only of pods that something is said of; those that are gone are forgotten.
        self._back_offs: dict[str, dict[str, CrashLoop]] = {}
        self._complained: dict[str, tuple[str, ...]] = {}
        self._planned: dict[tuple[str, str], tuple[str, Step]] = {}
        self._due: list[tuple[float, int, tuple[str, str], Step]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        # One entry per pod at most: `_planned` keeps it bounded by the number of pods.
        self._work: asyncio.Queue[tuple[tuple[str, str], Step]] = asyncio.Queue(maxsize=WORKERS)
        self.registered = asyncio.Event()

    async def run(self) -> None:
        """Register the nodes and keep them and their pods going, until cancelled."""
        self._informer.subscribe(self._observe)
        async with asyncio.TaskGroup() as tasks:
            await self._keeper.register()
            self.registered.set()
            tasks.create_task(self._keeper.run())
            tasks.create_task(self._informer.run())
            tasks.create_task(self._release_due())
            for _ in range(WORKERS):
                tasks.create_task(self._carry_out_forever())

    async def resource_metrics(self, node_name: str) -> bytes:
        """What the node's kubelet would serve as `/metrics/resource`. Raises NotFound for a node of somebody else's."""
        node = self._nodes.get(node_name)
        if node is None:
            raise NotFound(f"node {node_name} is not simulated here")
        on_node = self._informer.store.by_index(_BY_NODE, node_name)
        return self._usage.exposition(node, on_node, self._clock.now().timestamp())

    def pods(self) -> Iterator[SimulatedPod]:
        """The pods on its nodes."""
        return (pod for pod in self._informer.store.list() if pod.spec.node_name in self._nodes)

    async def answer(self, request: Request) -> AnyResponse:
        """What the kubelets' HTTP API answers. Raises StatusErrors."""
        return await self._streams.handle(request)

    def _observe(self, event: Change[SimulatedPod]) -> None:
        pod = event.object
        if pod.spec.node_name not in self._nodes:
            return
        key = (pod.metadata.namespace, pod.metadata.name)
        if event.type == "DELETED":
            self._planned.pop(key, None)
            self._back_offs.pop(pod.metadata.uid, None)
            self._complained.pop(pod.metadata.uid, None)
            self._addresses[pod.spec.node_name].give_back(pod.metadata.uid)
            return
        if pod.status.pod_ip and not pod.spec.host_network:
            self._addresses[pod.spec.node_name].hold(pod.metadata.uid, pod.status.pod_ip)
        self._schedule(key, pod)

    def _schedule(self, key: tuple[str, str], pod: SimulatedPod) -> None:
        step = plan(pod, self._config, self._back_offs.get(pod.metadata.uid, {}))
        wanted = None if step is None else (pod.metadata.uid, step)
        if self._planned.get(key) == wanted:
            return
        if wanted is None or step is None:
            self._planned.pop(key, None)
            return
        self._planned[key] = wanted
        after = step.after_seconds if step.at is None else (step.at - self._clock.now()).total_seconds()
        self._push(key, step, max(0.0, after))

    def _push(self, key: tuple[str, str], step: Step, after_seconds: float) -> None:
        heapq.heappush(self._due, (self._clock.monotonic() + after_seconds, next(self._order), key, step))
        self._changed.set()

    async def _release_due(self) -> None:
        while True:
            self._changed.clear()
            now = self._clock.monotonic()
            while self._due and self._due[0][0] <= now:
                _, _, key, step = heapq.heappop(self._due)
                planned = self._planned.get(key)
                if planned is not None and planned[1] is step:
                    await self._work.put((key, step))
            await self._until_due_or_changed()

    async def _until_due_or_changed(self) -> None:
        if self._changed.is_set():
            return
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._changed.wait())]
        if self._due:
            pause = self._due[0][0] - self._clock.monotonic()
            waits.append(asyncio.create_task(self._clock.sleep(max(0.0, pause))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _carry_out_forever(self) -> None:
        while True:
            key, step = await self._work.get()
            pod = self._informer.store.get(*key)
            planned = self._planned.get(key)
            if pod is None or planned is None or planned != (pod.metadata.uid, step):
                continue
            try:
                await self._carry_out(pod, step)
            except NotFound:
                self._planned.pop(key, None)
            except (StatusError, OSError, TimeoutError) as error:
                _log.warning("Could not carry out a pod's step", pod="/".join(key), step=step.verb, error=str(error))
                if self._planned.setdefault(key, planned) == planned:
                    self._push(key, step, 1.0)

    async def _carry_out(self, pod: SimulatedPod, step: Step) -> None:
        namespace, name, uid = pod.metadata.namespace, pod.metadata.name, pod.metadata.uid
        if step.verb == "remove":
            await self._client.delete(Pod, name, namespace, grace_period_seconds=0, uid=uid)
            return
        now = self._clock.now()
        node = self._nodes[pod.spec.node_name]
        told: list[Told] = []
        if step.verb in ("finish", "kill"):
            status = finished_status(pod, now, killed=step.verb == "kill")
        else:
            pod_ip = node.internal_ip if pod.spec.host_network else self._addresses[node.name].take(uid)
            if is_eventful(pod):
                # The next step may be just like this one: what comes back of it must be planned anew.
                self._planned.pop((namespace, name), None)
                status, told = self._settled(pod, addresses(node.internal_ip, pod_ip), max(now, step.at or now))
            else:
                status = running_status(pod, node.internal_ip, pod_ip, now)
        tree = {"metadata": {"uid": uid}, "status": status}
        await self._client.patch(SimulatedPod, name, namespace, StrategicMergePatch(tree), subresource="status")
        for one in told:
            path = f"spec.containers{{{one.container}}}" if one.container else ""
            await self._recorder.event(reference_to(pod, path), one.type, one.reason, one.message)

    def _settled(self, pod: SimulatedPod, where: dict[str, Any], now: datetime) -> tuple[dict[str, Any], list[Told]]:
        uid = pod.metadata.uid
        outcome = settled(pod, self._config, now, where, self._back_offs.get(uid, {}))
        if outcome.back_offs:
            self._back_offs[uid] = outcome.back_offs
        problems = problems_of(pod, self._config)
        if problems and self._complained.get(uid) != problems:
            self._complained[uid] = problems
            outcome.events.append(Told("Warning", "InvalidSimulation", "; ".join(problems)))
        return outcome.status, outcome.events


async def run(config: SimulatedConfig, client: Client, clock: Clock, chance: random.Random | None = None) -> None:
    """Keep the configured nodes alive until cancelled."""
    await Fleet(config, client, clock, chance).run()
