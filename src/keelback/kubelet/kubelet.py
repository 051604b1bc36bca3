"""The node agent: it follows the pods bound to its node, gives each a worker, and keeps the node's house in order.

Ending it ends no container; the next one finds them by their labels and goes on with them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from keelback.api import pods
from keelback.api.core_v1 import Container, Node, Pod, PodSpec, Service
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Change, Client, Informer
from keelback.client.events import EventRecorder
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.cri.runtime import ContainerRuntime, ContainerRuntimeError
from keelback.kubelet import garbage, local_storage, node_facts
from keelback.kubelet.cgroups import Cgroups
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.event_queue import EventQueue
from keelback.kubelet.image_volumes import ImageVolumes
from keelback.kubelet.images import Images
from keelback.kubelet.network_files import ResolvConf, parse_resolv_conf
from keelback.kubelet.node_agent import NodeAgent
from keelback.kubelet.observed import (
    CONTAINER_NAME_LABEL,
    GRACE_ANNOTATION,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    POD_UID_LABEL,
    Observer,
)
from keelback.kubelet.pod_admission import admit
from keelback.kubelet.references import References
from keelback.kubelet.runtime_watch import RuntimeWatch
from keelback.kubelet.services import Endpoints, NodeServices
from keelback.kubelet.starting import pull_secrets
from keelback.kubelet.static_pods import Mirrors, read_manifests
from keelback.kubelet.status import rejected_status
from keelback.kubelet.status_writer import StatusWriter
from keelback.kubelet.worker import PodWorker
from keelback.volume.builtin import builtin
from keelback.volume.mounts import KernelMounter, Mounter
from keelback.volume.pod_volumes import PodVolumes
from keelback.volume.protocol import NodeFacts
from keelback.volume.tokens import TokenCache

_IMAGE_GC_EVERY = 10
_log = logger("kubelet")


class Kubelet:
    """One node's agent. `run` makes its parts once the runtime answers."""

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        runtime: ContainerRuntime,
        clock: Clock,
        chance: random.Random,
        mounter: Mounter | None = None,
        endpoints: Endpoints | None = None,
    ) -> None:
        self.config = config
        self.client = client
        self.runtime = runtime
        self.clock = clock
        self.workers: dict[str, PodWorker] = {}
        self._chance = chance
        self._mounter = mounter or KernelMounter()
        self._endpoints = endpoints
        self._pods = Informer(client, Pod, field_selector=f"spec.nodeName={config.node_name}", clock=clock)
        self._services = Informer(client, Service, clock=clock)
        self._events = EventQueue(EventRecorder(client, "kubelet", config.node_name, clock))
        self._statuses = StatusWriter(client, clock, chance)
        self._mirrors = Mirrors(client, self._statuses)
        self._tokens = TokenCache(client, clock)
        self._watch = RuntimeWatch(runtime, config, clock, self._wake)
        self._rejected: set[str] = set()
        self._gone: set[str] = set()
        self._node = Node()
        self._is_subscribed = False
        self._tasks: asyncio.TaskGroup | None = None
        self._services_of_node: NodeServices | None = None
        self.agent: NodeAgent | None = None

    async def run(self) -> None:
        """Be the node's agent until cancelled."""
        version = await self._runtime_version()
        self.agent = NodeAgent(
            self.config,
            self.client,
            self.runtime,
            self.clock,
            f"{version[0]}://{version[1]}",
            self._see_node,
            self._events,
        )
        self._services_of_node = self._parts(self.agent, version[0])
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for name, loop in self._loops(self.agent).items():
                tasks.create_task(self._supervise(name, loop))

    def all_pods(self) -> list[Pod]:
        """The pods of this node, with the statuses that this kubelet has worked out."""
        return [worker.pod for worker in self.workers.values()]

    def worker_of(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod by name."""
        # Of two pods with one name the earlier is on its way out.
        for worker in reversed(self.workers.values()):
            if worker.pod.metadata.name == name and worker.pod.metadata.namespace == namespace:
                return worker
        return None

    # Parts

    async def _runtime_version(self) -> tuple[str, str]:
        told = False
        while True:
            try:
                version = await self.runtime.version()
                return version.name, version.version
            except ContainerRuntimeError as error:
                if not told:
                    _log.warning("Waiting for the container runtime", error=str(error))
                    told = True
                await self.clock.sleep(0.2)

    def _parts(self, agent: NodeAgent, runtime_name: str) -> NodeServices:
        config = self.config
        references = References(self.client, self.clock)
        facts = NodeFacts(config.node_ips, agent.allocatable)
        images = Images(self.runtime, self.clock)
        image_volumes = ImageVolumes(
            images, self.runtime, self._events, lambda pod: pull_secrets(pod, references, self._events)
        )
        types = builtin(references, self._tokens, facts, self._mounter, self.clock, image_volumes)
        return NodeServices(
            config=config,
            runtime=self.runtime,
            observer=Observer(self.runtime),
            images=images,
            volumes=PodVolumes(config.root, types, self._mounter),
            cgroups=Cgroups(config.cgroup_root),
            references=references,
            recorder=self._events,
            statuses=self._mirrors,
            clock=self.clock,
            chance=self._chance,
            resolv_conf=_resolv_conf(config),
            runtime_name=runtime_name,
            memory_capacity_bytes=node_facts.memory_bytes(),
            services=lambda: self._services.store.list(),
            allocatable=lambda: dict(agent.allocatable),
            endpoints=self._endpoints,
        )

    def _loops(self, agent: NodeAgent) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        return {
            "node": agent.run,
            "services": self._services.run,
            "pods": self._follow_pods,
            "statuses": self._statuses.run,
            "events": self._events.run,
            "runtime": self._watch.run,
            "housekeeping": self._housekeeping,
            "local-storage": self._watch_storage,
            "manifests": self._follow_manifests,
        }

    async def _supervise(self, name: str, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop for ever: an error that nobody foresaw in one part must not take the node's pods' agent away."""
        while True:
            try:
                await loop()
            except Exception as error:
                _log.exception("A part of the kubelet failed and is started again", error, part=name)
            await self.clock.sleep(1.0)

    def _see_node(self, node: Node) -> None:
        self._node = node

    # Pods

    async def _follow_pods(self) -> None:
        # A pod's variables name the services that were there before it.
        await self._services.wait_synced()
        if not self._is_subscribed:
            self._is_subscribed = True
            self._pods.subscribe(self._observe)
        await self._pods.run()

    def _observe(self, change: Change[Pod]) -> None:
        pod = change.object
        uid = pod.metadata.uid
        if pods.is_mirror(pod):
            self._observe_mirror(change)
            return
        worker = self.workers.get(uid)
        if change.type == "DELETED":
            self._gone.discard(uid)
            self._rejected.discard(uid)
            self._statuses.forget(uid)
            if worker is not None:
                if pod.metadata.deletion_timestamp is not None:
                    worker.update(pod)
                worker.remove()
        elif worker is not None:
            worker.update(pod)
        elif uid not in self._gone:
            self._take(pod)

    def _observe_mirror(self, change: Change[Pod]) -> None:
        if change.type == "DELETED":
            self._mirrors.forget(change.object)
            self._statuses.forget(change.object.metadata.uid)
        else:
            self._mirrors.see(change.object)

    async def _follow_manifests(self) -> None:
        directory = self.config.manifests
        while directory is not None:
            wanted = await asyncio.to_thread(read_manifests, directory, self.config.node_name)
            self._mirrors.set_static(wanted)
            for uid, worker in list(self.workers.items()):
                if pods.is_static(worker.pod) and uid not in wanted:
                    worker.remove()
            for uid, pod in wanted.items():
                if uid not in self.workers:
                    self._take(pod)
            await self._mirrors.reconcile(self._node)
            await self.clock.sleep(self.config.manifest_seconds)
        await asyncio.Event().wait()

    def _take(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        leaving = pod.metadata.deletion_timestamp is not None
        if uid in self._rejected and not leaving:
            return
        is_new = pod.status.start_time is None and not leaving and not pods.is_terminal(pod)
        if is_new and self.agent is not None:
            others = [one.pod for one in self.workers.values() if not one.is_finished]
            unsafe = self.config.allowed_unsafe_sysctls
            rejection = admit(pod, others, self._node, self.agent.allocatable, unsafe)
            if rejection is not None:
                self._rejected.add(uid)
                self._events.event(pod, "Warning", rejection.reason, rejection.message)
                status = rejected_status(pod, rejection.reason, rejection.message, self.clock.now())
                self._statuses.write(pod, status)
                return
        self._start_worker(pod)

    def _start_worker(self, pod: Pod) -> PodWorker:
        assert self._services_of_node is not None
        assert self._tasks is not None
        worker = PodWorker(pod, self._services_of_node, on_gone=self._forget)
        self.workers[pod.metadata.uid] = worker
        self._tasks.create_task(worker.run())
        return worker

    def _forget(self, uid: str) -> None:
        self.workers.pop(uid, None)
        self._tokens.forget(uid)
        # Until the API confirms it, its late updates must not bring it back.
        if any(pod.metadata.uid == uid for pod in self._pods.store.list()):
            self._gone.add(uid)

    def _wake(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker is not None:
            worker.wake()

    # House

    async def _housekeeping(self) -> None:
        await self._pods.wait_synced()
        turn = 0
        while True:
            for chore in self._chores(turn):
                try:
                    await chore()
                except (ContainerRuntimeError, OSError) as error:
                    _log.warning("Could not do a part of the housekeeping", error=str(error))
            turn += 1
            await self.clock.sleep(self.config.housekeeping_seconds)

    def _chores(self, turn: int) -> list[Callable[[], Coroutine[Any, Any, object]]]:
        chores: list[Callable[[], Coroutine[Any, Any, object]]] = [
            self._stop_orphans,
            self._clean_orphans,
            lambda: garbage.rotate_logs(self.runtime, self.config, self.clock.now()),
        ]
        if turn % _IMAGE_GC_EVERY == _IMAGE_GC_EVERY - 1:
            chores.append(self._collect_images)
        return chores

    async def _watch_storage(self) -> None:
        node = self._services_of_node
        assert node is not None
        while True:
            await self.clock.sleep(self.config.local_storage_seconds)
            for worker in [one for one in self.workers.values() if local_storage.is_bounded(one.pod)]:
                if worker.is_finished:
                    continue
                try:
                    usage = await local_storage.measure(
                        worker.pod, worker.observed, self.runtime, node.volumes, self.config
                    )
                except (ContainerRuntimeError, OSError) as error:
                    _log.warning("Could not measure a pod", pod=pods.full_name(worker.pod), error=str(error))
                    continue
                message = local_storage.excess(worker.pod, usage)
                if message:
                    self._events.event(worker.pod, "Warning", "Evicted", message)
                    worker.end("Evicted", message, grace_seconds=1.0)

    async def _collect_images(self) -> int:
        assert self._services_of_node is not None
        images = self._services_of_node.images
        return await garbage.collect_images(
            self.runtime, self.config, images.last_used, self.clock.now(), images.held()
        )

    def _known(self) -> set[str]:
        return set(self.workers) | {pod.metadata.uid for pod in self._pods.store.list()}

    async def _stop_orphans(self) -> None:
        """End what runs of pods that were deleted while no kubelet looked."""
        found: dict[str, Pod] = {}
        for sandbox in await self.runtime.list_pod_sandboxes():
            if sandbox.uid and POD_NAME_LABEL in sandbox.labels:
                found[sandbox.uid] = _orphan(sandbox.uid, sandbox.namespace, sandbox.name, ())
        for one in await self.runtime.list_containers():
            uid = one.labels.get(POD_UID_LABEL, "")
            if not uid:
                continue
            namespace, name = one.labels.get(POD_NAMESPACE_LABEL, ""), one.labels.get(POD_NAME_LABEL, "")
            names = tuple(found[uid].spec.containers) if uid in found else ()
            container = Container(name=one.labels.get(CONTAINER_NAME_LABEL, one.name))
            grace = int(one.annotations.get(GRACE_ANNOTATION, "30"))
            found[uid] = _orphan(uid, namespace, name, (*names, container), grace)
        known = self._known()
        for uid, pod in found.items():
            if uid not in known and uid not in self._gone:
                _log.info("Stopping an orphaned pod", pod=pods.full_name(pod), uid=uid)
                self._start_worker(pod).remove()

    async def _clean_orphans(self) -> None:
        """Remove the directories and cgroups of pods that are no more."""
        node = self._services_of_node
        assert node is not None
        running = {sandbox.uid for sandbox in await self.runtime.list_pod_sandboxes()}
        known = self._known() | running
        for uid in await asyncio.to_thread(node.volumes.known_uids):
            if uid not in known:
                await node.volumes.tear_down(uid)
        for uid in await asyncio.to_thread(node.cgroups.known_uids):
            if uid not in known:
                await asyncio.to_thread(node.cgroups.remove, uid)


def _orphan(uid: str, namespace: str, name: str, containers: tuple[Container, ...], grace: int = 30) -> Pod:
    metadata = ObjectMeta(name=name, namespace=namespace, uid=uid)
    return Pod(metadata=metadata, spec=PodSpec(containers=containers, termination_grace_period_seconds=grace))


def _resolv_conf(config: KubeletConfig) -> ResolvConf:
    try:
        return parse_resolv_conf(config.resolv_conf.read_text())
    except OSError:
        return ResolvConf()
