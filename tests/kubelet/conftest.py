"""A node without a machine: the fake runtime, memory instead of mounts, a clock that is set forward by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from keelback.api.core_v1 import ConfigMap, Container, Pod, PodSpec, PodStatus, Secret
from keelback.apimachinery.errors import NotFound
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.kubelet.cgroups import Cgroups
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.image_volumes import ImageVolumes
from keelback.kubelet.images import Images
from keelback.kubelet.network_files import ResolvConf
from keelback.kubelet.observed import Observer
from keelback.kubelet.services import NodeServices
from keelback.kubelet.starting import pull_secrets
from keelback.kubelet.worker import PodWorker
from keelback.testing.clock import HandClock
from keelback.testing.fake_runtime import FakeRuntime
from keelback.volume.builtin import builtin
from keelback.volume.pod_volumes import PodVolumes
from keelback.volume.protocol import NodeFacts


class FakeMounter:
    """Remembers what would be mounted."""

    def __init__(self) -> None:
        self.mounted: list[Path] = []

    def tmpfs(self, path: Path, size_bytes: int = 0) -> None:
        if path not in self.mounted:
            self.mounted.append(path)

    def bind(self, source: str, target: Path) -> None:
        self.mounted.append(target)

    def layers(self, directories, target: Path) -> None:
        self.mounted.append(target)

    def unmount(self, path: Path) -> None:
        self.mounted.remove(path)

    def mounted_below(self, path: Path) -> list[Path]:
        return sorted((one for one in self.mounted if one.is_relative_to(path)), reverse=True)


class Objects:
    """The API objects that pods refer to."""

    def __init__(self) -> None:
        self.held: dict[tuple[type, str], object] = {}

    async def get(self, cls, name, namespace=""):
        try:
            return self.held[cls, name]
        except KeyError:
            raise NotFound.of(cls.__kind__, name) from None

    async def config_map(self, namespace: str, name: str) -> ConfigMap:
        return await self.get(ConfigMap, name)

    async def secret(self, namespace: str, name: str) -> Secret:
        return await self.get(Secret, name)

    async def runtime_handler(self, runtime_class: str) -> str:
        return runtime_class

    async def token(self, request) -> str:
        return f"token-for-{request.pod_name}"


class World:
    """One node and what it has told the API. Usable within one event loop."""

    def __init__(self, root: Path, *, runtime=None, clock=None, mounter=None, config=None, cgroups=None) -> None:
        self.clock = clock or HandClock()
        self.runtime = runtime or FakeRuntime(self.clock, pullable={"web:1", "db:1"})
        self.objects = Objects()
        self.mounter = mounter or FakeMounter()
        self.events: list[tuple[str, str, str]] = []
        self.statuses: dict[str, PodStatus] = {}
        self.status: PodStatus | None = None
        self.removed: list[str] = []
        self.gone: list[str] = []
        self.root = root
        self._told = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        config = config or KubeletConfig(
            node_name="node",
            node_ips=("10.0.0.1",),
            root=root / "kubelet",
            pod_logs=root / "pods",
            container_logs=root / "containers",
            endpoint_drain_seconds=0.0,
        )
        images = Images(self.runtime, self.clock)
        image_volumes = ImageVolumes(images, self.runtime, self, lambda pod: pull_secrets(pod, self.objects, self))
        types = builtin(self.objects, self.objects, NodeFacts(), self.mounter, self.clock, image_volumes)
        self.node = NodeServices(
            config=config,
            runtime=self.runtime,
            observer=Observer(self.runtime),
            images=images,
            volumes=PodVolumes(config.root, types, self.mounter),
            cgroups=cgroups or Cgroups(mount=root / "cgroup"),
            references=self.objects,
            recorder=self,
            statuses=self,
            clock=self.clock,
            chance=random.Random(1),
            resolv_conf=ResolvConf(),
            runtime_name="fake",
            memory_capacity_bytes=1 << 30,
            services=lambda: (),
            allocatable=lambda: {"cpu": "2", "memory": "1Gi"},
        )

    # What a worker tells

    def event(self, obj, kind, reason, message, *, container=""):
        self.events.append((kind, reason, message))
        self._told.set()

    def write(self, pod, status):
        self.status = self.statuses[pod.metadata.name] = status
        self._told.set()

    def remove(self, pod, status):
        self.status = status
        self.removed.append(pod.metadata.name)
        self._told.set()

    # What a test does

    def work(self, pod: Pod) -> PodWorker:
        """Give the pod a worker, and let runtime events wake it."""
        worker = PodWorker(pod, self.node, on_gone=self.gone.append)
        self._tasks.append(asyncio.create_task(worker.run()))
        self._tasks.append(asyncio.create_task(self._follow(worker)))
        return worker

    async def _follow(self, worker: PodWorker) -> None:
        async for _ in self.runtime.events():
            worker.wake()

    def delete(self, worker: PodWorker, grace: int = 30) -> None:
        """As the API says it."""
        metadata = replace(
            worker.pod.metadata, deletion_timestamp=self.clock.now(), deletion_grace_period_seconds=grace
        )
        worker.update(replace(worker.pod, metadata=metadata))

    async def until(self, holds: Callable[[], object], advance: float = 0.0) -> None:
        """Return once it holds; time passes in steps of `advance` seconds meanwhile."""
        while not holds():
            self._told.clear()
            waits = asyncio.create_task(self._told.wait())
            # A turn of the loop that takes a moment: work in threads goes on meanwhile.
            await asyncio.wait([waits], timeout=0.01)
            waits.cancel()
            if advance:
                self.clock.advance(advance)

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]

    def container(self, name: str = "web"):
        assert self.status is not None
        every = (*self.status.container_statuses, *self.status.init_container_statuses)
        return next(one for one in every if one.name == name)

    def is_ready(self) -> bool:
        return self.status is not None and any(
            one.type == "Ready" and one.status == "True" for one in self.status.conditions
        )

    def waits_for(self, reason: str, name: str = "web") -> bool:
        if self.status is None or not self.status.container_statuses:
            return False
        waiting = self.container(name).state.waiting
        return waiting is not None and waiting.reason == reason

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    """Play a scenario in an event loop and a world of its own."""

    def play(body: Callable[[World], Awaitable[None]]) -> None:
        async def run() -> None:
            world = World(tmp_path)
            try:
                async with asyncio.timeout(20):
                    await body(world)
            finally:
                world.stop()

        asyncio.run(run())

    return play


@pytest.fixture
def make_pod() -> Callable[..., Pod]:
    """A pod of one container `web`, unless other containers are given."""

    def make(*containers: Container, name: str = "web", **spec) -> Pod:
        return Pod(
            metadata=ObjectMeta(name=name, namespace="default", uid=f"uid-{name}"),
            spec=PodSpec(containers=containers or (Container(name="web", image="web:1"),), **spec),
        )

    return make
