"""Simulated nodes as the API sees them: registered, with leases renewed and conditions reported.

A node that was declared unknown meanwhile is watched for, and says at once that it is ready.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from keelback.api import nodes
from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.api.core_v1 import (
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeSpec,
    NodeStatus,
    NodeSystemInfo,
)
from keelback.apimachinery import meta
from keelback.apimachinery.errors import AlreadyExists, StatusError
from keelback.apimachinery.meta import Object, Value, narrow, replace, written
from keelback.client import Change, Client, Informer, MergePatch, StrategicMergePatch
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.concurrency.rounds import Round, next_round
from keelback.simulation.config import SIMULATED_LABEL, Connected, Links, SimulatedConfig, SimulatedNode, cut_off
from keelback.simulation.pods import SimulatedMeta, micro_time, wire_time

LEASE_NAMESPACE = "kube-node-lease"
AT_ONCE = 32
_SLOTS_AT_ONCE: Final = 8
"""How many nodes are written to at the same time."""
_RETRY_SECONDS = 1.0
_SAME_INSTANT: Final = 1e-3
"""Of the pause between two slots: what sums of floats miss."""
_NOTHING: Final[Mapping[str, Any]] = {}

_log = logger("kubelet.simulated")


def node_object(node: SimulatedNode, config: SimulatedConfig, now: datetime) -> Node:
    """The Node that registers it."""
    labels = {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "amd64",
        SIMULATED_LABEL: "true",
        **node.labels,
    }
    return Node(
        metadata=meta.ObjectMeta(name=node.name, labels=labels),
        spec=NodeSpec(taints=node.taints, pod_cidr=node.pod_cidr, pod_cidrs=(node.pod_cidr,) if node.pod_cidr else ()),
        status=NodeStatus(
            capacity=node.capacity,
            allocatable=node.capacity,
            conditions=_node_conditions(now),
            addresses=(
                NodeAddress(type="InternalIP", address=node.internal_ip),
                NodeAddress(type="Hostname", address=node.name),
            ),
            daemon_endpoints=NodeDaemonEndpoints(),
            node_info=NodeSystemInfo(
                machine_id=node.name,
                system_uuid=node.name,
                boot_id=node.name,
                kernel_version="simulated",
                os_image="Keelback simulated node",
                container_runtime_version="simulated://1.0",
                kubelet_version=config.kubelet_version,
                kube_proxy_version="",
                operating_system="linux",
                architecture="amd64",
            ),
            declared_features=_declared(config),
        ),
    )


def _declared(config: SimulatedConfig) -> tuple[str, ...]:
    return nodes.declared_features(config.kubelet_version, nodes.GUARANTEED_CPU_RESIZE, nodes.POD_LEVEL_RESIZE)


_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


def _node_conditions(now: datetime) -> tuple[NodeCondition, ...]:
    return tuple(
        NodeCondition(
            type=kind, status=status, reason=reason, message=message, last_heartbeat_time=now, last_transition_time=now
        )
        for kind, status, reason, message in _CONDITIONS
    )


class SimulatedCondition(Value):
    type: str
    status: str


class SimulatedNodeStatus(Value):
    conditions: tuple[SimulatedCondition, ...] = ()


@narrow(Node)
class ReportedNode(Object):
    """What is read back of a node: whether the API still holds what was reported."""

    metadata: SimulatedMeta = written(SimulatedMeta())
    status: SimulatedNodeStatus = SimulatedNodeStatus()


def is_doubted(node: ReportedNode) -> bool:
    """Whether the API holds another view of the node than that it is ready: it was cut off, and declared unknown."""
    return any(one.type == "Ready" and one.status != "True" for one in node.status.conditions)


class NodeKeeper:
    """Keeps the nodes of one process in the API, as their kubelets would."""

    def __init__(
        self,
        config: SimulatedConfig,
        client: Client,
        clock: Clock,
        chance: random.Random | None = None,
        links: Links | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._links = links or Connected(clock)
        self._nodes = {node.name: node for node in config.nodes}
        self._informer = Informer(
            client, ReportedNode, "", f"{SIMULATED_LABEL}=true", config.node_selector, clock=clock, chance=chance
        )
        self._is_handed_over = False
        self._doubted: set[str] = set()
        self._any_doubted = asyncio.Event()

    def hand_over(self) -> None:
        """Leave the nodes' statuses to stages: register nodes without conditions, and renew no more than leases."""
        self._is_handed_over = True

    def take_back(self) -> None:
        """Report the nodes' statuses again."""
        self._is_handed_over = False

    async def say_running(self) -> None:
        """Say of nodes that were ready before they were handed over what KWOK's stages know initialized nodes by."""
        await self._for_each(list(self._nodes.values()), lambda node: self._patch_status(node, {"phase": "Running"}))

    async def run(self) -> None:
        """Keep nodes that are registered going, until cancelled."""
        self._informer.subscribe(self._observe)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run())
            tasks.create_task(self._renew_leases())
            tasks.create_task(self._refresh_nodes())
            tasks.create_task(self._reaffirm())

    def _observe(self, change: Change[ReportedNode]) -> None:
        name = change.object.metadata.name
        is_seen = change.type != "DELETED" and name in self._nodes and self._links.reaches(name)
        if is_seen and is_doubted(change.object):
            self._doubted.add(name)
            self._any_doubted.set()
        else:
            self._doubted.discard(name)

    def look_again(self, name: str) -> None:
        """The node reaches the API server again."""
        held = self._informer.store.get("", name)
        if held is not None:
            self._observe(Change("MODIFIED", held, held))

    async def _reaffirm(self) -> None:
        """Report the nodes that the API doubts, each as soon as it is seen to be doubted."""
        while True:
            await self._any_doubted.wait()
            self._any_doubted.clear()
            while self._doubted:
                doubted, self._doubted = self._doubted, set()
                failed = await self._for_each([self._nodes[name] for name in sorted(doubted)], self._write_status)
                if failed:
                    await self._clock.sleep(_RETRY_SECONDS)
                    self._doubted.update(node.name for node in failed)

    async def register(self) -> None:
        """Make the nodes, or tell those that exist that they are back. What fails is logged."""
        await self._for_each(list(self._nodes.values()), self._register)

    async def _register(self, node: SimulatedNode) -> None:
        now = self._links.clock_of(node.name).now()
        wanted = node_object(node, self._config, now)
        if self._is_handed_over:
            wanted = replace(wanted, status=replace(wanted.status, conditions=()))
        try:
            created = await self._client.create(wanted)
            if not created.status.conditions:
                await self._patch_status(node, msgspec.to_builtins(wanted.status))
        except AlreadyExists:
            labels = {"metadata": {"labels": dict(wanted.metadata.labels)}}
            created = await self._client.patch(Node, node.name, "", StrategicMergePatch(labels))
            # Another version of Kubernetes may have made the node.
            now_declared = list(_declared(self._config)) or None
            told = {"nodeInfo": {"kubeletVersion": self._config.kubelet_version}, "declaredFeatures": now_declared}
            await self._write_status(node, told)
        lease = Lease(
            metadata=meta.ObjectMeta(
                name=node.name,
                namespace=LEASE_NAMESPACE,
                owner_references=(
                    meta.OwnerReference(api_version="v1", kind="Node", name=node.name, uid=created.metadata.uid),
                ),
            ),
            spec=LeaseSpec(
                holder_identity=node.name,
                lease_duration_seconds=self._config.lease_duration_seconds,
                renew_time=micro_time(now),
            ),
        )
        try:
            await self._client.create(lease)
        except AlreadyExists:
            await self._renew(node)

    async def _renew(self, node: SimulatedNode) -> None:
        if not self._links.reaches(node.name):
            raise cut_off(node.name)
        now = self._links.clock_of(node.name).now()
        tree = {"spec": {"holderIdentity": node.name, "renewTime": micro_time(now)}}
        # A lease has no lists: the plainer patch says the same, and costs the server a quarter less.
        await self._client.patch(Lease, node.name, LEASE_NAMESPACE, MergePatch(tree))

    async def _write_status(self, node: SimulatedNode, more: Mapping[str, Any] = _NOTHING) -> None:
        if self._is_handed_over:
            if more:
                await self._patch_status(node, more)
            return
        now = self._links.clock_of(node.name).now()
        conditions = [
            {"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": wire_time(now)}
            for kind, status, reason, message in _CONDITIONS
        ]
        await self._patch_status(node, {"conditions": conditions, **more})

    async def _patch_status(self, node: SimulatedNode, status: Mapping[str, Any]) -> None:
        if not self._links.reaches(node.name):
            raise cut_off(node.name)
        await self._client.patch(Node, node.name, "", StrategicMergePatch({"status": status}), subresource="status")

    async def _renew_leases(self) -> None:
        await self._spread(self._renew, self._config.lease_renew_seconds)

    async def _refresh_nodes(self) -> None:
        await self._spread(self._write_status, self._config.status_seconds)

    async def _spread(self, verb: Callable[[SimulatedNode], Awaitable[None]], period_seconds: float) -> None:
        """Do `verb` to each node once per period, spread evenly over it.

        A server that answers late is asked on: were each slot waited for, a period would take as long as all of them
        together, and nodes would be declared lost because the server has much to do. Slots that time has passed over
        come at once.
        """
        every = list(self._nodes.values())
        slots = max(1, min(len(every), 100))
        room = asyncio.Semaphore(_SLOTS_AT_ONCE)

        async def do(some: Sequence[SimulatedNode]) -> None:
            try:
                await self._for_each(some, verb)
            finally:
                room.release()

        step, due = period_seconds / slots, self._clock.monotonic()
        following = itertools.cycle(range(slots))
        async with asyncio.TaskGroup() as tasks:
            while True:
                due = max(due + step, self._clock.monotonic())
                await next_round(self._clock, due - self._clock.monotonic(), Round.REPORT)
                passed = int((self._clock.monotonic() - due) / step + _SAME_INSTANT)
                due += passed * step
                for slot in itertools.islice(following, min(1 + passed, slots)):
                    await room.acquire()
                    tasks.create_task(do(every[slot::slots]))

    async def _for_each(
        self, some: Sequence[SimulatedNode], verb: Callable[[SimulatedNode], Awaitable[None]]
    ) -> list[SimulatedNode]:
        """Do `verb` to each, some at the same time, and answer for which it failed."""
        room = asyncio.Semaphore(AT_ONCE)
        failed: list[SimulatedNode] = []

        async def one(node: SimulatedNode) -> None:
            async with room:
                try:
                    await verb(node)
                except (StatusError, OSError, TimeoutError) as error:
                    _log.warning("Could not update a simulated node", node=node.name, error=str(error))
                    failed.append(node)

        async with asyncio.TaskGroup() as tasks:
            for node in some:
                tasks.create_task(one(node))
        return failed
