"""Simulated nodes: the Node API without a container runtime, thousands of nodes in one process over one watch of pods.

Its rule: all that a client can read of a node or a pod is as a kubelet would write it; only the containers are missing.
`plan` decides what becomes of a pod next, `Fleet` carries it out.
"""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec

from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.api.core_v1 import (
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeSpec,
    NodeStatus,
    NodeSystemInfo,
    Pod,
    Taint,
)
from keelback.apimachinery import meta
from keelback.apimachinery.errors import AlreadyExists, NotFound, StatusError
from keelback.apimachinery.meta import ManagedFieldsEntry, Object, ObjectMeta, Value, named, narrow, written
from keelback.client import Change, Client, Informer, StrategicMergePatch
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock

LEASE_NAMESPACE = "kube-node-lease"
PREFIX = "simulated.keelback.dev/"
READY = PREFIX + "ready"  # "false" keeps the pod from being Ready; may change at any time
START_SECONDS = PREFIX + "start-seconds"  # how long until it runs
RUN_SECONDS = PREFIX + "run-seconds"  # how long it runs; "forever" for a Job's pod that must not end by itself
EXIT_CODE = PREFIX + "exit-code"  # what its containers end with; 0 unless given
WORKERS = 32

_log = logger("kubelet.simulated")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedNode:
    """One node as it will appear in the API. Quantities are Kubernetes'."""

    name: str
    internal_ip: str
    capacity: Mapping[str, str] = field(
        default_factory=lambda: {"cpu": "32", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"}
    )
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    pod_cidr: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedConfig:
    """The nodes and their manners. Delays are in seconds."""

    nodes: tuple[SimulatedNode, ...]
    start_seconds: float = 0.1
    job_seconds: float = 1.0
    stop_seconds: float = 0.1
    lease_duration_seconds: int = 40
    lease_renew_seconds: float = 10.0
    status_seconds: float = 300.0
    kubelet_version: str = "v1.36.0"


def nodes(count: int, *, prefix: str = "node-", capacity: Mapping[str, str] | None = None) -> tuple[SimulatedNode, ...]:
    """`count` like nodes, named and numbered from 0, each with an address and a pod network of its own."""
    addresses = ipaddress.ip_network("172.24.0.0/13")
    pod_networks = ipaddress.ip_network("10.128.0.0/9").subnets(new_prefix=24)
    extra: dict[str, Any] = {} if capacity is None else {"capacity": capacity}
    return tuple(
        SimulatedNode(name=f"{prefix}{index}", internal_ip=str(addresses[index + 1]), pod_cidr=str(network), **extra)
        for index, network in zip(range(count), pod_networks, strict=False)
    )


# The narrow view of a pod: thousands are held.


class SimulatedMeta(ObjectMeta):
    """Metadata without `managedFields`, which is often half of a pod and which nobody here reads."""

    # No field on the wire has this name, so nothing is ever decoded into it.
    managed_fields: tuple[ManagedFieldsEntry, ...] = named("-", ())


class SimulatedContainer(Value):
    name: str
    image: str = ""
    restart_policy: str | None = None


class SimulatedReadinessGate(Value):
    condition_type: str


class SimulatedPodSpec(Value):
    node_name: str = ""
    host_network: bool = False
    restart_policy: str = "Always"
    containers: tuple[SimulatedContainer, ...] = ()
    init_containers: tuple[SimulatedContainer, ...] = ()
    readiness_gates: tuple[SimulatedReadinessGate, ...] = ()


class SimulatedPodCondition(Value):
    type: str
    status: str


class SimulatedPodStatus(Value):
    phase: str = ""
    pod_ip: str = named("podIP", "")
    start_time: datetime | None = None
    conditions: tuple[SimulatedPodCondition, ...] = ()


@narrow(Pod)
class SimulatedPod(Object):
    """What a simulated node reads of a pod."""

    metadata: SimulatedMeta = written(SimulatedMeta())
    spec: SimulatedPodSpec = SimulatedPodSpec()
    status: SimulatedPodStatus = SimulatedPodStatus()


# Deciding


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of a pod next, and how many seconds after the last thing that happened to it."""

    verb: Literal["start", "update", "finish", "remove"]
    after_seconds: float = 0.0


def plan(pod: SimulatedPod, config: SimulatedConfig) -> Step | None:
    """The pod's next step, or None when it stays as it is."""
    annotations = pod.metadata.annotations
    if pod.metadata.deletion_timestamp is not None:
        grace = pod.metadata.deletion_grace_period_seconds or 0
        return Step("remove", min(float(grace), config.stop_seconds))
    phase = pod.status.phase
    if phase in ("Succeeded", "Failed"):
        return None
    if phase != "Running":
        return Step("start", _seconds(annotations.get(START_SECONDS), config.start_seconds))
    if _condition(pod, "ContainersReady") != _truth(_containers_ready(pod)) or _condition(pod, "Ready") != _truth(
        _is_ready(pod)
    ):
        return Step("update")
    run_seconds = _run_seconds(pod, config)
    return None if run_seconds is None else Step("finish", run_seconds)


def _run_seconds(pod: SimulatedPod, config: SimulatedConfig) -> float | None:
    if pod.spec.restart_policy == "Always":
        return None
    told = pod.metadata.annotations.get(RUN_SECONDS)
    if told is not None:
        return None if told == "forever" else _seconds(told, config.job_seconds)
    owned_by_job = any(owner.kind == "Job" for owner in pod.metadata.owner_references)
    return config.job_seconds if owned_by_job else None


def _seconds(text: str | None, default: float) -> float:
    try:
        return default if text is None else max(0.0, float(text))
    except ValueError:
        return default


def _truth(value: bool) -> str:
    return "True" if value else "False"


def _condition(pod: SimulatedPod, kind: str) -> str:
    return next((one.status for one in pod.status.conditions if one.type == kind), "")


def _containers_ready(pod: SimulatedPod) -> bool:
    return pod.metadata.annotations.get(READY, "true").lower() != "false"


def _is_ready(pod: SimulatedPod) -> bool:
    gates = (_condition(pod, gate.condition_type) == "True" for gate in pod.spec.readiness_gates)
    return _containers_ready(pod) and all(gates)


# What a kubelet would write


def running_status(pod: SimulatedPod, host_ip: str, pod_ip: str, now: datetime) -> dict[str, Any]:
    """The status of a pod whose containers run, as a patch's tree."""
    started = pod.status.start_time or now
    ready = _containers_ready(pod)
    return {
        "observedGeneration": pod.metadata.generation,
        "phase": "Running",
        "startTime": _wire_time(started),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "conditions": _conditions(pod, now, containers_ready=ready, ready=_is_ready(pod)),
        "containerStatuses": [
            _container_status(pod, one, {"running": {"startedAt": _wire_time(started)}}, ready=ready)
            for one in pod.spec.containers
        ],
        "initContainerStatuses": [
            _container_status(
                pod,
                one,
                {"running": {"startedAt": _wire_time(started)}}
                if one.restart_policy == "Always"
                else {"terminated": _terminated(pod, one, 0, started, started)},
                ready=True,
            )
            for one in pod.spec.init_containers
        ],
    }


def finished_status(pod: SimulatedPod, now: datetime) -> dict[str, Any]:
    """The status of a pod whose containers have ended."""
    started = pod.status.start_time or now
    code = int(_seconds(pod.metadata.annotations.get(EXIT_CODE), 0))
    reason = "PodCompleted" if code == 0 else "PodFailed"
    ended = [(one, {"terminated": _terminated(pod, one, code, started, now)}) for one in pod.spec.containers]
    return {
        "observedGeneration": pod.metadata.generation,
        "phase": "Succeeded" if code == 0 else "Failed",
        "conditions": _conditions(pod, now, containers_ready=False, ready=False, reason=reason),
        "containerStatuses": [_container_status(pod, one, state, ready=False) for one, state in ended],
    }


def _conditions(
    pod: SimulatedPod, now: datetime, *, containers_ready: bool, ready: bool, reason: str = ""
) -> list[dict[str, Any]]:
    wanted = {
        "PodReadyToStartContainers": not reason,
        "Initialized": True,
        "ContainersReady": containers_ready,
        "Ready": ready,
    }
    why = reason or "ContainersNotReady"
    written = []
    for kind, value in wanted.items():
        # A condition that stays as it is keeps its transition time: only a change is written.
        if _condition(pod, kind) == _truth(value):
            continue
        told = {} if value else {"reason": why}
        written.append(
            {
                "type": kind,
                "status": _truth(value),
                "lastProbeTime": None,
                "lastTransitionTime": _wire_time(now),
                "observedGeneration": pod.metadata.generation,
                **told,
            }
        )
        if value:
            written[-1] |= {"reason": None, "message": None}
    return written


def _container_status(
    pod: SimulatedPod, one: SimulatedContainer, state: dict[str, Any], *, ready: bool
) -> dict[str, Any]:
    return {
        "name": one.name,
        "image": one.image,
        "imageID": f"simulated://{one.image}",
        "containerID": _container_id(pod, one),
        "ready": ready,
        "started": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def _terminated(
    pod: SimulatedPod, one: SimulatedContainer, code: int, start: datetime, end: datetime
) -> dict[str, Any]:
    return {
        "exitCode": code,
        "reason": "Completed" if code == 0 else "Error",
        "startedAt": _wire_time(start),
        "finishedAt": _wire_time(end),
        "containerID": _container_id(pod, one),
    }


def _container_id(pod: SimulatedPod, one: SimulatedContainer) -> str:
    return f"simulated://{pod.metadata.uid}-{one.name}"


def _wire_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def node_object(node: SimulatedNode, config: SimulatedConfig, now: datetime) -> Node:
    """The Node that registers it."""
    labels = {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": "amd64",
        "node.keelback.dev/simulated": "true",
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
        ),
    )


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


# Doing


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
    """All simulated nodes of one process."""

    def __init__(self, config: SimulatedConfig, client: Client, clock: Clock) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._nodes = {node.name: node for node in config.nodes}
        self._addresses = {
            node.name: AddressPool(node.pod_cidr or f"10.{64 + index // 256 % 64}.{index % 256}.0/24")
            for index, node in enumerate(config.nodes)
        }
        self._informer = Informer(client, SimulatedPod, field_selector="spec.nodeName!=", clock=clock)
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
            await self._register_all()
            self.registered.set()
            tasks.create_task(self._informer.run())
            tasks.create_task(self._renew_leases())
            tasks.create_task(self._refresh_nodes())
            tasks.create_task(self._release_due())
            for _ in range(WORKERS):
                tasks.create_task(self._carry_out_forever())

    # Pods

    def _observe(self, event: Change[SimulatedPod]) -> None:
        pod = event.object
        if pod.spec.node_name not in self._nodes:
            return
        key = (pod.metadata.namespace, pod.metadata.name)
        if event.type == "DELETED":
            self._planned.pop(key, None)
            self._addresses[pod.spec.node_name].give_back(pod.metadata.uid)
            return
        if pod.status.pod_ip and not pod.spec.host_network:
            self._addresses[pod.spec.node_name].hold(pod.metadata.uid, pod.status.pod_ip)
        self._schedule(key, pod)

    def _schedule(self, key: tuple[str, str], pod: SimulatedPod) -> None:
        step = plan(pod, self._config)
        wanted = None if step is None else (pod.metadata.uid, step)
        if self._planned.get(key) == wanted:
            return
        if wanted is None or step is None:
            self._planned.pop(key, None)
            return
        self._planned[key] = wanted
        self._push(key, step, step.after_seconds)

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
                if self._planned.get(key) == planned:
                    self._push(key, step, 1.0)

    async def _carry_out(self, pod: SimulatedPod, step: Step) -> None:
        namespace, name, uid = pod.metadata.namespace, pod.metadata.name, pod.metadata.uid
        if step.verb == "remove":
            await self._client.delete(Pod, name, namespace, grace_period_seconds=0, uid=uid)
            return
        now = self._clock.now()
        node = self._nodes[pod.spec.node_name]
        if step.verb == "finish":
            status = finished_status(pod, now)
        else:
            pod_ip = node.internal_ip if pod.spec.host_network else self._addresses[node.name].take(uid)
            status = running_status(pod, node.internal_ip, pod_ip, now)
        tree = {"metadata": {"uid": uid}, "status": status}
        await self._client.patch(SimulatedPod, name, namespace, StrategicMergePatch(tree), subresource="status")

    # Nodes

    async def _register_all(self) -> None:
        await self._for_each(list(self._nodes.values()), self._register)

    async def _register(self, node: SimulatedNode) -> None:
        now = self._clock.now()
        wanted = node_object(node, self._config, now)
        try:
            created = await self._client.create(wanted)
            if not created.status.conditions:
                await self._patch_status(node, msgspec.to_builtins(wanted.status))
        except AlreadyExists:
            labels = {"metadata": {"labels": dict(wanted.metadata.labels)}}
            created = await self._client.patch(Node, node.name, "", StrategicMergePatch(labels))
            await self._write_status(node)
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
                renew_time=_micro_time(now),
            ),
        )
        try:
            await self._client.create(lease)
        except AlreadyExists:
            await self._renew(node)

    async def _renew(self, node: SimulatedNode) -> None:
        tree = {"spec": {"holderIdentity": node.name, "renewTime": _micro_time(self._clock.now())}}
        await self._client.patch(Lease, node.name, LEASE_NAMESPACE, StrategicMergePatch(tree))

    async def _write_status(self, node: SimulatedNode) -> None:
        now = self._clock.now()
        conditions = [
            {"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": _wire_time(now)}
            for kind, status, reason, message in _CONDITIONS
        ]
        await self._patch_status(node, {"conditions": conditions})

    async def _patch_status(self, node: SimulatedNode, status: Mapping[str, Any]) -> None:
        await self._client.patch(Node, node.name, "", StrategicMergePatch({"status": status}), subresource="status")

    async def _renew_leases(self) -> None:
        await self._spread(self._renew, self._config.lease_renew_seconds)

    async def _refresh_nodes(self) -> None:
        await self._spread(self._write_status, self._config.status_seconds)

    async def _spread(self, verb: Callable[[SimulatedNode], Awaitable[None]], period_seconds: float) -> None:
        """Do `verb` to each node once per period, spread evenly over it."""
        every = list(self._nodes.values())
        slots = max(1, min(len(every), 100))
        for slot in itertools.cycle(range(slots)):
            await self._clock.sleep(period_seconds / slots)
            await self._for_each(every[slot::slots], verb)

    async def _for_each(self, some: Sequence[SimulatedNode], verb: Callable[[SimulatedNode], Awaitable[None]]) -> None:
        room = asyncio.Semaphore(WORKERS)

        async def one(node: SimulatedNode) -> None:
            async with room:
                try:
                    await verb(node)
                except (StatusError, OSError, TimeoutError) as error:
                    _log.warning("Could not update a simulated node", node=node.name, error=str(error))

        async with asyncio.TaskGroup() as tasks:
            for node in some:
                tasks.create_task(one(node))


async def run(config: SimulatedConfig, client: Client, clock: Clock) -> None:
    """Keep the configured nodes alive until cancelled."""
    await Fleet(config, client, clock).run()
