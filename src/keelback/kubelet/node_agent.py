"""The node's own objects: it registers its Node, renews its Lease, and reports how it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from keelback.api import nodes
from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.api.core_v1 import (
    ContainerImage,
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeSpec,
    NodeStatus,
)
from keelback.apimachinery import meta
from keelback.apimachinery.errors import AlreadyExists, NotFound, StatusError
from keelback.client import Client, StrategicMergePatch
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.cri.runtime import ContainerRuntime, ContainerRuntimeError
from keelback.cri.values import Image
from keelback.kubelet import node_facts
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.node_facts import Pressure
from keelback.kubelet.services import Recorder

LEASE_NAMESPACE = "kube-node-lease"
_MAX_IMAGES = 50
_WARMUP_SECONDS = 0.25
# As upstream: so long a runtime may be silent before the node says that it is down.
_DOWN_SECONDS = 30.0
_log = logger("kubelet.node")


@dataclass(frozen=True, slots=True)
class RuntimeReadiness:
    """What stands against running pods; empty where nothing does."""

    problem: str = ""
    is_down: bool = False
    """It does not answer at all."""


async def readiness(runtime: ContainerRuntime) -> RuntimeReadiness:
    """Ask the runtime whether it and its network are ready."""
    try:
        conditions = await runtime.conditions()
    except ContainerRuntimeError as error:
        return RuntimeReadiness(f"container runtime is down: {error}", is_down=True)
    problems = []
    for kind, text in (
        ("RuntimeReady", "container runtime not ready"),
        ("NetworkReady", "container runtime network not ready"),
    ):
        found = next((one for one in conditions if one.type == kind), None)
        if found is not None and not found.status:
            problems.append(f"{text}: {kind}=false reason:{found.reason} message:{found.message}")
    return RuntimeReadiness(", ".join(problems))


def conditions_of(runtime: RuntimeReadiness, pressure: Pressure) -> tuple[NodeCondition, ...]:
    """The node's conditions with upstream's reasons, without times."""
    return (
        _pressure("MemoryPressure", pressure.memory, "Memory", "insufficient memory", "sufficient memory available"),
        _pressure("DiskPressure", pressure.disk, "Disk", "disk pressure", "no disk pressure"),
        _pressure("PIDPressure", pressure.pids, "PID", "insufficient PID", "sufficient PID available"),
        NodeCondition(type="Ready", status="False", reason="KubeletNotReady", message=runtime.problem)
        if runtime.problem
        else NodeCondition(
            type="Ready", status="True", reason="KubeletReady", message="kubelet is posting ready status"
        ),
    )


def _pressure(kind: str, is_short: bool, what: str, short: str, enough: str) -> NodeCondition:
    if kind == "DiskPressure":
        reason = "KubeletHasDiskPressure" if is_short else "KubeletHasNoDiskPressure"
    else:
        reason = f"KubeletHasInsufficient{what}" if is_short else f"KubeletHasSufficient{what}"
    return NodeCondition(
        type=kind,
        status="True" if is_short else "False",
        reason=reason,
        message=f"kubelet has {short if is_short else enough}",
    )


class NodeAgent:
    """One node in the API."""

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        runtime: ContainerRuntime,
        clock: Clock,
        runtime_version: str,
        changed: Callable[[Node], None],
        recorder: Recorder,
    ) -> None:
        self._config = config
        self._client = client
        self._runtime = runtime
        self._clock = clock
        self._runtime_version = runtime_version
        self._changed = changed
        self._recorder = recorder
        self._written: NodeStatus | None = None
        self._written_at = -1e9
        self._answered_at = -1e9
        self._was_ready = False
        self.capacity = node_facts.capacity(config.root, config.max_pods, config.pods_per_core, config.capacity)
        self.allocatable = node_facts.allocatable(self.capacity, config.reserved)
        self.node = Node()
        self.problem = ""

    async def register(self) -> None:
        """Create the Node, or bring an existing one's labels up to date. Raises StatusErrors."""
        wanted = meta.replace(self._object(), status=await self._status())
        try:
            node = await self._client.create(wanted)
            # What the server kept of it: the rest is reported at once.
            self._note(node.status)
        except AlreadyExists:
            patch = StrategicMergePatch({"metadata": {"labels": dict(wanted.metadata.labels)}})
            node = await self._client.patch(Node, self._config.node_name, "", patch)
            self._written = node.status
        self._see(node)
        self._recorder.event(node, "Normal", "Starting", "Starting kubelet.")

    async def run(self) -> None:
        """Register, then keep lease and status up to date until cancelled."""
        while True:
            try:
                await self.register()
                break
            except (StatusError, OSError, TimeoutError) as error:
                _log.warning("Could not register the node", node=self._config.node_name, error=str(error))
                await self._clock.sleep(1.0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_forever())
            tasks.create_task(self._report_forever())

    # Lease

    async def _renew_forever(self) -> None:
        while True:
            try:
                await self._renew()
            except (StatusError, OSError, TimeoutError) as error:
                _log.warning("Could not renew the node's lease", error=str(error))
                await self._clock.sleep(1.0)
                continue
            await self._clock.sleep(self._config.lease_renew_seconds)

    async def _renew(self) -> None:
        name = self._config.node_name
        renewed = f"{self._clock.now():%Y-%m-%dT%H:%M:%S.%fZ}"
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": self._config.lease_duration_seconds,
            "renewTime": renewed,
        }
        try:
            await self._client.patch(Lease, name, LEASE_NAMESPACE, StrategicMergePatch({"spec": spec}))
        except NotFound:
            owner = meta.OwnerReference(api_version="v1", kind="Node", name=name, uid=self.node.metadata.uid)
            await self._client.create(
                Lease(
                    metadata=meta.ObjectMeta(name=name, namespace=LEASE_NAMESPACE, owner_references=(owner,)),
                    spec=LeaseSpec(
                        holder_identity=name,
                        lease_duration_seconds=self._config.lease_duration_seconds,
                        renew_time=renewed,
                    ),
                )
            )

    # Status

    async def _report_forever(self) -> None:
        while True:
            try:
                await self.report()
            except NotFound:
                # Someone has deleted the Node while it lives: it says again that it is here.
                await self._register_again()
            except (StatusError, OSError, TimeoutError) as error:
                _log.warning("Could not report the node's status", error=str(error))
            ready = not self.problem
            self._was_ready = self._was_ready or ready
            await self._clock.sleep(self._config.status_seconds if self._was_ready else _WARMUP_SECONDS)

    async def _register_again(self) -> None:
        try:
            await self.register()
        except (StatusError, OSError, TimeoutError) as error:
            _log.warning("Could not register the node", error=str(error))

    async def report(self) -> None:
        """Write the status where the API has another, or where it was written long ago. Raises StatusErrors.

        The API is asked each time: the conditions of a node that was cut off have been declared unknown meanwhile.
        """
        node = await self._client.get(Node, self._config.node_name)
        self._written = node.status
        self._see(node)
        status = await self._status()
        age = self._clock.monotonic() - self._written_at
        if age < self._config.status_report_seconds and _same(status, self._written):
            return
        tree = status_patch(self._written, status)
        node = await self._client.patch(
            Node, self._config.node_name, "", StrategicMergePatch({"status": tree}), subresource="status"
        )
        changes = _changes(self._written, status)
        self._note(status)
        self._see(node)
        for kind, reason in changes:
            message = f"Node {self._config.node_name} status is now: {reason}"
            self._recorder.event(node, kind, reason, message)

    def _note(self, status: NodeStatus) -> None:
        self._written, self._written_at = status, self._clock.monotonic()

    def _see(self, node: Node) -> None:
        self.node = node
        self._changed(node)

    def _object(self) -> Node:
        config = self._config
        labels = {
            "kubernetes.io/hostname": config.node_name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": node_facts.architecture(),
            "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": node_facts.architecture(),
            **config.labels,
        }
        return Node(
            metadata=meta.ObjectMeta(
                name=config.node_name,
                labels=labels,
                annotations={"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            ),
            spec=NodeSpec(
                taints=config.taints,
                pod_cidr=config.pod_cidr,
                pod_cidrs=(config.pod_cidr,) if config.pod_cidr else (),
                provider_id=config.provider_id,
            ),
        )

    async def _status(self) -> NodeStatus:
        config = self._config
        runtime = self._lenient(await readiness(self._runtime))
        self.problem = runtime.problem
        pressure = await asyncio.to_thread(
            node_facts.pressure,
            config.root,
            memory_bytes_left=config.eviction_memory_bytes,
            disk_percent_left=config.eviction_disk_percent,
        )
        now = self._clock.now().replace(microsecond=0)
        return NodeStatus(
            capacity=self.capacity,
            allocatable=self.allocatable,
            conditions=dated(conditions_of(runtime, pressure), self._written, now),
            addresses=(
                *(NodeAddress(type="InternalIP", address=address) for address in config.node_ips),
                NodeAddress(type="Hostname", address=config.node_name),
            ),
            daemon_endpoints=NodeDaemonEndpoints(kubelet_endpoint=DaemonEndpoint(port=config.port)),
            node_info=await asyncio.to_thread(node_facts.system_info, config.kubelet_version, self._runtime_version),
            images=await self._images(),
            declared_features=nodes.declared_features(config.kubelet_version, nodes.GUARANTEED_CPU_RESIZE),
        )

    def _lenient(self, runtime: RuntimeReadiness) -> RuntimeReadiness:
        """A runtime that is being restarted must not empty the node's Services: its containers go on without it."""
        now = self._clock.monotonic()
        if not runtime.is_down:
            self._answered_at = now
        elif now - self._answered_at < _DOWN_SECONDS:
            return RuntimeReadiness(self.problem)
        return runtime

    async def _images(self) -> tuple[ContainerImage, ...]:
        try:
            images = await self._runtime.list_images()
        except ContainerRuntimeError:
            return self._written.images if self._written is not None else ()
        return listed_images(images)


def _changes(old: NodeStatus | None, new: NodeStatus) -> list[tuple[str, str]]:
    """The events, by type and reason, that tell which conditions have changed."""
    told = {one.type: one.status for one in old.conditions} if old is not None else {}
    found = []
    for one in new.conditions:
        if told.get(one.type) == one.status:
            continue
        if one.type == "Ready":
            found.append(("Normal", "NodeReady" if one.status == "True" else "NodeNotReady"))
        else:
            found.append(("Normal", one.reason.replace("Kubelet", "Node")))
    return found


def listed_images(images: Sequence[Image]) -> tuple[ContainerImage, ...]:
    """The largest images, as the scheduler wants to know them."""
    largest = sorted(images, key=lambda image: (-image.size_bytes, image.id))[:_MAX_IMAGES]
    return tuple(
        ContainerImage(names=(*image.repo_digests, *image.repo_tags)[:5], size_bytes=image.size_bytes)
        for image in largest
        if image.repo_digests or image.repo_tags
    )


def dated(conditions: Sequence[NodeCondition], before: NodeStatus | None, now: datetime) -> tuple[NodeCondition, ...]:
    """The conditions with their heartbeat, and with the time of their last change."""
    told = {one.type: one for one in before.conditions} if before is not None else {}
    written = []
    for one in conditions:
        old = told.get(one.type)
        since = old.last_transition_time if old is not None and old.status == one.status else None
        written.append(meta.replace(one, last_heartbeat_time=now, last_transition_time=since or now))
    return tuple(written)


def _same(status: NodeStatus, written: NodeStatus | None) -> bool:
    """Whether nothing but the heartbeats differs."""
    if written is None:
        return False

    def still(one: NodeStatus) -> NodeStatus:
        own = {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"}
        kept = tuple(
            meta.replace(condition, last_heartbeat_time=None) for condition in one.conditions if condition.type in own
        )
        return meta.replace(one, conditions=kept)

    return still(status) == still(written)


def status_patch(old: NodeStatus | None, new: NodeStatus) -> Mapping[str, Any]:
    """The fields of a node's status that a kubelet owns, as a patch's tree."""
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(new))
    wanted = {one.type for one in new.addresses}
    gone = {one.type for one in old.addresses} - wanted if old is not None else set()
    tree["addresses"] = [*tree.get("addresses", []), *({"$patch": "delete", "type": one} for one in sorted(gone))]
    return tree
