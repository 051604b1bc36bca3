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
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

from keelback.api.core_v1 import Pod
from keelback.apimachinery.errors import NotFound
from keelback.client import Change, Client, Informer, StrategicMergePatch
from keelback.client.events import EventRecorder, reference_to
from keelback.component.http import AnyResponse, Request
from keelback.concurrency.clock import Clock
from keelback.kubelet.crash_loop import CrashLoop
from keelback.simulation.config import Connected, Links, SimulatedConfig, SimulatedNode, cut_off, nodes
from keelback.simulation.containers import Told, plan, problems_of, settled
from keelback.simulation.due_steps import DueSteps
from keelback.simulation.nodes import NodeKeeper, node_object
from keelback.simulation.pods import (
    SimulatedPod,
    Step,
    addresses,
    finished_status,
    is_eventful,
    running_status,
)
from keelback.simulation.scripts import Scripts
from keelback.simulation.stage_files import KINDS
from keelback.simulation.stages import Stage
from keelback.simulation.staging import Staging
from keelback.simulation.streams import SimulatedStreams
from keelback.simulation.usage import SimulatedUsage

__all__ = ["Fleet", "SimulatedConfig", "SimulatedNode", "node_object", "nodes", "run"]

Key: TypeAlias = tuple[str, str]

_BY_NODE = "by-node"


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
        links: Links | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._links = links or Connected(clock)
        self._keeper = NodeKeeper(config, client, clock, chance, self._links)
        if any(stage.kind == "Node" for stage in config.stages):
            self._keeper.hand_over()
        self._nodes = {node.name: node for node in config.nodes}
        self._addresses = {
            node.name: AddressPool(node.pod_cidr or f"10.{64 + index // 256 % 64}.{index % 256}.0/24")
            for index, node in enumerate(config.nodes)
        }
        by_node = {_BY_NODE: lambda pod: (pod.spec.node_name,)}
        self._informer = Informer(
            client, SimulatedPod, field_selector=config.pod_selector, indexes=by_node, clock=clock, chance=chance
        )
        scripts = scripts or Scripts()
        self._usage = SimulatedUsage(scripts.usage)
        self._streams = SimulatedStreams(self._informer.store.get, scripts, clock)
        self._recorder = EventRecorder(client, "kubelet", "simulated", clock)
        # Only of pods that something is said of; those that are gone are forgotten.
        self._back_offs: dict[str, dict[str, CrashLoop]] = {}
        self._complained: dict[str, tuple[str, ...]] = {}
        self._steps: DueSteps[Key, tuple[str, Step]] = DueSteps(clock, self._carry_out)
        self._written: dict[Key, str] = {}
        """The version of each pod that its planned step has made of it, until that or a later one is seen."""
        own = random.Random(config.seed)
        self._staging = Staging(config, client, clock, own, self._recorder, self._address_of, self._links)
        self.registered = asyncio.Event()

    async def run(self) -> None:
        """Register the nodes and keep them and their pods going, until cancelled."""
        self._informer.subscribe(self._observe)
        async with asyncio.TaskGroup() as tasks:
            await self._keeper.register()
            self.registered.set()
            tasks.create_task(self._keeper.run())
            tasks.create_task(self._informer.run())
            tasks.create_task(self._steps.run())
            tasks.create_task(self._staging.run())

    async def use_stages(self, wanted: Iterable[Stage]) -> None:
        """From now on pods, or nodes, go through these and nothing else; a stage of a known name is replaced.

        Nodes that are there count as initialized.
        """
        await self._restaged(lambda: self._staging.use(wanted))

    async def use_stage_objects(self, wanted: Iterable[Stage]) -> None:
        """From now on these are the stages that are objects of the API, beside those that were given otherwise."""
        await self._restaged(lambda: self._staging.use_objects(wanted))

    async def _restaged(self, change: Callable[[], None]) -> None:
        before = {kind for kind in KINDS if self._staging.takes(kind)}
        change()
        now = {kind for kind in KINDS if self._staging.takes(kind)}
        if "Node" in now - before:
            self._keeper.hand_over()
            if self.registered.is_set():
                await self._keeper.say_running()
        elif "Node" in before - now:
            self._keeper.take_back()
        if "Pod" in before - now:
            # They go on as their annotations say.
            for pod in self._informer.store.list():
                self._observe(Change("MODIFIED", pod, pod))

    def look_again(self, node_name: str) -> None:
        """A node of its that was cut off reaches the API server again: its pods may be others now."""
        self._keeper.look_again(node_name)
        self._staging.look_again(node_name)
        for pod in self._informer.store.by_index(_BY_NODE, node_name):
            self._observe(Change("MODIFIED", pod, pod))

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

    def _address_of(self, node_name: str, uid: str) -> str:
        pool = self._addresses.get(node_name)
        return "" if pool is None else pool.take(uid)

    def _observe(self, event: Change[SimulatedPod]) -> None:
        pod = event.object
        if pod.spec.node_name not in self._nodes:
            return
        key = (pod.metadata.namespace, pod.metadata.name)
        if event.type == "DELETED":
            self._steps.drop(key)
            self._written.pop(key, None)
            self._back_offs.pop(pod.metadata.uid, None)
            self._complained.pop(pod.metadata.uid, None)
            self._addresses[pod.spec.node_name].give_back(pod.metadata.uid)
            return
        if not self._links.reaches(pod.spec.node_name):
            return
        if pod.status.pod_ip and not pod.spec.host_network:
            self._addresses[pod.spec.node_name].hold(pod.metadata.uid, pod.status.pod_ip)
        if not self._staging.takes("Pod"):
            self._schedule(key, pod)

    def _schedule(self, key: Key, pod: SimulatedPod) -> None:
        step = plan(pod, self._config, self._back_offs.get(pod.metadata.uid, {}))
        wanted = None if step is None else (pod.metadata.uid, step)
        written = self._written.get(key, "")
        if written and int(pod.metadata.resource_version) > int(written):
            # Another has undone what was done, and nothing was heard of that: it has to be done once more.
            self._steps.drop(key)
        if self._steps.planned(key) == wanted:
            return
        self._written.pop(key, None)
        if wanted is None or step is None:
            self._steps.drop(key)
            return
        now = self._links.clock_of(pod.spec.node_name).now()
        after = step.after_seconds if step.at is None else (step.at - now).total_seconds()
        self._steps.plan(key, wanted, max(0.0, after))

    async def _carry_out(self, key: Key, planned: tuple[str, Step]) -> None:
        planned_for, step = planned
        pod = self._informer.store.get(*key)
        if pod is None or pod.metadata.uid != planned_for or self._staging.takes("Pod"):
            self._steps.drop(key)
            return
        if not self._links.reaches(pod.spec.node_name):
            raise cut_off(pod.spec.node_name)
        namespace, name, uid = pod.metadata.namespace, pod.metadata.name, pod.metadata.uid
        if step.verb == "remove":
            await self._client.delete(Pod, name, namespace, grace_period_seconds=0, uid=uid)
            return
        node = self._nodes[pod.spec.node_name]
        now = self._links.clock_of(node.name).now()
        told: list[Told] = []
        if step.verb in ("finish", "kill"):
            status = finished_status(pod, now, killed=step.verb == "kill")
        else:
            pod_ip = node.internal_ip if pod.spec.host_network else self._addresses[node.name].take(uid)
            if is_eventful(pod):
                # The next step may be just like this one: what comes back of it must be planned anew.
                self._steps.drop(key)
                status, told = self._settled(pod, addresses(node.internal_ip, pod_ip), max(now, step.at or now))
            else:
                status = running_status(pod, node.internal_ip, pod_ip, now)
        tree = {"metadata": {"uid": uid}, "status": status}
        patch = StrategicMergePatch(tree)
        written = await self._client.patch(SimulatedPod, name, namespace, patch, subresource="status")
        if self._steps.planned(key) == planned:
            self._written[key] = written.metadata.resource_version
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
